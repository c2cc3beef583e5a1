//! Links in messages, also those without a scheme, and where they really lead.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use url::{Host, Url};

/// Whether messages may have links. The channel's people may always send them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkPolicy {
    /// Any.
    #[default]
    Allow,
    /// None.
    Refuse,
    /// Those to these domains and what is below them.
    Only(Vec<String>),
}

impl LinkPolicy {
    /// The first host that isn't allowed.
    pub(crate) fn refused(&self, text: &str) -> Option<String> {
        match self {
            Self::Allow => None,
            Self::Refuse => hosts(text).into_iter().next(),
            Self::Only(domains) => {
                let is_allowed = |host: &str| {
                    domains.iter().any(|domain| {
                        host.strip_suffix(domain.as_str())
                            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                    })
                };
                hosts(text).into_iter().find(|host| !is_allowed(host))
            }
        }
    }
}

/// A domain as hosts are compared: in lower case, in punycode. None: not a domain.
pub(crate) fn domain(text: &str) -> Option<String> {
    match Host::parse(text.trim_matches('.')) {
        Ok(Host::Domain(domain)) if domain.contains('.') => Some(domain),
        _ => None,
    }
}

/// The hosts that the text leads to.
fn hosts(text: &str) -> Vec<String> {
    if text.is_ascii() && !text.contains('.') && !text.contains("://") {
        return Vec::new();
    }
    // Full-width letters and circled dots are what browsers make of them.
    let text: String = text.nfkc().map(|c| if c == '。' { '.' } else { c }).collect();
    let words = text.split(|c: char| {
        c.is_whitespace()
            || matches!(c, '<' | '>' | '"' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | ',' | ';')
    });
    words.filter_map(host).collect()
}

fn host(word: &str) -> Option<String> {
    let word =
        word.trim_end_matches(['.', '!', '?', ':', '\'']).trim_start_matches(['.', '\'', '*', '_']);
    if let Some(at) = word.find("://") {
        // "see:https://…" has a link, too.
        let scheme = word[..at].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |i| i + 1);
        let url = word.get(scheme..).and_then(|link| Url::parse(link).ok())?;
        return url.host_str().map(str::to_owned);
    }
    let (name, path) = match word.find(['/', '?', '#']) {
        Some(at) => (&word[..at], true),
        None => (word, false),
    };
    // `user@host` is an address, not a link; `host:port` is one.
    let name = name.rsplit('@').next().unwrap_or(name);
    let (name, port) = name.split_once(':').map_or((name, ""), |(name, port)| (name, port));
    if !port.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let domain = domain(name)?;
    let last = domain.rsplit('.').next()?;
    let is_plausible = path || !port.is_empty() || domain.starts_with("www.") || is_common(last);
    is_plausible.then_some(domain)
}

/// Endings that people click on. "What is.this" isn't a link for want of a
/// space; all names of countries are two letters, and so are many words.
fn is_common(ending: &str) -> bool {
    const COMMON: [&str; 48] = [
        "com", "net", "org", "info", "biz", "edu", "gov", "app", "dev", "xyz", "top", "online",
        "site", "shop", "store", "live", "club", "link", "click", "gift", "space", "website",
        "tech", "cloud", "stream", "video", "bet", "casino", "porn", "zip", "mov", "io", "tv",
        "gg", "me", "ly", "co", "cc", "ru", "cn", "uk", "de", "fr", "nl", "pl", "br", "eu", "us",
    ];
    COMMON.contains(&ending) || ending.starts_with("xn--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_where_they_lead() {
        for (text, host) in [
            ("see https://Example.com/x", "example.com"),
            ("see:http://example.com", "example.com"),
            ("example.com", "example.com"),
            ("(www.example.museum)", "www.example.museum"),
            ("example.museum/path", "example.museum"),
            ("example.museum:8080", "example.museum"),
            ("https://youtube.com@evil.com/", "evil.com"),
            ("https://youtube.com:x@evil.com/", "evil.com"),
            ("ｅｘａｍｐｌｅ．ｃｏｍ", "example.com"),
            ("example。com", "example.com"),
            ("http://1.2.3.4/", "1.2.3.4"),
            ("http://0x7f000001/", "127.0.0.1"),
            ("пример.com", "xn--e1afmkfd.com"),
            ("youtu.be/abc", "youtu.be"),
            ("go to discord.gg!", "discord.gg"),
            ("EXAMPLE.COM.", "example.com"),
            ("ftp://files.example.org", "files.example.org"),
        ] {
            assert_eq!(hosts(text), [host], "{text}");
        }
        for text in [
            "no.really",
            "e.g. this",
            "v1.2.3",
            "1.5",
            "wait...what",
            "...",
            "a/b",
            "and/or",
            "10:30",
            "ok.thanks",
            ":wave:",
        ] {
            assert!(hosts(text).is_empty(), "{text}: {:?}", hosts(text));
        }
    }

    #[test]
    fn policies_decide_by_domain() {
        let only = LinkPolicy::Only(vec!["youtube.com".into(), "example.org".into()]);
        for good in ["youtube.com", "https://m.youtube.com/x", "no links", "www.example.org"] {
            assert_eq!(only.refused(good), None, "{good}");
        }
        for (bad, host) in [
            ("notyoutube.com", "notyoutube.com"),
            ("youtube.com.evil.com", "youtube.com.evil.com"),
            ("https://youtube.com@evil.com", "evil.com"),
            ("youtube.com and evil.com", "evil.com"),
        ] {
            assert_eq!(only.refused(bad).as_deref(), Some(host), "{bad}");
        }
        assert!(LinkPolicy::Refuse.refused("youtube.com").is_some());
        assert!(LinkPolicy::Allow.refused("evil.com").is_none());
    }
}
