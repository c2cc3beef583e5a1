//! One viewer: its handshake, its frames, and what it found out about their order.
//!
//! A client of its own, not the server's code turned round: what both would get wrong in
//! the same way would not be seen.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};

use mio::net::TcpStream;

use crate::histogram::Histogram;
use crate::marker::{Marks, now_ns};

/// What all viewers of a thread found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Send to receive: while viewers joined, once all were there, while they came back.
    pub latency: [Histogram; 3],
    /// Messages with a mark of the run, in the same parts.
    pub deliveries: [u64; 3],
    /// Bytes read.
    pub bytes: u64,
    /// Reads that gave something.
    pub reads: u64,
    /// Numbers that were left out.
    pub gaps: u64,
    /// Numbers that came again, or after a greater one.
    pub repeated: u64,
    /// Connections that ended, by close code; 1006 without one (RFC 6455, 7.1.5).
    pub closed: BTreeMap<u16, u64>,
    /// Handshakes that were refused or broke.
    pub refused: u64,
    /// What the server did wrong, in words.
    pub faults: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Until the upgrade is agreed to.
    Opening,
    /// Until a ping is answered: only then is it sure to be in the room.
    Knocking,
    Open,
    Over,
}

impl Stage {
    pub fn is_on_the_way(self) -> bool {
        matches!(self, Self::Opening | Self::Knocking)
    }
}

#[derive(Debug)]
pub struct Viewer {
    pub stream: TcpStream,
    pub stage: Stage,
    /// The greatest number so far.
    pub last: Option<u64>,
    /// The room's number of the last message, where that is looked for.
    pub seq: u64,
    /// What was read and isn't whole, or is to be written and hasn't been.
    half: Vec<u8>,
    out: Vec<u8>,
}

/// What does not change from viewer to viewer.
pub struct Around<'a> {
    pub marks: &'a Marks,
    pub run: Option<u64>,
    /// Whether the room's numbers are looked for.
    pub seqs: bool,
    /// 0 while viewers join, then 1, 2 while they come back.
    pub part: usize,
}

impl Viewer {
    /// Asks for the upgrade once it is connected.
    pub fn new(stream: TcpStream, request: Vec<u8>) -> Self {
        Self { stream, stage: Stage::Opening, last: None, seq: 0, half: Vec::new(), out: request }
    }

    /// The connection is cut; another takes its place and goes on where this one was.
    pub fn come_back(&mut self, stream: TcpStream, request: Vec<u8>) {
        let before = std::mem::replace(self, Self::new(stream, request));
        (self.last, self.seq) = (before.last, before.seq);
    }

    /// Connected, or room to write.
    pub fn writable(&mut self, findings: &mut Findings) {
        if self.stage != Stage::Opening || self.stream.peer_addr().is_ok() {
            self.flush(findings);
        }
    }

    /// Sends a masked text.
    pub fn say(&mut self, text: &str, findings: &mut Findings) {
        self.put(0x81, text.as_bytes());
        self.flush(findings);
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

    fn flush(&mut self, findings: &mut Findings) {
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
        if self.half.is_empty() {
            let used = self.take_whole(bytes, around, findings);
            if used < bytes.len() && self.stage != Stage::Over {
                self.half = bytes[used..].to_vec();
            }
            return;
        }
        let mut half = std::mem::take(&mut self.half);
        half.extend_from_slice(bytes);
        let used = self.take_whole(&half, around, findings);
        if used < half.len() && self.stage != Stage::Over {
            half.drain(..used);
            self.half = half;
        }
    }

    /// How many bytes were whole frames (or the answer to the handshake).
    fn take_whole(&mut self, bytes: &[u8], around: &Around<'_>, findings: &mut Findings) -> usize {
        let mut used = 0;
        if self.stage == Stage::Opening {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return 0 };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                findings.refused += 1;
                self.stage = Stage::Over;
                return bytes.len();
            }
            self.stage = Stage::Knocking;
            self.put(0x89, b"");
            self.flush(findings);
            used = end + 4;
        }
        let now = now_ns();
        while matches!(self.stage, Stage::Knocking | Stage::Open) {
            let Some((head, len)) = frame(&bytes[used..]) else { break };
            let first = bytes[used];
            let payload = &bytes[used + head..used + head + len];
            used += head + len;
            match first {
                0x81 => self.message(payload, now, around, findings),
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
                0x8a => self.stage = Stage::Open,
                _ => *findings.faults.entry("a frame that isn't a whole text").or_default() += 1,
            }
        }
        used
    }

    fn message(&mut self, payload: &[u8], now: u64, around: &Around<'_>, findings: &mut Findings) {
        let Some(mark) = around.marks.find(payload) else { return };
        if around.run.is_some_and(|run| run != mark.run) {
            return;
        }
        findings.deliveries[around.part] += 1;
        findings.latency[around.part].record(now.saturating_sub(mark.sent_ns) / 1000);
        if around.seqs
            && let Some(seq) = seq(payload)
        {
            self.seq = seq;
        }
        match self.last {
            Some(last) if mark.number <= last => {
                findings.repeated += 1;
                return;
            }
            Some(last) => findings.gaps += mark.number - last - 1,
            None => {}
        }
        self.last = Some(mark.number);
    }

    fn over(&mut self, code: u16, findings: &mut Findings) {
        if self.stage.is_on_the_way() {
            findings.refused += 1;
        } else if self.stage == Stage::Open {
            *findings.closed.entry(code).or_default() += 1;
        }
        self.stage = Stage::Over;
    }
}

/// The value of a message's first `"seq":`.
fn seq(message: &[u8]) -> Option<u64> {
    let rest = &message[memchr::memmem::find(message, b"\"seq\":")? + 6..];
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

/// Header and payload length of the frame that `bytes` begins with, if it is whole.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (head, len) = match *bytes.get(1)? {
        126 => (4, u16::from_be_bytes(*bytes.get(2..4)?.first_chunk()?) as usize),
        127 => (10, u64::from_be_bytes(*bytes.get(2..10)?.first_chunk()?) as usize),
        len => (2, len as usize),
    };
    (bytes.len() >= head + len).then_some((head, len))
}
