//! A lake of two broadcasts, and sessions over it.

use std::path::Path;
use std::sync::Arc;

use arrow::json::ReaderBuilder;
use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use deltalake_core::kernel::StructField;
use deltalake_core::kernel::Transaction;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::CommitProperties;
use deltalake_core::{DeltaTable, ensure_table_uri};
use records::schema::{
    CHAT_ACTS, CHAT_MESSAGES, EVENTS, SEGMENTS, STREAM_HEALTH, STREAMS, TableSchema, VIDEOS, VIEWS,
};
use serde_json::{Value, json};
use store::Root;
use tempfile::TempDir;

use crate::{Error, Limits, Options, Session, Tail};

/// A broadcast that went well.
pub const CALM: &str = "019a0000-0000-7000-8000-000000000001";
/// One whose publisher dropped and came back.
pub const ROUGH: &str = "019a0000-0000-7000-8000-000000000002";

pub struct Fixture {
    pub dir: TempDir,
    pub session: Session,
}

impl Fixture {
    /// Over the lake of two broadcasts.
    pub async fn with_rows() -> Self {
        let fixture = Self::empty();
        for (table, rows) in [
            (&SEGMENTS, segments()),
            (&EVENTS, events()),
            (&STREAM_HEALTH, health()),
            (&STREAMS, streams()),
            (&VIDEOS, videos()),
            (&VIEWS, views()),
            (&CHAT_MESSAGES, chat_messages()),
            (&CHAT_ACTS, chat_acts()),
        ] {
            append(&fixture.lake(), table, &rows, 0, rows.len() as i64).await;
        }
        fixture
    }

    /// Over a folder that isn't there.
    pub fn empty() -> Self {
        Self::new(Limits { threads: 2, ..Limits::default() }, None)
    }

    pub fn new(limits: Limits, tail: Option<Arc<dyn Tail>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let session = open(dir.path(), limits, tail);
        Self { dir, session }
    }

    pub fn lake(&self) -> std::path::PathBuf {
        self.dir.path().join("lake")
    }

    /// The answer as a table.
    pub async fn ask(&self, sql: &str) -> String {
        pretty_format_batches(&self.rows(sql).await.unwrap()).unwrap().to_string()
    }

    pub async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>, Error> {
        self.session.query(sql, "https://live.example").await?.collect().await
    }

    pub async fn error(&self, sql: &str) -> Error {
        match self.rows(sql).await {
            Ok(rows) => panic!("{sql} answered {rows:?}"),
            Err(error) => error,
        }
    }

    pub async fn count(&self, table: &str) -> i64 {
        use arrow::array::AsArray;
        use arrow::datatypes::Int64Type;
        let rows = self.rows(&format!("SELECT count(*) FROM {table}")).await.unwrap();
        rows[0].column(0).as_primitive::<Int64Type>().value(0)
    }
}

pub fn open(dir: &Path, limits: Limits, tail: Option<Arc<dyn Tail>>) -> Session {
    open_at(Root::at(&dir.join("lake")).unwrap(), dir, limits, tail)
}

/// Over a lake that is elsewhere.
pub fn open_at(lake: Root, dir: &Path, limits: Limits, tail: Option<Arc<dyn Tail>>) -> Session {
    Session::open(Options { lake, spill: dir.join("spill"), limits, tail }).unwrap()
}

/// Rows of a table from JSON.
pub fn batch(table: &TableSchema, rows: &[Value]) -> RecordBatch {
    let mut decoder = ReaderBuilder::new(table.arrow()).build_decoder().unwrap();
    decoder.serialize(rows).unwrap();
    decoder.flush().unwrap().unwrap()
}

/// Appends rows to a Delta table, as partition 3 of the log up to offset `next`.
pub async fn append(lake: &Path, table: &TableSchema, rows: &[Value], version: u64, next: i64) {
    let folder = lake.join(table.name);
    std::fs::create_dir_all(&folder).unwrap();
    let url = ensure_table_uri(folder.to_str().unwrap()).unwrap();
    let mut delta = DeltaTable::try_from_url(url).await.unwrap();
    if version == 0 {
        let fields = table.arrow();
        let fields: Vec<StructField> =
            fields.fields().iter().map(|f| f.as_ref().try_into_kernel().unwrap()).collect();
        delta = delta
            .create()
            .with_table_name(table.name)
            .with_columns(fields)
            .with_partition_columns(["date"])
            .await
            .unwrap();
    }
    let txn = Transaction::new(format!("{}/3", table.name), next);
    delta
        .write([batch(table, rows)])
        .with_commit_properties(CommitProperties::default().with_application_transaction(txn))
        .await
        .unwrap();
}

