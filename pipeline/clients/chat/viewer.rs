//! One viewer: its handshake, its frames, and what it found out about their order.
//!
//! A client of its own, not the server's code turned round: what both would get wrong in
//! the same way would not be seen.

use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::OnceLock;

use mio::net::TcpStream;

use crate::findings::{Findings, News};
use crate::marker::{Mark, Marks, now_ns};
use crate::options::Dialect;
use crate::texts::Told;

/// What may wait to be written until a viewer counts as stuck, in bytes.
const STUCK_BYTES: usize = 256 * 1024;
/// Frames that are longer end the connection: nobody says that much.
const FRAME_BYTES_MAX: usize = 1 << 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Until the upgrade is agreed to.
    Opening,
    /// Until it is sure to be in the room; see [`Knock`].
    Knocking,
    Open,
    Over,
}

impl Stage {
    pub fn is_on_the_way(self) -> bool {
        matches!(self, Self::Opening | Self::Knocking)
    }
}

/// By what a viewer knows that it is in the room.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Knock {
    /// Its ping is answered.
    #[default]
    Ping,
    /// It is welcomed.
    Welcome,
    /// This hello is answered.
    Hello(Box<str>),
}

impl fmt::Debug for Knock {
    /// Without the token that a hello holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ping => "Ping",
            Self::Welcome => "Welcome",
            Self::Hello(_) => "Hello(…)",
        })
    }
}

/// `Debug` is left out, here and where tokens are said: they are secrets.
pub struct Viewer {
    pub stream: TcpStream,
    pub stage: Stage,
    /// The greatest number so far: of the room's records, or of marks.
    pub last: Option<u64>,
    knock: Knock,
    /// What was read and isn't whole, or is to be written and hasn't been.
    half: Vec<u8>,
    out: Vec<u8>,
}

/// What does not change from viewer to viewer.
pub struct Around<'a> {
    pub marks: &'a Marks,
    /// Whose marks count; None: everybody's.
    pub run: Option<u64>,
    pub dialect: Dialect,
    /// Which part of the findings it is now, and to which latency counts what comes at the end.
    pub part: usize,
    pub row: usize,
    /// What was sent later isn't measured.
    pub until_ns: u64,
    /// The room's life, once somebody was welcomed.
    pub epoch: &'a OnceLock<String>,
}

impl Around<'_> {
    fn mark(&self, text: &[u8]) -> Option<Mark> {
        self.marks.find(text).filter(|mark| self.run.is_none_or(|run| run == mark.run))
    }
}

impl Viewer {
    /// Asks for the upgrade once it is connected.
    pub fn new(stream: TcpStream, request: Vec<u8>, knock: Knock) -> Self {
        let stage = Stage::Opening;
        Self { stream, stage, last: None, knock, half: Vec::new(), out: request }
    }

    /// The connection is cut; another takes its place and goes on where this one was.
    pub fn come_back(&mut self, stream: TcpStream, request: Vec<u8>) {
        let (last, knock) = (self.last, std::mem::take(&mut self.knock));
        *self = Self { last, ..Self::new(stream, request, knock) };
    }

    /// Connected, or room to write.
    pub fn writable(&mut self, findings: &mut Findings) {
        if self.stage != Stage::Opening || self.stream.peer_addr().is_ok() {
            self.flush(findings);
        }
    }

    /// Will say a masked text, once it is flushed.
    pub fn say(&mut self, text: &str) {
        self.put(0x81, text.as_bytes());
    }

    /// Whether the server reads none of what is said.
    pub fn is_stuck(&self) -> bool {
        self.out.len() > STUCK_BYTES
    }

    fn put(&mut self, first: u8, payload: &[u8]) {
        self.out.push(first);
        match payload.len() {
            len @ 0..=125 => self.out.push(0x80 | len as u8),
            len => {
                self.out.push(0xfe);
                self.out.extend((len.min(0xffff) as u16).to_be_bytes());
            }
        }
        // A mask of zeros is a mask, and what is sent can be read in a trace.
        self.out.extend([0; 4]);
        self.out.extend_from_slice(&payload[..payload.len().min(0xffff)]);
    }

