//! The pool at work on small real streams, through its public face.

mod fixture;
mod ladder;
mod sprite;
mod trouble;
