//! Pictures of what is on, made when somebody asks.
//!
//! Enters: requests, and keyframes from the viewers' window or a recording's
//! files. Leaves: JPEGs. Held: one per stream for [`FRESH`], so that a full front
//! page costs one decode per stream and interval; those of the [`OF_VIDEOS_MAX`]
//! videos that were made last. Never done here: deciding who may see them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use operators::transcode::thumbnail;
use parking_lot::Mutex;
use records::{StreamId, TrackInit};
use sinks::hls::Origin;
use sinks::hls::vod::{Library, VodError, Wanted};
use tokio::sync::Semaphore;

/// How old a picture may be.
const FRESH: Duration = Duration::from_secs(8);

/// Width in pixels at most.
const WIDTH: u32 = 640;

type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Option<Bytes>)>>>;

/// Pictures of videos that are kept; about 40 KiB each.
const OF_VIDEOS_MAX: usize = 500;

type OfVideos = VecDeque<(Wanted, Option<Bytes>)>;

/// Makes and keeps thumbnails.
pub struct Thumbnails {
    slots: Mutex<HashMap<StreamId, Slot>>,
    // A video's picture never changes; the oldest goes when there are too many.
    of_videos: Mutex<OfVideos>,
    // Decoding competes with encoding for the processor: one at a time.
    decoding: Semaphore,
}

impl Default for Thumbnails {
    fn default() -> Self {
        Self { slots: Mutex::default(), of_videos: Mutex::default(), decoding: Semaphore::new(1) }
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

    /// The key picture at `share` (0 to 1) of a video; none if it has no pictures.
    ///
    /// # Errors
    /// The recording can't be read; it may work later.
    pub async fn of_video(
        &self,
        video: Wanted,
        share: f64,
        library: &Library,
    ) -> Result<Option<Bytes>, VodError> {
        if let Some(known) = self.known(video) {
            return Ok(known);
        }
        // Before taking a turn: a store may be slow.
        let still = library.still(video, share).await?;
        // Never closed.
        let _turn = self.decoding.acquire().await;
        // Somebody may have made it meanwhile.
        if let Some(known) = self.known(video) {
            return Ok(known);
        }
        let picture = match still {
            Some((init, keyframe)) => make(video.stream, init, keyframe).await,
            None => None,
        };
        let mut of_videos = self.of_videos.lock();
        if of_videos.len() >= OF_VIDEOS_MAX {
            of_videos.pop_front();
        }
        of_videos.push_back((video, picture.clone()));
        Ok(picture)
    }

    fn known(&self, video: Wanted) -> Option<Option<Bytes>> {
        let of_videos = self.of_videos.lock();
        of_videos.iter().find(|(of, _)| *of == video).map(|(_, picture)| picture.clone())
    }

    /// The stream is over.
    pub fn forget(&self, stream: StreamId) {
        self.slots.lock().remove(&stream);
    }
}

async fn decode(stream: StreamId, origin: &Origin) -> Option<Bytes> {
    let (init, keyframe) = origin.latest_keyframe(stream)?;
    make(stream, init, keyframe).await
}

async fn make(stream: StreamId, init: TrackInit, keyframe: Bytes) -> Option<Bytes> {
    let made = tokio::task::spawn_blocking(move || thumbnail(&init, &keyframe, WIDTH));
    match made.await.ok()? {
        Ok(picture) => Some(picture),
        Err(error) => {
            tracing::debug!(%stream, %error, "no thumbnail");
            None
        }
    }
}
