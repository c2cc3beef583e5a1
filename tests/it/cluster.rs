//! The data plane under viewers' eyes: what is published equals what every
//! operator passed on, and workers come, go and panic without anybody noticing.

use std::time::Duration;

use clients::WatchReport;
use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::eventually;
use crate::support::feed::{Feed, small_clip};
use crate::support::http::get;
use crate::support::player::assert_clean;
use crate::support::scene::{begin, finish, seconds, server, server_with};
use crate::support::server::Server;

/// Sum of an operator's counter over its workers.
fn sum(cluster: &Value, operator: &str, counter: &str) -> u64 {
    let operators = cluster["operators"].as_array().expect("operators");
    let own = operators.iter().filter(|o| o["operator"] == operator);
    own.map(|o| o[counter].as_u64().expect(counter)).sum()
}

fn queue(cluster: &Value, name: &str) -> u64 {
    let queues = cluster["queues"].as_array().expect("queues");
    let own = queues.iter().find(|q| q["name"] == name).expect("the queue");
    own["records_total"].as_u64().expect("records_total")
}

/// Waits until the server took `count` packets since its start.
async fn taken(server: &Server, count: u64) {
    eventually("packets", async || {
        (queue(&server.cluster().await, "packets") >= count).then_some(())
    })
    .await;
}

fn assert_unbroken(report: &WatchReport) {
    assert_clean(report);
    assert_eq!(report.discontinuities, 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_workers_come_and_go() {
    let server = server().await;
    let publishers = join_all((0..3).map(async |n| {
        let (_, mut publisher, player) = begin(&server, &format!("conserved {n}")).await;
        Feed { length: seconds(7), ..Feed::default() }.run(&mut publisher).await;
        finish(publisher, player).await
    }));
    let rescales = async {
        // Each generation takes a good second of the 7 s that are published.
        for (workers, count) in [(2, 250), (4, 500), (3, 750), (1, 1000)] {
            taken(&server, count).await;
            assert_eq!(server.scale(workers).await["workers"], workers);
        }
    };
    let (reports, ()) = tokio::join!(publishers, rescales);
    reports.iter().for_each(assert_unbroken);

    let cluster = eventually("quiet", async || {
        let cluster = server.cluster().await;
        (queue(&cluster, "packets") == sum(&cluster, "demux", "records_in")).then_some(cluster)
    })
    .await;
    assert_eq!(cluster["unplanned_ends"], 0);
    let published = queue(&cluster, "packets");
    assert!(published > 3 * 7 * 25, "{published} packets");
    for (operator, counter) in [("source", "records_in"), ("source", "records_out")] {
        assert_eq!(sum(&cluster, operator, counter), published, "{operator} {counter}");
    }
    // Frames and health go different ways, and nothing but frames comes to `transcode`.
    let demuxed = sum(&cluster, "demux", "records_out");
    let frames = sum(&cluster, "transcode", "records_in");
    assert_eq!(frames + sum(&cluster, "health", "records_in"), demuxed);
    assert_eq!(sum(&cluster, "transcode", "records_out"), sum(&cluster, "segment", "records_in"));
    // Both sinks get all media.
    let media = sum(&cluster, "segment", "records_out");
    assert_eq!(sum(&cluster, "hls", "records_in"), media);
    assert_eq!(sum(&cluster, "archive", "records_in"), media);
    assert_eq!(queue(&cluster, "hls"), queue(&cluster, "archive"), "both edges took the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_workers_nothing_new_appears_and_every_socket_stays() {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "paused").await;
    Feed { length: seconds(2), ..Feed::default() }.run(&mut publisher).await;
    server.scale(0).await;
    let stopped = server.media(&stream, "source").await;
    let (msn, part) = stopped.next_part();
    let url = format!(
        "{}/live/{}/source/index.m3u8?_HLS_msn={msn}&_HLS_part={part}",
        server.http, stream.id
    );
    let mut blocked = tokio::spawn(async move { get(&url).await });
    // The publisher goes on all the while.
    let feed = Feed {
        first_ms: 2000,
        skip: seconds(2),
        length: Duration::from_millis(1500),
        ..Feed::default()
    };
    feed.run_bare(&mut publisher).await;
    assert_eq!(server.media(&stream, "source").await.next_part(), (msn, part), "nothing new");
    let waits = timeout(Duration::from_millis(1), &mut blocked).await.is_err();
    assert!(waits, "the viewer is held");

    server.scale(1).await;
    assert_eq!(blocked.await.expect("no panic").status, StatusCode::OK, "and then served");
    let rest = Feed {
        first_ms: 3500,
        skip: Duration::from_millis(3500),
        length: Duration::from_millis(1500),
        ..Feed::default()
    };
    rest.run_bare(&mut publisher).await;
    assert_unbroken(&finish(publisher, player).await);
    let playlist = server.media(&stream, "source").await;
    assert!((playlist.duration() - 5.0).abs() < 0.2, "{} s: none lost", playlist.duration());
}

/// One panic in `operator` while its stream is watched.
async fn survives_a_panic(operator: &str) {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, operator).await;
    let next = Feed { length: seconds(3), ..Feed::default() }.run(&mut publisher).await;
    let before = server.media(&stream, "source").await.next_msn();
    let body = json!({ "stream_id": stream.id, "operator": operator });
    let answer = server.admin(Method::POST, "/api/cluster/faults", Some(body)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let rest = Feed { first_ms: next, skip: seconds(3), length: seconds(3), ..Feed::default() };
    rest.run_bare(&mut publisher).await;
    assert_eq!(server.cluster().await["unplanned_ends"], 1, "it did panic");
    assert_unbroken(&finish(publisher, player).await);
    let playlist = server.media(&stream, "source").await;
    assert!(playlist.next_msn() > before);
    assert!((playlist.duration() - 6.0).abs() < 0.2, "{} s: none lost", playlist.duration());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_demux_is_not_seen() {
    survives_a_panic("demux").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_transcode_is_not_seen() {
    survives_a_panic("transcode").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_segment_is_not_seen() {
    survives_a_panic("segment").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_hls_is_not_seen() {
    survives_a_panic("hls").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_archive_is_not_seen() {
    survives_a_panic("archive").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescale_and_a_panic_are_not_seen_in_a_ladder_either() {
    let settings = [
        ("transcode.enabled", "true"),
        ("transcode.ladder", "90:150"),
        ("transcode.preset", "ultrafast"),
        // A machine that stands still for a second would rightly cost pictures: not the subject.
        ("transcode.lag_shed", "60s"),
    ];
    let server = server_with(&settings).await;
    let clip = small_clip();
    let (stream, mut publisher, player) = begin(&server, "ladder").await;
    let feed = async {
        Feed { clip, length: seconds(7), ..Feed::default() }.run(&mut publisher).await;
    };
    let trouble = async {
        // After two of the seven seconds, and after three.
        taken(&server, 140).await;
        server.scale(2).await;
        taken(&server, 210).await;
        let body = json!({ "stream_id": stream.id, "operator": "segment" });
        let answer = server.admin(Method::POST, "/api/cluster/faults", Some(body)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    };
    tokio::join!(feed, trouble);
    assert_eq!(server.cluster().await["unplanned_ends"], 1, "it did panic");
    assert_unbroken(&finish(publisher, player).await);
    for rendition in ["source", "90p", "audio"] {
        let playlist = server.media(&stream, rendition).await;
        assert!((playlist.duration() - 7.0).abs() < 0.2, "{rendition}: {} s", playlist.duration());
        assert!(!playlist.segments.iter().any(|s| s.head.gap), "{rendition} has gaps");
    }
}
