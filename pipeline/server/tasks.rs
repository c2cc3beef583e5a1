//! What runs beside the dataflow for as long as the server does: most take
//! records off one of its edges.

use std::sync::Arc;
use std::time::Duration;

use accounts::Accounts;
use log::Log;
use records::{Health, Media, MediaBody, StreamId};
use runtime::EdgeReceiver;
use sinks::archive::{Announcement, Archive};
use tokio::sync::mpsc;

use crate::announcements::Ledger;
use crate::dataflow::Quarantined;
use crate::feed::Feed;
use crate::health::HealthBoard;
use crate::http::App;
use crate::journal;
use crate::registry::{Registry, TICK};

/// How often accounts are looked after.
const ACCOUNTS_EVERY: Duration = Duration::from_secs(3600);

/// Appends the archive's announcements to the log's topic `segments`, and says
/// which streams are complete there.
pub(super) fn announcer(
    log: Arc<dyn Log>,
    ledger: Arc<Ledger>,
    recordable: mpsc::Sender<StreamId>,
) -> impl Fn(&[(StreamId, Vec<u8>)]) -> Result<(), sinks::archive::AnnounceError> {
    let end = Announcement::End.encode();
    move |values| {
        let records = values
            .iter()
            .map(|(stream, value)| {
                let partition = log::Topic::Segments.partition(stream.shard());
                let key = stream.0.as_bytes().to_vec();
                log::NewRecord::new(partition, key, value.clone())
            })
            .collect();
        let offsets = log::wait(log.append_many(log::Topic::Segments, records))
            .map_err(|error| sinks::archive::AnnounceError(Box::new(error)))?;
        for ((stream, value), offset) in values.iter().zip(offsets) {
            ledger.note(*stream, offset);
            if *value == end {
                // Without room the recorder's next sweep finds it.
                let _ = recordable.try_send(*stream);
            }
        }
        Ok(())
    }
}

/// Parts and segments to the viewers' window.
pub(super) async fn show(from: EdgeReceiver<Media>, app: App) {
    let mut batch = Vec::new();
    loop {
        from.recv(&mut batch).await;
        let ended: Vec<_> = batch
            .iter()
            .filter(|media| matches!(media.body, MediaBody::End))
            .map(|media| media.stream)
            .collect();
        app.origin.apply_all(batch.drain(..));
        for stream in ended {
            app.thumbnails.forget(stream);
            app.health.forget(stream);
            // Waits for the log; parts of other streams may not.
            let registry = Arc::clone(&app.registry);
            tokio::spawn(async move { registry.ended(stream).await });
        }
    }
}

/// Segments to files.
pub(super) async fn store(from: EdgeReceiver<Media>, archive: Arc<Archive>) {
    let mut batch = Vec::new();
    loop {
        from.recv(&mut batch).await;
        batch.drain(..).for_each(|media| archive.push(media));
    }
}

pub(super) async fn watch_health(
    from: EdgeReceiver<Health>,
    board: Arc<HealthBoard>,
    feed: Arc<Feed>,
) {
    let mut batch = Vec::new();
    loop {
        from.recv(&mut batch).await;
        feed.push(journal::health(&batch));
        batch.drain(..).for_each(|health| board.record(health));
    }
}

pub(super) async fn watch_quarantine(
    mut out: mpsc::Receiver<Quarantined>,
    registry: Arc<Registry>,
) {
    while let Some(quarantined) = out.recv().await {
        registry.quarantined(quarantined).await;
    }
}

/// Replaces the key that signs sessions once it is old.
pub(super) async fn tend(accounts: Accounts) {
    let mut interval = tokio::time::interval(ACCOUNTS_EVERY);
    loop {
        interval.tick().await;
        if let Err(error) = accounts.maintain().await {
            tracing::error!(%error, "the key of sessions couldn't be replaced");
        }
    }
}

pub(super) async fn tick(registry: Arc<Registry>) {
    let mut interval = tokio::time::interval(TICK);
    loop {
        interval.tick().await;
        registry.tick();
    }
}
