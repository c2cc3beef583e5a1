//! Words and patterns that aren't allowed, compiled once.
//!
//! A word is found whole, in any disguise that [`crate::looks`] sees through;
//! `*` at its beginning or end lets it be a part (`*spam*`). A pattern is a
//! regular expression of the `regex` crate: it has no back-references and takes
//! time linear in the text, whatever it says; its compiled size is bounded here,
//! which bounds the factor.

use aho_corasick::{AhoCorasick, MatchKind};
use regex::{RegexBuilder, RegexSet, RegexSetBuilder};

use crate::looks;
use crate::rules::RulesError;

/// Words of a server.
pub const WORDS_MAX: usize = 10_000;
/// The longest word, in bytes.
pub const WORD_BYTES_MAX: usize = 100;
/// Patterns of a server.
pub const PATTERNS_MAX: usize = 200;
/// The longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 500;
/// The largest compiled pattern, in bytes.
const PATTERN_SIZE_MAX: usize = 1 << 20;
/// All of them together, compiled, in bytes.
const PATTERNS_SIZE_MAX: usize = 8 << 20;
/// Groups within groups.
const NEST_MAX: u32 = 20;

/// What a compiled list finds.
#[derive(Debug)]
pub(crate) struct Blocked {
    words: Option<AhoCorasick>,
    /// Whether each word may have letters before and behind it.
    open: Vec<(bool, bool)>,
    patterns: RegexSet,
}

impl Blocked {
    pub(crate) fn compile(words: &[String], patterns: &[String]) -> Result<Self, RulesError> {
        if words.len() > WORDS_MAX || patterns.len() > PATTERNS_MAX {
            return Err(RulesError::TooMany { words: words.len(), patterns: patterns.len() });
        }
        let (mut needles, mut open) = (Vec::new(), Vec::new());
        for word in words {
            let bare = word.trim_matches('*').trim();
            // As a text would be seen, so that both are the same.
            let needle = looks::base(bare);
            if word.len() > WORD_BYTES_MAX || !needle.contains(char::is_alphanumeric) {
                return Err(RulesError::Word(word.chars().take(WORD_BYTES_MAX).collect()));
            }
            needles.push(needle);
            open.push((word.starts_with('*'), word.ends_with('*')));
        }
        let words = match needles.is_empty() {
            true => None,
            false => Some(
                AhoCorasick::builder()
                    .match_kind(MatchKind::Standard)
                    .build(&needles)
                    .map_err(|error| RulesError::Words(error.to_string()))?,
            ),
        };
        for pattern in patterns {
            check(pattern)?;
        }
        let patterns = RegexSetBuilder::new(patterns)
            .case_insensitive(true)
            .size_limit(PATTERNS_SIZE_MAX)
            .nest_limit(NEST_MAX)
            .build()
            .map_err(|_| RulesError::Patterns(PATTERNS_SIZE_MAX))?;
        Ok(Self { words, open, patterns })
    }

    /// Whether the text has any of them.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let has_patterns = !self.patterns.is_empty();
        if has_patterns && self.patterns.is_match(text) {
            return true;
        }
        // Case doesn't count, so there is nothing new in ASCII's own looks.
        if has_patterns && !text.is_ascii() && self.patterns.is_match(&looks::base(text)) {
            return true;
        }
        self.words.is_some() && looks::forms(text).iter().any(|form| self.has_word(form))
    }

    fn has_word(&self, form: &str) -> bool {
        let Some(words) = &self.words else { return false };
        let mut found = words.find_overlapping_iter(form);
        found.any(|found| {
            let (open_before, open_behind) = self.open[found.pattern().as_usize()];
            let before = form[..found.start()].chars().next_back();
            let behind = form[found.end()..].chars().next();
            (open_before || !before.is_some_and(char::is_alphanumeric))
                && (open_behind || !behind.is_some_and(char::is_alphanumeric))
        })
    }
}

