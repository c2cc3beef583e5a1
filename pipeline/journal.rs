//! What happens to streams and how well they do, into the log's topics
//! `events` and `health`, for the lake and for whoever else subscribes.
//!
//! Enters: changes of the catalog, seconds of health. Leaves: records. Held: nothing.
//! Never here: what a change does, or waiting, but for a log without room.

use std::collections::BTreeMap;
use std::time::Duration;

use log::{Log, NewRecord, Topic};
use records::{Health, Rendition, StreamEvent, StreamId, StreamState};

use crate::catalog::StreamEntry;
use crate::videos::{Deletion, Dropping, Moved, VideoEntry};

/// Records read at once when looking for a stream's last event.
const PAGE: u64 = 1000;

/// By how much clocks that events are stamped by may have been set back.
const CLOCKS_DIFFER_US: u64 = 3_600_000_000;

/// The detail that says that a stream was deleted.
const DELETED: &str = "deleted";

/// The event of a stream's change, if its state changed.
#[must_use]
pub fn event(before: Option<&StreamEntry>, after: &StreamEntry, at_us: u64) -> Option<NewRecord> {
    if before.is_some_and(|before| before.state == after.state && before.deleted == after.deleted) {
        return None;
    }
    state_event(after, at_us)
}

/// The event of a stream's newest change, if the log doesn't have it since the
/// process died between the change and its event.
///
/// # Errors
/// The log can't be read.
pub async fn untold(
    log: &dyn Log,
    entry: &StreamEntry,
    at_us: u64,
) -> Result<Option<NewRecord>, log::Error> {
    let partition = Topic::Events.partition(entry.stream_id.shard());
    let bounds = log.bounds(Topic::Events, partition).await?;
    let mut end = bounds.end;
    // Backwards, since the stream's last event is among the newest.
    while end > bounds.start {
        let from = end.saturating_sub(PAGE).max(bounds.start);
        let mut at = from;
        let mut last = None;
        while at < end {
            let page = log.read(Topic::Events, partition, at, PAGE as usize).await?;
            let Some(newest) = page.last() else { break };
            at = newest.offset + 1;
            let own = |record: &&log::Record| *record.key == *entry.stream_id.0.as_bytes();
            last = page.iter().rev().filter(own).find_map(of_state).or(last);
        }
        if let Some(event) = last {
            let is_told = event.kind == entry.state.to_string()
                && event.detail.contains_key(DELETED) == entry.deleted;
            return Ok(if is_told { None } else { state_event(entry, at_us) });
        }
        end = from;
    }
    // What was trimmed may have told of it.
    Ok(if bounds.start > 0 { None } else { state_event(entry, at_us) })
}

/// The event, if it is one of a stream's states; others happen to streams as well.
fn of_state(record: &log::Record) -> Option<StreamEvent> {
    let event: StreamEvent = serde_json::from_slice(record.value.as_deref()?).ok()?;
    let kind = serde_json::Value::String(event.kind.clone());
    serde_json::from_value::<StreamState>(kind).is_ok().then_some(event)
}

/// Whether the log has this very event already.
///
/// # Errors
/// The log can't be read.
pub async fn is_told(log: &dyn Log, event: &NewRecord) -> Result<bool, log::Error> {
    let at_us = |value: &[u8]| Some(serde_json::from_slice::<StreamEvent>(value).ok()?.at_us);
    let wanted_us = event.value.as_deref().and_then(at_us).unwrap_or(0);
    let long_before_us = wanted_us.saturating_sub(CLOCKS_DIFFER_US);
    let bounds = log.bounds(Topic::Events, event.partition).await?;
    let mut end = bounds.end;
    // Backwards, until all is from before it happened.
    let mut is_before = false;
    while end > bounds.start && !is_before {
        let from = end.saturating_sub(PAGE).max(bounds.start);
        let mut at = from;
        is_before = true;
        while at < end {
            let page = log.read(Topic::Events, event.partition, at, PAGE as usize).await?;
            let Some(newest) = page.last() else { break };
            at = newest.offset + 1;
            let times = page.iter().filter_map(|told| at_us(told.value.as_deref()?));
            is_before &= times.max().is_some_and(|newest_us| newest_us < long_before_us);
            if page.iter().any(|told| told.key == event.key && told.value == event.value) {
                return Ok(true);
            }
        }
        end = from;
    }
    Ok(false)
}

