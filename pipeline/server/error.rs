//! Why the server didn't start.

use std::net::SocketAddr;

use crate::keys::KeyError;

/// Why the server didn't start. All but the last are the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened on.
    #[error("cannot listen on {address} for {what}: {source}; is another server running there?")]
    Listen {
        /// What was to be served there.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The data directory can't be used.
    #[error("cannot use {path}: {source}")]
    Data {
        /// Which file or folder.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Publishers can't be read.
    #[error("no thread to read publishers with: {0}")]
    Lanes(std::io::Error),
    /// A setting is refused by the part that it is for.
    #[error("the configuration cannot work: {0}")]
    Config(String),
    /// There is no admin token.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log can't be opened or read.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The accounts can't be read, or their keys can't be used.
    #[error(transparent)]
    Accounts(#[from] accounts::AccountError),
    /// The streams can't be read.
    #[error(transparent)]
    Catalog(#[from] crate::catalog::CatalogError),
    /// The videos can't be read.
    #[error(transparent)]
    Videos(#[from] crate::videos::VideoError),
    /// Certificates can't be used.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// Encoders can't be used.
    #[error(transparent)]
    Transcode(#[from] operators::transcode::TranscodeError),
    /// The archive can't be used.
    #[error(transparent)]
    Archive(#[from] sinks::archive::ArchiveError),
    /// Questions to the lake can't be answered.
    #[error(transparent)]
    Queries(#[from] queries::Error),
    /// The lake can't be used as configured.
    #[error(transparent)]
    Lake(#[from] lake::Error),
    /// The chat can't be used as configured.
    #[error(transparent)]
    Chat(#[from] crate::chat::SettingsError),
    /// The threads that write to chat's viewers don't start.
    #[error(transparent)]
    Flush(#[from] chat::StartError),
    /// The data plane didn't start.
    #[error(transparent)]
    Scale(#[from] runtime::ScaleError),
}