fn offset(row: &mut Value, offset: usize) {
    row["log_partition"] = json!(3);
    row["log_offset"] = json!(offset);
}

fn numbered(mut rows: Vec<Value>) -> Vec<Value> {
    rows.iter_mut().enumerate().for_each(|(index, row)| offset(row, index));
    rows
}

/// `seconds` after noon of 20 November 2026.
pub fn noon(seconds: u32) -> String {
    format!("2026-11-20T12:{:02}:{:02}Z", seconds / 60, seconds % 60)
}

fn segments() -> Vec<Value> {
    let mut rows = Vec::new();
    for (stream, count) in [(CALM, 30), (ROUGH, 10)] {
        for (rendition, bytes) in [("source", 500_000), ("360p", 120_000)] {
            for msn in 0..count {
                let is_gap = stream == ROUGH && msn == 4;
                rows.push(json!({
                    "date": "2026-11-20", "stream_id": stream, "at": noon(msn * 4),
                    "rendition": rendition, "msn": msn, "run": u32::from(stream == ROUGH && msn > 4),
                    "start_us": msn * 4_000_000, "duration_us": 4_000_000,
                    "bytes": if is_gap { 0 } else { bytes + msn * 1000 }, "parts": 12,
                    "gap": is_gap, "lost": stream == ROUGH && msn == 7,
                    "uri": (!is_gap).then(|| format!("{stream}/{rendition}/{msn}.m4s")),
                }));
            }
        }
    }
    numbered(rows)
}

fn events() -> Vec<Value> {
    let mut rows = Vec::new();
    for (stream, changes) in [
        (CALM, &[("CREATED", 0), ("STREAM_ACTIVE", 1), ("STREAM_COMPLETE", 121)][..]),
        (
            ROUGH,
            &[
                ("CREATED", 0),
                ("STREAM_ACTIVE", 2),
                ("RECONNECTING", 18),
                ("STREAM_ACTIVE", 24),
                ("RECONNECTING", 40),
                ("STREAM_COMPLETE", 70),
            ][..],
        ),
    ] {
        for (kind, seconds) in changes {
            rows.push(json!({
                "date": "2026-11-20", "stream_id": stream, "at": noon(*seconds), "kind": kind,
            }));
        }
    }
    numbered(rows)
}

fn health() -> Vec<Value> {
    let mut rows = Vec::new();
    for (stream, seconds) in [(CALM, 120), (ROUGH, 40)] {
        for second in 0..seconds {
            let is_bad = stream == ROUGH && second == 17;
            let bitrate = if is_bad { 400_000 } else { 2_500_000 + second * 1000 };
            rows.push(json!({
                "date": "2026-11-20", "stream_id": stream, "at": noon(second + 1),
                "bitrate_bps": bitrate, "video_bps": bitrate - 128_000, "audio_bps": 128_000,
                "fps": if is_bad { 9.0 } else { 30.0 },
                "keyframe_interval_s": (second > 3).then_some(2.0), "av_drift_ms": second % 7,
                "dropped": u32::from(is_bad) * 5, "discontinuities": u32::from(is_bad),
            }));
        }
    }
    numbered(rows)
}

/// The calm broadcast's recording.
const VIDEO: &str = "019a0000-0000-7000-8000-0000000000ff";

/// That recording, which loses a rendition and leaves the disk, a clip of it, and the
/// recording of the other broadcast, which is deleted.
fn videos() -> Vec<Value> {
    const CLIP: &str = "019a0000-0000-7000-8000-0000000000fe";
    const GONE: &str = "019a0000-0000-7000-8000-0000000000fd";
    let whole = json!({
        "date": "2026-11-20", "stream_id": CALM, "at": noon(122), "video_id": VIDEO,
        "title": "Calm", "category": "Music", "clip_of": null, "from_us": null, "to_us": null,
        "created_at": noon(122), "started_at": noon(1), "ended_at": noon(121),
        "duration_us": 120_000_000, "bytes": 24_600_000, "renditions": "source,360p,audio",
        "status": "ARCHIVED", "visibility": "PUBLIC", "tier": "HOT", "deleted": false,
    });
    let with = |of: &Value, changes: Value| {
        let mut row = of.clone();
        let changes = changes.as_object().unwrap().clone();
        row.as_object_mut().unwrap().extend(changes);
        row
    };
    let gone = with(
        &whole,
        json!({
            "stream_id": ROUGH, "at": noon(71), "video_id": GONE, "title": "Rough",
            "created_at": noon(71), "started_at": noon(2), "ended_at": noon(70),
            "duration_us": 62_000_000, "bytes": 7_000_000,
        }),
    );
    let clip = json!({
        "at": noon(200), "video_id": CLIP, "title": "The best of it", "clip_of": VIDEO,
        "from_us": 10_000_000, "to_us": 20_000_000, "created_at": noon(200),
        "started_at": noon(9), "ended_at": noon(21), "duration_us": 12_000_000,
        "bytes": 2_500_000, "visibility": "UNLISTED",
    });
    let thinned = json!({
        "at": noon(400), "bytes": 6_600_000, "renditions": "360p,audio", "tier": "WARM",
    });
    numbered(vec![
        whole.clone(),
        gone.clone(),
        with(&whole, clip),
        with(&gone, json!({ "at": noon(300), "deleted": true })),
        with(&whole, thinned),
    ])
}

