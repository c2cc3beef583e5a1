//! What happens to streams and how well they do, into the log's topics
//! `events` and `health`, for the lake and for whoever else subscribes.
//!
//! Enters: changes of the catalog, seconds of health. Leaves: records. Held: nothing.

use std::collections::BTreeMap;

use log::{NewRecord, Topic};
use records::{Health, StreamEvent};

use crate::catalog::StreamEntry;

/// The event of a stream's change, if its state changed.
#[must_use]
pub fn event(before: Option<&StreamEntry>, after: &StreamEntry, at_us: u64) -> Option<NewRecord> {
    if before.is_some_and(|before| before.state == after.state && before.deleted == after.deleted) {
        return None;
    }
    let mut detail = BTreeMap::from([
        ("title".to_owned(), after.title.clone()),
        ("category".to_owned(), after.category.clone()),
        ("sessions".to_owned(), after.sessions.to_string()),
    ]);
    if let Some(predecessor) = after.predecessor {
        detail.insert("predecessor".into(), predecessor.to_string());
    }
    if after.deleted {
        detail.insert("deleted".into(), "true".into());
    }
    let event = StreamEvent { kind: after.state.to_string(), at_us, detail };
    let partition = Topic::Events.partition(after.stream_id.shard());
    // Plain data with string keys always has a JSON form.
    let value = serde_json::to_vec(&event).ok()?;
    Some(NewRecord::new(partition, after.stream_id.0.as_bytes().to_vec(), value))
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

#[cfg(test)]
mod tests {
    use records::{StreamId, StreamState};

    use super::*;

    fn entry(state: StreamState) -> StreamEntry {
        StreamEntry {
            stream_id: StreamId::generate(),
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
