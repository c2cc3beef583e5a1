//! What must hold across changes, restarts and races.

use log::Embedded;
use tempfile::TempDir;

use super::*;

async fn open(dir: &TempDir) -> Catalog {
    let log = Embedded::open(dir.path()).unwrap();
    Catalog::load(Arc::new(log)).await.unwrap()
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn streams_and_keys_survive_a_restart() {
    let dir = dir();
    let (made, key) = {
        let catalog = open(&dir).await;
        let (made, key) = catalog.create(" Chess ", "games").await.unwrap();
        assert_eq!((made.title.as_str(), made.category.as_str()), ("Chess", "games"));
        catalog.started(made.stream_id, 1).await.unwrap();
        (catalog.get(made.stream_id).unwrap(), key)
    };
    let catalog = open(&dir).await;
    assert_eq!(catalog.get(made.stream_id).unwrap(), made);
    assert_eq!(catalog.by_key(key.expose()), Some(made.stream_id));
    assert_eq!(catalog.live(), std::slice::from_ref(&made));
    catalog.started(made.stream_id, 2).await.unwrap();
    let again = catalog.get(made.stream_id).unwrap();
    assert_eq!((again.sessions, again.started_at_us), (2, made.started_at_us));
}

#[tokio::test]
async fn only_the_whole_key_opens() {
    let catalog = open(&dir()).await;
    let (made, key) = catalog.create("a", "").await.unwrap();
    let key = key.expose();
    for wrong in
        ["", "ms_", &key[1..], &key[..key.len() - 1], &key.to_uppercase(), &"x".repeat(9999)]
    {
        assert_eq!(catalog.by_key(wrong), None);
    }
    assert_eq!(catalog.by_key(key), Some(made.stream_id));
}

/// PEERS §3.14: the key must not leak.
#[tokio::test]
async fn nothing_on_disk_or_in_debug_shows_a_key() {
    let dir = dir();
    let key = {
        let catalog = open(&dir).await;
        let (made, key) = catalog.create("a", "").await.unwrap();
        assert!(!format!("{catalog:?} {made:?} {key:?}").contains(&key.expose()[3..]));
        key
    };
    let mut folders = vec![dir.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                let needle = &key.expose().as_bytes()[3..];
                assert!(!bytes.windows(needle.len()).any(|w| w == needle), "{}", path.display());
            }
        }
    }
}

#[tokio::test]
async fn a_rotated_key_replaces_the_old_one() {
    let dir = dir();
    let catalog = open(&dir).await;
    let (made, old) = catalog.create("a", "").await.unwrap();
    let new = catalog.rotate_key(made.stream_id).await.unwrap();
    drop(catalog);
    let catalog = open(&dir).await;
    assert_eq!(catalog.by_key(old.expose()), None);
    assert_eq!(catalog.by_key(new.expose()), Some(made.stream_id));
}

#[tokio::test]
async fn a_key_outlives_its_broadcast() {
    let dir = dir();
    let catalog = open(&dir).await;
    let (first, key) = catalog.create("Chess", "games").await.unwrap();
    let id = first.stream_id;
    let early = catalog.successor(id).await.unwrap_err();
    assert!(matches!(early, CatalogError::NotOver(_)), "{early}");
    catalog.started(id, 1).await.unwrap();
    catalog.set_state(id, StreamState::StreamComplete).await.unwrap();
    assert_eq!(catalog.by_key(key.expose()), Some(id), "until somebody publishes again");

    // Two publishers at once get the same successor.
    let (one, other) = tokio::join!(catalog.successor(id), catalog.successor(id));
    let next = one.unwrap();
    assert_eq!(next, other.unwrap());
    assert_eq!((next.title.as_str(), next.category.as_str()), ("Chess", "games"));
    assert_eq!((next.state, next.sessions), (StreamState::Created, 0));
    assert_eq!(next.predecessor, Some(id));
    catalog.set_state(next.stream_id, StreamState::StreamComplete).await.unwrap();
    let third = catalog.successor(next.stream_id).await.unwrap().stream_id;
    let (other, _) = catalog.create("Go", "").await.unwrap();
    let channel = [id, next.stream_id, third].into();
    for of in [id, next.stream_id, third] {
        assert_eq!(catalog.channel(of), channel, "from any of its broadcasts");
    }
    assert_eq!(catalog.channel(other.stream_id), [other.stream_id].into());
    assert!(catalog.channel(StreamId::generate()).is_empty());
    drop(catalog);

    let catalog = open(&dir).await;
    assert_eq!(catalog.by_key(key.expose()), Some(third));
    assert_eq!(catalog.get(id).unwrap().successor, Some(next.stream_id));
    assert!(matches!(catalog.rotate_key(id).await, Err(CatalogError::Over(_))));
    assert_eq!(catalog.list(|_| true).len(), 4);
    assert_eq!(catalog.channel(id), channel);
}

