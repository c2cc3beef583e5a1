//! What viewers say.

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::connection::Phase;
use super::handler::Left;
use super::stats::count;
use super::turn::Loop;
use crate::ws::{CloseCode, CloseReason, Incoming, Limits, Opcode, frame};

impl Loop {
    /// Reads a socket once. If there may be more it is called again: after a full read, and
    /// with `to_end` after any, since the kernel tells of the end but once.
    pub fn readable(&mut self, key: usize, to_end: bool) {
        let mut input = std::mem::take(&mut self.input);
        if let Some(connection) = self.connections.get(key) {
            match recv(&connection.socket, &mut input[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => self.gone(key, &Left::Gone),
                Ok((_, len)) => {
                    self.hear(key, &mut input[..len]);
                    if to_end || len == input.len() {
                        self.call_again(key);
                    }
                }
                Err(Errno::INTR) => self.call_again(key),
                Err(Errno::AGAIN) => {}
                Err(_) => self.gone(key, &Left::Gone),
            }
        }
        self.input = input;
    }

    /// Takes bytes of a viewer.
    pub fn hear(&mut self, key: usize, bytes: &mut [u8]) {
        let limits = Limits { message_bytes_max: self.config.message_bytes_max };
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(connection) = self.connections.get_mut(key) else { return };
            connection.is_asked = false;
            if connection.phase != Phase::Open {
                return;
            }
            let used = match connection.parser.next(rest, limits) {
                Ok((used, None)) => used,
                Ok((used, Some(incoming))) => {
                    self.obey(key, incoming);
                    used
                }
                Err(violation) => {
                    let reason = CloseReason::new(violation.code(), violation.to_string());
                    self.end_with(key, &reason.payload(), &Left::Violation(violation));
                    return;
                }
            };
            rest = &mut rest[used..];
        }
    }

    fn obey(&mut self, key: usize, incoming: Incoming<'_>) {
        match incoming {
            Incoming::Text(text) => {
                count(&self.stats.received, 1);
                self.call(key, |handler, who| handler.text(who, &text));
            }
            Incoming::Binary(bytes) if self.config.takes_binary => {
                count(&self.stats.received, 1);
                self.call(key, |handler, who| handler.binary(who, &bytes));
            }
            Incoming::Binary(_) => {
                let reason = CloseReason::new(CloseCode::UNSUPPORTED, "chat is text");
                self.end_with(key, &reason.payload(), &Left::Binary);
            }
            Incoming::Ping(payload) => self.put(key, &frame(Opcode::Pong, &payload)),
            Incoming::Pong => {}
            Incoming::Close(reason) => {
                let code = reason.map(|reason| reason.code);
                let payload = code.map(|code| CloseReason::new(code, "").payload());
                self.end_with(key, &payload.unwrap_or_default(), &Left::Closed(code));
            }
        }
    }
}
