//! Where records go: HLS viewers and segment files.
//!
//! ```text
//!                    ┌─► hls      parts and playlists, to viewers
//! Media, by edges ───┤
//!                    └─► archive  segment files, written once ──(Cold)──► hls, hls::vod
//! ```
//!
//! Both live in the I/O plane: nothing here runs inside an operator. The two
//! know each other through one trait only, [`hls::Cold`]: bytes that left
//! memory are read back from wherever they were put.

pub mod archive;
pub mod hls;