    /// Writes what there is room for.
    pub fn flush(&mut self, findings: &mut Findings) {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(sent) => {
                    self.out.drain(..sent);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.over(1006, findings),
            }
        }
        self.out = Vec::new();
    }

    /// Reads all there is.
    pub fn readable(&mut self, buffer: &mut [u8], around: &Around<'_>, findings: &mut Findings) {
        while self.stage != Stage::Over {
            match self.stream.read(buffer) {
                Ok(0) => return self.over(1006, findings),
                Ok(len) => {
                    findings.bytes += len as u64;
                    findings.reads += 1;
                    self.take(&buffer[..len], around, findings);
                    if len < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.over(1006, findings),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], around: &Around<'_>, findings: &mut Findings) {
        let mut half = std::mem::take(&mut self.half);
        let bytes = if half.is_empty() {
            bytes
        } else {
            half.extend_from_slice(bytes);
            &half[..]
        };
        let used = self.take_whole(bytes, around, findings);
        if used < bytes.len() && self.stage != Stage::Over {
            // No more than that: twenty thousand viewers keep theirs.
            self.half = bytes[used..].to_vec();
        }
    }

    /// How many bytes were whole frames (or the answer to the handshake).
    fn take_whole(&mut self, bytes: &[u8], around: &Around<'_>, findings: &mut Findings) -> usize {
        let mut used = 0;
        if self.stage == Stage::Opening {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return 0 };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                self.stage = Stage::Over;
                findings.turn_away(bytes);
                return bytes.len();
            }
            self.stage = Stage::Knocking;
            self.knock(findings);
            used = end + 4;
        }
        let now = now_ns();
        while matches!(self.stage, Stage::Knocking | Stage::Open) {
            let Some((head, len)) = frame(&bytes[used..]) else { break };
            if len > FRAME_BYTES_MAX {
                findings.fault("a frame of more than 16 MiB");
                self.over(1009, findings);
                break;
            }
            if bytes.len() - used < head + len {
                break;
            }
            let first = bytes[used];
            let payload = &bytes[used + head..used + head + len];
            used += head + len;
            match first {
                0x81 => self.text(payload, now, around, findings),
                0x88 => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    self.put(0x88, payload);
                    self.flush(findings);
                    self.over(code, findings);
                }
                0x89 => {
                    self.put(0x8a, payload);
                    self.flush(findings);
                }
                0x8a => self.is_in(self.knock == Knock::Ping),
                _ => findings.fault("a frame that isn't a whole text"),
            }
        }
        used
    }

    fn knock(&mut self, findings: &mut Findings) {
        match std::mem::take(&mut self.knock) {
            Knock::Ping => self.put(0x89, b""),
            Knock::Welcome => self.knock = Knock::Welcome,
            Knock::Hello(hello) => {
                self.say(&hello);
                self.knock = Knock::Hello(hello);
            }
        }
        self.flush(findings);
    }

    /// It is in the room, if that is what it waits for.
    fn is_in(&mut self, is_answer: bool) {
        if self.stage == Stage::Knocking && is_answer {
            self.stage = Stage::Open;
        }
    }

    fn text(&mut self, payload: &[u8], now: u64, around: &Around<'_>, findings: &mut Findings) {
        match around.dialect {
            Dialect::Marks => {
                let Some(mark) = around.mark(payload) else { return };
                findings.deliver(&mark, now, around);
                self.order(mark.number, findings);
            }
            Dialect::Millstream => self.told(payload, now, around, findings),
        }
    }

    fn told(&mut self, payload: &[u8], now: u64, around: &Around<'_>, findings: &mut Findings) {
        match Told::of(payload) {
            Told::Record { seq } => {
                if let Some(mark) = around.mark(payload) {
                    findings.deliver(&mark, now, around);
                }
                self.order(seq, findings);
            }
            Told::Welcome { epoch, seq, recovered } => {
                around.epoch.get_or_init(|| epoch.to_owned());
                // One that came back goes on behind what it had, or has lost what lies between.
                if let Some(last) = self.last {
                    findings.unrecovered += u64::from(!recovered);
                    findings.gaps += seq.saturating_sub(last);
                }
                self.last = Some(seq);
                findings.greatest = findings.greatest.max(seq);
                self.is_in(self.knock == Knock::Welcome);
            }
            Told::You => {
                self.is_in(matches!(self.knock, Knock::Hello(_)));
                findings.news.push(News::Known);
            }
            Told::Accepted { seq } => {
                if let Some(mark) = around.mark(payload) {
                    findings.accept(&mark, seq, now, around.part);
                }
            }
            Told::Refused { is_said, status, code, retry_after_s } => {
                if self.stage == Stage::Knocking {
                    self.stage = Stage::Over;
                    findings.turn_away(payload);
                    return;
                }
                findings.refuse(status, code);
                findings.news.push(match is_said {
                    true => News::Refused { retry_after_s },
                    false => News::Unknown,
                });
            }
            Told::Other => {
                if around.marks.find(payload).is_some() {
                    findings.fault("a mark in what is no record of the room");
                }
            }
        }
    }

    /// One more number.
    fn order(&mut self, number: u64, findings: &mut Findings) {
        findings.greatest = findings.greatest.max(number);
        match self.last {
            Some(last) if number <= last => {
                findings.repeated += 1;
                return;
            }
            Some(last) => findings.gaps += number - last - 1,
            None => {}
        }
        self.last = Some(number);
    }

    fn over(&mut self, code: u16, findings: &mut Findings) {
        if self.stage.is_on_the_way() {
            findings.turn_away(b"");
        } else if self.stage == Stage::Open {
            *findings.closed.entry(code).or_default() += 1;
        }
        self.stage = Stage::Over;
    }
}

/// Lengths of the header and of the payload of the frame that `bytes` begins with, if all of
/// its header is there.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    Some(match *bytes.get(1)? {
        126 => (4, u16::from_be_bytes(*bytes.get(2..4)?.first_chunk()?) as usize),
        127 => (10, u64::from_be_bytes(*bytes.get(2..10)?.first_chunk()?) as usize),
        len => (2, len as usize),
    })
}
