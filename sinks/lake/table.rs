//! The tables: which topic each comes from, and how.

use std::fmt;

use log::{Record, Topic};
use records::schema::{self, TableSchema};

use crate::Error;
use crate::rows::{self, Decoded};

/// One of the lake's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Finished media segments.
    Segments,
    /// What happened to streams.
    Events,
    /// Seconds of ingest.
    StreamHealth,
    /// Broadcasts. Its topic keeps the newest record of each, so a state that
    /// lasted less than the time to the next commit may be missing here; it is
    /// in [`Table::Events`].
    Streams,
    /// Recordings and clips; of their states as of [`Table::Streams`].
    Videos,
    /// What viewers' players saw.
    Views,
    /// What was said in chats.
    ChatMessages,
    /// What moderators did there.
    ChatActs,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Segments,
        Self::Events,
        Self::StreamHealth,
        Self::Streams,
        Self::Videos,
        Self::Views,
        Self::ChatMessages,
        Self::ChatActs,
    ];

    /// The table called `name`.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Its name in SQL, and of its folder.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.schema().name
    }

    /// Its columns.
    #[must_use]
    pub fn schema(self) -> &'static TableSchema {
        match self {
            Self::Segments => &schema::SEGMENTS,
            Self::Events => &schema::EVENTS,
            Self::StreamHealth => &schema::STREAM_HEALTH,
            Self::Streams => &schema::STREAMS,
            Self::Videos => &schema::VIDEOS,
            Self::Views => &schema::VIEWS,
            Self::ChatMessages => &schema::CHAT_MESSAGES,
            Self::ChatActs => &schema::CHAT_ACTS,
        }
    }

    /// Where its records come from.
    #[must_use]
    pub fn topic(self) -> Topic {
        match self {
            Self::Segments => Topic::Segments,
            Self::Events => Topic::Events,
            Self::StreamHealth => Topic::Health,
            Self::Streams | Self::Videos => Topic::Catalog,
            Self::Views => Topic::Views,
            Self::ChatMessages | Self::ChatActs => Topic::Chat,
        }
    }

    /// Rows of `records`, in their order. A record that says nothing about this
    /// table gives none; one that can't be understood gives none and counts as skipped.
    ///
    /// # Errors
    /// [`Error::Rows`]: ours, schema and rows disagree.
    pub fn decode(self, records: &[Record]) -> Result<Decoded, Error> {
        rows::decode(self, records)
    }

    /// `appId` of a partition's position in the Delta log.
    #[must_use]
    pub fn app_id(self, partition: u16) -> String {
        format!("{}/{partition}", self.name())
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Segments => 0,
            Self::Events => 1,
            Self::StreamHealth => 2,
            Self::Streams => 3,
            Self::Videos => 4,
            Self::Views => 5,
            Self::ChatMessages => 6,
            Self::ChatActs => 7,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
