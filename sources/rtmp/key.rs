//! Where a publisher wants to go: application and stream key.
//!
//! Enters: the `app` of `connect` and the name of `publish`, as clients of
//! many minds fill them in. Leaves: [`Address`]. Never done here: deciding
//! whether the key is right, and showing it to anybody.

use std::fmt;

/// Longest stream key taken, in bytes.
pub const KEY_BYTES_MAX: usize = 256;
/// Longest application name taken, in bytes.
pub const APP_BYTES_MAX: usize = 256;

/// A stream key as text. Never printed: `Debug` hides it and there is no
/// `Display`. Its memory is overwritten when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamKeyText(String);

impl StreamKeyText {
    /// Takes a key over.
    #[must_use]
    pub fn new(key: String) -> Self {
        Self(key)
    }

    /// The key itself, for hashing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StreamKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKeyText(…)")
    }
}

impl Drop for StreamKeyText {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        // Else the compiler may leave out a write that nobody reads.
        std::hint::black_box(&bytes);
    }
}

/// Application and key of a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Application, without slashes at its ends; may be empty.
    pub app: String,
    /// The key; may be empty.
    pub key: StreamKeyText,
}

impl Address {
    /// Reads `app` of `connect` and the name given to `publish`.
    ///
    /// | typed | `app` | name | key from |
    /// |---|---|---|---|
    /// | `rtmp://host/live/KEY`, or OBS's two fields | `live` | `KEY` | name |
    /// | `rtmp://host/live?key=KEY`, `rtmp://host/live/x?key=KEY` | `live?key=KEY` | any | query |
    /// | `rtmp://host/KEY` with ffmpeg | `KEY` | | app |
    /// | `-rtmp_app live/KEY` with ffmpeg | `live/KEY` | | end of app |
    ///
    /// None if either is longer than its cap.
    #[must_use]
    pub fn parse(app: &str, name: &str) -> Option<Self> {
        let (app, app_query) = split_query(app);
        let (name, name_query) = split_query(name);
        let app = app.trim_matches('/');
        let name = name.trim_matches('/');
        let queried = query_key(name_query).or_else(|| query_key(app_query));
        let (app, key) = match queried {
            Some(key) => (app, key),
            None if !name.is_empty() => (app, name),
            None => app.rsplit_once('/').unwrap_or(("", app)),
        };
        // What Flash and Wowza clients append for "the default instance".
        let app = app.strip_suffix("/_definst_").unwrap_or(app);
        (app.len() <= APP_BYTES_MAX && key.len() <= KEY_BYTES_MAX)
            .then(|| Self { app: app.into(), key: StreamKeyText::new(key.into()) })
    }
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

fn query_key(query: &str) -> Option<&str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(name, value)| (name == "key").then_some(value))
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_app_and_key_wherever_clients_put_them() {
        for (app, name, expected) in [
            ("live", "KEY", ("live", "KEY")),
            ("live/", "KEY", ("live", "KEY")),
            ("/live", "/KEY", ("live", "KEY")),
            ("live/_definst_", "KEY", ("live", "KEY")),
            ("live?key=KEY", "", ("live", "KEY")),
            ("live", "anything?a=b&key=KEY", ("live", "KEY")),
            ("live", "?key=KEY", ("live", "KEY")),
            ("live", "KEY?backup=1", ("live", "KEY")),
            ("live/KEY", "", ("live", "KEY")),
            ("KEY", "", ("", "KEY")),
            ("live", "KEY?key=", ("live", "KEY")),
            ("", "", ("", "")),
        ] {
            let address = Address::parse(app, name).unwrap();
            assert_eq!((&*address.app, address.key.expose()), expected, "{app} {name}");
        }
    }

    #[test]
    fn long_ones_are_refused() {
        assert_eq!(Address::parse("live", &"k".repeat(KEY_BYTES_MAX + 1)), None);
        assert_eq!(Address::parse(&"a".repeat(APP_BYTES_MAX + 1), "k"), None);
    }

    #[test]
    fn a_key_is_never_printed() {
        let address = Address::parse("live", "SECRET").unwrap();
        assert!(!format!("{address:?}").contains("SECRET"));
    }
}
