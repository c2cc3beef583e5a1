//! Each topic's values become rows, and bad ones don't take others with them.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use log::Record;
use records::{Health, MediaTime, Rendition, StreamEvent, StreamId};
use sinks::archive::{Announcement, SegmentRecord};

use super::*;

// 2026-07-01T12:00:00Z, day 20,635.
const AT_US: u64 = 1_782_907_200_000_000;

fn record(offset: u64, key: impl Into<bytes::Bytes>, value: impl Into<bytes::Bytes>) -> Record {
    Record { partition: 3, offset, key: key.into(), value: Some(value.into()) }
}

fn segment(msn: u64) -> SegmentRecord {
    SegmentRecord {
        rendition: Rendition::Rung(720),
        msn,
        run: 2,
        start: MediaTime::new(180_000, 90_000),
        duration: MediaTime::new(96_000, 48_000),
        wall_us: AT_US,
        bytes: 1234,
        parts: 10,
        gap: false,
        lost: false,
        iframe_bytes: None,
    }
}

fn text(rows: &RecordBatch, column: &str, row: usize) -> String {
    rows[column].as_string::<i32>().value(row).to_owned()
}

fn long(rows: &RecordBatch, column: &str, row: usize) -> i64 {
    rows[column].as_primitive::<Int64Type>().value(row)
}

#[test]
fn the_archives_announcements_become_segments() {
    let stream = StreamId::generate();
    let key = stream.0.as_bytes().to_vec();
    let lost = SegmentRecord { lost: true, ..segment(8) };
    let records = [
        record(5, key.clone(), Announcement::Segment(segment(7)).encode()),
        record(6, key.clone(), Announcement::End.encode()),
        record(7, key, Announcement::Segment(lost).encode()),
    ];
    let decoded = Table::Segments.decode(&records).unwrap();
    let rows = &decoded.rows;
    assert_eq!((rows.num_rows(), decoded.skipped), (2, 0), "the end is no segment");
    assert_eq!(text(rows, "stream_id", 0), stream.to_string());
    assert_eq!(text(rows, "rendition", 0), "720p");
    assert_eq!((long(rows, "msn", 0), long(rows, "run", 0)), (7, 2));
    assert_eq!(long(rows, "start_us", 0), 2_000_000);
    assert_eq!(long(rows, "duration_us", 0), 2_000_000);
    assert_eq!(text(rows, "uri", 0), format!("{stream}/720p/7.m4s"));
    assert!(rows["uri"].is_null(1), "what is lost has no file");
    assert_eq!(rows["date"].as_primitive::<Date32Type>().value(0), 20_635);
    assert_eq!(rows["at"].as_primitive::<TimestampMicrosecondType>().value(0), AT_US as i64);
    assert_eq!(rows["log_partition"].as_primitive::<Int32Type>().value(0), 3);
    assert_eq!((long(rows, "log_offset", 0), long(rows, "log_offset", 1)), (5, 7));
}

#[test]
fn events_keep_their_detail() {
    let stream = StreamId::generate();
    let detail = BTreeMap::from([("title".to_owned(), "A \"film\"".to_owned())]);
    let event = StreamEvent { kind: "CREATED".into(), at_us: AT_US, detail };
    let value = serde_json::to_vec(&event).unwrap();
    let decoded = Table::Events.decode(&[record(0, stream.0.as_bytes().to_vec(), value)]).unwrap();
    assert_eq!(text(&decoded.rows, "kind", 0), "CREATED");
    assert_eq!(text(&decoded.rows, "detail", 0), r#"{"title":"A \"film\""}"#);
}

#[test]
fn an_event_needs_no_detail_and_takes_no_other() {
    let value = |rest: &str| format!(r#"{{"kind":"CREATED","at_us":{AT_US}{rest}}}"#);
    let key = StreamId::generate().0.as_bytes().to_vec();
    let records =
        ["", r#","detail":{}"#, r#","detail":"none""#, r#","detail":{"a"}"#, r#","detail":null"#]
            .map(|rest| record(0, key.clone(), value(rest)));
    let decoded = Table::Events.decode(&records).unwrap();
    assert_eq!((decoded.rows.num_rows(), decoded.skipped), (3, 2));
    assert_eq!(decoded.rows["detail"].null_count(), 3);
}

#[test]
fn health_is_in_base_units() {
    let health = Health {
        stream: StreamId::generate(),
        at_us: AT_US,
        bitrate_kbps: 2600,
        video_kbps: 2500,
        audio_kbps: 100,
        fps: 29.5,
        keyframe_interval_ms: Some(1500),
        av_drift_ms: None,
        dropped: 2,
        discontinuities: 1,
    };
    let value = serde_json::to_vec(&health).unwrap();
    let rows = Table::StreamHealth.decode(&[record(9, "", value)]).unwrap().rows;
    assert_eq!(long(&rows, "bitrate_bps", 0), 2_600_000);
    assert_eq!(rows["fps"].as_primitive::<Float64Type>().value(0), 29.5);
    assert_eq!(rows["keyframe_interval_s"].as_primitive::<Float64Type>().value(0), 1.5);
    assert!(rows["av_drift_ms"].is_null(0));
    assert_eq!((long(&rows, "dropped", 0), long(&rows, "discontinuities", 0)), (2, 1));
}

#[test]
fn no_hash_of_a_key_reaches_the_lake() {
    let stream = StreamId::generate();
    let value = format!(
        r#"{{"stream_id":"{stream}","title":"T","category":"","key_hash":"c0ffee","state":"STREAM_COMPLETE",
            "created_at_us":{AT_US},"started_at_us":null,"ended_at_us":{},"sessions":2,
            "successor":null,"predecessor":null,"deleted":true}}"#,
        AT_US + 5
    );
    let records = [
        record(0, format!("stream/{stream}"), value),
        record(1, "user/1", "whatever"),
        Record { value: None, ..record(2, format!("stream/{stream}"), "") },
    ];
    let decoded = Table::Streams.decode(&records).unwrap();
    assert_eq!((decoded.rows.num_rows(), decoded.skipped), (1, 0), "others share the topic");
    assert_eq!(text(&decoded.rows, "state", 0), "STREAM_COMPLETE");
    assert_eq!(
        decoded.rows["at"].as_primitive::<TimestampMicrosecondType>().value(0),
        AT_US as i64 + 5
    );
    assert!(decoded.rows["started_at"].is_null(0));
    assert!(!format!("{:?}", decoded.rows).contains("c0ffee"));
}

/// Names, e-mail addresses and hashes of passwords are in the same topic.
#[test]
fn no_account_reaches_the_lake() {
    let id = "019a0000-0000-7000-8000-0000000000a1";
    let user = format!(
        r#"{{"user_id":"{id}","name":"ann","email":"ann@example.com","password":"$argon2id$v=19$x",
            "created_at_us":{AT_US},"sessions_valid_from_us":0}}"#
    );
    let records = [
        record(0, format!("user/{id}"), user.clone()),
        Record { value: None, ..record(1, format!("user/{id}"), "") },
        // Not even if it were to look like what a table takes.
        record(2, format!("user/stream/{id}"), user),
    ];
    let of_catalog = Table::ALL.into_iter().filter(|table| table.topic() == log::Topic::Catalog);
    let mut looked = 0;
    for table in of_catalog {
        let decoded = table.decode(&records).unwrap();
        assert_eq!((decoded.rows.num_rows(), decoded.skipped), (0, 0), "{table}");
        looked += 1;
    }
    assert_eq!(looked, 2, "tables of this topic");
}