/// Two who watch the calm broadcast, and two who watch its recording later.
fn views() -> Vec<Value> {
    let mut rows = Vec::new();
    let mut tell = |session: u32,
                    second: u32,
                    rendition: &str,
                    stalls: u32,
                    position: Option<u32>| {
        rows.push(json!({
            "date": "2026-11-20", "stream_id": CALM, "at": noon(second),
            "session": format!("00000000-0000-4000-8000-{session:012}"),
            "video_id": position.map(|_| VIDEO), "rendition": rendition, "watched_ms": 10_000 - stalls * 1500,
            "stalls": stalls, "stalled_ms": stalls * 1500, "dropped_frames": 0,
            "latency_ms": position.is_none().then_some(900 + second), "startup_ms": null,
            "position_ms": position.map(|second| second * 1000),
        }));
    };
    for second in (10..120).step_by(10) {
        tell(
            1,
            second,
            if second <= 60 { "source" } else { "360p" },
            u32::from(second == 60),
            None,
        );
    }
    for second in [30, 40, 50] {
        tell(2, second, "source", 0, None);
    }
    for (session, end) in [(3, 40), (4, 20)] {
        for position in (10..=end).step_by(10) {
            tell(session, 600 + position, "source", 0, Some(position - 1));
        }
    }
    numbered(rows)
}

/// Two who talk, and a third who joins them when something happens at 80 s.
fn chat_messages() -> Vec<Value> {
    let mut rows = Vec::new();
    let mut say = |second: u32, name: &str, message: &str| {
        let seq = rows.len() + 1;
        rows.push(json!({
            "date": "2026-11-20", "stream_id": CALM, "at": noon(second), "seq": seq,
            "message_id": format!("00000000-0000-7000-8000-{seq:012}"),
            "user_id": format!("00000000-0000-7000-9000-{:012}", name.len()), "name": name,
            "message": message, "emotes": null, "badges": (name == "bobby").then_some("moderator"),
        }));
    };
    for second in (5..120).step_by(5) {
        say(second, if second % 10 == 0 { "ann" } else { "bobby" }, "as ever");
        if (80..90).contains(&second) {
            (0..8).for_each(|_| say(second, "caroline", "wow"));
        }
    }
    numbered(rows)
}

fn chat_acts() -> Vec<Value> {
    numbered(vec![json!({
        "date": "2026-11-20", "stream_id": CALM, "at": noon(119), "seq": 40,
        "by_user_id": "00000000-0000-7000-9000-000000000005", "kind": "delete",
        "target_user_id": null, "target_seq": 3, "until": null, "mode": null,
    })])
}

fn streams() -> Vec<Value> {
    let change = |stream: &str,
                  state: &str,
                  title: &str,
                  started: Option<u32>,
                  ended: Option<u32>,
                  sessions: u32| {
        json!({
            "date": "2026-11-20", "stream_id": stream, "at": noon(ended.or(started).unwrap_or(0)),
            "state": state, "title": title, "category": "Music", "created_at": noon(0),
            "started_at": started.map(noon), "ended_at": ended.map(noon), "sessions": sessions,
            "predecessor": null, "successor": null, "deleted": false,
        })
    };
    numbered(vec![
        change(CALM, "CREATED", "Calm", None, None, 0),
        change(ROUGH, "CREATED", "Rough", None, None, 0),
        change(CALM, "STREAM_ACTIVE", "Calm", Some(1), None, 1),
        change(ROUGH, "STREAM_ACTIVE", "Rough", Some(2), None, 1),
        change(ROUGH, "STREAM_ACTIVE", "Rough", Some(2), None, 2),
        change(ROUGH, "STREAM_COMPLETE", "Rough", Some(2), Some(70), 2),
        change(CALM, "STREAM_COMPLETE", "Calm", Some(1), Some(121), 1),
    ])
}
