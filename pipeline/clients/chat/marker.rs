//! What makes a message's way measurable: run, number and time of sending, within its text.
//!
//! Plain letters, digits and dots, so that moderation lets it pass and JSON needn't escape
//! it. The time is the machine's monotonic clock: both ends must be on one machine.

use memchr::memmem::Finder;
use rustix::time::{ClockId, clock_gettime};

const BEGIN: &str = "ld1.";
/// What texts are filled up with: no letter of it three times in a row, no link, no emote.
const WORDS: &str = "down by the old mill the stream goes round and round, ";

/// A mark found in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which run sent it; others' are no business of this one.
    pub run: u64,
    /// Counts the run's messages from 1.
    pub number: u64,
    /// When it was sent, in nanoseconds of the monotonic clock.
    pub sent_ns: u64,
}

impl Mark {
    /// One that is sent now.
    pub fn now(run: u64, number: u64) -> Self {
        Self { run, number, sent_ns: now_ns() }
    }

    /// As text.
    pub fn text(&self) -> String {
        format!("{BEGIN}{}.{}.{}.", self.run, self.number, self.sent_ns)
    }

    /// As text, filled up to so many bytes.
    pub(crate) fn filled(&self, bytes: usize) -> String {
        let mut text = self.text();
        let rest = bytes.saturating_sub(text.len());
        text.extend(" ".chars().chain(WORDS.chars().cycle()).take(rest));
        text
    }
}

/// The monotonic clock in nanoseconds.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Finds marks.
#[derive(Debug)]
pub struct Marks(Finder<'static>);

impl Default for Marks {
    fn default() -> Self {
        Self(Finder::new(BEGIN))
    }
}

impl Marks {
    /// The first mark in a message.
    pub fn find(&self, message: &[u8]) -> Option<Mark> {
        let mut rest = &message[self.0.find(message)? + BEGIN.len()..];
        Some(Mark {
            run: number(&mut rest)?,
            number: number(&mut rest)?,
            sent_ns: number(&mut rest)?,
        })
    }
}

/// Digits up to a dot.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value: u64 = 0;
    for (index, byte) in rest.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            b'.' if index > 0 => {
                *rest = &rest[index + 1..];
                return Some(value);
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_filled_up_behind_their_marks() {
        let mark = Mark { run: 42, number: 7, sent_ns: 9 };
        assert_eq!(mark.filled(0), "ld1.42.7.9.");
        assert_eq!(mark.filled(19), "ld1.42.7.9. down by");
        assert_eq!(mark.filled(300).len(), 300);
        assert_eq!(Marks::default().find(mark.filled(300).as_bytes()), Some(mark));
    }

    #[test]
    fn a_mark_is_found_in_its_message() {
        let mark = Mark::now(42, 7);
        let message = format!("{{\"message\":\"{} and more\"}}", mark.text());
        assert_eq!(Marks::default().find(message.as_bytes()), Some(mark));
        for none in [
            "",
            "ld1.",
            "ld1.1.2",
            "ld1.1.2.3",
            "ld1.1.x.3.",
            "ld1..2.3.",
            "ld1.99999999999999999999.1.1.",
        ] {
            assert_eq!(Marks::default().find(none.as_bytes()), None, "{none}");
        }
    }
}
