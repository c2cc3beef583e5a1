//! The object store that segments go up to: from a URL to a client.
//!
//! Enters: a URL, and options by the names that `object_store` has for them.
//! Leaves: a [`Store`]. Never here: trying again (a failed attempt is seen at
//! once by whoever decides what follows), printing options: some are secrets.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMode, PutOptions, RetryConfig,
};
use records::StreamId;
use url::Url;

use super::files;
use crate::hls::Object;

/// How long one request may take, whatever kind of store it is. Requests over
/// HTTP have shorter limits of their own, which options can change.
const REQUEST_MAX: Duration = Duration::from_secs(120);

/// Characters of a store's answer that an error message repeats.
const REASON_MAX: usize = 300;

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
    #[error("the URL holds a password; give it in the store's options or in the environment")]
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
}

/// A request that failed. A retry may help, after the operator's work at times.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreFailure {
    /// There is no such object.
    #[error("the store has no such object")]
    Missing,
    /// No answer in time.
    #[error("the store did not answer in time: {0}")]
    Slow(String),
    /// It can't be reached, or refuses.
    #[error("{0}")]
    Refused(String),
}

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Written,
    /// It was there already, as long as this.
    Kept,
    /// It was there already with another length. What was first stands.
    Other(u64),
}

/// A place in an object store. Clones share the client.
#[derive(Clone)]
pub struct Store {
    pub(super) client: Arc<dyn ObjectStore>,
    pub(super) prefix: Path,
    shown: Arc<str>,
    /// The same store, if it is a folder: what is to outlive a power cut has to be synced.
    pub(super) folder: Option<Arc<LocalFileSystem>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.shown)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Store {
    /// A client for `url`, by `options` and then by the environment (`AWS_*`,
    /// `AZURE_*`, `GOOGLE_*`). Asks nobody yet.
    ///
    /// # Errors
    /// The URL or an option can't be understood.
    pub fn open(url: &str, options: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        let refuse = |reason: String| StoreError::Url { url: url.into(), reason };
        let parsed = Url::parse(url).map_err(|error| match url.contains("://") {
            true => StoreError::Url { url: "it".into(), reason: error.to_string() },
            false => refuse("it has no scheme".into()),
        })?;
        if parsed.password().is_some() || parsed.query().is_some() {
            return Err(StoreError::Password);
        }
        let (scheme, prefix) =
            ObjectStoreScheme::parse(&parsed).map_err(|error| refuse(error.to_string()))?;
        let unusable = |error: Error| StoreError::Options(reason(&error));
        // One attempt at a time: the spool decides when the next one is.
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let mut folder = None;
        let client: Arc<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::Local => {
                if let Some(name) = options.keys().next() {
                    return Err(StoreError::Option { scheme: "file", name: name.clone() });
                }
                let local = Arc::new(LocalFileSystem::new());
                folder = Some(Arc::clone(&local));
                local
            }
            ObjectStoreScheme::AmazonS3 => {
                let builder = AmazonS3Builder::from_env().with_url(url).with_retry(retry);
                let mut builder = configure("s3", builder, options, AmazonS3Builder::with_config)?;
                let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
                if !chooses_hashes(options) && endpoint.is_none_or(|url| url.starts_with("https:"))
                {
                    // TLS sees to it that what arrives is what was sent. Hashing
                    // it as well would cost more than reading and sending it.
                    builder = builder.with_unsigned_payload(true);
                }
                Arc::new(builder.build().map_err(unusable)?)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let builder = MicrosoftAzureBuilder::from_env().with_url(url).with_retry(retry);
                let builder =
                    configure("az", builder, options, MicrosoftAzureBuilder::with_config)?;
                Arc::new(builder.build().map_err(unusable)?)
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::from_env().with_url(url).with_retry(retry);
                let builder =
                    configure("gs", builder, options, GoogleCloudStorageBuilder::with_config)?;
                Arc::new(builder.build().map_err(unusable)?)
            }
            _ => return Err(refuse(format!("{} is not supported", parsed.scheme()))),
        };
        Ok(Self { client, prefix, shown: url.trim_end_matches('/').into(), folder })
    }

    /// A folder that is there.
    ///
    /// # Errors
    /// The folder can't be looked at.
    pub fn at(folder: &std::path::Path) -> Result<Self, StoreError> {
        let local = LocalFileSystem::new_with_prefix(folder)
            .map_err(|error| StoreError::Options(reason(&error)))?;
        let (local, shown) = (Arc::new(local), folder.display().to_string());
        let client = Arc::clone(&local) as Arc<dyn ObjectStore>;
        Ok(Self { client, prefix: Path::default(), shown: shown.into(), folder: Some(local) })
    }

    /// What is below `prefix` in a client that is there already.
    #[must_use]
    pub fn new(client: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { client, prefix: Path::from(prefix), shown: prefix.into(), folder: None }
    }

    fn location(&self, object: Object) -> Path {
        Path::from_iter(self.prefix.parts().chain(Path::from(files::name(object)).parts()))
    }

    /// Puts an object there unless it is there.
    pub(super) async fn put(&self, object: Object, bytes: Bytes) -> Result<Stored, StoreFailure> {
        let (location, length) = (self.location(object), bytes.len() as u64);
        let options = PutOptions::from(PutMode::Create);
        let put = self.client.put_opts(&location, bytes.into(), options);
        match in_time(put).await {
            Ok(_) => return Ok(Stored::Written),
            Err(Failed::Store(Error::AlreadyExists { .. })) => {}
            Err(failed) => return Err(failed.into()),
        }
        // Or another request for it is under way, ours of before: then the
        // answer is the same, and what counts is whether it is there.
        match self.length(object).await? {
            found if found == length => Ok(Stored::Kept),
            found => Ok(Stored::Other(found)),
        }
    }

    /// The length of an object.
    pub(super) async fn length(&self, object: Object) -> Result<u64, StoreFailure> {
        Ok(in_time(self.client.head(&self.location(object))).await?.size)
    }

    /// Reads a whole object.
    pub(super) async fn get(&self, object: Object) -> Result<Bytes, StoreFailure> {
        let location = self.location(object);
        let read = async { self.client.get(&location).await?.bytes().await };
        Ok(in_time(read).await?)
    }

    /// Deletes all objects of a stream; how many there were.
    pub(super) async fn remove(&self, stream: StreamId) -> Result<usize, StoreFailure> {
        let folder = self.prefix.clone().join(stream.to_string());
        let listed = self.client.list(Some(&folder)).map_ok(|found| found.location).boxed();
        let gone = self.client.delete_stream(listed);
        let gone = gone.try_fold(0, |count, _| async move { Ok(count + 1) });
        Ok(in_time(gone).await?)
    }
}

