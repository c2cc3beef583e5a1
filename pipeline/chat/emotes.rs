//! Pictures in messages, by `:code:`.
//!
//! Enters: a folder. Leaves: codes for the rules, and pictures for viewers. Held: all of
//! them, in memory, at most [`PICTURES_BYTES_MAX`]. Never here: what a picture shows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;

/// Longest file.
const PICTURE_BYTES_MAX: u64 = 256 << 10;

/// All of them together.
const PICTURES_BYTES_MAX: u64 = 64 << 20;

/// Kinds of pictures that browsers show and that hold no script.
const KINDS: [(&str, &str); 4] =
    [("png", "image/png"), ("gif", "image/gif"), ("webp", "image/webp"), ("avif", "image/avif")];

/// Those that are there without a folder.
const UNICODE: [(&str, &str); 24] = [
    ("wave", "👋"),
    ("heart", "❤️"),
    ("fire", "🔥"),
    ("+1", "👍"),
    ("-1", "👎"),
    ("clap", "👏"),
    ("joy", "😂"),
    ("smile", "😄"),
    ("grin", "😁"),
    ("wink", "😉"),
    ("cry", "😢"),
    ("sob", "😭"),
    ("rage", "😡"),
    ("scream", "😱"),
    ("thinking", "🤔"),
    ("eyes", "👀"),
    ("pray", "🙏"),
    ("party", "🥳"),
    ("tada", "🎉"),
    ("100", "💯"),
    ("rocket", "🚀"),
    ("star", "⭐"),
    ("sleepy", "😴"),
    ("skull", "💀"),
];

/// An emote can't be used; the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum EmoteError {
    /// The folder or a file in it can't be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is too long, or all of them are.
    #[error("{0} is too large: a picture has at most 256 KiB, all of them 64 MiB")]
    Large(PathBuf),
}

/// A picture's file.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Its kind.
    pub media: &'static str,
    /// All of it.
    pub bytes: Bytes,
}

/// An emote as clients are told of it.
#[derive(Serialize)]
pub struct Listed<'a> {
    code: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// A server's emotes.
#[derive(Debug)]
pub struct Emotes {
    // By code. None: Unicode's.
    pictures: BTreeMap<String, Picture>,
}

impl Emotes {
    /// Those of Unicode, and those of the folder.
    ///
    /// # Errors
    /// [`EmoteError`].
    pub fn open(folder: Option<&Path>) -> Result<Self, EmoteError> {
        let mut pictures = BTreeMap::new();
        let Some(folder) = folder else { return Ok(Self { pictures }) };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| EmoteError::Read { path, source }
        };
        let mut all = 0;
        for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
            let path = entry.map_err(failed(folder))?.path();
            let kind = path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase);
            let kind = KINDS.iter().find(|(end, _)| kind.as_deref() == Some(end));
            let code = path.file_stem().and_then(|name| name.to_str());
            let (Some((_, media)), Some(code)) = (kind, code) else { continue };
            let length = std::fs::metadata(&path).map_err(failed(&path))?.len();
            all += length;
            if length > PICTURE_BYTES_MAX || all > PICTURES_BYTES_MAX {
                return Err(EmoteError::Large(path));
            }
            let bytes = std::fs::read(&path).map_err(failed(&path))?.into();
            pictures.insert(code.to_owned(), Picture { media, bytes });
        }
        Ok(Self { pictures })
    }

    /// Codes and ids, for the rules.
    #[must_use]
    pub fn codes(&self) -> Vec<(String, String)> {
        let own = self.pictures.keys().map(|code| (code.clone(), code.clone()));
        let unicode = UNICODE.iter().filter(|(code, _)| !self.pictures.contains_key(*code));
        own.chain(unicode.map(|(code, _)| ((*code).to_owned(), (*code).to_owned()))).collect()
    }

    /// All of them, for clients.
    #[must_use]
    pub fn list(&self) -> Vec<Listed<'_>> {
        let own = self.pictures.keys().map(|code| Listed {
            code,
            id: code,
            text: None,
            url: Some(format!("/emotes/{code}")),
        });
        let unicode = UNICODE.iter().filter(|(code, _)| !self.pictures.contains_key(*code));
        let unicode =
            unicode.map(|(code, text)| Listed { code, id: code, text: Some(text), url: None });
        own.chain(unicode).collect()
    }

    /// The picture with this id.
    #[must_use]
    pub fn picture(&self, id: &str) -> Option<&Picture> {
        self.pictures.get(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_before_unicode() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, length: usize| {
            std::fs::write(folder.path().join(name), vec![0; length]).unwrap();
        };
        write("wave.png", 10);
        write("Own.WEBP", 10);
        write("script.svg", 10);
        let emotes = Emotes::open(Some(folder.path())).unwrap();
        assert_eq!(emotes.picture("wave").map(|p| p.media), Some("image/png"));
        assert_eq!(emotes.picture("Own").map(|p| p.media), Some("image/webp"));
        assert!(emotes.picture("script").is_none() && emotes.picture("../wave").is_none());
        let codes = emotes.codes();
        assert_eq!(codes.len(), UNICODE.len() + 1);
        assert_eq!(codes.iter().filter(|(code, _)| code == "wave").count(), 1);
        write("large.png", 300 << 10);
        assert!(Emotes::open(Some(folder.path())).unwrap_err().to_string().contains("large.png"));
        assert!(Emotes::open(Some(&folder.path().join("none"))).is_err());
    }
}
