//! Both ends of a broadcast as programs: an RTMP publisher and a strict LL-HLS player.
