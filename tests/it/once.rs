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

mod lake;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clients::{Clip, PublishOptions, Stop};
use http::{Method, StatusCode};
use log::{Embedded, Kafka, KafkaOptions, Log};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use uuid::Uuid;

use self::lake::{Event, Lake, Said, TABLES, View};
use crate::support::eventually;
use crate::support::feed::clip;
use crate::support::http::try_request;
use crate::support::people::Person;
use crate::support::scene::server_with;
use crate::support::server::{Server, Stream, TOKEN};
use crate::support::tansu::Tansu;

/// Kills of `make test`.
const KILLS: u32 = 10;
/// Kills of `make soak`.
const SOAK_KILLS: u32 = 200;

/// After this the broker is killed as well. It also has to be: ten minutes after its start
/// Tansu sweeps its database, and answers nobody for longer than anybody waits.
const BROKER_MAX: Duration = Duration::from_secs(240);

const PUBLISHERS: usize = 2;

/// After so many kills all tables are looked at, and not only what clients were told.
const ALL_EVERY: u32 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn once_through_kills() {
    once(KILLS, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn once_through_kills_on_kafka() {
    let broker = tokio::task::spawn_blocking(Tansu::start).await.expect("a broker");
    once(KILLS, Some(broker)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes six minutes: make soak"]
async fn soak_once() {
    once(SOAK_KILLS, None).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes three quarters of an hour: make soak"]
async fn soak_once_on_kafka() {
    let broker = tokio::task::spawn_blocking(Tansu::start).await.expect("a broker");
    once(SOAK_KILLS, Some(broker)).await;
}

/// Lives and dies `kills` times, then looks at what is left.
async fn once(kills: u32, mut broker: Option<Tansu>) {
    let kafka = broker.as_ref().map(|broker| broker.url("once"));
    let kafka = kafka.as_deref();
    let mut settings = vec![
        // Kills in a row keep publishers away for longer than people are waited for.
        ("stream.reconnect_window", "2m"),
        ("lake.commit_busy", "200ms"),
        ("lake.commit_idle", "300ms"),
        ("pipeline.workers", "2"),
        ("hls.dvr", "60s"),
        ("chat.user_per_minute", "120"),
    ];
    settings.extend(kafka.map(|url| ("data.log", url)));
    let mut server = server_with(&settings).await;
    server.keep_data();
    let mut streams = Vec::new();
    for n in 0..PUBLISHERS {
        streams.push(server.create(&format!("once {n}")).await);
    }
    let clip = Arc::new(clip().clone());
    // Whoever talks ends before the broadcast, behind which nothing is accepted.
    let (stop, silence) = (Stop::new(), Stop::new());
    let publishers: Vec<_> = streams.iter().map(|stream| publish(&clip, stream, &stop)).collect();
    let told = Arc::new(Told::default());
    let client = tokio::spawn(talk(server.http.clone(), Arc::clone(&told), stop.clone()));
    let (url, watched) = (format!("{}/api/views", server.http), streams[0].id.clone());
    let viewer = tokio::spawn(watch(url, watched, Arc::clone(&told), stop.clone()));
    let mut talkers = Vec::new();
    for name in ["ann", "bob"] {
        let person = Person::new(&server, name, &[]).await;
        let url = format!("{}/api/streams/{}/chat", server.http, streams[0].id);
        talkers.push(tokio::spawn(say(url, name, person, Arc::clone(&told), silence.clone())));
    }

    let (mut random, mut broker_since) = (Random::seeded(), Instant::now());
    for kill in 0..kills {
        let end = End::choose(kill, &mut random);
        println!("{kill:4} {end:?}");
        if let Some(broker) = broker.as_mut().filter(|_| broker_since.elapsed() > BROKER_MAX) {
            tokio::task::block_in_place(|| broker.restart());
            broker_since = Instant::now();
            // Until its clients look again, nobody has noticed that it is back.
            sleep(Duration::from_secs(10)).await;
            eventually("log", async || {
                let ready = server.get("/readyz").await.text();
                (ready == "ready\n").then_some(())
            })
            .await;
        }
        end.bring(&mut server, &streams, &mut random).await;
        told.so_far().compare_by_sql(&server).await;
        if kill % ALL_EVERY == ALL_EVERY - 1 {
            has_one_row_for_each_record(&server).await;
        }
    }
    for stream in &streams {
        server.state(stream, "STREAM_ACTIVE").await;
    }
    // Kills in a row leave holes behind which nothing is listed.
    eventually("segments to compare", async || {
        (shown(&server, &streams).await.len() > 4 * PUBLISHERS).then_some(())
    })
    .await;
    silence.stop();
    for talker in talkers {
        talker.await.expect("a talker");
    }
    stop.stop();
    client.await.expect("the client");
    viewer.await.expect("the viewer");
    for publisher in publishers {
        publisher.await.expect("a publisher");
    }
    for stream in &streams {
        server.state(stream, "STREAM_COMPLETE").await;
    }
    let told = told.so_far();
    assert!(told.created.len() >= 3 * kills as usize, "{} streams made", told.created.len());
    assert!(told.seen.len() >= 3 * kills as usize, "{} reports", told.seen.len());
    assert!(told.said.len() >= 3 * kills as usize, "{} messages", told.said.len());
    told.compare_by_sql(&server).await;
    let shown = shown(&server, &streams).await;
    assert!(shown.len() > 4 * PUBLISHERS, "{} segments", shown.len());
    let mut data = server.stop("INT").await;

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
    told.compare(&lake.events, &lake.views, &lake.chat_messages);
    lake.has_the_files(&data.path().join("media"), &shown);
    let (events, segments, views) = (lake.events.len(), lake.segments.len(), lake.views.len());
    let messages = lake.chat_messages.len();
    data.disable_cleanup(false);
    println!(
        "{events} events, {segments} segments, {views} reports, {messages} messages: each once"
    );
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
        let within = |at, random: &mut Random| {
            let table = TABLES[random.below(TABLES.len() as u32) as usize];
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
    /// Sessions that a viewer reported of.
    seen: BTreeSet<String>,
    /// What was said, and its number.
    said: BTreeMap<String, u64>,
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

/// Reports how it goes, each time from another session and never twice: who isn't
/// answered doesn't know whether it is there.
async fn watch(url: String, stream: String, told: Arc<Told>, stop: Stop) {
    while !stop.is_stopped() {
        let session = Uuid::now_v7().to_string();
        let report = json!({ "stream": stream, "session": session, "watched_ms": 20 });
        match try_request(Method::POST, &url, None, Some(report)).await {
            Ok(answer) if answer.status == StatusCode::NO_CONTENT => {
                told.0.lock().seen.insert(session);
            }
            Ok(answer) if answer.status.is_client_error() => panic!("{}", answer.text()),
            _ => {}
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Says one thing after the other, each until it is told that it is there: saying it twice
/// by the same name is saying it once.
async fn say(url: String, name: &str, person: Person, told: Arc<Told>, stop: Stop) {
    for n in 0_u32.. {
        let message = format!("{name} says {n}");
        let body = json!({ "message": message, "client_id": format!("c{n}") });
        loop {
            let said = try_request(Method::POST, &url, Some(&person.token), Some(body.clone()));
            match said.await {
                Ok(answer) if answer.status == StatusCode::CREATED => {
                    let seq = answer.json()["seq"].as_u64().expect("a number");
                    told.0.lock().said.insert(message, seq);
                    break;
                }
                Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => {}
                Ok(answer) if answer.status.is_client_error() => panic!("{}", answer.text()),
                _ => {}
            }
            if stop.is_stopped() {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        if stop.is_stopped() {
            return;
        }
        sleep(Duration::from_millis(520)).await;
    }
}

impl Told {
    fn so_far(&self) -> Acknowledged {
        self.0.lock().clone()
    }
}

impl Acknowledged {
    /// The same of the rows that the server has now.
    async fn compare_by_sql(&self, server: &Server) {
        let events = by_sql(server, "stream_id, kind, detail FROM events").await;
        let said = by_sql(server, "seq, message FROM chat_messages").await;
        self.compare(&events, &by_sql(server, "session FROM views").await, &said);
    }

    /// Nothing that was acknowledged is missing, and nothing is there twice.
    fn compare(&self, events: &[Event], views: &[View], said: &[Said]) {
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
        let there: BTreeSet<_> = views.iter().map(|view| view.session.clone()).collect();
        assert_eq!(there.len(), views.len(), "reports with two rows");
        assert_eq!(&self.seen - &there, BTreeSet::new(), "reported, but not there");
        let there: BTreeMap<_, _> = said.iter().map(|row| (&row.message, row.seq)).collect();
        assert_eq!(there.len(), said.len(), "messages said twice");
        let numbers: BTreeSet<_> = there.values().copied().collect();
        assert!(numbers.iter().copied().eq(1..=said.len() as u64), "a room has gaps: {numbers:?}");
        for (message, seq) in &self.said {
            assert_eq!(there.get(message), Some(seq), "{message}");
        }
    }
}

/// Of no table there are two rows of one record.
async fn has_one_row_for_each_record(server: &Server) {
    for table in TABLES {
        let sql = format!(
            "SELECT log_partition, log_offset, count(*) AS rows FROM {table}
             GROUP BY log_partition, log_offset HAVING count(*) > 1 ORDER BY 1, 2"
        );
        let answer = server.admin(Method::POST, "/api/sql", Some(json!({ "sql": sql }))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.json()["rows"], json!([]), "records of {table} with two rows");
    }
}

/// Rows with their origin, those that aren't committed yet among them.
async fn by_sql<T: DeserializeOwned>(server: &Server, what: &str) -> Vec<T> {
    let sql = format!("SELECT log_partition, log_offset, {what}");
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
    all
}
