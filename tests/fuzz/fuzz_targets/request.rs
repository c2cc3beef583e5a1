//! Fuzzes [`millstream_fuzz::request`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream_fuzz::request(data));