fn state_event(after: &StreamEntry, at_us: u64) -> Option<NewRecord> {
    let mut detail = BTreeMap::from([
        ("title".to_owned(), after.title.clone()),
        ("category".to_owned(), after.category.clone()),
        ("sessions".to_owned(), after.sessions.to_string()),
    ]);
    if let Some(predecessor) = after.predecessor {
        detail.insert("predecessor".into(), predecessor.to_string());
    }
    if after.deleted {
        detail.insert(DELETED.into(), "true".into());
    }
    let event = StreamEvent { kind: after.state.to_string(), at_us, detail };
    let partition = Topic::Events.partition(after.stream_id.shard());
    // Plain data with string keys always has a JSON form.
    let value = serde_json::to_vec(&event).ok()?;
    Some(NewRecord::new(partition, after.stream_id.0.as_bytes().to_vec(), value))
}

/// The event of segments of a rendition, `from_msn` to `to_msn`, that were
/// given up because too much waited for the archive's store.
#[must_use]
pub fn lost(loss: &Loss, at_us: u64) -> Option<NewRecord> {
    let detail = BTreeMap::from([
        ("rendition".to_owned(), loss.rendition.to_string()),
        ("from_msn".to_owned(), loss.from_msn.to_string()),
        ("to_msn".to_owned(), loss.to_msn.to_string()),
        ("segments".to_owned(), loss.segments.to_string()),
        ("bytes".to_owned(), loss.bytes.to_string()),
        ("why".to_owned(), "more waited for the store than archive.spool allows".to_owned()),
    ]);
    let event = StreamEvent { kind: StreamEvent::SEGMENTS_LOST.into(), at_us, detail };
    let partition = Topic::Events.partition(loss.stream.shard());
    let value = serde_json::to_vec(&event).ok()?;
    Some(NewRecord::new(partition, loss.stream.0.as_bytes().to_vec(), value))
}

/// The event of renditions that are no longer kept. The same for the same decision.
#[must_use]
pub fn renditions_dropped(stream: StreamId, of: &Dropping) -> Option<NewRecord> {
    let names: Vec<_> = of.renditions.iter().map(ToString::to_string).collect();
    let detail = [("renditions", names.join(",")), ("bytes", of.bytes.to_string())];
    happened(stream, StreamEvent::RENDITIONS_DROPPED, of.at_us, detail)
}

/// The event of a recording's move. The same for the same move.
#[must_use]
pub fn tier_changed(stream: StreamId, to: &Moved) -> Option<NewRecord> {
    let detail = [("tier", to.tier.to_string()), ("bytes", to.bytes.to_string())];
    happened(stream, StreamEvent::TIER_CHANGED, to.at_us, detail)
}

/// The event of a video's deletion, once it is decided. The same for the same one.
#[must_use]
pub fn video_deleted(video: &VideoEntry) -> Option<NewRecord> {
    let Deletion { at_us, why } = video.deletion?;
    let detail = [
        ("video_id", video.video_id.to_string()),
        ("title", video.title.clone()),
        ("bytes", video.bytes.to_string()),
        ("why", why.to_string()),
    ];
    happened(video.stream_id, StreamEvent::VIDEO_DELETED, at_us, detail)
}

fn happened<const N: usize>(
    stream: StreamId,
    kind: &str,
    at_us: u64,
    detail: [(&str, String); N],
) -> Option<NewRecord> {
    let detail = detail.map(|(name, text)| (name.to_owned(), text)).into();
    let event = StreamEvent { kind: kind.into(), at_us, detail };
    let partition = Topic::Events.partition(stream.shard());
    let value = serde_json::to_vec(&event).ok()?;
    Some(NewRecord::new(partition, stream.0.as_bytes().to_vec(), value))
}

/// Segments of one rendition that were given up.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Whose.
    pub stream: StreamId,
    /// Which rendition.
    pub rendition: Rendition,
    /// The first one's number.
    pub from_msn: u64,
    /// The last one's.
    pub to_msn: u64,
    /// How many, of those in between.
    pub segments: u64,
    /// Length of their files together.
    pub bytes: u64,
}

/// Seconds of health as records.
#[must_use]
pub fn health(seconds: &[Health]) -> Vec<NewRecord> {
    seconds.iter().filter_map(record).collect()
}

fn record(health: &Health) -> Option<NewRecord> {
    let partition = Topic::Health.partition(health.stream.shard());
    let value = serde_json::to_vec(health).ok()?;
    Some(NewRecord::new(partition, health.stream.0.as_bytes().to_vec(), value))
}

/// Pause before the log is asked again whether it has room.
const FULL_PAUSE: Duration = Duration::from_millis(200);

