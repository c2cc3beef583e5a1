//! What is wrong with a store's settings, and what a store said in one line.

/// Characters of a store's answer that a message repeats.
const REASON_MAX: usize = 400;

/// The store can't be used as configured: the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL can't be understood.
    #[error(
        "{url} is not an object store ({reason}); write s3://bucket/prefix, az://container/prefix, gs://bucket/prefix or file:///folder"
    )]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The URL holds a password, which would appear in logs.
    #[error("the URL holds a password; give it among the store's options or in the environment")]
    Password,
    /// This kind of store has no such option.
    #[error("{scheme} stores have no option {name}")]
    Option {
        /// The kind of store.
        scheme: &'static str,
        /// The option's name.
        name: String,
    },
    /// An option's value can't be used, or one is missing.
    #[error("the store's options can't be used: {0}")]
    Options(String),
    /// The path can't be used.
    #[error("{path} is not a folder's path: {reason}")]
    Path {
        /// As given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What went wrong, causes included, in one line that isn't endless: stores
/// answer with documents.
#[must_use]
pub fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Most errors of `object_store` repeat what is below them.
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    one_line(&text)
}

/// A text without line breaks, cut where it gets long.
#[must_use]
pub fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(REASON_MAX).collect()
}
