//! What a message may consist of.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::refusal::Refusal;

/// Bytes of raw text beyond which nobody counts characters.
const RAW_BYTES_MAX: usize = 8 << 10;
/// Marks on one letter. Vietnamese has two, Hebrew and Tibetan up to four; zalgo has dozens.
const MARKS_RUN_MAX: usize = 4;

/// The text as it will be kept: in normal form C, on one line, without what is
/// invisible and only moves other text about.
///
/// # Errors
/// [`Refusal::Empty`], [`Refusal::TooLong`], [`Refusal::Marks`].
pub(crate) fn clean(raw: &str, chars_max: usize) -> Result<String, Refusal> {
    if raw.len() > RAW_BYTES_MAX {
        let chars = raw.chars().take(RAW_BYTES_MAX).count();
        return Err(Refusal::TooLong { chars, max: chars_max });
    }
    let space = |c: char| if c.is_control() || c.is_whitespace() { ' ' } else { c };
    let text: String = match raw.is_ascii() {
        true => raw.chars().map(space).collect(),
        false => raw.nfc().filter(|c| !is_mover(*c)).map(space).collect(),
    };
    let text = text.trim();
    let chars = text.chars().count();
    if chars > chars_max {
        return Err(Refusal::TooLong { chars, max: chars_max });
    }
    let (mut run, mut marks, mut seen) = (0, 0, 0);
    for c in text.chars() {
        let is_mark = !c.is_ascii() && is_combining_mark(c);
        run = if is_mark { run + 1 } else { 0 };
        if run > MARKS_RUN_MAX {
            return Err(Refusal::Marks);
        }
        marks += usize::from(is_mark);
        seen += usize::from(!is_mark && !is_blank(c));
    }
    if seen == 0 {
        return Err(Refusal::Empty);
    }
    // Devanagari reaches a half.
    match marks * 3 > (marks + seen) * 2 {
        true => Err(Refusal::Marks),
        false => Ok(text.to_owned()),
    }
}

/// Marks of direction and width that take nothing to see away with them. The
/// joiners stay: Persian and emoji are written with them.
fn is_mover(c: char) -> bool {
    matches!(c,
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
        | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{ad}' | '\u{61c}')
}

/// Nothing to see, although it isn't white space.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{200c}' | '\u{200d}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{34f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_brought_into_shape() {
        for (raw, kept) in [
            (" hi \n there\t", "hi   there"),
            ("a\u{202e}b\u{200b}c", "abc"),
            ("e\u{301}", "é"),
            ("👩\u{200d}👩\u{200d}👧 ❤\u{fe0f}", "👩\u{200d}👩\u{200d}👧 ❤\u{fe0f}"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("नमस्ते हिन्दी", "नमस्ते हिन्दी"),
            ("Tiếng Việt", "Tiếng Việt"),
            ("a\0b", "a b"),
        ] {
            assert_eq!(clean(raw, 500).as_deref(), Ok(kept), "{raw:?}");
        }
    }

    #[test]
    fn what_cant_be_seen_is_empty() {
        for raw in
            ["", "   ", "\n\n", "\u{200b}", "\u{200d}\u{fe0f}", "\u{3164}", "\u{2800}\u{2800}"]
        {
            assert_eq!(clean(raw, 500), Err(Refusal::Empty), "{raw:?}");
        }
    }

    #[test]
    fn lengths_are_characters() {
        assert!(clean(&"ü".repeat(500), 500).is_ok());
        assert!(clean(&"👍".repeat(500), 500).is_ok());
        assert_eq!(clean(&"u".repeat(501), 500), Err(Refusal::TooLong { chars: 501, max: 500 }));
        // Composed it is short enough.
        assert!(clean(&"u\u{308}".repeat(500), 500).is_ok());
        assert!(matches!(clean(&"x".repeat(1 << 20), 500), Err(Refusal::TooLong { .. })));
    }

    #[test]
    fn zalgo_is_refused() {
        let zalgo = format!("h{}i", "\u{300}\u{301}\u{35f}\u{489}".repeat(3));
        assert_eq!(clean(&zalgo, 500), Err(Refusal::Marks));
        let spread = format!("x{0}x{0}x{0}", "\u{35f}\u{489}\u{35f}");
        assert_eq!(clean(&spread, 500), Err(Refusal::Marks));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_in_bounds_and_stays(raw in any::<String>()) {
            if let Ok(text) = clean(&raw, 500) {
                prop_assert!(text.len() <= 2000 && text.chars().count() <= 500);
                prop_assert!(!text.chars().any(char::is_control));
                prop_assert_eq!(clean(&text, 500), Ok(text));
            }
        }
    }
}
