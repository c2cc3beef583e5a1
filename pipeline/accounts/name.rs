//! Names that people choose, and when two of them are too much alike.
//!
//! A name is an identifier in the sense of UTS 39: letters and digits of one
//! script (or of those that are written together, such as kanji and kana),
//! none that Unicode advises against. Two names are alike if a reader may take
//! one for the other: their skeletons (UTS 39 section 4) are equal, whatever
//! the case. Of names that are alike, the first one to come is taken.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::confusable_detection::skeleton;
use unicode_security::{GeneralSecurityProfile, RestrictionLevel, RestrictionLevelDetection};

/// The shortest name, in characters.
pub const NAME_CHARS_MIN: usize = 3;
/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 25;
/// Marks that may follow one letter; no living script needs more.
const MARKS_MAX: usize = 2;

/// Names that would be taken for the server's own.
const RESERVED: [&str; 16] = [
    "admin",
    "administrator",
    "anonymous",
    "analyst",
    "everyone",
    "here",
    "millstream",
    "mod",
    "moderator",
    "null",
    "operator",
    "root",
    "staff",
    "support",
    "system",
    "undefined",
];

/// What is wrong with a name; always the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// Too short or too long.
    #[error("a name has {NAME_CHARS_MIN} to {NAME_CHARS_MAX} characters, not {0}")]
    Length(usize),
    /// Not a letter, a digit, `_` or `-`, or one that Unicode advises against in names.
    #[error("{0:?} can't be part of a name; use letters, digits, _ and -")]
    Character(char),
    /// It begins with a sign or a mark.
    #[error("a name begins with a letter or a digit")]
    Beginning,
    /// Letters of several scripts: how look-alikes are made.
    #[error("a name is written in one script")]
    Scripts,
    /// It would be taken for the server's.
    #[error("this name is reserved")]
    Reserved,
}

/// A name as its owner writes it, in Unicode's normal form C.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(String);

