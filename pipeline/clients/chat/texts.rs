//! Millstream's texts, as far as a load tool looks at them.
//!
//! Enters: a text. Leaves: what it says. Held: nothing. Never here: a parser of JSON, which
//! would cost more than all else: `type` comes first, and members are found by their names.

use memchr::{memchr, memmem};

/// What a text says.
#[derive(Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// A message or an act: one more number of the room.
    Record { seq: u64 },
    /// The viewer is in the room, and comes after this number.
    Welcome { epoch: &'a str, seq: u64, recovered: bool },
    /// A hello was good.
    You,
    /// What was said is in the room.
    Accepted { seq: u64 },
    /// It isn't; or, if nothing was said, a hello wasn't good.
    Refused { is_said: bool, status: u64, code: &'a str, retry_after_s: u64 },
    /// Something else.
    Other,
}

impl<'a> Told<'a> {
    /// What `text` says.
    pub fn of(text: &'a [u8]) -> Self {
        // Nearly all are these.
        match text.strip_prefix(b"{\"type\":\"message\",\"seq\":") {
            Some(rest) => digits(rest).map_or(Self::Other, |seq| Self::Record { seq }),
            None => Self::rare(text).unwrap_or(Self::Other),
        }
    }

    fn rare(text: &'a [u8]) -> Option<Self> {
        let rest = text.strip_prefix(b"{\"type\":\"")?;
        let (kind, rest) = rest.split_at(memchr(b'"', rest)?);
        Some(match kind {
            b"message" | b"act" => Self::Record { seq: number(rest, b"\"seq\":")? },
            b"welcome" => Self::Welcome {
                epoch: word(rest, b"\"epoch\":\"")?,
                seq: number(rest, b"\"seq\":")?,
                recovered: memmem::find(rest, b"\"recovered\":true").is_some(),
            },
            b"you" => Self::You,
            b"accepted" => Self::Accepted { seq: number(rest, b"\"seq\":")? },
            b"refused" => Self::Refused {
                is_said: memmem::find(rest, b"\"client_id\":\"").is_some(),
                status: number(rest, b"\"status\":").unwrap_or(0),
                code: word(rest, b"\"code\":\"").unwrap_or("without a code"),
                retry_after_s: number(rest, b"\"retry_after_s\":").unwrap_or(1),
            },
            _ => Self::Other,
        })
    }
}

fn word<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let rest = &text[memmem::find(text, name)? + name.len()..];
    std::str::from_utf8(&rest[..memchr(b'"', rest)?]).ok()
}

fn number(text: &[u8], name: &[u8]) -> Option<u64> {
    digits(&text[memmem::find(text, name)? + name.len()..])
}

/// The number that `text` begins with.
fn digits(text: &[u8]) -> Option<u64> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_apart() {
        for (text, told) in [
            (r#"{"type":"message","seq":7,"message_id":"0"}"#, Told::Record { seq: 7 }),
            (r#"{"type":"message","name":"ann","seq":7}"#, Told::Record { seq: 7 }),
            (
                r#"{"type":"act","seq":8,"by":"0","act":{"kind":"delete","seq":5}}"#,
                Told::Record { seq: 8 },
            ),
            (
                r#"{"type":"welcome","epoch":"12","seq":3,"recovered":true,"pinned":{"seq":1}}"#,
                Told::Welcome { epoch: "12", seq: 3, recovered: true },
            ),
            (
                r#"{"type":"welcome","epoch":"12","seq":3,"recovered":false,"pinned":null}"#,
                Told::Welcome { epoch: "12", seq: 3, recovered: false },
            ),
            (r#"{"type":"you","user_id":"0","name":"ann"}"#, Told::You),
            (
                r#"{"type":"accepted","client_id":"ld1.1.2.3.","message_id":"0","seq":9}"#,
                Told::Accepted { seq: 9 },
            ),
            (
                r#"{"type":"refused","client_id":"c","status":429,"code":"slow","detail":"x","retry_after_s":4}"#,
                Told::Refused { is_said: true, status: 429, code: "slow", retry_after_s: 4 },
            ),
            (
                r#"{"type":"refused","status":401,"code":"token","detail":"log in"}"#,
                Told::Refused { is_said: false, status: 401, code: "token", retry_after_s: 1 },
            ),
            (r#"{"type":"viewers","viewers":9}"#, Told::Other),
            (r#"{"type":"message","seq":x}"#, Told::Other),
            (r#"{"type":"welcome"}"#, Told::Other),
            ("", Told::Other),
            ("ld1.1.2.3.", Told::Other),
        ] {
            assert_eq!(Told::of(text.as_bytes()), told, "{text}");
        }
    }
}