fn check(pattern: &str) -> Result<(), RulesError> {
    let named = || pattern.chars().take(80).collect::<String>();
    let refused = |reason: String| RulesError::Pattern { pattern: named(), reason };
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(refused(format!("it is longer than {PATTERN_BYTES_MAX} bytes")));
    }
    let compiled = RegexBuilder::new(pattern)
        .case_insensitive(true)
        .size_limit(PATTERN_SIZE_MAX)
        .nest_limit(NEST_MAX)
        .build();
    let regex = compiled.map_err(|error| {
        refused(match error {
            regex::Error::CompiledTooBig(_) => {
                format!(
                    "it needs more than {PATTERN_SIZE_MAX} bytes when compiled; use smaller counts"
                )
            }
            regex::Error::Syntax(text) => text.lines().last().unwrap_or_default().to_owned(),
            other => other.to_string(),
        })
    })?;
    match regex.is_match("") {
        true => Err(refused("it matches every message".into())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(words: &[&str], patterns: &[&str]) -> Result<Blocked, RulesError> {
        let owned = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        Blocked::compile(&owned(words), &owned(patterns))
    }

    #[test]
    fn words_are_found_whole_and_in_disguise() {
        let blocked = blocked(&["ass", "Käse", "*scam*", "bad word", "хер"], &[]).unwrap();
        for bad in [
            "ass",
            "you ASS!",
            "аss",
            "a.s.s",
            "a s s",
            "@ss",
            "aßss ass",
            "asssss",
            "KASE",
            "käse",
            "ＫÄＳＥ",
            "scammer",
            "cryptosc4m",
            "a bad word here",
            "хер",
            "ХЕР",
        ] {
            assert!(blocked.is_in(bad), "{bad}");
        }
        for good in
            ["class", "assassin", "bass", "as", "Käsekuchen", "bad", "word bad", "херсон", ""]
        {
            assert!(!blocked.is_in(good), "{good}");
        }
    }

    #[test]
    fn patterns_are_found_in_the_text_and_its_looks() {
        let blocked = blocked(&[], &[r"\bfree\s+nitro\b", r"\d{4}-\d{4}-\d{4}"]).unwrap();
        assert!(blocked.is_in("get FREE   nitro"));
        assert!(blocked.is_in("frее nіtrо"));
        assert!(blocked.is_in("1234-5678-9012"));
        assert!(!blocked.is_in("nitro free"));
    }

    #[test]
    fn a_regex_bomb_is_refused_and_named() {
        for bomb in [
            "(a{1000}){1000}",
            "((((a{100}){100}){100}){100}){100}",
            r"(\w{50}){500}",
            &format!("{}a{}", "(".repeat(100), ")".repeat(100)),
            &"x".repeat(501),
            "a*",
            "",
            "(unclosed",
            r"(a)\1",
            "(?=look)",
        ] {
            let error = blocked(&[], &["fine", bomb]).unwrap_err().to_string();
            let named = format!("{:?}", bomb.chars().take(80).collect::<String>());
            assert!(error.contains(&named), "{error}");
        }
        // Those that are slow elsewhere are linear here.
        let slow_elsewhere = blocked(&[], &[r"(a+)+$", r"(x+x+)+y", r"([a-z]+)*!"]).unwrap();
        assert!(!slow_elsewhere.is_in(&format!("{}?", "a".repeat(499))));
        // What people write is small enough.
        blocked(
            &[],
            &[r"\bhttps?://\S+\.(?:ru|cn)\b", r"(?:\p{L}\s){5,}", r"[\w.+-]+@[\w-]+\.\w+"],
        )
        .unwrap();
    }

    #[test]
    fn lists_are_bounded() {
        let many = vec!["x".to_owned(); WORDS_MAX + 1];
        assert!(Blocked::compile(&many, &[]).is_err());
        let many = vec!["x".to_owned(); PATTERNS_MAX + 1];
        assert!(Blocked::compile(&[], &many).is_err());
        // Each is small; together they aren't.
        let wide: Vec<_> = (0..PATTERNS_MAX).map(|n| format!(r"\w{{3}}{n}")).collect();
        assert_eq!(
            Blocked::compile(&[], &wide).unwrap_err(),
            RulesError::Patterns(PATTERNS_SIZE_MAX)
        );
        for word in ["", "*", "**", " ", "!!!", &"x".repeat(101)] {
            assert!(matches!(blocked(&[word], &[]), Err(RulesError::Word(_))), "{word}");
        }
        assert!(!blocked(&[], &[]).unwrap().is_in("anything"));
    }
}
