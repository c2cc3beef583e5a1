//! Bytes from a viewer become messages, however they are cut.
//!
//! A message that lies whole in what was read is unmasked in place and lent out; only
//! one that is cut, by frames or by reads, is put together in memory of its own, which
//! leaves with it. Text is checked as it arrives, so the first byte that can't be UTF-8
//! ends the connection (Autobahn's section 6.4 calls that "fail fast").

use std::borrow::Cow;

use super::{CloseCode, CloseReason, Opcode};

/// The longest header: two bytes, eight of length, four of mask.
const HEADER_MAX: usize = 14;
/// 5.5.
const CONTROL_BYTES_MAX: u64 = 125;

/// How much a viewer may send at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one message, over all its frames.
    pub message_bytes_max: u64,
}

/// What a viewer sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole text message.
    Text(Cow<'a, str>),
    /// A whole message of bytes.
    Binary(Cow<'a, [u8]>),
    /// To be answered with the same payload.
    Ping(Cow<'a, [u8]>),
    /// An answer, perhaps to nothing (5.5.3 allows that).
    Pong,
    /// Nothing follows. None: without a code.
    Close(Option<CloseReason>),
}

/// What a viewer did wrong; it is closed with the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// 5.2: there is no extension.
    #[error("a reserved bit is set, and no extension was agreed on")]
    ReservedBit,
    /// 5.2.
    #[error("opcode {0} means nothing")]
    Opcode(u8),
    /// 5.1.
    #[error("a client's frames are masked, this one isn't")]
    Unmasked,
    /// 5.5.
    #[error("a control frame is in one piece")]
    FragmentedControl,
    /// 5.5.
    #[error("a control frame holds at most 125 bytes")]
    LongControl,
    /// 5.2: the least number of bytes must be used, and 64 bits have a zero first.
    #[error("the length isn't written in the least number of bytes")]
    Length,
    /// 5.4.
    #[error("a continuation of nothing")]
    NothingToContinue,
    /// 5.4.
    #[error("a message begins before the one before it has ended")]
    Interleaved,
    /// 5.5.1.
    #[error("a close frame's payload begins with two bytes of code")]
    CloseLength,
    /// 7.4.
    #[error("{0} isn't a code that may be sent")]
    CloseCode(u16),
    /// 8.1.
    #[error("the text isn't UTF-8")]
    NotText,
    /// 7.4.1, 1009.
    #[error("the message is longer than {0} bytes")]
    TooBig(u64),
}

impl Violation {
    /// The code to close with.
    pub fn code(self) -> CloseCode {
        match self {
            Self::NotText => CloseCode::NOT_TEXT,
            Self::TooBig(_) => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL,
        }
    }
}

/// The state between two reads.
#[derive(Debug)]
pub struct Parser {
    head: [u8; HEADER_MAX],
    head_len: u8,
    state: State,
    /// The message being put together, and the control frame within it.
    partial: Option<Box<Partial>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    Payload { opcode: Opcode, is_final: bool, left: u64, mask: [u8; 4] },
}

#[derive(Debug, Default)]
struct Partial {
    /// The message's opcode, from its first frame to its last.
    opcode: Option<Opcode>,
    message: Vec<u8>,
    /// How much of a text is known to be UTF-8.
    checked: usize,
    control: Vec<u8>,
}

impl Default for Parser {
    fn default() -> Self {
        Self { head: [0; HEADER_MAX], head_len: 0, state: State::Header, partial: None }
    }
}

impl Parser {
    /// Takes from the front of `input` and says how much, and what it completed. Call it
    /// again with the rest until all is taken; `input` is unmasked on the way. After a
    /// violation nothing more can be parsed.
    pub fn next<'a>(
        &mut self,
        input: &'a mut [u8],
        limits: Limits,
    ) -> Result<(usize, Option<Incoming<'a>>), Violation> {
        let mut used = 0;
        if let State::Header = self.state {
            used = self.header(input, limits)?;
        }
        let State::Payload { opcode, is_final, left, mask } = self.state else {
            return Ok((used, None));
        };
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - used);
        let piece = &mut input[used..used + len];
        unmask(piece, mask);
        used += len;
        let left = left - len as u64;
        if left > 0 {
            let mut mask = mask;
            mask.rotate_left(len % 4);
            self.state = State::Payload { opcode, is_final, left, mask };
            self.keep(opcode, piece)?;
            return Ok((used, None));
        }
        self.state = State::Header;
        self.complete(opcode, is_final, piece).map(|incoming| (used, incoming))
    }

    /// Whether a message has begun that isn't complete.
    pub fn is_amid_message(&self) -> bool {
        self.head_len > 0 || !matches!(self.state, State::Header) || self.partial.is_some()
    }

    fn header(&mut self, input: &[u8], limits: Limits) -> Result<usize, Violation> {
        let mut used = 0;
        loop {
            let have = self.head_len as usize;
            let need = match have {
                0 | 1 => 2,
                _ => header_len(self.head[1]),
            };
            if have >= 2 && have == need {
                break;
            }
            let taken = (need - have).min(input.len() - used);
            if taken == 0 {
                return Ok(used);
            }
            self.head[have..have + taken].copy_from_slice(&input[used..used + taken]);
            self.head_len += taken as u8;
            used += taken;
            if have < 2 && self.head_len >= 2 {
                // What is wrong already ends it here, before the viewer sends the rest.
                self.check_start()?;
            }
        }
        self.begin(limits)?;
        Ok(used)
    }

    fn check_start(&self) -> Result<(), Violation> {
        let [first, second, ..] = self.head;
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBit);
        }
        let opcode = opcode(first & 0x0f)?;
        let is_final = first & 0x80 != 0;
        let is_amid = self.partial.as_ref().is_some_and(|partial| partial.opcode.is_some());
        match opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong if !is_final => {
                return Err(Violation::FragmentedControl);
            }
            Opcode::Close | Opcode::Ping | Opcode::Pong
                if u64::from(second & 0x7f) > CONTROL_BYTES_MAX =>
            {
                return Err(Violation::LongControl);
            }
            Opcode::Continuation if !is_amid => return Err(Violation::NothingToContinue),
            Opcode::Text | Opcode::Binary if is_amid => return Err(Violation::Interleaved),
            _ => {}
        }
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        Ok(())
    }

    fn begin(&mut self, limits: Limits) -> Result<(), Violation> {
        let head = &self.head[..self.head_len as usize];
        let left = match head[1] & 0x7f {
            126 => {
                let len = u64::from(u16::from_be_bytes([head[2], head[3]]));
                if len < 126 {
                    return Err(Violation::Length);
                }
                len
            }
            127 => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&head[2..10]);
                let len = u64::from_be_bytes(bytes);
                if len <= 0xffff || len >> 63 != 0 {
                    return Err(Violation::Length);
                }
                len
            }
            len => u64::from(len),
        };
        let mut mask = [0; 4];
        mask.copy_from_slice(&head[head.len() - 4..]);
        let opcode = opcode(head[0] & 0x0f)?;
        let held = match opcode {
            Opcode::Continuation => self.partial.as_ref().map_or(0, |p| p.message.len() as u64),
            _ => 0,
        };
        if held.saturating_add(left) > limits.message_bytes_max.max(CONTROL_BYTES_MAX) {
            return Err(Violation::TooBig(limits.message_bytes_max));
        }
        self.state = State::Payload { opcode, is_final: head[0] & 0x80 != 0, left, mask };
        self.head_len = 0;
        Ok(())
    }

    /// Puts a piece aside whose frame or message isn't complete.
    fn keep(&mut self, opcode: Opcode, piece: &[u8]) -> Result<(), Violation> {
        let partial = self.partial.get_or_insert_default();
        match opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => partial.control.extend_from_slice(piece),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                if opcode != Opcode::Continuation {
                    partial.opcode = Some(opcode);
                }
                partial.message.extend_from_slice(piece);
                partial.check(false)?;
            }
        }
        Ok(())
    }

    fn complete<'a>(
        &mut self,
        opcode: Opcode,
        is_final: bool,
        piece: &'a mut [u8],
    ) -> Result<Option<Incoming<'a>>, Violation> {
        if matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong) {
            let payload = self.take_control(piece);
            return control(opcode, payload).map(Some);
        }
        let begun = self.partial.as_ref().is_some_and(|partial| partial.opcode.is_some());
        if is_final && !begun {
            let piece: &'a [u8] = piece;
            return Ok(Some(match opcode {
                Opcode::Text => {
                    let text = std::str::from_utf8(piece).map_err(|_| Violation::NotText)?;
                    Incoming::Text(Cow::Borrowed(text))
                }
                _ => Incoming::Binary(Cow::Borrowed(piece)),
            }));
        }
        self.keep(opcode, piece)?;
        if !is_final {
            return Ok(None);
        }
        let Some(mut partial) = self.partial.take() else { return Ok(None) };
        partial.check(true)?;
        Ok(Some(match partial.opcode {
            Some(Opcode::Text) => {
                let text = String::from_utf8(partial.message).map_err(|_| Violation::NotText)?;
                Incoming::Text(Cow::Owned(text))
            }
            _ => Incoming::Binary(Cow::Owned(partial.message)),
        }))
    }

    /// A control frame's payload: `piece`, behind what came of it before.
    fn take_control<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(partial) = &mut self.partial else { return Cow::Borrowed(piece) };
        let mut control = std::mem::take(&mut partial.control);
        if partial.opcode.is_none() {
            self.partial = None;
        }
        if control.is_empty() {
            return Cow::Borrowed(piece);
        }
        control.extend_from_slice(piece);
        Cow::Owned(control)
    }
}

