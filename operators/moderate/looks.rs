//! How a text looks, for finding words that were disguised.
//!
//! Letters of other scripts that look like Latin ones (UTS 39 skeletons), fonts
//! made of mathematical signs, accents, zeros for o's, letters that are repeated
//! or s p a c e d out. ASCII letters stay what they are: by UTS 39 alone `m` is
//! `rn`, and whoever forbids one word would forbid others.

use std::sync::OnceLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::MixedScript;
use unicode_security::confusable_detection::skeleton;

/// The forms that words are looked for in, each at most as long as the text's
/// compatibility form; at most 16, most often one.
pub(crate) fn forms(text: &str) -> Vec<String> {
    let mut forms = Vec::with_capacity(2);
    add_forms(&mut forms, base(text));
    if !text.is_ascii() {
        // `Н` looks like H as it is; `і` like i in either case.
        add_forms(&mut forms, plain(&text.nfkc().collect::<String>()));
    }
    forms
}

/// The form that every text has of a word, whatever the case of either.
pub(crate) fn base(text: &str) -> String {
    match text.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => plain(&text.nfkc().flat_map(char::to_lowercase).collect::<String>()),
    }
}

/// One form, to tell whether two texts say the same: without spaces and signs.
pub(crate) fn gist(text: &str) -> String {
    let base = base(text);
    let gist: String = base.chars().filter(|c| c.is_alphanumeric()).collect();
    // Nothing but signs or emoji: those are what it says.
    if gist.is_empty() { base } else { gist }
}

/// Whether a word pretends to be Latin: it mixes scripts and looks all ASCII.
pub(crate) fn has_look_alikes(text: &str) -> bool {
    if text.is_ascii() {
        return false;
    }
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| !word.is_ascii() && word.chars().nth(2).is_some()).any(|word| {
        !word.is_single_script() && plain(word).chars().all(|c| c.is_ascii_alphanumeric())
    })
}

fn add_forms(forms: &mut Vec<String>, base: String) {
    if let Some(leet) = unleet(&base) {
        add_shapes(forms, leet);
    }
    add_shapes(forms, base);
}

fn add_shapes(forms: &mut Vec<String>, form: String) {
    if forms.contains(&form) {
        return;
    }
    forms.extend(joined(&form));
    // Once only where letters were repeated on purpose: "add" isn't "ad".
    if has_runs(&form) {
        forms.extend([squeezed(&form, 2), squeezed(&form, 1)]);
    }
    forms.push(form);
}

/// Each character as the ASCII letter that it looks like, in lower case, without accents.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.nfd() {
        match c.is_ascii() {
            true => plain.push(c.to_ascii_lowercase()),
            false => known(c, &mut plain),
        }
    }
    plain
}

/// Looks of 256 characters in a row.
type Page = Box<[Box<str>]>;

/// Appends what a character looks like. Finding that out takes a microsecond,
/// so it is kept by the page, once it is asked for: at most 2 MiB in all.
fn known(c: char, plain: &mut String) {
    static PAGES: [OnceLock<Page>; 256] = [const { OnceLock::new() }; 256];
    let (page, at) = (c as usize >> 8, c as usize & 0xff);
    let Some(page) = PAGES.get(page) else {
        plain.push_str(&look(c));
        return;
    };
    let looks = page.get_or_init(|| {
        let first = c as u32 & !0xff;
        (first..first + 256).map(|c| char::from_u32(c).map(look).unwrap_or_default()).collect()
    });
    plain.push_str(&looks[at]);
}

fn look(c: char) -> Box<str> {
    if is_combining_mark(c) {
        return Box::default();
    }
    let looks =
        skeleton(c.encode_utf8(&mut [0; 4])).filter(|c| !is_combining_mark(*c)).collect::<String>();
    let looks: String = looks.chars().flat_map(char::to_lowercase).collect();
    if looks == "rn" { "m".into() } else { looks.into() }
}

