//! Files of this machine that are on the disk before anybody sees them.
//!
//! Enters: what Delta writes. Leaves: files whose content was synced before
//! they got their name, and whose name was synced before the call answers.
//! Never here: reading; that is [`LocalFileSystem`]'s, which leaves the order of
//! writes to the kernel: after a loss of power a commit may then be an empty
//! file, or name Parquet files that aren't there, and the table is unreadable.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart,
};

const STORE: &str = "lake";

/// Local files, with `/` as their root.
#[derive(Debug, Default)]
pub(crate) struct DurableFiles {
    files: LocalFileSystem,
}

impl fmt::Display for DurableFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableFiles({})", self.files)
    }
}

#[async_trait]
impl ObjectStore for DurableFiles {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let only_new = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            // Refused there.
            PutMode::Update(_) => return self.files.put_opts(location, payload, options).await,
        };
        let path = self.files.path_to_filesystem(location)?;
        blocking(location, move || write(&path, &payload, only_new)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.files.path_to_filesystem(location)?;
        let folder = parent(&path).to_owned();
        blocking(location, move || make_folder(&folder)).await?;
        let upload = self.files.put_multipart_opts(location, options).await?;
        Ok(Box::new(DurableUpload { upload, location: location.clone(), path }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.files.rename_opts(from, to, options).await
    }
}

/// A large file in parts. It gets its name before it is synced, which does for
/// files that nothing names before the call answers.
#[derive(Debug)]
struct DurableUpload {
    upload: Box<dyn MultipartUpload>,
    location: Path,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.upload.complete().await?;
        let path = self.path.clone();
        let sync = move || File::open(&path)?.sync_all().and_then(|()| sync_folder(parent(&path)));
        blocking(&self.location, sync).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

async fn blocking(
    location: &Path,
    job: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<()> {
    let done = tokio::task::spawn_blocking(job).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| {
        let path = location.to_string();
        match error.kind() {
            ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: error.into() },
            _ => Error::Generic { store: STORE, source: error.into() },
        }
    })
}

fn write(path: &FilePath, payload: &PutPayload, only_new: bool) -> io::Result<()> {
    let folder = parent(path);
    make_folder(folder)?;
    let (mut file, staged) = stage(path)?;
    let written = payload.iter().try_for_each(|bytes| file.write_all(bytes));
    let synced = written.and_then(|()| file.sync_all());
    drop(file);
    let named = synced.and_then(|()| match only_new {
        // Unlike a rename, it fails if the name is taken.
        true => fs::hard_link(&staged, path),
        false => fs::rename(&staged, path),
    });
    if only_new || named.is_err() {
        // Left behind, it is swept away later.
        let _ = fs::remove_file(&staged);
    }
    named?;
    sync_folder(folder)
}

/// A file beside `path` with a name that [`LocalFileSystem`] never lists.
fn stage(path: &FilePath) -> io::Result<(File, PathBuf)> {
    for number in 0_u64.. {
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!("#{number}"));
        let staged = PathBuf::from(staged);
        match File::create_new(&staged) {
            Ok(file) => return Ok((file, staged)),
            // Of a process that died, or that writes the same file now.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

fn make_folder(folder: &FilePath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    make_folder(parent(folder))?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(parent(folder)),
    }
}

fn sync_folder(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn parent(path: &FilePath) -> &FilePath {
    path.parent().unwrap_or(path)
}

/// Deletes what writers that died have left unnamed in a table's folder for
/// longer than `age`; how many files. Blocks.
///
/// # Errors
/// A folder can't be read.
pub(crate) fn sweep_staged(folder: &FilePath, age: Duration) -> io::Result<usize> {
    let mut swept = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            swept += sweep_staged(&entry.path(), age)?;
            continue;
        }
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
        let is_staged = number.is_some_and(|number| number.parse::<u64>().is_ok());
        let old = |at: SystemTime| at.elapsed().is_ok_and(|elapsed| elapsed > age);
        if is_staged && entry.metadata()?.modified().is_ok_and(old) {
            fs::remove_file(entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;

    use super::*;

    fn at(folder: &FilePath, name: &str) -> Path {
        Path::from_absolute_path(folder.join(name)).unwrap()
    }

    fn names(folder: &FilePath) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_name_is_given_once_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableFiles::default();
        let commit = at(folder.path(), "1.json");
        let create = || PutOptions::from(PutMode::Create);
        store.put_opts(&commit, "first".into(), create()).await.unwrap();
        let error = store.put_opts(&commit, "second".into(), create()).await.unwrap_err();
        assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
        assert_eq!(names(folder.path()), ["1.json"]);
        let read = async || store.get(&commit).await.unwrap().bytes().await.unwrap();
        assert_eq!(read().await, "first");
        store.put(&commit, "third".into()).await.unwrap();
        assert_eq!(read().await, "third");
        assert_eq!(names(folder.path()), ["1.json"]);
    }

    #[tokio::test]
    async fn folders_are_made_and_large_files_come_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableFiles::default();
        let large = at(&folder.path().join("date=2026-07-01"), "a.parquet");
        let mut upload = store.put_multipart(&large).await.unwrap();
        upload.put_part("one ".into()).await.unwrap();
        upload.put_part("two".into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(store.get(&large).await.unwrap().bytes().await.unwrap(), "one two");
    }

    #[tokio::test]
    async fn what_dead_writers_left_is_unseen_and_swept_when_old() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("date=2026-07-01");
        fs::create_dir(&inner).unwrap();
        for name in ["a.parquet", "a.parquet#0", "b#.parquet", "c#x"] {
            fs::write(inner.join(name), "").unwrap();
        }
        let store = DurableFiles::default();
        store.put(&at(&inner, "a.parquet"), "again".into()).await.unwrap();
        assert_eq!(sweep_staged(folder.path(), Duration::from_secs(60)).unwrap(), 0);
        assert_eq!(sweep_staged(folder.path(), Duration::ZERO).unwrap(), 1);
        let mut left = names(&inner);
        left.sort_unstable();
        assert_eq!(left, ["a.parquet", "b#.parquet", "c#x"]);
    }
}
