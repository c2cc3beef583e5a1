//! Fuzzes [`millstream_fuzz::chat`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream_fuzz::chat(data));
