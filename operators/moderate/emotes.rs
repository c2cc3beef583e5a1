//! Emotes by `:code:`, resolved once for everybody.

use std::collections::HashMap;

use records::EmoteRange;

use crate::rules::RulesError;

/// Emotes of a server.
pub const EMOTES_MAX: usize = 2000;
/// The longest code, in bytes, without its colons.
pub const CODE_BYTES_MAX: usize = 32;

/// Codes and what they stand for.
#[derive(Debug)]
pub(crate) struct Emotes {
    by_code: HashMap<String, String>,
}

impl Emotes {
    /// `set` has codes (without colons) and ids.
    pub(crate) fn compile(set: &[(String, String)]) -> Result<Self, RulesError> {
        if set.len() > EMOTES_MAX {
            return Err(RulesError::TooManyEmotes(set.len()));
        }
        let mut by_code = HashMap::with_capacity(set.len());
        for (code, id) in set {
            let is_code = (2..=CODE_BYTES_MAX).contains(&code.len()) && code.chars().all(is_part);
            let is_fine = is_code && (1..=64).contains(&id.len());
            if !is_fine || by_code.insert(code.clone(), id.clone()).is_some() {
                return Err(RulesError::Emote(code.chars().take(CODE_BYTES_MAX).collect()));
            }
        }
        Ok(Self { by_code })
    }

    /// Where the text has emotes.
    pub(crate) fn find(&self, text: &str) -> Vec<EmoteRange> {
        let mut found = Vec::new();
        let mut opened: Option<(usize, usize)> = None;
        for (at, (byte, c)) in text.char_indices().enumerate() {
            if c != ':' {
                opened = opened.filter(|_| is_part(c));
                continue;
            }
            let emote = opened.and_then(|(start, from)| {
                let id = self.by_code.get(&text[from..byte])?;
                Some(EmoteRange { start: start as u16, end: at as u16 + 1, id: id.clone() })
            });
            // A colon that ends one doesn't begin another.
            opened = emote.is_none().then_some((at, byte + 1));
            found.extend(emote);
        }
        found
    }
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn emotes() -> Emotes {
        let set = [("wave", "e1"), ("+1", "e2"), ("Kappa", "e3")];
        let owned = set.map(|(code, id)| (code.to_owned(), id.to_owned()));
        Emotes::compile(&owned).unwrap()
    }

    #[test]
    fn codes_are_found_by_character() {
        let found = |text: &str| {
            emotes().find(text).into_iter().map(|e| (e.start, e.end, e.id)).collect::<Vec<_>>()
        };
        let e = |start, end, id: &str| (start, end, id.to_owned());
        assert_eq!(found(":wave:"), [e(0, 6, "e1")]);
        assert_eq!(found("👋ü:wave: x:+1:"), [e(2, 8, "e1"), e(10, 14, "e2")]);
        assert_eq!(found(":wave::wave:"), [e(0, 6, "e1"), e(6, 12, "e1")]);
        assert_eq!(found(":wave:wave:"), [e(0, 6, "e1")]);
        assert_eq!(found(":no:wave:"), [e(3, 9, "e1")]);
        assert_eq!(found("::wave::"), [e(1, 7, "e1")]);
        assert!(found(":kappa: :wa ve: wave : :").is_empty(), "case counts");
    }

    #[test]
    fn sets_are_checked() {
        let compile = |code: &str, id: &str| Emotes::compile(&[(code.into(), id.into())]);
        assert!(compile("ok", "1").is_ok());
        for (code, id) in [("", "1"), ("x", "1"), ("a b", "1"), (":a:", "1"), ("ok", "")] {
            assert!(compile(code, id).is_err(), "{code}");
        }
        let twice = ("ok".to_owned(), "1".to_owned());
        assert!(Emotes::compile(&[twice.clone(), twice]).is_err());
    }

    proptest! {
        #[test]
        fn ranges_are_in_order_and_in_the_text(text in "[:wave+1Kapü👋 ]{0,60}") {
            let chars: Vec<char> = text.chars().collect();
            let mut last = 0;
            for range in emotes().find(&text) {
                prop_assert!(range.start >= last && range.end as usize <= chars.len());
                prop_assert_eq!(chars[range.start as usize], ':');
                prop_assert_eq!(chars[range.end as usize - 1], ':');
                last = range.end;
            }
        }
    }
}
