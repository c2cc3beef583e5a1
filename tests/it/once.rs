//! Exactly once: what was acknowledged is in the lake, and nothing is there
//! twice, through kills at random and between any two steps of a commit.
//!
//! ```text
//! publishers ─RTMP─┐               ┌─ SQL, while it goes on and without a server
//! clients ───API───┼─► the server ─┤
//! kills, rescales ─┘               └─ files, by programs that we did not write
//! ```
//!
//! In the end there is one row for each record of the log, what the rows say is
//! said once, and whatever a client was told is done is among it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clients::{Clip, PublishOptions, Stop};
use http::{Method, StatusCode};
use log::{Embedded, Kafka, KafkaOptions, Log, Record, Topic};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::lake::{Origin, expected, in_log};
use crate::support::feed::clip;
use crate::support::http::try_request;
use crate::support::root;
use crate::support::scene::server_with;
use crate::support::server::{Server, Stream, TOKEN, binary};
use crate::support::tansu::Tansu;

/// Kills of `make test`. The broker of the tests takes its time at each start.
const KILLS: u32 = 10;
const KAFKA_KILLS: u32 = 4;
/// Kills of `make soak`.
const SOAK_KILLS: u32 = 200;

const PUBLISHERS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn once_through_kills() {
    once(KILLS, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn once_through_kills_on_kafka() {
    let broker = tokio::task::spawn_blocking(Tansu::start).await.expect("a broker");
    once(KAFKA_KILLS, Some(&broker.url("once"))).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some fifteen minutes: make soak"]
async fn soak_once() {
    once(SOAK_KILLS, None).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some fifteen minutes: make soak"]
async fn soak_once_on_kafka() {
    let broker = tokio::task::spawn_blocking(Tansu::start).await.expect("a broker");
    once(SOAK_KILLS, Some(&broker.url("once"))).await;
}

/// Lives and dies `kills` times, then looks at what is left.
async fn once(kills: u32, kafka: Option<&str>) {
    let mut settings = vec![
        ("lake.commit_busy", "200ms"),
        ("lake.commit_idle", "300ms"),
        ("pipeline.workers", "2"),
        ("hls.dvr", "60s"),
    ];
    settings.extend(kafka.map(|url| ("data.log", url)));
    let mut server = server_with(&settings).await;
    let mut streams = Vec::new();
    for n in 0..PUBLISHERS {
        streams.push(server.create(&format!("once {n}")).await);
    }
    let clip = Arc::new(clip().clone());
    let stop = Stop::new();
    let publishers: Vec<_> = streams.iter().map(|stream| publish(&clip, stream, &stop)).collect();
    let told = Arc::new(Told::default());
    let client = tokio::spawn(talk(server.http.clone(), Arc::clone(&told), stop.clone()));

    let mut random = Random::seeded();
    for kill in 0..kills {
        let end = End::choose(kill, &mut random);
        println!("{kill:4} {end:?}");
        end.bring(&mut server, &streams, &mut random).await;
        let acknowledged = told.so_far();
        acknowledged.compare(&by_sql(&server).await);
    }
    for stream in &streams {
        server.state(stream, "STREAM_ACTIVE").await;
    }
    stop.stop();
    client.await.expect("the client");
    for publisher in publishers {
        publisher.await.expect("a publisher");
    }
    for stream in &streams {
        server.state(stream, "STREAM_COMPLETE").await;
    }
    let told = told.so_far();
    assert!(told.created.len() >= 3 * kills as usize, "{} streams made", told.created.len());
    told.compare(&by_sql(&server).await);
    let shown = shown(&server, &streams).await;
    let data = server.stop("INT").await;

    let log: Box<dyn Log> = match kafka {
        None => Box::new(Embedded::open(data.path()).expect("the log")),
        Some(url) => {
            let url = url.to_owned();
            let open = move || Kafka::open(&url, &KafkaOptions::default());
            let opened = tokio::task::spawn_blocking(open).await.expect("no panic");
            Box::new(opened.expect("the log"))
        }
    };
    let lake = Lake::read(&data.path().join("lake"));
    lake.holds(&*log).await;
    lake.says_each_thing_once();
    told.compare(&lake.events);
    lake.has_the_files(&data.path().join("media"), &shown);
    println!("{} events, {} segments: each once", lake.events.len(), lake.segments.len());
}

/// A linear congruential generator: what it did can be done again.
struct Random(u32);

impl Random {
    fn seeded() -> Self {
        let given = std::env::var("ONCE_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock").subsec_nanos();
        let seed = given.unwrap_or(now);
        println!("ONCE_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 12) % bound
    }
}

/// How a life of the server ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Within the n-th commit of a table from now on.
    Within { table: &'static str, at: &'static str, times: u32 },
    /// After so many milliseconds.
    After(u32),
    /// After so many milliseconds of a rescale.
    Rescaling(u32),
}

impl End {
    fn choose(round: u32, random: &mut Random) -> Self {
        const TABLES: [&str; 4] = ["events", "segments", "stream_health", "streams"];
        let within = |at, random: &mut Random| {
            let table = TABLES[random.below(4) as usize];
            Self::Within { table, at, times: 1 + random.below(3) }
        };
        match round % 5 {
            0 => within("written", random),
            1 => Self::After(random.below(1500)),
            2 => within("committed", random),
            3 => Self::Rescaling(random.below(40)),
            _ => within("read", random),
        }
    }

    /// Ends the server and starts it again.
    async fn bring(self, server: &mut Server, streams: &[Stream], random: &mut Random) {
        // Both faults and kills have to hit publishers that are at work.
        for stream in streams {
            server.state(stream, "STREAM_ACTIVE").await;
        }
        let workers = 1 + random.below(4) as usize;
        match self {
            Self::Within { table, at, times } => {
                server.scale(workers).await;
                let death = json!({ "table": table, "at": at, "times": times });
                let url = format!("{}/api/cluster/faults/lake", server.http);
                let ordered = try_request(Method::POST, &url, Some(TOKEN), Some(death)).await;
                // It may die before it answers.
                let refused = ordered.is_ok_and(|answer| answer.status != StatusCode::ACCEPTED);
                assert!(!refused && !server.revive().await, "it died");
            }
            Self::After(ms) => {
                server.scale(workers).await;
                sleep(Duration::from_millis(ms.into())).await;
                server.restart("KILL").await;
            }
            Self::Rescaling(ms) => {
                let url = format!("{}/api/cluster/workers", server.http);
                let body = json!({ "workers": workers });
                let rescale = try_request(Method::PUT, &url, Some(TOKEN), Some(body));
                let killed = async {
                    sleep(Duration::from_millis(ms.into())).await;
                    server.restart("KILL").await;
                };
                // Whether it was answered is left to chance.
                let _ = tokio::join!(rescale, killed);
            }
        }
    }
}

/// Publishes until told to stop, again as soon as the server lets it.
fn publish(clip: &Arc<Clip>, stream: &Stream, stop: &Stop) -> JoinHandle<()> {
    let mut options = PublishOptions::new(&stream.ingest);
    options.looping = true;
    let (clip, stop) = (Arc::clone(clip), stop.clone());
    tokio::spawn(async move {
        while clients::publish(Arc::clone(&clip), options.clone(), stop.clone()).await.is_err() {
            tokio::select! {
                () = sleep(Duration::from_millis(100)) => {}
                () = stop.stopped() => return,
            }
        }
    })
}

/// What a client was told is done.
#[derive(Default)]
struct Told(Mutex<Acknowledged>);

#[derive(Clone, Default)]
struct Acknowledged {
    created: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

/// Makes streams and deletes every other one. Deleting is tried again until it
/// is acknowledged, since deleting twice is deleting once.
async fn talk(http: String, told: Arc<Told>, stop: Stop) {
    let url = format!("{http}/api/streams");
    for n in 0_u32.. {
        if stop.is_stopped() {
            return;
        }
        let body = json!({ "title": format!("told {n}"), "category": "once" });
        let made = try_request(Method::POST, &url, Some(TOKEN), Some(body)).await;
        let Some(made) = made.ok().filter(|answer| answer.status == StatusCode::CREATED) else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let id = made.json()["stream_id"].as_str().expect("an id").to_owned();
        told.0.lock().created.insert(id.clone());
        while n.is_multiple_of(2) {
            let this = format!("{url}/{id}");
            match try_request(Method::DELETE, &this, Some(TOKEN), None).await {
                Ok(answer) if answer.status.is_success() => {
                    told.0.lock().deleted.insert(id);
                    break;
                }
                Ok(answer) if answer.status.is_client_error() => panic!("{}", answer.text()),
                _ if stop.is_stopped() => return,
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

impl Told {
    fn so_far(&self) -> Acknowledged {
        self.0.lock().clone()
    }
}

impl Acknowledged {
    /// Nothing that was acknowledged is missing, and nothing is there twice.
    fn compare(&self, events: &[Event]) {
        let mut times: HashMap<(&str, &str), u32> = HashMap::new();
        for event in events {
            // What becomes of its recording is told of a deleted stream, too.
            let is_over = event.kind == "STREAM_COMPLETE";
            let what = if event.is_deleted() && is_over { "deleted" } else { &event.kind };
            *times.entry((&event.stream_id, what)).or_default() += 1;
        }
        let wrong = |ids: &BTreeSet<String>, what: &str| {
            let count = |id: &String| times.get(&(id.as_str(), what)).copied().unwrap_or(0);
            let counted = ids.iter().map(|id| (id.clone(), count(id)));
            counted.filter(|(_, times)| *times != 1).collect::<Vec<_>>()
        };
        assert_eq!(wrong(&self.created, "CREATED"), [], "created, but not once");
        assert_eq!(wrong(&self.deleted, "deleted"), [], "deleted, but not once");
        let origins: BTreeSet<_> = events.iter().map(Event::origin).collect();
        assert_eq!(origins.len(), events.len(), "records with two rows");
    }
}

#[derive(Deserialize)]
struct Event {
    log_partition: i32,
    log_offset: i64,
    stream_id: String,
    kind: String,
    detail: Option<String>,
}

/// What an event says: the state, and whether the stream is deleted.
type What<'a> = (&'a str, bool);

impl Event {
    fn origin(&self) -> Origin {
        (self.log_partition, self.log_offset)
    }

    fn is_deleted(&self) -> bool {
        self.detail.as_ref().is_some_and(|detail| detail.contains("\"deleted\""))
    }
}

/// All events, those that aren't committed yet among them.
async fn by_sql(server: &Server) -> Vec<Event> {
    let sql = "SELECT log_partition, log_offset, stream_id, kind, detail FROM events";
    let answer = server.admin(Method::POST, "/api/sql", Some(json!({ "sql": sql }))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    serde_json::from_value(answer.json()["rows"].take()).expect("rows")
}

/// Segments that viewers can fetch: stream, rendition, media sequence number.
async fn shown(server: &Server, streams: &[Stream]) -> BTreeSet<(String, String, i64)> {
    let mut all = BTreeSet::new();
    for stream in streams {
        for rendition in ["source", "audio"] {
            let playlist = server.media(stream, rendition).await;
            let heads = playlist.segments.iter().map(|segment| &segment.head);
            let kept = heads.filter(|head| !head.gap).map(|head| head.msn as i64);
            all.extend(kept.map(|msn| (stream.id.clone(), rendition.to_owned(), msn)));
        }
    }
    assert!(all.len() > 4 * PUBLISHERS, "{} segments", all.len());
    all
}

/// The lake as another program reads it.
#[derive(Deserialize)]
struct Lake {
    events: Vec<Event>,
    segments: Vec<Segment>,
    stream_health: Vec<Second>,
    streams: Vec<State>,
    videos: Vec<Change>,
    #[serde(skip)]
    sql: BTreeMap<&'static str, u64>,
}

#[derive(Deserialize)]
struct Segment {
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
    fn read(folder: &Path) -> Self {
        let packages = root().join(".cache/python-lake");
        assert!(packages.exists(), "{} is missing: make python-lake", packages.display());
        let output = Command::new("python3")
            .arg(root().join("tests/it/once.py"))
            .arg(folder)
            .env("PYTHONPATH", packages)
            .stderr(Stdio::inherit())
            .output()
            .expect("python runs");
        assert!(output.status.success(), "once.py");
        let mut lake: Self = serde_json::from_slice(&output.stdout).expect("JSON");
        for table in ["events", "segments", "stream_health", "streams", "videos"] {
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
    async fn holds(&self, log: &dyn Log) {
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
        for (rows, topic) in [(events, Topic::Events), (health, Topic::Health)] {
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
        let kept = in_log(log, Topic::Catalog).await.into_iter();
        let kept: Vec<_> = kept.filter(|record| record.key.starts_with(b"stream/")).collect();
        assert_eq!(&newest(&kept) - &states, none, "lost states");
        let videos = self.videos.iter().map(|row| (row.log_partition, row.log_offset));
        let videos = rows("videos", videos.collect());
        let kept = in_log(log, Topic::Catalog).await.into_iter();
        let kept: Vec<_> = kept.filter(|record| record.key.starts_with(b"video/")).collect();
        assert!(kept.len() >= PUBLISHERS, "each broadcast has its recording");
        assert_eq!(&newest(&kept) - &videos, none, "lost videos");
    }

    /// What the records say is said once, too.
    fn says_each_thing_once(&self) {
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
        let numbers: BTreeSet<_> =
            self.segments.iter().map(|row| (&row.stream_id, &row.rendition, row.msn)).collect();
        assert_eq!(self.segments.len() - numbers.len(), 0, "segments told twice");
    }

    /// Each segment's file is there, and each that viewers had has a row.
    fn has_the_files(&self, media: &Path, shown: &BTreeSet<(String, String, i64)>) {
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

/// Of each key the newest record: a shared log compacts later.
fn newest(records: &[Record]) -> BTreeSet<Origin> {
    let mut newest = HashMap::new();
    for record in records {
        newest.insert(&record.key, (i32::from(record.partition), record.offset as i64));
    }
    newest.into_values().collect()
}
