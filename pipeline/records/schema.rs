//! The lake's tables: the one place of their columns, types and meanings.
//!
//! Enters: nothing. Leaves: [`TableSchema`]s, whose Arrow schemas the lake
//! writes and queries read; the two agree only here. Comments travel as field
//! metadata into Delta and come back from there. Never here: Delta, Parquet.
//!
//! Every table holds `date` (its partitions), `stream_id` and `at` (its order
//! within a file), and `log_partition` with `log_offset`: the record of the log
//! that the row came from, each of which gives at most one row.
//!
//! A column may be added at the end of `columns` if it is nullable; older lakes
//! get it at the next start. None may be renamed, removed or change its type.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Key of a column's comment in its field's metadata, as Delta has it.
pub const COMMENT: &str = "comment";

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text in UTF-8; identifiers are UUIDs with hyphens.
    Text,
    /// A flag.
    Flag,
    /// 32 bits, signed.
    Int,
    /// 64 bits, signed.
    Long,
    /// A floating-point number.
    Number,
    /// A day in UTC.
    Date,
    /// An instant in UTC, to the microsecond.
    Time,
}

impl ColumnKind {
    /// Its Arrow type.
    #[must_use]
    pub fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Flag => DataType::Boolean,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in SQL.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnKind,
    /// Whether rows may leave it out. All columns but the first tables' may.
    pub nullable: bool,
    /// Meaning, with the unit.
    pub comment: &'static str,
}

/// One table.
#[derive(Debug)]
pub struct TableSchema {
    /// Its name in SQL, and of its folder in the lake.
    pub name: &'static str,
    /// What a row is.
    pub comment: &'static str,
    /// In order.
    pub columns: &'static [Column],
}

