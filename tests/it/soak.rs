//! `make soak`: kills, rescales, panics and dropped publishers for as long as
//! it is told (`SOAK_MINUTES`), each followed by a look at whether all is well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clients::{Clip, PublishOptions, Stop};
use http::Method;
use serde_json::json;

use crate::support::player::{Player, assert_clean, assert_lawful};
use crate::support::server::{Server, Stream};
use crate::support::{clip, eventually};

const STREAMS: usize = 4;

/// What is done to the server, in an order that a seed decides.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Rescale(usize),
    Panic(&'static str),
    DropPublisher,
    Kill,
}

fn blow(random: u32) -> Blow {
    const OPERATORS: [&str; 5] = ["demux", "transcode", "segment", "hls", "archive"];
    match random % 10 {
        0..=3 => Blow::Rescale(random as usize / 10 % 8 + 1),
        4..=6 => Blow::Panic(OPERATORS[random as usize / 10 % OPERATORS.len()]),
        7 => Blow::DropPublisher,
        _ => Blow::Kill,
    }
}

/// Publishes until told to stop, whatever happens to the server.
fn publish(clip: &Arc<Clip>, stream: &Stream) -> Stop {
    let stop = Stop::new();
    let mut options = PublishOptions::new(&stream.ingest);
    options.looping = true;
    options.reconnect = true;
    tokio::spawn(clients::publish(Arc::clone(clip), options, stop.clone()));
    stop
}

/// The newest media sequence number of each stream's sound.
async fn positions(server: &Server, streams: &[Stream]) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for stream in streams {
        let playlist = server.media(stream, "audio").await;
        found.insert(stream.id.clone(), playlist.next_msn());
    }
    found
}

fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs for SOAK_MINUTES: make soak"]
async fn soak() {
    let minutes = std::env::var("SOAK_MINUTES").ok().and_then(|m| m.parse().ok()).unwrap_or(10);
    let deadline = Instant::now() + Duration::from_secs(60 * minutes);
    let mut server =
        Server::with(&[("transcode.enabled", "false"), ("debug.faults", "true")]).await;
    let clip = Arc::new(Clip::open(clip()).expect("the clip"));
    let mut streams = Vec::new();
    let mut publishers = Vec::new();
    for n in 0..STREAMS {
        let stream = server.create(&format!("soak {n}")).await;
        publishers.push(publish(&clip, &stream));
        streams.push(stream);
    }
    let mut last = positions(&server, &streams).await;
    let (mut blows, mut random) = (0u32, 0x2545_f491_u32);
    while Instant::now() < deadline {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let blow = blow(random);
        let victim = random as usize / 100 % STREAMS;
        // Publishers take their time to come back from the blow before.
        for stream in &streams {
            server.state(stream, "STREAM_ACTIVE").await;
        }
        let player = Player::start(&streams[victim]);
        match blow {
            Blow::Rescale(workers) => {
                let done = server.scale(workers).await;
                println!("{blows:4} {blow:?}: pause {} ms", done["pause_ms"]);
            }
            Blow::Panic(operator) => {
                // Another stream each time, and none twice within a minute.
                let body = json!({ "stream_id": streams[victim].id, "operator": operator });
                server.admin(Method::POST, "/api/cluster/faults", Some(body)).await;
                println!("{blows:4} {blow:?}");
                tokio::time::sleep(Duration::from_secs(61)).await;
            }
            Blow::DropPublisher => {
                publishers[victim].stop();
                // A clean end: the key begins the next broadcast.
                server.state(&streams[victim], "STREAM_COMPLETE").await;
                let stream = server.create("soak again").await;
                publishers[victim] = publish(&clip, &stream);
                last.remove(&streams[victim].id);
                streams[victim] = stream;
                println!("{blows:4} {blow:?}");
            }
            Blow::Kill => {
                // The viewer has to be in the middle of it.
                tokio::time::sleep(Duration::from_secs(3)).await;
                server.restart("KILL").await;
                println!("{blows:4} {blow:?}");
            }
        }
        // All play on, and no sequence number ever falls.
        let before = last.clone();
        last = eventually("progress of every stream", async || {
            let now = positions(&server, &streams).await;
            let moved = now.iter().all(|(id, msn)| before.get(id).is_none_or(|b| msn > b));
            for (id, msn) in &now {
                assert!(before.get(id).is_none_or(|b| msn >= b), "{id} fell back to {msn}");
            }
            moved.then_some(now)
        })
        .await;
        let report = player.finish().await;
        match blow {
            Blow::Rescale(_) | Blow::Panic(_) => assert_clean(&report),
            Blow::DropPublisher | Blow::Kill => assert_lawful(&report),
        }
        blows += 1;
        let resident = resident_mib(server.pid());
        assert!(resident < 600, "{resident} MiB for {STREAMS} streams");
    }
    publishers.iter().for_each(Stop::stop);
    println!("{blows} blows, all streams well");
    assert!(blows > 0);
}
