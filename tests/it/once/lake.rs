//! What is left in the end: the lake as other programs read it, compared with
//! the log and with what viewers had.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::{Command, Stdio};

use log::{Log, Record, Topic};
use serde::Deserialize;
use serde_json::Value;

use super::PUBLISHERS;
use crate::lake::{Origin, expected, in_log};
use crate::support::root;
use crate::support::server::binary;

/// The tables of a lake.
pub const TABLES: [&str; 7] =
    ["chat_messages", "events", "segments", "stream_health", "streams", "videos", "views"];

#[derive(Deserialize)]
pub struct Event {
    pub log_partition: i32,
    pub log_offset: i64,
    pub stream_id: String,
    pub kind: String,
    pub detail: Option<String>,
}

/// What an event says: the state, and whether the stream is deleted.
type What<'a> = (&'a str, bool);

impl Event {
    pub fn origin(&self) -> Origin {
        (self.log_partition, self.log_offset)
    }

    pub fn is_deleted(&self) -> bool {
        self.detail.as_ref().is_some_and(|detail| detail.contains("\"deleted\""))
    }
}

/// A viewer's report; each is of a session of its own.
#[derive(Deserialize)]
pub struct View {
    pub log_partition: i32,
    pub log_offset: i64,
    pub session: String,
}

/// What somebody said; each says something else each time.
#[derive(Deserialize)]
pub struct Said {
    pub log_partition: i32,
    pub log_offset: i64,
    pub seq: u64,
    pub message: String,
}

/// The lake as another program reads it.
#[derive(Deserialize)]
pub struct Lake {
    pub events: Vec<Event>,
    pub segments: Vec<Segment>,
    stream_health: Vec<Second>,
    streams: Vec<State>,
    videos: Vec<Change>,
    pub views: Vec<View>,
    pub chat_messages: Vec<Said>,
    #[serde(skip)]
    sql: BTreeMap<&'static str, u64>,
}

#[derive(Deserialize)]
pub struct Segment {
    log_partition: i32,
    log_offset: i64,
    stream_id: String,
    rendition: String,
    msn: i64,
    bytes: u64,
    gap: bool,
    lost: bool,
    uri: Option<String>,
}

#[derive(Deserialize)]
struct Second {
    log_partition: i32,
    log_offset: i64,
    stream_id: String,
    at_us: i64,
}

/// Of a video.
#[derive(Deserialize)]
struct Change {
    log_partition: i32,
    log_offset: i64,
}

#[derive(Deserialize)]
struct State {
    log_partition: i32,
    log_offset: i64,
    stream_id: String,
    state: String,
    deleted: bool,
}

impl Lake {
    pub fn read(folder: &Path) -> Self {
        let packages = root().join(".cache/python-lake");
        assert!(packages.exists(), "{} is missing: make python-lake", packages.display());
        let output = Command::new("python3")
            .arg(root().join("tests/it/once/once.py"))
            .arg(folder)
            .env("PYTHONPATH", packages)
            .stderr(Stdio::inherit())
            .output()
            .expect("python runs");
        assert!(output.status.success(), "once.py");
        let mut lake: Self = serde_json::from_slice(&output.stdout).expect("JSON");
        for table in TABLES {
            let sql = format!("SELECT count(*) AS n FROM {table}");
            let output = Command::new(binary())
                .args(["sql", &sql, "--format", "json", "--lake"])
                .arg(folder)
                .output()
                .expect("SQL without a server");
            let rows: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            lake.sql.insert(table, rows[0]["n"].as_u64().expect("a count"));
        }
        lake
    }