/// Appends all of them in one go, however long the log has no room.
///
/// # Errors
/// The log's, but for that.
pub async fn append(
    log: &dyn Log,
    topic: Topic,
    records: Vec<NewRecord>,
) -> Result<(), log::Error> {
    if records.is_empty() {
        return Ok(());
    }
    loop {
        match log.append_many(topic, records.clone()).await {
            Err(log::Error::Full { .. }) => tokio::time::sleep(FULL_PAUSE).await,
            appended => return appended.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use log::Embedded;

    use super::*;
    use crate::catalog::Catalog;
    use crate::videos::Tier;

    fn entry(state: StreamState) -> StreamEntry {
        StreamEntry {
            stream_id: StreamId::generate(),
            owner: None,
            title: "T".into(),
            category: String::new(),
            key_hash: None,
            state,
            created_at_us: 1,
            started_at_us: None,
            ended_at_us: None,
            sessions: 1,
            successor: None,
            predecessor: None,
            deleted: false,
        }
    }

    #[test]
    fn only_a_new_state_is_an_event() {
        let created = entry(StreamState::Created);
        let renamed = StreamEntry { title: "U".into(), ..created.clone() };
        let active = StreamEntry { state: StreamState::StreamActive, ..created.clone() };
        assert!(event(Some(&created), &renamed, 5).is_none());
        let record = event(Some(&created), &active, 5).unwrap();
        assert_eq!(record.key, created.stream_id.0.as_bytes().as_slice());
        let said: StreamEvent = serde_json::from_slice(&record.value.unwrap()).unwrap();
        assert_eq!((said.kind.as_str(), said.at_us), ("STREAM_ACTIVE", 5));
        assert_eq!(said.detail["title"], "T");
        assert!(event(None, &created, 5).is_some());
    }

    async fn told(log: &dyn Log, id: StreamId) -> Vec<String> {
        let partition = Topic::Events.partition(id.shard());
        let records = log.read(Topic::Events, partition, 0, usize::MAX).await.unwrap();
        let own = records.into_iter().filter(|record| *record.key == *id.0.as_bytes());
        let event = |record: log::Record| {
            serde_json::from_slice::<StreamEvent>(&record.value.unwrap()).unwrap().kind
        };
        own.map(event).collect()
    }

    #[tokio::test]
    async fn a_change_that_a_crash_left_untold_is_told_at_the_next_start() {
        let place = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = Arc::new(Embedded::open(place.path()).unwrap());
        let catalog = Catalog::load(Arc::clone(&log)).await.unwrap();
        let (first, _) = catalog.create("first", "").await.unwrap();
        let id = first.stream_id;
        // More of the same partition than are read at once.
        let partition = Topic::Events.partition(id.shard());
        let other = StreamId::generate().0.as_bytes().to_vec();
        let others = (0..1500).map(|_| NewRecord::new(partition, other.clone(), "{}"));
        log.append_many(Topic::Events, others.collect()).await.unwrap();
        // A change without an event is no reason to tell the last one again.
        catalog.rotate_key(id).await.unwrap();
        drop(catalog);
        Catalog::load(Arc::clone(&log)).await.unwrap();
        assert_eq!(told(&*log, id).await, ["CREATED"]);

        let active = StreamEntry { state: StreamState::StreamActive, ..first };
        let value = serde_json::to_vec(&active).unwrap();
        log.append(Topic::Catalog, NewRecord::new(0, format!("stream/{id}"), value)).await.unwrap();
        for _ in 0..2 {
            Catalog::load(Arc::clone(&log)).await.unwrap();
            assert_eq!(told(&*log, id).await, ["CREATED", "STREAM_ACTIVE"]);
        }
        // What else happened to it says nothing of its state.
        let moved = Moved { tier: Tier::Cold, at_us: 9, bytes: 1, is_open: true };
        let moved = tier_changed(id, &moved).unwrap();
        assert!(!is_told(&*log, &moved).await.unwrap());
        log.append(Topic::Events, moved.clone()).await.unwrap();
        assert!(is_told(&*log, &moved).await.unwrap());
        let later = Moved { tier: Tier::Cold, at_us: 10, bytes: 1, is_open: false };
        assert!(!is_told(&*log, &tier_changed(id, &later).unwrap()).await.unwrap());
        Catalog::load(Arc::clone(&log)).await.unwrap();
        assert_eq!(told(&*log, id).await, ["CREATED", "STREAM_ACTIVE", "TIER_CHANGED"]);
    }

    #[test]
    fn a_second_of_health_is_found_by_its_stream() {
        let health = Health {
            stream: StreamId::generate(),
            at_us: 7,
            bitrate_kbps: 1,
            video_kbps: 1,
            audio_kbps: 0,
            fps: 25.0,
            keyframe_interval_ms: None,
            av_drift_ms: None,
            dropped: 0,
            discontinuities: 0,
        };
        let [record] = &super::health(std::slice::from_ref(&health))[..] else { panic!("one") };
        assert_eq!(record.key, health.stream.0.as_bytes().as_slice());
        let said: Health = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        assert_eq!(said, health);
    }
}
