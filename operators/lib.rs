//! Demux, transcode and segment: from packets to CMAF parts.