impl Name {
    /// The name that `text` is.
    ///
    /// # Errors
    /// [`NameProblem`].
    pub fn parse(text: &str) -> Result<Self, NameProblem> {
        // Normalising megabytes for strangers is work; four times as many could still become a name.
        let given = text.chars().take(4 * NAME_CHARS_MAX + 1).count();
        if given > 4 * NAME_CHARS_MAX {
            return Err(NameProblem::Length(given));
        }
        let name: String = text.nfc().collect();
        let chars = name.chars().count();
        if !(NAME_CHARS_MIN..=NAME_CHARS_MAX).contains(&chars) {
            return Err(NameProblem::Length(chars));
        }
        let mut marks = 0;
        for (at, c) in name.chars().enumerate() {
            let is_mark = is_combining_mark(c);
            marks = if is_mark { marks + 1 } else { 0 };
            let is_letter = c.is_alphanumeric() && c.identifier_allowed();
            if at == 0 && !is_letter {
                return Err(match matches!(c, '_' | '-') || is_mark {
                    true => NameProblem::Beginning,
                    false => NameProblem::Character(c),
                });
            }
            let is_fine = is_letter
                || matches!(c, '_' | '-')
                || is_mark && marks <= MARKS_MAX && c.identifier_allowed();
            if !is_fine {
                return Err(NameProblem::Character(c));
            }
        }
        if !name.as_str().check_restriction_level(RestrictionLevel::HighlyRestrictive) {
            return Err(NameProblem::Scripts);
        }
        if RESERVED.iter().any(|reserved| are_alike(reserved, &name)) {
            return Err(NameProblem::Reserved);
        }
        Ok(Self(name))
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// By what a name is found: its own characters, whatever the case.
pub(crate) fn folded(text: &str) -> String {
    // By character: the lower case of a whole text has a final sigma, say.
    text.nfkc().flat_map(char::to_lowercase).nfc().collect()
}

/// Whether a reader may take one for the other.
///
/// They look alike as they are written, or in lower case: `НОРЕ` in Cyrillic
/// looks like `HOPE`, and `ð` like `Ð` only to who knows that they are one letter.
#[must_use]
pub fn are_alike(one: &str, other: &str) -> bool {
    let others = looks(other);
    looks(one).iter().any(|look| others.contains(look))
}

/// By what names are told apart: those that share a look are alike. As it is
/// written, and in lower case. Only for comparing; it is never shown.
pub(crate) fn looks(text: &str) -> [String; 2] {
    [look(text.nfkc().collect()), look(folded(text))]
}

fn look(mut text: String) -> String {
    // One step can enable another; a few reach the end, and an end there must be.
    for _ in 0..4 {
        let lower: String = skeleton(&text).flat_map(char::to_lowercase).collect();
        // `I` looks like `l` and is the upper case of `i`: all three are one.
        // Decomposed, so that it is the letter below an accent, too.
        let next: String = lower.nfkd().map(|c| if c == 'i' { 'l' } else { c }).collect();
        if next == text {
            break;
        }
        text = next;
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_many_scripts_are_fine() {
        for name in [
            "bob",
            "Ann_2",
            "a-b-c",
            "Grüße",
            "Öznur",
            "Дмитрий",
            "Ελένη",
            "さくら",
            "山田たろう",
            "민준123",
            "अनिल",
            "محمد",
        ] {
            assert_eq!(Name::parse(name).map(|name| name.0), Ok(name.nfc().collect()), "{name}");
        }
    }

    #[test]
    fn what_isnt_a_name_is_refused() {
        use NameProblem::*;
        let long = "x".repeat(26);
        let endless = "x".repeat(1 << 20);
        let cases = [
            ("", Length(0)),
            ("ab", Length(2)),
            (&long, Length(26)),
            (&endless, Length(101)),
            ("a b c", Character(' ')),
            (" abc", Character(' ')),
            ("abc@example.com", Character('@')),
            ("abc\u{200b}", Character('\u{200b}')),
            ("abc\u{202e}", Character('\u{202e}')),
            ("abc\0", Character('\0')),
            ("<script>", Character('<')),
            ("a\u{301}\u{302}\u{303}\u{304}bc", Character('\u{304}')),
            ("😀😀😀", Character('😀')),
            ("_abc", Beginning),
            ("\u{301}abc", Beginning),
            // A Cyrillic а among Latin letters.
            ("p\u{430}ypal", Scripts),
            ("Admin", Reserved),
            ("ADM1N", Reserved),
            ("аdmіn", Scripts),
        ];
        for (text, problem) in cases {
            assert_eq!(Name::parse(text), Err(problem), "{:?}", &text[..text.len().min(40)]);
        }
    }

    #[test]
    fn look_alikes_are_one_name() {
        let pairs = [
            ("bob", "BOB"),
            ("bob", "bοb"),
            ("Ilya", "llya"),
            ("ilya", "1lya"),
            ("paypal", "раураl"),
            ("modern", "modem"),
            ("clock", "cl0ck"),
            ("Åsa", "A\u{30a}sa"),
            ("ﬁsh", "fish"),
            ("НОРЕ", "hope"),
            ("Ðan", "ðan"),
            ("Οδος", "οδος"),
        ];
        for (one, other) in pairs {
            assert!(are_alike(one, other), "{one} {other}");
        }
        for (one, other) in [("bob", "rob"), ("anna", "ann"), ("x_y", "xy"), ("さくら", "さくろ")]
        {
            assert!(!are_alike(one, other), "{one} {other}");
        }
    }

    /// Whatever letter is allowed, its other case is the same to a reader.
    #[test]
    fn case_never_makes_another_name() {
        let mut seen = 0;
        for c in ('\0'..='\u{ffff}').filter(|c| c.is_alphanumeric() && c.identifier_allowed()) {
            let lower: String = c.to_lowercase().collect();
            assert!(are_alike(&lower, &c.to_string()), "{c} {lower}");
            seen += 1;
        }
        assert!(seen > 20_000, "{seen}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_refused(text in any::<String>()) {
            let _ = Name::parse(&text);
            prop_assert!(are_alike(&text, &text));
        }

        #[test]
        fn a_name_is_stable(text in "[\\p{L}\\p{N}_-]{3,12}") {
            let Ok(name) = Name::parse(&text) else { return Ok(()) };
            prop_assert_eq!(Name::parse(name.as_str()).unwrap(), name.clone());
            // Its spellings in other cases and normal forms are found as the same name.
            let spelt: String = name.as_str().nfd().collect();
            prop_assert_eq!(folded(&spelt), folded(name.as_str()));
            prop_assert!(are_alike(&spelt, name.as_str()));
            prop_assert!(are_alike(&folded(name.as_str()), name.as_str()));
        }

        #[test]
        fn plain_names_are_all_fine(text in "[a-z][a-z0-9_-]{2,24}") {
            let parsed = Name::parse(&text);
            prop_assert!(parsed.is_ok() || parsed == Err(NameProblem::Reserved), "{:?}", parsed);
        }
    }
}
