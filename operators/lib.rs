//! Demux, transcode and segment: from packets to CMAF parts.
pub mod demux;
pub mod segment;
pub mod transcode;