#[test]
fn what_cannot_be_understood_is_counted_and_costs_no_other_row() {
    let stream = StreamId::generate();
    let key = stream.0.as_bytes().to_vec();
    let far = SegmentRecord { wall_us: u64::MAX, ..segment(1) };
    let records = [
        record(0, key.clone(), "not JSON"),
        record(1, "short key", Announcement::Segment(segment(1)).encode()),
        record(2, key.clone(), Announcement::Segment(far).encode()),
        record(3, key.clone(), r#"{"segment":{"rendition":"720p"}}"#),
        record(4, key, Announcement::Segment(segment(2)).encode()),
    ];
    let decoded = Table::Segments.decode(&records).unwrap();
    assert_eq!((decoded.rows.num_rows(), decoded.skipped), (1, 4));
    assert_eq!(long(&decoded.rows, "log_offset", 0), 4);
}

#[test]
fn videos_tell_what_they_are_of_and_where_they_lie() {
    let stream = StreamId::generate();
    let id = "019a0000-0000-7000-8000-0000000000f1";
    // As an older server wrote it: without the time of the change and the tier.
    let old = format!(
        r#"{{"video_id":"{id}","stream_id":"{stream}","title":"T","category":"","created_at_us":{AT_US},
            "started_at_us":{AT_US},"ended_at_us":{AT_US},"duration_us":9,"bytes":10,"renditions":[],
            "status":"ARCHIVED","visibility":"PUBLIC"}}"#
    );
    let new = format!(
        r#"{{"video_id":"{id}","stream_id":"{stream}","clip":{{"video_id":"{id}","from_us":3,"to_us":5,"begins_us":2}},
            "title":"T","category":"","created_at_us":{AT_US},"changed_at_us":{},
            "started_at_us":{AT_US},"ended_at_us":{AT_US},"duration_us":9,"bytes":10,
            "renditions":[{{"rendition":"source","codec":"c","bandwidth":1}},{{"rendition":"audio","codec":"c"}}],
            "status":"INACTIVE","visibility":"PRIVATE","tier":"COLD","deleted":true}}"#,
        AT_US + 7
    );
    let key = format!("video/{id}");
    let records = [
        record(0, key.clone(), old),
        record(1, format!("media/{stream}"), "{}"),
        record(2, key.clone(), new),
        Record { value: None, ..record(3, key, "") },
    ];
    let decoded = Table::Videos.decode(&records).unwrap();
    let rows = &decoded.rows;
    assert_eq!((rows.num_rows(), decoded.skipped), (2, 0), "others share the topic");
    assert_eq!((text(rows, "tier", 0), text(rows, "renditions", 0)), ("HOT".into(), String::new()));
    assert!(rows["clip_of"].is_null(0) && rows["from_us"].is_null(0));
    let at = |row| rows["at"].as_primitive::<TimestampMicrosecondType>().value(row);
    assert_eq!((at(0), at(1)), (AT_US as i64, AT_US as i64 + 7));
    assert_eq!((text(rows, "video_id", 1), text(rows, "clip_of", 1)), (id.into(), id.into()));
    assert_eq!((long(rows, "from_us", 1), long(rows, "to_us", 1)), (3, 5));
    assert_eq!(text(rows, "renditions", 1), "source,audio");
    assert_eq!(
        (text(rows, "status", 1), text(rows, "tier", 1)),
        ("INACTIVE".into(), "COLD".into())
    );
    assert!(rows["deleted"].as_boolean().value(1) && !rows["deleted"].as_boolean().value(0));
}
