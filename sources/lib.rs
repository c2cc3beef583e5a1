//! Where records come from: RTMP publishers.
