//! The lake of the real binary: whatever happens to the server, its Delta
//! tables, read without it, hold each record of the log once.

mod remote;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use clients::playlist::MediaPlaylist;
use deltalake_core::{DeltaTableBuilder, ensure_table_uri};
use futures_util::future::join_all;
use log::{Embedded, Log, Record, Topic};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tokio::time::sleep;
use uuid::Uuid;

use crate::support::eventually;
use crate::support::feed::Feed;
use crate::support::rtmp::Rtmp;
use crate::support::scene::{reconnect, seconds, server_with};
use crate::support::server::{Server, Stream};

/// Partition and offset of a record.
pub type Origin = (i32, i64);

/// The records of a topic.
pub async fn in_log(log: &dyn Log, topic: Topic) -> Vec<Record> {
    let mut all = Vec::new();
    for partition in 0..topic.partitions() {
        let mut from = 0;
        loop {
            let page = log.read(topic, partition, from, 1000).await.expect("the log");
            let Some(last) = page.last() else { break };
            from = last.offset + 1;
            all.extend(page);
        }
    }
    all
}

/// The rows of a table, from the files that its Delta log names.
async fn in_lake(data: &Path, table: &str) -> Vec<RecordBatch> {
    let folder = data.join("lake").join(table);
    let url = ensure_table_uri(folder.to_str().expect("UTF-8")).expect("a URL");
    let delta = DeltaTableBuilder::from_url(url).expect("a table").load().await.expect("a table");
    let mut rows = Vec::new();
    for uri in delta.get_file_uris().expect("files") {
        let file = File::open(uri.trim_start_matches("file://")).expect("a file");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
        rows.extend(reader.build().expect("a reader").map(|batch| batch.expect("rows")));
    }
    rows
}

fn origins(rows: &[RecordBatch]) -> Vec<Origin> {
    let mut all = Vec::new();
    for rows in rows {
        let partitions = rows["log_partition"].as_primitive::<Int32Type>().values();
        let offsets = rows["log_offset"].as_primitive::<Int64Type>().values();
        all.extend(partitions.iter().copied().zip(offsets.iter().copied()));
    }
    all.sort_unstable();
    all
}

/// Where the records are.
pub fn expected(records: &[Record]) -> Vec<Origin> {
    let mut all: Vec<_> =
        records.iter().map(|r| (i32::from(r.partition), r.offset as i64)).collect();
    all.sort_unstable();
    all
}

fn texts(rows: &RecordBatch, column: &str) -> Vec<String> {
    let column = arrow::compute::cast(&rows[column], &arrow::datatypes::DataType::Utf8);
    let column = column.expect("text");
    let column = column.as_string::<i32>();
    (0..column.len()).map(|row| column.value(row).to_owned()).collect()
}

/// Stream, rendition and media sequence number of each row that has a file.
fn segments(rows: &[RecordBatch]) -> Vec<(String, String, i64)> {
    let mut all = Vec::new();
    for rows in rows {
        let msn = rows["msn"].as_primitive::<Int64Type>().values();
        let names = texts(rows, "stream_id").into_iter().zip(texts(rows, "rendition"));
        let stored = (0..rows.num_rows()).map(|row| rows["uri"].is_valid(row));
        let named = names.zip(msn).zip(stored).filter(|(_, stored)| *stored);
        all.extend(named.map(|(((stream, rendition), msn), _)| (stream, rendition, *msn)));
    }
    all
}

async fn feed(publisher: &mut Rtmp) {
    Feed { length: seconds(4), ..Feed::default() }.run(publisher).await;
}

