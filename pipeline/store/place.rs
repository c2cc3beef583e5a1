//! A place in an object store: from a URL to a client.
//!
//! Enters: a URL, options, the environment. Leaves: a client and the prefix below
//! which everything lies. Never here: a request, or a text with a secret in it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, Error, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use crate::{StoreError, reason};

/// Requests after which a client with [`Tries::Few`] gives up.
const TRIES: usize = 5;
/// The longest pause between two of them.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long after the first it still begins another.
const TRYING_MAX: Duration = Duration::from_secs(10);

/// How often a client sends a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tries {
    /// Once: whoever asks decides when the next attempt is.
    One,
    /// Five times within some ten seconds. For work of many requests, which would
    /// otherwise begin anew for each that fails.
    Few,
}

impl Tries {
    fn retry(self) -> RetryConfig {
        let all = RetryConfig::default();
        match self {
            Self::One => RetryConfig { max_retries: 0, ..all },
            Self::Few => RetryConfig {
                max_retries: TRIES - 1,
                retry_timeout: TRYING_MAX,
                backoff: BackoffConfig { max_backoff: PAUSE_MAX, ..all.backoff },
            },
        }
    }
}

/// A place in an object store. Clones share the client.
#[derive(Clone)]
pub struct Place(Arc<Inner>);

struct Inner {
    client: Arc<dyn ObjectStore>,
    url: Url,
    prefix: Path,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.url.as_str().trim_end_matches('/'))
    }
}

impl Place {
    /// A client for `url`, by `options` and then by the environment (`AWS_*`,
    /// `AZURE_*`, `GOOGLE_*`). Asks nobody yet.
    ///
    /// # Errors
    /// The URL or an option can't be understood.
    pub fn open(
        url: &str,
        options: &BTreeMap<String, String>,
        tries: Tries,
    ) -> Result<Self, StoreError> {
        let (parsed, scheme, prefix) = parse(url)?;
        let retry = tries.retry();
        let client: Arc<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::Local => {
                none_for_folders(options)?;
                Arc::new(LocalFileSystem::new())
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
            _ => {
                let reason = format!("{} is not supported", parsed.scheme());
                return Err(StoreError::Url { url: url.into(), reason });
            }
        };
        Ok(Self(Arc::new(Inner { client, url: parsed, prefix })))
    }

    /// A folder of this machine.
    ///
    /// # Errors
    /// [`StoreError::Path`]: it is empty, or there is no current directory.
    pub fn at(folder: &FilePath) -> Result<Self, StoreError> {
        let wrong = |reason| StoreError::Path { path: folder.display().to_string(), reason };
        let absolute = std::path::absolute(folder).map_err(|error| wrong(error.to_string()))?;
        let url = Url::from_directory_path(&absolute);
        let url = url.map_err(|()| wrong("it has no URL".into()))?;
        let prefix =
            Path::from_absolute_path(&absolute).map_err(|error| wrong(error.to_string()))?;
        Ok(Self(Arc::new(Inner { client: Arc::new(LocalFileSystem::new()), url, prefix })))
    }

    /// The place that `url` names, in a client that is there already.
    ///
    /// # Errors
    /// The URL can't be understood.
    pub fn new(client: Arc<dyn ObjectStore>, url: &str) -> Result<Self, StoreError> {
        let (url, _, prefix) = parse(url)?;
        Ok(Self(Arc::new(Inner { client, url, prefix })))
    }

    /// The client; its names begin at the bucket.
    #[must_use]
    pub fn client(&self) -> &Arc<dyn ObjectStore> {
        &self.0.client
    }

    /// Where this place begins in the client.
    #[must_use]
    pub fn prefix(&self) -> &Path {
        &self.0.prefix
    }

    /// The file of this machine that an object of the client is, if this is a folder:
    /// what is to outlive a power cut has to be synced.
    #[must_use]
    pub fn file(&self, location: &Path) -> Option<PathBuf> {
        if self.0.url.scheme() != "file" {
            return None;
        }
        LocalFileSystem::new().path_to_filesystem(location).ok()
    }

    /// As given; holds no secret.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0.url
    }
}

fn parse(url: &str) -> Result<(Url, ObjectStoreScheme, Path), StoreError> {
    let refuse = |reason: String| StoreError::Url { url: url.into(), reason };
    let parsed = Url::parse(url).map_err(|error| match url.contains("://") {
        // It may hold a password.
        true => StoreError::Url { url: "it".into(), reason: error.to_string() },
        false => refuse("it has no scheme".into()),
    })?;
    if parsed.password().is_some() || parsed.query().is_some() {
        return Err(StoreError::Password);
    }
    let (scheme, prefix) =
        ObjectStoreScheme::parse(&parsed).map_err(|error| refuse(error.to_string()))?;
    Ok((parsed, scheme, prefix))
}

/// Folders have no options.
pub(crate) fn none_for_folders(options: &BTreeMap<String, String>) -> Result<(), StoreError> {
    match options.keys().next() {
        Some(name) => Err(StoreError::Option { scheme: "file", name: name.clone() }),
        None => Ok(()),
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

fn unusable(error: Error) -> StoreError {
    StoreError::Options(reason(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str, options: &[(&str, &str)]) -> Result<Place, StoreError> {
        let owned = options.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Place::open(url, &owned.collect(), Tries::One)
    }

    #[test]
    fn each_kind_of_store_has_its_options() {
        let s3 = [("endpoint", "http://127.0.0.1:1"), ("allow_http", "true"), ("region", "x")];
        let place = open("s3://bucket/a/b/", &s3).unwrap();
        assert_eq!((place.prefix().as_ref(), &*place.to_string()), ("a/b", "s3://bucket/a/b"));
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
