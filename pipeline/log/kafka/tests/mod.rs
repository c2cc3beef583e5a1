//! The suite on a real broker, and what is particular to Kafka: brokers that
//! go away, answers that get lost, refusals.

mod proxy;
mod refusals;
mod retries;
#[path = "../../../../tests/support/tansu.rs"]
mod tansu;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use self::tansu::Tansu;
use crate::testing::{Place, suite};
use crate::{Error, Kafka, KafkaOptions, Log, NewRecord, Topic, wait};

static PREFIXES: AtomicU32 = AtomicU32::new(0);

/// Topics that no other test uses.
fn prefix() -> String {
    format!("test-{}", PREFIXES.fetch_add(1, Ordering::Relaxed))
}

fn open(url: &str) -> Kafka {
    Kafka::open(url, &KafkaOptions::default()).unwrap()
}

/// Values of a partition, oldest first.
fn values(log: &dyn Log, topic: Topic, partition: u16) -> Vec<String> {
    let (mut out, mut from) = (Vec::new(), 0);
    loop {
        let page = wait(log.read(topic, partition, from, usize::MAX)).unwrap();
        let Some(last) = page.last() else { return out };
        from = last.offset + 1;
        let text = |value: &bytes::Bytes| String::from_utf8_lossy(value).into_owned();
        out.extend(page.iter().filter_map(|record| record.value.as_ref().map(text)));
    }
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct Prefix {
    url: String,
    trims: bool,
}

impl Place for Prefix {
    fn open(&self) -> Arc<dyn Log> {
        Arc::new(open(&self.url))
    }

    fn trims(&self) -> bool {
        self.trims
    }

    fn compacts_at_once(&self) -> bool {
        false
    }
}

#[test]
fn passes_the_suite() {
    let broker = Tansu::start();
    // Tansu 0.6 on SQLite ends its storage at a DeleteRecords request.
    suite(|| Prefix { url: broker.url(&prefix()), trims: false });
}

#[test]
fn several_engines_share_it() {
    let broker = Tansu::start();
    let url = broker.url(&prefix());
    let (one, two) = (open(&url), open(&url));
    let append = |log: &Kafka, value: &str| {
        wait(log.append(Topic::Events, NewRecord::new(3, "key", value.to_owned()))).unwrap()
    };
    assert_eq!([append(&one, "a"), append(&two, "b"), append(&one, "c")], [0, 1, 2]);
    assert_eq!(values(&one, Topic::Events, 3), ["a", "b", "c"]);
    // Both follow the end now; what the other appends comes by itself.
    assert!(wait(one.read(Topic::Events, 3, 3, 10)).unwrap().is_empty());
    append(&two, "d");
    eventually("one sees what two appended", || {
        wait(one.read(Topic::Events, 3, 3, 10)).unwrap().len() == 1
    });
    // A catalog changed by another is seen whole.
    for n in 0..3 {
        let record = NewRecord::new(0, "stream/1", n.to_string());
        wait(two.append(Topic::Catalog, record)).unwrap();
        let latest = wait(one.latest(Topic::Catalog)).unwrap();
        assert_eq!(latest[0].value.as_deref(), Some(n.to_string().as_bytes()));
    }
}

#[test]
fn a_broker_that_is_away_makes_appends_wait() {
    let mut broker = Tansu::start();
    let log = Arc::new(open(&broker.url(&prefix())));
    wait(log.append(Topic::Chat, NewRecord::new(0, "", "before"))).unwrap();
    log.health().unwrap();
    broker.kill();
    eventually("the log says that its broker is away", || log.health().is_err());
    let why = log.health().unwrap_err().to_string();
    assert!(why.contains("Connection refused") && why.contains("check that the brokers"), "{why}");

    // 15 MiB may wait; one more is over the bound and refused, and the others still wait.
    let large = || NewRecord::new(0, "", vec![b'x'; 1 << 20]);
    let waiting: Vec<_> = (0..15)
        .map(|_| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || wait(log.append(Topic::Chat, large())))
        })
        .collect();
    let refused = || wait(log.append_many(Topic::Chat, vec![large(), large()]));
    eventually("all of them wait", || log.pulse.waiting() == waiting.len());
    let error = refused().unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");

    broker.restart();
    let mut offsets: Vec<_> =
        waiting.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (1..16).collect::<Vec<_>>());
    eventually("the log is well again", || log.health().is_ok());
    assert_eq!(values(&*log, Topic::Chat, 0).len(), 16);
}

#[test]
fn a_partition_that_grows_all_the_time_is_read() {
    let broker = Tansu::start();
    let log = Arc::new(open(&broker.url(&prefix())));
    let (writing, done) = (Arc::clone(&log), Arc::new(AtomicBool::new(false)));
    let written = Arc::clone(&done);
    let writer = std::thread::spawn(move || {
        let mut n = 0;
        while !written.load(Ordering::Acquire) {
            wait(writing.append(Topic::Events, NewRecord::new(0, "", n.to_string()))).unwrap();
            n += 1;
        }
        n
    });
    let mut read = Vec::new();
    // Two readers, one of them behind: both at once is how the lake and queries read.
    while read.len() < 300 {
        let page = wait(log.read(Topic::Events, 0, read.len() as u64, usize::MAX)).unwrap();
        read.extend(page.into_iter().map(|record| record.offset));
        let behind = read.len() as u64 / 2;
        let first = wait(log.read(Topic::Events, 0, behind, 1)).unwrap();
        assert!(first.first().is_none_or(|record| record.offset == behind));
    }
    done.store(true, Ordering::Release);
    let all = values(&*log, Topic::Events, 0).len();
    assert!(read.len() <= all && all <= writer.join().unwrap());
    assert!(read.iter().copied().eq(0..read.len() as u64), "{read:?}");
}