#[tokio::test]
async fn a_streamers_streams_stay_theirs() {
    let dir = dir();
    let catalog = open(&dir).await;
    let (ann, bob) = (UserId::at(1), UserId::at(2));
    let (operators, _) = catalog.create("a", "").await.unwrap();
    let (first, _) = catalog.create_for(ann, 2, "b", "").await.unwrap();
    let (second, _) = catalog.create_for(ann, 2, "c", "").await.unwrap();
    let refused = catalog.create_for(ann, 2, "d", "").await.unwrap_err();
    assert!(matches!(refused, CatalogError::TooMany(2)), "{refused}");
    catalog.create_for(bob, 2, "e", "").await.unwrap();
    // What went live or was deleted doesn't count.
    catalog.started(first.stream_id, 1).await.unwrap();
    catalog.create_for(ann, 2, "f", "").await.unwrap();
    catalog.delete(second.stream_id).await.unwrap();
    catalog.create_for(ann, 2, "g", "").await.unwrap();
    catalog.set_state(first.stream_id, StreamState::StreamComplete).await.unwrap();
    let next = catalog.successor(first.stream_id).await.unwrap();
    drop(catalog);
    let catalog = open(&dir).await;
    for (of, owner) in [(&operators, None), (&first, Some(ann)), (&next, Some(ann))] {
        assert_eq!(catalog.owner(of.stream_id), owner);
    }
    assert_eq!(catalog.owner(StreamId::generate()), None);
}

/// As servers wrote it before there were owners.
#[test]
fn an_entry_without_an_owner_is_the_operators() {
    let entry = fresh("a".into(), String::new());
    let text = serde_json::to_string(&entry).unwrap();
    assert!(!text.contains("owner"), "{text}");
    assert_eq!(serde_json::from_str::<StreamEntry>(&text).unwrap(), entry);
}

#[tokio::test]
async fn what_is_over_stays_over() {
    let catalog = open(&dir()).await;
    let (made, key) = catalog.create("a", "").await.unwrap();
    let id = made.stream_id;
    catalog.set_state(id, StreamState::StreamComplete).await.unwrap();
    let ended_at_us = catalog.get(id).unwrap().ended_at_us;
    assert!(ended_at_us >= Some(made.created_at_us));
    catalog.set_state(id, StreamState::StreamComplete).await.unwrap();
    let back = catalog.set_state(id, StreamState::Reconnecting).await;
    assert!(matches!(back, Err(CatalogError::Over(_))));
    assert!(matches!(catalog.started(id, 1).await, Err(CatalogError::Over(_))));

    catalog.delete(id).await.unwrap();
    catalog.delete(id).await.unwrap();
    let entry = catalog.get(id).unwrap();
    assert!(entry.deleted && entry.ended_at_us == ended_at_us);
    assert_eq!(catalog.by_key(key.expose()), None);
    assert!(matches!(catalog.successor(id).await, Err(CatalogError::NoSuccessor(_))));
}