/// What viewers have, once the last part is in a segment.
async fn listed(server: &Server, streams: &[Stream]) -> BTreeMap<(String, String), MediaPlaylist> {
    let mut all = BTreeMap::new();
    for stream in streams {
        for rendition in ["source", "audio"] {
            let playlist = server.media(stream, rendition).await;
            all.insert((stream.id.clone(), rendition.to_owned()), playlist);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_hold_each_record_once_through_kills_and_rescales() {
    let mut server = server_with(&[
        ("lake.commit_busy", "200ms"),
        ("lake.commit_idle", "400ms"),
        ("pipeline.workers", "2"),
    ])
    .await;
    let streams = join_all((0..2).map(|n| {
        let server = &server;
        async move { server.create(&format!("lake {n}")).await }
    }))
    .await;

    let broadcasts = join_all(streams.iter().map(async |stream| {
        let mut publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
        feed(&mut publisher).await;
        publisher
    }));
    let rescales = async {
        for workers in [4, 1, 3] {
            sleep(Duration::from_millis(1100)).await;
            server.scale(workers).await;
        }
    };
    let (publishers, ()) = tokio::join!(broadcasts, rescales);
    eventually("rows in the lake", async || {
        (server.metric("millstream_lake_rows_total").await > 20.0).then_some(())
    })
    .await;
    server.restart("KILL").await;
    drop(publishers);

    join_all(streams.iter().map(async |stream| {
        let mut publisher = reconnect(&server, stream).await;
        feed(&mut publisher).await;
        publisher.finish().await;
    }))
    .await;
    let playlists = listed(&server, &streams).await;
    let data = server.stop("INT").await;
    compare(data.path(), &streams, &playlists).await;
}

async fn compare(
    data: &Path,
    streams: &[Stream],
    playlists: &BTreeMap<(String, String), MediaPlaylist>,
) {
    let log = Embedded::open(data).expect("the log");
    for (table, topic) in [("events", Topic::Events), ("stream_health", Topic::Health)] {
        let records = in_log(&log, topic).await;
        assert!(records.len() >= 8, "{} records of {topic}", records.len());
        assert_eq!(origins(&in_lake(data, table).await), expected(&records), "{table}");
    }

    let announced = in_log(&log, Topic::Segments).await.into_iter().filter(|record| {
        let value = record.value.as_deref().expect("a value");
        serde_json::from_slice::<Value>(value).expect("JSON").get("segment").is_some()
    });
    let announced: Vec<_> = announced.collect();
    let rows = in_lake(data, "segments").await;
    assert_eq!(origins(&rows), expected(&announced), "segments");
    // The log itself announces each segment once, and all that viewers saw.
    let segments = segments(&rows);
    let once: BTreeSet<_> = segments.iter().cloned().collect();
    assert_eq!(once.len(), segments.len(), "segments announced twice");
    for ((stream, rendition), playlist) in playlists {
        let shown = playlist.segments.iter().map(|segment| &segment.head);
        let shown: Vec<_> = shown.filter(|head| !head.gap).collect();
        assert!(shown.len() >= 6, "{} segments of {rendition}", shown.len());
        for head in shown {
            let segment = (stream.clone(), rendition.clone(), head.msn as i64);
            assert!(once.contains(&segment), "{segment:?} isn't in the lake");
        }
    }

    // The catalog keeps the newest state of each stream, and other entities.
    let catalog = in_log(&log, Topic::Catalog).await.into_iter();
    let kept: Vec<_> = catalog.filter(|record| record.key.starts_with(b"stream/")).collect();
    assert_eq!(kept.len(), streams.len());
    let rows = in_lake(data, "streams").await;
    let shown = origins(&rows);
    assert!(shown.is_sorted_by(|a, b| a < b), "states committed twice");
    let missing: Vec<_> = expected(&kept).into_iter().filter(|it| !shown.contains(it)).collect();
    assert!(missing.is_empty(), "newest states that aren't there: {missing:?}");
    let events = in_lake(data, "events").await;
    for stream in streams {
        let id = Uuid::parse_str(&stream.id).expect("a UUID").to_string();
        let states = events
            .iter()
            .flat_map(|rows| texts(rows, "stream_id").into_iter().zip(texts(rows, "kind")));
        let over = states.filter(|(of, state)| *of == id && state == "STREAM_COMPLETE").count();
        assert_eq!(over, 1, "{id} ended once");
    }
}
