//! The parser by the RFC's rules, in the order of Autobahn's classes, and by any cut.

mod cases;
mod cuts;

use super::*;

/// What an owner of the bytes would have seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<(u16, String)>),
    Refused(u16),
}

impl From<Incoming<'_>> for Seen {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text(text.into_owned()),
            Incoming::Binary(bytes) => Self::Binary(bytes.into_owned()),
            Incoming::Ping(bytes) => Self::Ping(bytes.into_owned()),
            Incoming::Pong => Self::Pong,
            Incoming::Close(reason) => Self::Close(reason.map(|r| (r.code.0, r.text))),
        }
    }
}

/// A frame as a client sends it.
pub fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    bytes.extend(mask);
    bytes.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    bytes
}

/// Feeds the pieces; a violation or a close ends it.
pub fn seen(pieces: &[&[u8]], message_bytes_max: u64) -> Vec<Seen> {
    let limits = Limits { message_bytes_max };
    let mut parser = Parser::default();
    let mut all = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut rest = &mut piece[..];
        while !rest.is_empty() {
            match parser.next(rest, limits) {
                Ok((used, incoming)) => {
                    all.extend(incoming.map(Seen::from));
                    if matches!(all.last(), Some(Seen::Close(_))) {
                        return all;
                    }
                    rest = &mut rest[used..];
                }
                Err(violation) => {
                    all.push(Seen::Refused(violation.code().0));
                    return all;
                }
            }
        }
    }
    all
}