#[tokio::test]
async fn forgotten_streams_are_gone_after_a_restart() {
    let dir = dir();
    let catalog = open(&dir).await;
    let (made, key) = catalog.create("a", "").await.unwrap();
    assert!(catalog.forget(made.stream_id).await.is_err(), "not while it may come back");
    catalog.set_state(made.stream_id, StreamState::StreamComplete).await.unwrap();
    catalog.forget(made.stream_id).await.unwrap();
    catalog.forget(made.stream_id).await.unwrap();
    assert_eq!((catalog.get(made.stream_id), catalog.by_key(key.expose())), (None, None));
    drop(catalog);
    assert!(open(&dir).await.list(|_| true).is_empty());
}

#[tokio::test]
async fn fields_are_bounded() {
    let catalog = open(&dir()).await;
    for (title, category) in
        [("", ""), ("  ", ""), (&*"x".repeat(201), ""), ("a", &*"x".repeat(101)), ("a\nb", "")]
    {
        let refused = catalog.create(title, category).await.unwrap_err();
        assert!(matches!(refused, CatalogError::Field { .. }), "{refused}");
    }
    catalog.create(&"ü".repeat(200), "").await.unwrap();
    let unknown = StreamId::generate();
    assert!(matches!(catalog.delete(unknown).await, Err(CatalogError::Unknown(_))));
}

#[tokio::test]
async fn concurrent_changes_lose_nothing() {
    let dir = dir();
    let catalog = open(&dir).await;
    let (made, _) = catalog.create("a", "").await.unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|session| {
            let (catalog, id) = (catalog.clone(), made.stream_id);
            tokio::spawn(async move {
                catalog.started(id, session + 1).await.unwrap();
                catalog.create("another", "").await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    drop(catalog);
    let catalog = open(&dir).await;
    assert_eq!(catalog.get(made.stream_id).unwrap().sessions, 20, "the highest, in any order");
    assert_eq!(catalog.list(|_| true).len(), 21);
}

/// A publisher is back before its earlier connection's end was noticed.
#[tokio::test]
async fn a_late_drop_does_not_touch_the_next_session() {
    let catalog = open(&dir()).await;
    let (made, _) = catalog.create("a", "").await.unwrap();
    let id = made.stream_id;
    catalog.started(id, 1).await.unwrap();
    catalog.started(id, 2).await.unwrap();
    catalog.dropped(id, 1).await.unwrap();
    assert_eq!(catalog.get(id).unwrap().state, StreamState::StreamActive);
    catalog.dropped(id, 2).await.unwrap();
    assert_eq!(catalog.get(id).unwrap().state, StreamState::Reconnecting);
    catalog.set_state(id, StreamState::StreamComplete).await.unwrap();
    catalog.dropped(id, 2).await.unwrap();
    assert_eq!(catalog.get(id).unwrap().state, StreamState::StreamComplete);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_split_log_and_view() {
    let dir = dir();
    let catalog = open(&dir).await;
    {
        let mut create = Box::pin(catalog.create("a", ""));
        // Polled once, then dropped: the change is under way.
        let _ = futures_util::poll!(create.as_mut());
    }
    // The next change waits for its turn behind it.
    catalog.create("b", "").await.unwrap();
    let shown = catalog.list(|_| true).len();
    drop(catalog);
    assert_eq!(open(&dir).await.list(|_| true).len(), shown);
}

#[tokio::test]
async fn an_unreadable_entry_is_named() {
    let dir = dir();
    let log: Arc<dyn Log> = Arc::new(Embedded::open(dir.path()).unwrap());
    log.append(Topic::Catalog, NewRecord::new(0, "user/1", "another entity")).await.unwrap();
    Catalog::load(Arc::clone(&log)).await.unwrap();
    log.append(Topic::Catalog, NewRecord::new(0, "stream/1", "{}")).await.unwrap();
    let refused = Catalog::load(log).await.unwrap_err();
    assert!(refused.to_string().contains("stream/1"), "{refused}");
}
