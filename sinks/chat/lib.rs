//! Chat's way out: what a room says reaches everybody in it.

pub mod ring;
pub mod ws;
