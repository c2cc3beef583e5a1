//! The server's side of the WebSocket protocol (RFC 6455), as data.
//!
//! ```text
//! bytes from a viewer ─► Parser ─► Incoming: text · binary · ping · pong · close
//!                          └─ Violation: what the viewer did wrong, and the code that says so
//! texts to viewers ─► header() + text          replies ─► frame()
//! ```
//!
//! - **Held**: per connection the state of one frame, and a message only while it is
//!   incomplete.
//! - **Never here**: sockets, extensions (so no reserved bit is ever right), masks on what
//!   is sent (5.1 forbids them to servers).

mod close;
mod handshake;
mod parser;
#[cfg(test)]
mod tests;

pub use close::{CloseCode, CloseReason};
pub use handshake::{Refusal, accept};
pub use parser::{Incoming, Limits, Parser, Violation};

/// What a frame holds (5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message before.
    Continuation = 0,
    /// UTF-8.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The last frame of this direction.
    Close = 8,
    /// To be answered.
    Ping = 9,
    /// The answer.
    Pong = 10,
}

/// The header of an unfragmented text frame of `len` bytes, and how many bytes of it count.
pub fn header(len: usize) -> ([u8; 10], usize) {
    header_of(Opcode::Text, len)
}

/// A whole frame.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let (head, len) = header_of(opcode, payload.len());
    let mut frame = Vec::with_capacity(len + payload.len());
    frame.extend_from_slice(&head[..len]);
    frame.extend_from_slice(payload);
    frame
}

fn header_of(opcode: Opcode, len: usize) -> ([u8; 10], usize) {
    let mut head = [0; 10];
    head[0] = 0x80 | opcode as u8;
    match len {
        0..=125 => {
            head[1] = len as u8;
            (head, 2)
        }
        126..=0xffff => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            (head, 4)
        }
        _ => {
            head[1] = 127;
            head[2..].copy_from_slice(&(len as u64).to_be_bytes());
            (head, 10)
        }
    }
}