impl Partial {
    /// Whether the text so far can be UTF-8; at its end, whether it is.
    fn check(&mut self, is_end: bool) -> Result<(), Violation> {
        if self.opcode != Some(Opcode::Text) {
            return Ok(());
        }
        match std::str::from_utf8(&self.message[self.checked..]) {
            Ok(_) => self.checked = self.message.len(),
            Err(error) if error.error_len().is_none() && !is_end => {
                self.checked += error.valid_up_to();
            }
            Err(_) => return Err(Violation::NotText),
        }
        Ok(())
    }
}

fn control(opcode: Opcode, payload: Cow<'_, [u8]>) -> Result<Incoming<'_>, Violation> {
    match opcode {
        Opcode::Ping => Ok(Incoming::Ping(payload)),
        Opcode::Pong => Ok(Incoming::Pong),
        _ => close(&payload).map(Incoming::Close),
    }
}

fn close(payload: &[u8]) -> Result<Option<CloseReason>, Violation> {
    let Some((code, text)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(Violation::CloseLength) };
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    if !code.may_be_sent() {
        return Err(Violation::CloseCode(code.0));
    }
    let text = std::str::from_utf8(text).map_err(|_| Violation::NotText)?;
    Ok(Some(CloseReason { code, text: text.to_owned() }))
}

/// How long a header is by its second byte, mask and all.
fn header_len(second: u8) -> usize {
    2 + match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    } + 4
}

fn opcode(code: u8) -> Result<Opcode, Violation> {
    Ok(match code {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        other => return Err(Violation::Opcode(other)),
    })
}

/// 5.3. Eight bytes at a time, since uploads of megabytes are allowed where limits are.
fn unmask(piece: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = piece.chunks_exact_mut(8);
    for word in &mut words {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}
