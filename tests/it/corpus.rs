//! The fuzz corpora, through the functions that are fuzzed.

#[path = "../fuzz/lib.rs"]
mod fuzz;

use crate::support::root;

fn each(corpus: &str, check: fn(&[u8])) {
    let folder = root().join("tests/fuzz/corpus").join(corpus);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus") {
        check(&std::fs::read(entry.expect("an entry").path()).expect("a seed"));
        count += 1;
    }
    assert!(count >= 3, "the corpus has seeds");
}

#[test]
fn chunk_corpus() {
    each("chunk", fuzz::chunk);
}

#[test]
fn amf_corpus() {
    each("amf", fuzz::amf);
}

#[test]
fn demux_corpus() {
    each("demux", fuzz::demux);
}

#[test]
fn request_corpus() {
    each("request", fuzz::request);
}

#[test]
fn chat_corpus() {
    each("chat", fuzz::chat);
}
