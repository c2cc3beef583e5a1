//! Settings, and where the lake is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use crate::{Error, Faults, Table};

/// Settings of the lake.
#[derive(Clone, Debug)]
pub struct LakeConfig {
    /// The folder of all tables.
    pub root: Root,
    /// Pause between commits of a table while much is going on. Default 1 s.
    pub commit_busy: Duration,
    /// How long a record waits for its commit while little is going on. Default 5 s.
    pub commit_idle: Duration,
    /// Records that wait for a table from which on much is going on. Default 1,000.
    pub busy_records: u64,
    /// Records of one commit, which bounds memory. Default 100,000.
    pub commit_rows_max: usize,
    /// Bytes of the records of one commit. Default 32 MiB.
    pub commit_bytes_max: usize,
    /// Commits between checkpoints of a table's Delta log, which bounds what a
    /// reader must read to open it. Default 100.
    pub checkpoint_every: u64,
    /// Commits between looks for small files to merge. Default 32.
    pub compact_every: u64,
    /// For tests; nothing by default.
    pub faults: Faults,
}

impl LakeConfig {
    /// The defaults, at `root`.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self {
            root,
            commit_busy: Duration::from_secs(1),
            commit_idle: Duration::from_secs(5),
            busy_records: 1000,
            commit_rows_max: 100_000,
            commit_bytes_max: 32 << 20,
            checkpoint_every: 100,
            compact_every: 32,
            faults: Faults::default(),
        }
    }
}

/// Where the lake is: a folder of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    folder: PathBuf,
}

impl Root {
    /// A path, or a `file://` URL. Nothing is made yet.
    ///
    /// # Errors
    /// [`Error::Root`] for other URLs.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::Root { root: text.into(), reason };
        let folder = match text.split_once("://") {
            None => PathBuf::from(text),
            Some(("file", _)) => {
                let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
                let not_a_path = || refuse("it is not a path of this machine".into());
                url.to_file_path().map_err(|()| not_a_path())?
            }
            Some((scheme, _)) => {
                return Err(refuse(format!("{scheme} is not supported, only folders are")));
            }
        };
        Self::at(&folder)
    }

    /// A path. Nothing is made yet.
    ///
    /// # Errors
    /// [`Error::Root`]: it is empty, or there is no current directory.
    pub fn at(folder: &Path) -> Result<Self, Error> {
        let root = folder.display().to_string();
        let folder = std::path::absolute(folder)
            .map_err(|error| Error::Root { root, reason: error.to_string() })?;
        Ok(Self { folder })
    }

    /// The folder of all tables.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of `table`.
    #[must_use]
    pub fn table(&self, table: Table) -> PathBuf {
        self.folder.join(table.name())
    }

    /// The same as a URL.
    ///
    /// # Errors
    /// [`Error::Root`]: the path has no URL.
    pub fn url(&self, table: Table) -> Result<Url, Error> {
        let path = self.table(table);
        Url::from_directory_path(&path).map_err(|()| Error::Root {
            root: path.display().to_string(),
            reason: "it is not an absolute path".into(),
        })
    }
}