impl TableSchema {
    /// As Arrow, comments in the metadata.
    #[must_use]
    pub fn arrow(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|column| {
            let comment = (COMMENT.to_owned(), column.comment.to_owned());
            Field::new(column.name, column.kind.arrow(), column.nullable)
                .with_metadata(HashMap::from([comment]))
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

const fn needed(name: &'static str, kind: ColumnKind, comment: &'static str) -> Column {
    Column { name, kind, nullable: false, comment }
}

const fn maybe(name: &'static str, kind: ColumnKind, comment: &'static str) -> Column {
    Column { name, kind, nullable: true, comment }
}

const DATE: Column = needed("date", ColumnKind::Date, "day of `at` in UTC; the table's partitions");
const STREAM: Column = needed("stream_id", ColumnKind::Text, "broadcast, a UUID (version 7)");
const LOG_PARTITION: Column =
    needed("log_partition", ColumnKind::Int, "partition of the log's topic that the row came from");
const LOG_OFFSET: Column =
    needed("log_offset", ColumnKind::Long, "offset there; no two rows of a partition share one");

/// Finished media segments.
pub static SEGMENTS: TableSchema = TableSchema {
    name: "segments",
    comment: "one finished media segment of one rendition of a broadcast",
    columns: &[
        DATE,
        STREAM,
        needed("at", ColumnKind::Time, "wall clock of the segment's first picture or sound"),
        needed(
            "rendition",
            ColumnKind::Text,
            "audio, source, or a rung by its height such as 720p",
        ),
        needed("msn", ColumnKind::Long, "media sequence number, counted per rendition from 0"),
        needed("run", ColumnKind::Long, "discontinuity sequence number"),
        needed("start_us", ColumnKind::Long, "start on the broadcast's timeline in microseconds"),
        needed("duration_us", ColumnKind::Long, "duration in microseconds"),
        needed("bytes", ColumnKind::Long, "size of its file in bytes"),
        needed("parts", ColumnKind::Int, "low-latency parts it was published in"),
        needed("gap", ColumnKind::Flag, "nothing was published for it"),
        needed("lost", ColumnKind::Flag, "published, but it could not be stored"),
        maybe("uri", ColumnKind::Text, "its file below the archive; null if there is none"),
        LOG_PARTITION,
        LOG_OFFSET,
    ],
};

/// What happened to streams.
pub static EVENTS: TableSchema = TableSchema {
    name: "events",
    comment: "one thing that happened to a broadcast",
    columns: &[
        DATE,
        STREAM,
        needed("at", ColumnKind::Time, "when it happened"),
        needed(
            "kind",
            ColumnKind::Text,
            "a state that it reached (CREATED, STREAM_ACTIVE, RECONNECTING, STREAM_COMPLETE, ARCHIVED, INACTIVE), or SEGMENTS_LOST, RENDITIONS_DROPPED, TIER_CHANGED, VIDEO_DELETED",
        ),
        maybe("detail", ColumnKind::Text, "more about it, a JSON object of names and texts"),
        LOG_PARTITION,
        LOG_OFFSET,
    ],
};

/// Seconds of ingest.
pub static STREAM_HEALTH: TableSchema = TableSchema {
    name: "stream_health",
    comment: "one second of what a publisher sent",
    columns: &[
        DATE,
        STREAM,
        needed("at", ColumnKind::Time, "end of the second"),
        needed("bitrate_bps", ColumnKind::Long, "payload received, in bits per second"),
        needed("video_bps", ColumnKind::Long, "the picture's share, in bits per second"),
        needed("audio_bps", ColumnKind::Long, "the sound's share, in bits per second"),
        needed("fps", ColumnKind::Number, "pictures received per second"),
        maybe(
            "keyframe_interval_s",
            ColumnKind::Number,
            "seconds between the last two keyframes; null before the second one",
        ),
        maybe(
            "av_drift_ms",
            ColumnKind::Int,
            "sound minus picture in milliseconds, positive if the sound is ahead; null unless both are there",
        ),
        needed("dropped", ColumnKind::Long, "messages that could not be used"),
        needed("discontinuities", ColumnKind::Long, "timestamp jumps and changes of parameters"),
        LOG_PARTITION,
        LOG_OFFSET,
    ],
};

/// Broadcasts.
pub static STREAMS: TableSchema = TableSchema {
    name: "streams",
    comment: "a broadcast as it was after a change; its newest row (highest log_offset) says how it is",
    columns: &[
        DATE,
        STREAM,
        needed("at", ColumnKind::Time, "the latest of created_at, started_at and ended_at"),
        needed(
            "state",
            ColumnKind::Text,
            "CREATED, STREAM_ACTIVE, RECONNECTING or STREAM_COMPLETE",
        ),
        needed("title", ColumnKind::Text, "as given by its maker"),
        needed("category", ColumnKind::Text, "as given by its maker; may be empty"),
        needed("created_at", ColumnKind::Time, "when it was made"),
        maybe("started_at", ColumnKind::Time, "when its first publisher came; null before"),
        maybe("ended_at", ColumnKind::Time, "when it was over; null before"),
        needed("sessions", ColumnKind::Int, "publishers so far, reconnects counted"),
        maybe("predecessor", ColumnKind::Text, "broadcast whose key it took over; null if none"),
        maybe("successor", ColumnKind::Text, "broadcast that took over its key; null if none"),
        needed("deleted", ColumnKind::Flag, "ended by its maker, not to be shown any more"),
        LOG_PARTITION,
        LOG_OFFSET,
    ],
};

/// Recordings and clips.
pub static VIDEOS: TableSchema = TableSchema {
    name: "videos",
    comment: "a recording or clip as it was after a change; its newest row (highest log_offset) says how it is",
    columns: &[
        DATE,
        STREAM,
        needed("at", ColumnKind::Time, "when it changed"),
        needed("video_id", ColumnKind::Text, "video, a UUID (version 7)"),
        needed("title", ColumnKind::Text, "as given by its maker; the broadcast's at first"),
        needed("category", ColumnKind::Text, "the broadcast's; may be empty"),
        maybe("clip_of", ColumnKind::Text, "video it is a piece of; null for a whole recording"),
        maybe(
            "from_us",
            ColumnKind::Long,
            "where a clip begins, in microseconds of the recording's playing time; else null",
        ),
        maybe("to_us", ColumnKind::Long, "where a clip ends, counted alike; else null"),
        needed("created_at", ColumnKind::Time, "when it was made"),
        needed("started_at", ColumnKind::Time, "wall clock of its first picture"),
        needed("ended_at", ColumnKind::Time, "wall clock of its end"),
        needed("duration_us", ColumnKind::Long, "how long it plays, in microseconds"),
        needed(
            "bytes",
            ColumnKind::Long,
            "size of the files that it plays in bytes; a clip's are its recording's as well",
        ),
        needed(
            "renditions",
            ColumnKind::Text,
            "what can be chosen from, highest first, separated by commas, such as source,720p,audio",
        ),
        needed("status", ColumnKind::Text, "ARCHIVED: it plays; INACTIVE: it was taken off"),
        needed("visibility", ColumnKind::Text, "PUBLIC, UNLISTED or PRIVATE"),
        needed(
            "tier",
            ColumnKind::Text,
            "where its files lie: HOT on disk, WARM in the store, COLD in the cold one, RESTORED in both for a while",
        ),
        needed("deleted", ColumnKind::Flag, "not to be shown any more; no row follows"),
        LOG_PARTITION,
        LOG_OFFSET,
    ],
};

/// What viewers' players saw.
pub static VIEWS: TableSchema = TableSchema {
    name: "views",
    comment: "some seconds of what one viewer's player saw; it names nobody",
    columns: &[
        DATE,
        STREAM,
        needed("at", ColumnKind::Time, "when the report came, the end of those seconds"),
        needed("session", ColumnKind::Text, "one opened page, a UUID that it made up"),
        maybe("video_id", ColumnKind::Text, "the video that was watched; null: the broadcast"),
        needed(
            "rendition",
            ColumnKind::Text,
            "picture that was played: source, a height such as 720p, or audio; empty if unknown",
        ),
        needed("watched_ms", ColumnKind::Long, "time in which it played, in milliseconds"),
        needed("stalls", ColumnKind::Long, "times that it had to wait for media"),
        needed("stalled_ms", ColumnKind::Long, "how long it waited, in milliseconds"),
        needed("dropped_frames", ColumnKind::Long, "pictures that came too late to be shown"),
        maybe(
            "latency_ms",
            ColumnKind::Long,
            "behind the encoder's clock, in milliseconds; null if not live or not known",
        ),
        maybe(
            "startup_ms",
            ColumnKind::Long,
            "from opening to the first picture, in milliseconds; in the report after it only",
        ),
        maybe(
            "position_ms",
            ColumnKind::Long,
            "where a video was played, in milliseconds of its playing time; null if live",
        ),
        LOG_PARTITION,
        LOG_OFFSET,
    ],
};

/// What was said in chats.
pub static CHAT_MESSAGES: TableSchema = TableSchema {
    name: "chat_messages",
    comment: "accepted chat messages, as they were said; chat_acts says which were taken back",
    columns: &[
        DATE,
        STREAM,
        needed("at", ColumnKind::Time, "when it was accepted; never falls along seq"),
        needed(
            "seq",
            ColumnKind::Long,
            "its place in the room, shared with chat_acts, without gaps",
        ),
        needed("message_id", ColumnKind::Text, "which message, a UUID"),
        needed("user_id", ColumnKind::Text, "who said it, a UUID"),
        needed("name", ColumnKind::Text, "what they were called then"),
        needed("message", ColumnKind::Text, "what was said: 1 to 500 characters"),
        maybe(
            "emotes",
            ColumnKind::Text,
            "emotes in it as JSON: [{start, end, id}], positions in characters; null: none",
        ),
        maybe(
            "badges",
            ColumnKind::Text,
            "what the name was shown with, separated by commas, such as moderator; null: nothing",
        ),
        LOG_PARTITION,
        LOG_OFFSET,
    ],
};

/// What moderators did in chats.
pub static CHAT_ACTS: TableSchema = TableSchema {
    name: "chat_acts",
    comment: "what moderators did in chats: bans, deletions, modes",
    columns: &[
        DATE,
        STREAM,
        needed("at", ColumnKind::Time, "when it was done"),
        needed("seq", ColumnKind::Long, "its place in the room, shared with chat_messages"),
        needed("by_user_id", ColumnKind::Text, "who did it, a UUID; zeros: the server's operator"),
        needed("kind", ColumnKind::Text, "ban, time_out, unban, delete, clear, pin, unpin or mode"),
        maybe("target_user_id", ColumnKind::Text, "whom it was done to, a UUID"),
        maybe("target_seq", ColumnKind::Long, "which message it was done to"),
        maybe("until", ColumnKind::Time, "how long a time-out lasts"),
        maybe("mode", ColumnKind::Text, "who may write from then on, as JSON"),
        LOG_PARTITION,
        LOG_OFFSET,
    ],
};

/// All tables.
pub static TABLES: [&TableSchema; 8] =
    [&SEGMENTS, &EVENTS, &STREAM_HEALTH, &STREAMS, &VIDEOS, &VIEWS, &CHAT_MESSAGES, &CHAT_ACTS];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_can_be_partitioned_sorted_and_traced_to_the_log() {
        for table in TABLES {
            let schema = table.arrow();
            for common in [DATE, STREAM, LOG_PARTITION, LOG_OFFSET] {
                let field = schema.field_with_name(common.name).unwrap();
                assert_eq!(field.data_type(), &common.kind.arrow(), "{}", table.name);
                assert!(!field.is_nullable());
            }
            assert_eq!(
                schema.field_with_name("at").unwrap().data_type(),
                &ColumnKind::Time.arrow()
            );
        }
    }

    #[test]
    fn every_column_has_a_comment_and_a_name_of_its_own() {
        for table in TABLES {
            assert!(!table.comment.is_empty());
            let schema = table.arrow();
            for (index, field) in schema.fields().iter().enumerate() {
                assert!(field.metadata()[COMMENT].len() > 10, "{}.{}", table.name, field.name());
                assert_eq!(schema.index_of(field.name()).unwrap(), index);
            }
        }
    }
}
