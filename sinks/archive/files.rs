//! Names of files, and putting them there once.

use std::fs::{self, File};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::hls::Object;
use records::{Rendition, StreamId};

/// `{stream}/{rendition}/{msn}.m4s`, `…/init-{run}.mp4` or
/// `{stream}/recording.json`: below the root as in the store.
pub(super) fn name(object: Object) -> String {
    match object {
        Object::Segment { stream, rendition, msn } => format!("{stream}/{rendition}/{msn}.m4s"),
        Object::Init { stream, rendition, run } => format!("{stream}/{rendition}/init-{run}.mp4"),
        Object::Recording { stream } => format!("{stream}/recording.json"),
    }
}

/// Where an object's file is.
pub(super) fn path(root: &Path, object: Object) -> PathBuf {
    root.join(name(object))
}

pub(super) fn stream_folder(root: &Path, stream: StreamId) -> PathBuf {
    root.join(stream.to_string())
}

/// What became of a put.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    Written,
    /// It was there already, this long: what was decided first stands.
    Kept(u64),
}

/// Writes a file that appears whole or not at all, unless it is there.
pub(super) fn put_if_absent<'a>(
    path: &Path,
    pieces: impl IntoIterator<Item = &'a Bytes>,
) -> io::Result<Put> {
    if let Ok(found) = fs::metadata(path) {
        return Ok(Put::Kept(found.len()));
    }
    // One thread writes a stream: the name is still free when the file gets it.
    let part = path.with_extension("part");
    write(&part, pieces).and_then(|()| fs::rename(&part, path)).inspect_err(|_| {
        // Half a file helps nobody; if even this fails, the next try overwrites it.
        let _ = fs::remove_file(&part);
    })?;
    Ok(Put::Written)
}

/// Deletes a stream's folder, if it is there.
pub(super) fn remove_stream(root: &Path, stream: StreamId) -> io::Result<()> {
    remove_folder(&stream_folder(root, stream))
}

/// Deletes the folder of one rendition of a stream, if it is there.
pub(super) fn remove_rendition(
    root: &Path,
    stream: StreamId,
    rendition: Rendition,
) -> io::Result<()> {
    remove_folder(&stream_folder(root, stream).join(rendition.to_string()))
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    loop {
        match fs::remove_dir_all(folder) {
            // Somebody else removes it too.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            done => return done,
        }
    }
}

/// Writes a file that appears whole or not at all, in place of what was there,
/// and is on disk when this returns.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let written = write(&part, [&Bytes::copy_from_slice(bytes)])
        .and_then(|()| File::open(&part)?.sync_all())
        .and_then(|()| fs::rename(&part, path))
        // Its name, too.
        .and_then(|()| File::open(path.parent().unwrap_or(path))?.sync_all());
    written.inspect_err(|_| {
        // Half a file helps nobody.
        let _ = fs::remove_file(&part);
    })
}

fn write<'a>(path: &Path, pieces: impl IntoIterator<Item = &'a Bytes>) -> io::Result<()> {
    let mut file = match File::create(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            File::create(path)?
        }
        file => file?,
    };
    let mut slices: Vec<_> = pieces.into_iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = &mut slices[..];
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_write_stands() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/7.m4s");
        let chunks = ["one", "", "two"].map(Bytes::from);
        assert_eq!(put_if_absent(&path, &chunks).unwrap(), Put::Written);
        assert_eq!(put_if_absent(&path, &[Bytes::from_static(b"other!!")]).unwrap(), Put::Kept(6));
        assert_eq!(fs::read(&path).unwrap(), b"onetwo");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_crash_leaves_nothing_in_the_way() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("7.m4s");
        fs::write(path.with_extension("part"), b"half of it").unwrap();
        assert_eq!(put_if_absent(&path, &[Bytes::from_static(b"all")]).unwrap(), Put::Written);
        assert_eq!(fs::read(&path).unwrap(), b"all");
    }
}