/// Digits and signs as the letters they stand for, in words that have letters;
/// None if there are none.
fn unleet(text: &str) -> Option<String> {
    let is_leet = |c: char| letter(c) != c;
    text.contains(is_leet).then(|| {
        let word = |word: &str| match word.contains(|c: char| c.is_alphabetic()) {
            false => word.to_owned(),
            true => word.chars().map(letter).collect(),
        };
        text.split(' ').map(word).collect::<Vec<_>>().join(" ")
    })
}

fn letter(c: char) -> char {
    match c {
        '0' => 'o',
        '1' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

/// Whether a letter is there three times in a row.
fn has_runs(text: &str) -> bool {
    let (mut last, mut run) = ('\0', 0);
    text.chars().any(|c| {
        run = if c == last { run + 1 } else { 1 };
        last = c;
        run > 2
    })
}

/// Runs of three and more of one letter shortened to `keep`.
fn squeezed(text: &str, keep: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    let runs = chars.chunk_by(|a, b| a == b);
    runs.flat_map(|run| run.iter().take(if run.len() > 2 { keep } else { run.len() })).collect()
}

/// Three and more letters that stand alone, put together; None if there are none.
fn joined(text: &str) -> Option<String> {
    let words = || text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let is_alone = |word: &str| word.chars().nth(1).is_none();
    let mut in_row = 0;
    let has_some = words().any(|word| {
        in_row = if is_alone(word) { in_row + 1 } else { 0 };
        in_row > 2
    });
    has_some.then(|| {
        let words: Vec<&str> = words().collect();
        let mut joined = String::with_capacity(text.len());
        for group in words.chunk_by(|a, b| is_alone(a) && is_alone(b)) {
            joined.push_str(&group.join(if group.len() > 2 { "" } else { " " }));
            joined.push(' ');
        }
        joined
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn disguises_are_seen_through() {
        for disguised in [
            "spam",
            "SPAM",
            "ѕраm",
            "ＳＰＡＭ",
            "𝓼𝓹𝓪𝓶",
            "spám",
            "s.p.a.m",
            "s p a m",
            "sp4m",
            "$p@m",
            "spaaaam",
            "s-p-a-m",
            "ⓢⓟⓐⓜ",
            "ЅРАM",
        ] {
            let forms = forms(disguised);
            assert!(forms.iter().any(|form| form.trim() == "spam"), "{disguised}: {forms:?}");
            assert!(forms.len() <= 16);
        }
    }

    #[test]
    fn plain_text_has_one_form() {
        assert_eq!(forms("Nothing to see here, add a bookmark!").len(), 1);
        assert_eq!(forms("modern corn"), ["modern corn"]);
        assert!(
            forms("ПРИВЕТ").contains(&base("привет")) && forms("привет").contains(&base("ПРИВЕТ"))
        );
    }

    #[test]
    fn the_gist_is_what_is_said() {
        for (one, other) in
            [("Buy now!!!", "buy   NOW"), ("free nitro", "frее nitrо"), ("hi", "H I"), ("😀", "😀")]
        {
            assert_eq!(gist(one), gist(other), "{one} {other}");
        }
        assert_ne!(gist("😀"), gist("😁"));
        assert_ne!(gist("!"), gist("?"));
    }

    #[test]
    fn words_that_pretend_are_told_from_languages() {
        for bad in ["frее nitro", "раypal", "clіck"] {
            assert!(has_look_alikes(bad), "{bad}");
        }
        for good in [
            "free nitro",
            "привет мир",
            "日本語とEnglish",
            "über café",
            "Ελλάδα",
            "東京2026",
            "naïve",
            "ＡＢＣ",
        ] {
            assert!(!has_look_alikes(good), "{good}");
        }
    }

    proptest! {
        #[test]
        fn forms_are_few_and_short(text in any::<String>()) {
            let forms = forms(&text);
            prop_assert!(!forms.is_empty() && forms.len() <= 16);
            let _ = (gist(&text), has_look_alikes(&text));
        }
    }
}