    /// One row for each record of the log, whoever counts.
    pub async fn holds(&self, log: &dyn Log) {
        let rows = |table: &str, origins: Vec<Origin>| {
            assert_eq!(self.sql[table], origins.len() as u64, "{table} by SQL");
            let once: BTreeSet<_> = origins.iter().copied().collect();
            assert_eq!(origins.len() - once.len(), 0, "duplicates in {table}");
            once
        };
        let records = |records: &[Record]| expected(records).into_iter().collect::<BTreeSet<_>>();
        let none = BTreeSet::new();

        let events = rows("events", self.events.iter().map(Event::origin).collect());
        let seconds = self.stream_health.iter().map(|row| (row.log_partition, row.log_offset));
        let health = rows("stream_health", seconds.collect());
        let views = self.views.iter().map(|row| (row.log_partition, row.log_offset));
        let views = rows("views", views.collect());
        let chat = self.chat_messages.iter().map(|row| (row.log_partition, row.log_offset));
        let chat = rows("chat_messages", chat.collect());
        for (rows, topic) in [
            (events, Topic::Events),
            (health, Topic::Health),
            (views, Topic::Views),
            (chat, Topic::Chat),
        ] {
            let records = records(&in_log(log, topic).await);
            assert!(records.len() >= 8, "{} records of {topic}", records.len());
            assert_eq!(&records - &rows, none, "lost of {topic}");
            assert_eq!(&rows - &records, none, "made up of {topic}");
        }

        let announced = in_log(log, Topic::Segments).await.into_iter().filter(|record| {
            let value = record.value.as_deref().expect("a value");
            serde_json::from_slice::<Value>(value).expect("JSON").get("segment").is_some()
        });
        let announced = records(&announced.collect::<Vec<_>>());
        let segments = self.segments.iter().map(|row| (row.log_partition, row.log_offset));
        let segments = rows("segments", segments.collect());
        assert_eq!(&announced - &segments, none, "lost segments");
        assert_eq!(&segments - &announced, none, "made up segments");

        // Of states, the log keeps the newest.
        let states = self.streams.iter().map(|row| (row.log_partition, row.log_offset));
        let states = rows("streams", states.collect());
        let kept = in_log(log, Topic::Catalog).await;
        assert_eq!(&newest(&kept, b"stream/") - &states, none, "lost states");
        let videos = self.videos.iter().map(|row| (row.log_partition, row.log_offset));
        let videos = rows("videos", videos.collect());
        let of_videos = newest(&kept, b"video/");
        assert!(of_videos.len() >= PUBLISHERS, "each broadcast has its recording");
        assert_eq!(&of_videos - &videos, none, "lost videos");
    }

    /// What the records say is said once, too.
    pub fn says_each_thing_once(&self) {
        let mut said: BTreeMap<&str, Vec<(i64, What<'_>)>> = BTreeMap::new();
        for event in &self.events {
            let what = (event.kind.as_str(), event.is_deleted());
            said.entry(&event.stream_id).or_default().push((event.log_offset, what));
        }
        for (stream, said) in &mut said {
            said.sort_unstable();
            let kinds: Vec<_> = said.iter().map(|(_, what)| *what).collect();
            assert_eq!(kinds[0], ("CREATED", false), "{stream}: {kinds:?}");
            let repeated = kinds.windows(2).any(|pair| pair[0] == pair[1]);
            assert!(!repeated, "{stream} was told of twice: {kinds:?}");
        }
        // Events tell where each stream has got to.
        let mut newest: BTreeMap<&str, &State> = BTreeMap::new();
        for state in &self.streams {
            let last = newest.entry(&state.stream_id).or_insert(state);
            if state.log_offset > last.log_offset {
                *last = state;
            }
        }
        for (stream, state) in newest {
            let last = said.get(stream).and_then(|said| said.last()).map(|(_, what)| *what);
            assert_eq!(last, Some((state.state.as_str(), state.deleted)), "{stream}");
        }

        let seconds: BTreeSet<_> =
            self.stream_health.iter().map(|row| (&row.stream_id, row.at_us)).collect();
        assert_eq!(self.stream_health.len() - seconds.len(), 0, "seconds told twice");
        let sessions: BTreeSet<_> = self.views.iter().map(|row| &row.session).collect();
        assert_eq!(self.views.len() - sessions.len(), 0, "reports told twice");
        let numbers: BTreeSet<_> =
            self.segments.iter().map(|row| (&row.stream_id, &row.rendition, row.msn)).collect();
        assert_eq!(self.segments.len() - numbers.len(), 0, "segments told twice");
    }

    /// Each segment's file is there, and each that viewers had has a row.
    pub fn has_the_files(&self, media: &Path, shown: &BTreeSet<(String, String, i64)>) {
        let mut stored = BTreeSet::new();
        for row in &self.segments {
            assert_eq!(row.uri.is_some(), !row.gap && !row.lost, "{}", row.msn);
            let Some(uri) = &row.uri else { continue };
            let file = media.join(uri);
            let length = std::fs::metadata(&file).map(|found| found.len());
            assert_eq!(length.ok(), Some(row.bytes), "{}", file.display());
            stored.insert((row.stream_id.clone(), row.rendition.clone(), row.msn));
        }
        assert_eq!(shown - &stored, BTreeSet::new(), "shown, but not in the lake");
    }
}

/// Of each key of this kind the newest record: a shared log compacts later.
fn newest(records: &[Record], prefix: &[u8]) -> BTreeSet<Origin> {
    let mut newest = HashMap::new();
    for record in records.iter().filter(|record| record.key.starts_with(prefix)) {
        newest.insert(&record.key, (i32::from(record.partition), record.offset as i64));
    }
    newest.into_values().collect()
}