/// Whether the operator says if S3 gets a hash of what is sent.
fn chooses_hashes(options: &BTreeMap<String, String>) -> bool {
    let names = ["unsigned_payload", "aws_unsigned_payload"];
    options.keys().any(|name| names.contains(&&*name.to_ascii_lowercase()))
        || std::env::var_os("AWS_UNSIGNED_PAYLOAD").is_some()
}

/// Sets each option that the builder knows.
fn configure<B, K: FromStr>(
    scheme: &'static str,
    mut builder: B,
    options: &BTreeMap<String, String>,
    set: impl Fn(B, K, String) -> B,
) -> Result<B, StoreError> {
    for (name, value) in options {
        let key = name.to_ascii_lowercase().parse();
        let key = key.map_err(|_| StoreError::Option { scheme, name: name.clone() })?;
        builder = set(builder, key, value.clone());
    }
    Ok(builder)
}

pub(super) enum Failed {
    Store(Error),
    Slow,
}

pub(super) async fn in_time<T>(
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(REQUEST_MAX, request).await {
        Ok(answer) => answer.map_err(Failed::Store),
        Err(_) => Err(Failed::Slow),
    }
}

impl From<Failed> for StoreFailure {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Slow => Self::Slow(format!("no answer in {} s", REQUEST_MAX.as_secs())),
            Failed::Store(Error::NotFound { ref source, .. })
                if !reason(&**source).contains("NoSuchBucket") =>
            {
                Self::Missing
            }
            Failed::Store(error) if is_slow(&error) => Self::Slow(reason(&error)),
            Failed::Store(error) => Self::Refused(reason(&error)),
        }
    }
}

/// Whether waiting for an answer is what failed.
fn is_slow(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let http = inner.downcast_ref::<object_store::client::HttpError>();
        if http.is_some_and(|e| e.kind() == object_store::client::HttpErrorKind::Timeout) {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// What went wrong, in one line that isn't endless: stores answer with documents.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
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
    let line: Vec<_> = text.split_whitespace().collect();
    line.join(" ").chars().take(REASON_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str, options: &[(&str, &str)]) -> Result<Store, StoreError> {
        let owned = options.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Store::open(url, &owned.collect())
    }

    #[test]
    fn each_kind_of_store_has_its_options() {
        let s3 = [("endpoint", "http://127.0.0.1:1"), ("allow_http", "true"), ("region", "x")];
        let store = open("s3://bucket/a/b/", &s3).unwrap();
        let stream = StreamId::generate();
        let location = store.location(Object::Recording { stream });
        assert_eq!(location.to_string(), format!("a/b/{stream}/recording.json"));
        assert_eq!(store.to_string(), "s3://bucket/a/b");
        assert!(open("az://container", &[("account_name", "a"), ("access_key", "a2V5")]).is_ok());
        assert!(open("file:///srv/archive", &[]).is_ok());
        assert!(open("s3://bucket", &[("access_key_id", "k"), ("secret_access_key", "s")]).is_ok());
    }

    #[test]
    fn mistakes_are_named_and_secrets_are_not() {
        let says = |url, options: &[(&str, &str)]| open(url, options).unwrap_err().to_string();
        assert!(says("bucket", &[]).contains("bucket is not an object store"));
        assert!(says("ftp://host/x", &[]).contains("ftp://host/x is not an object store"));
        assert!(says("https://example.org/x", &[]).contains("https is not supported"));
        let unknown = says("s3://bucket", &[("secret_acces_key", "hunter2")]);
        assert_eq!(unknown, "s3 stores have no option secret_acces_key");
        assert!(says("file:///x", &[("region", "x")]).contains("no option region"));
        let url = says("s3://key:hunter2@bucket", &[]);
        assert!(!url.contains("hunter2") && url.contains("password"), "{url}");
        let keys = [("access_key_id", "k"), ("secret_access_key", "hunter2")];
        let half = says("s3://b", &keys[1..]);
        assert!(half.contains("Missing AccessKeyId") && !half.contains("hunter2"), "{half}");
        let both = open("s3://b", &keys).unwrap();
        assert!(!format!("{both:?} {both}").contains("hunter2"));
    }
}
