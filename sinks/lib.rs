//! Where records go: HLS viewers and segment files.
