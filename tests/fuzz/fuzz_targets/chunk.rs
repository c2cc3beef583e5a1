//! Fuzzes [`millstream_fuzz::chunk`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream_fuzz::chunk(data));
