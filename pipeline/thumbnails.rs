//! Pictures of what is on, made when somebody asks.
//!
//! Enters: requests, and keyframes from the viewers' window. Leaves: JPEGs.
//! Held: one per stream for [`FRESH`]; requests that come meanwhile share it,
//! so a full front page costs one decode per stream and interval.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use operators::transcode::thumbnail;
use parking_lot::Mutex;
use records::StreamId;
use sinks::hls::Origin;
use tokio::sync::Semaphore;

/// How old a picture may be.
const FRESH: Duration = Duration::from_secs(8);

/// Width in pixels at most.
const WIDTH: u32 = 640;

type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Option<Bytes>)>>>;

/// Makes and keeps thumbnails.
pub struct Thumbnails {
    slots: Mutex<HashMap<StreamId, Slot>>,
    // Decoding competes with encoding for the processor: one at a time.
    decoding: Semaphore,
}

impl Default for Thumbnails {
    fn default() -> Self {
        Self { slots: Mutex::default(), decoding: Semaphore::new(1) }
    }
}

impl Thumbnails {
    /// A recent picture of `stream`; none if it has no pictures (yet).
    pub async fn get(&self, stream: StreamId, origin: &Origin) -> Option<Bytes> {
        let slot = Arc::clone(self.slots.lock().entry(stream).or_default());
        let mut slot = slot.lock().await;
        if let Some((made, picture)) = &*slot
            && made.elapsed() < FRESH
        {
            return picture.clone();
        }
        let _turn = self.decoding.acquire().await.ok()?;
        let picture = decode(stream, origin).await;
        *slot = Some((Instant::now(), picture.clone()));
        picture
    }

    /// The stream is over.
    pub fn forget(&self, stream: StreamId) {
        self.slots.lock().remove(&stream);
    }
}

async fn decode(stream: StreamId, origin: &Origin) -> Option<Bytes> {
    let (init, keyframe) = origin.latest_keyframe(stream)?;
    let made = tokio::task::spawn_blocking(move || thumbnail(&init, &keyframe, WIDTH));
    match made.await.ok()? {
        Ok(picture) => Some(picture),
        Err(error) => {
            tracing::debug!(%stream, %error, "no thumbnail");
            None
        }
    }
}
