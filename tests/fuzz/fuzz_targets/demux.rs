//! Fuzzes [`millstream_fuzz::demux`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream_fuzz::demux(data));
