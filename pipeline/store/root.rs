//! The root of a tree of files: a folder of this machine, or a place in a store.
//!
//! Enters: a path or a URL. Leaves: what both have in common (a client, a URL, paths),
//! and the folder where only a folder will do. Never here: making or syncing it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore};
use url::Url;

use crate::place::none_for_folders;
use crate::{Place, StoreError, Tries};

/// A folder or a place in a store. Clones share all of it.
#[derive(Clone)]
pub struct Root(Arc<Inner>);

struct Inner {
    // None: in a store.
    folder: Option<PathBuf>,
    client: Arc<dyn ObjectStore>,
    // Ends with a slash.
    url: Url,
    path: Path,
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({self})")
    }
}

impl fmt::Display for Root {
    /// The folder's path, or the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.folder {
            Some(folder) => write!(f, "{}", folder.display()),
            None => f.write_str(self.0.url.as_str().trim_end_matches('/')),
        }
    }
}

impl Root {
    /// A path, a `file://` URL, or the URL of a store with its options (see
    /// [`Place::open`]). Nothing is made or asked yet.
    ///
    /// # Errors
    /// The text or an option can't be understood.
    pub fn parse(text: &str, options: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        if !text.contains("://") {
            none_for_folders(options)?;
            return Self::at(FilePath::new(text));
        }
        let place = Place::open(text, options, Tries::Few)?;
        if place.url().scheme() == "file" {
            let wrong = || refuse(&place, "it is not a path of this machine");
            return Self::at(&place.url().to_file_path().map_err(|()| wrong())?);
        }
        Self::within(&place)
    }

    /// A folder. Nothing is made yet.
    ///
    /// # Errors
    /// [`StoreError::Path`]: it is empty, or there is no current directory.
    pub fn at(folder: &FilePath) -> Result<Self, StoreError> {
        let place = Place::at(folder)?;
        let absolute = std::path::absolute(folder).ok();
        let (url, path) = (place.url().clone(), place.prefix().clone());
        let client = Arc::clone(place.client());
        Ok(Self(Arc::new(Inner { folder: absolute, client, url, path })))
    }

    /// All of a place in a store.
    ///
    /// # Errors
    /// [`StoreError::Url`]: the URL holds more than the bucket's name and a path.
    pub fn within(place: &Place) -> Result<Self, StoreError> {
        let mut url = place.url().clone();
        // Files are named by URLs below this one, and found by their paths.
        if Path::from_url_path(url.path()).ok().as_ref() != Some(place.prefix()) {
            return Err(refuse(place, "its path begins with the bucket"));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let (client, path) = (Arc::clone(place.client()), place.prefix().clone());
        Ok(Self(Arc::new(Inner { folder: None, client, url, path })))
    }

    /// What is called `name` below it; `name` is letters, digits and `_`.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let mut url = self.0.url.clone();
        url.set_path(&format!("{}{name}/", url.path()));
        Self(Arc::new(Inner {
            folder: self.0.folder.as_ref().map(|folder| folder.join(name)),
            client: self.client(),
            url,
            path: self.0.path.clone().join(name),
        }))
    }

    /// The folder, if it is one.
    #[must_use]
    pub fn folder(&self) -> Option<&FilePath> {
        self.0.folder.as_deref()
    }

    /// Its URL, with a slash at the end.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// Where it begins in the client.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The client; for a folder one whose names begin at `/`.
    #[must_use]
    pub fn client(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.0.client)
    }

    /// Whether there is anything below it.
    ///
    /// # Errors
    /// The store can't be asked.
    pub async fn is_there(&self) -> Result<bool, Error> {
        self.0.client.list(Some(&self.0.path)).next().await.transpose().map(|first| first.is_some())
    }
}

fn refuse(place: &Place, reason: &str) -> StoreError {
    StoreError::Url { url: place.to_string(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;

    use super::*;

    fn parse(text: &str) -> Result<Root, StoreError> {
        Root::parse(text, &BTreeMap::new())
    }

    #[test]
    fn folders_and_stores_are_named_alike() {
        for (text, shown, url, path) in [
            ("/srv/lake", "/srv/lake/t", "file:///srv/lake/t/", "srv/lake/t"),
            ("file:///srv/a%20b", "/srv/a b/t", "file:///srv/a%20b/t/", "srv/a b/t"),
            ("s3://bucket/a%20b/", "s3://bucket/a%20b/t", "s3://bucket/a%20b/t/", "a b/t"),
            ("s3://bucket", "s3://bucket/t", "s3://bucket/t/", "t"),
            ("gs://bucket/x", "gs://bucket/x/t", "gs://bucket/x/t/", "x/t"),
        ] {
            let table = parse(text).unwrap().join("t");
            let found = (table.to_string(), table.url().as_str(), table.path().as_ref());
            assert_eq!(found, (shown.into(), url, path));
            assert_eq!(table.folder().is_some(), shown.starts_with('/'));
        }
        assert!(parse("lake").unwrap().folder().unwrap().is_absolute());
    }

    #[test]
    fn what_cannot_be_a_root_is_said() {
        let says = |text: &str| parse(text).unwrap_err().to_string();
        assert!(says("").contains("is not a folder's path"));
        assert!(says("ftp://host/x").contains("ftp://host/x is not an object store"));
        let bucket_in_path = says("https://s3.eu-1.amazonaws.com/bucket/x");
        assert!(bucket_in_path.contains("write s3://bucket/prefix"), "{bucket_in_path}");
        let options = BTreeMap::from([("region".to_owned(), "x".to_owned())]);
        let error = Root::parse("/srv/lake", &options).unwrap_err().to_string();
        assert_eq!(error, "file stores have no option region");
    }

    #[tokio::test]
    async fn nothing_below_it_is_not_there() {
        let client: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let root = Root::within(&Place::new(Arc::clone(&client), "s3://b/a").unwrap()).unwrap();
        assert!(!root.is_there().await.unwrap());
        client.put(&Path::from("a/b/c"), "x".into()).await.unwrap();
        assert!(root.is_there().await.unwrap());
        assert!(!root.join("c").is_there().await.unwrap());
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(&folder.path().join("lake")).unwrap();
        assert!(!root.is_there().await.unwrap());
    }
}
