//! Pictures of what is on, made when somebody asks.
//!
//! - **Enters**: requests, and keyframes from the viewers' window or a recording's files.
//! - **Leaves**: JPEGs.
//! - **Held**: one per stream for [`FRESH`], so that a full front page costs one
//!   decode per stream and interval; those of the [`OF_VIDEOS_MAX`] videos that
//!   were made last; [`SPRITES_BYTES_MAX`] of storyboards. In memory rather
//!   than beside the recording: a sheet is made in a fraction of a second, few videos
//!   are sought in at a time, and caches may keep what they have; files would have to
//!   be stored, moved and deleted wherever recordings are, and for each clip.
//! - **Ends**: when others need the place, or the stream or video is gone.
//! - **Never here**: deciding who may see them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use operators::transcode::{Grid, sprite, thumbnail};
use parking_lot::Mutex;
use records::{StreamId, TrackInit};
use sinks::hls::Origin;
use sinks::hls::vod::{Library, VodError, Wanted};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How old a picture may be.
const FRESH: Duration = Duration::from_secs(8);

/// Width in pixels at most.
const WIDTH: u32 = 640;

type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Option<Bytes>)>>>;

/// Pictures of videos that are kept; about 40 KiB each.
const OF_VIDEOS_MAX: usize = 500;

/// Sheets of storyboards that are kept, together: those of some hundred videos.
const SPRITES_BYTES_MAX: usize = 64 << 20;
/// What keeping one takes beside its bytes, so that empty ones are bounded too.
const SPRITE_BYTES: usize = 256;

type OfVideos = VecDeque<(Wanted, Option<Bytes>)>;

/// Makes and keeps thumbnails.
pub struct Thumbnails {
    slots: Mutex<HashMap<StreamId, Slot>>,
    // A video's picture never changes; the oldest goes when there are too many.
    of_videos: Mutex<OfVideos>,
    sprites: Mutex<Sprites>,
    // Decoding competes with encoding for the processor: one at a time.
    decoding: Arc<Semaphore>,
    // Sheets wait for each other first: however many are asked for, a picture
    // of what is on waits for one of them at most.
    sheets: Semaphore,
}

/// Sheets of storyboards, the oldest first. None: it has no picture.
#[derive(Default)]
struct Sprites {
    made: VecDeque<(Wanted, usize, Option<Bytes>)>,
    bytes: usize,
}

impl Default for Thumbnails {
    fn default() -> Self {
        Self {
            slots: Mutex::default(),
            of_videos: Mutex::default(),
            sprites: Mutex::default(),
            decoding: Arc::new(Semaphore::new(1)),
            sheets: Semaphore::new(1),
        }
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
        let turn = Arc::clone(&self.decoding).acquire_owned().await.ok()?;
        let picture = decode(stream, origin, turn).await;
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
        let Ok(turn) = Arc::clone(&self.decoding).acquire_owned().await else { return Ok(None) };
        // Somebody may have made it meanwhile.
        if let Some(known) = self.known(video) {
            return Ok(known);
        }
        let picture = match still {
            Some((init, keyframe)) => make(video.stream, init, keyframe, turn).await,
            None => None,
        };
        let mut of_videos = self.of_videos.lock();
        if of_videos.len() >= OF_VIDEOS_MAX {
            of_videos.pop_front();
        }
        of_videos.push_back((video, picture.clone()));
        Ok(picture)
    }

    /// Sheet `number` of a video's storyboard; none if it has no such sheet, or
    /// none of its pictures can be decoded.
    ///
    /// # Errors
    /// The recording can't be read; see [`VodError`].
    pub async fn sprite(
        &self,
        video: Wanted,
        number: usize,
        library: &Library,
    ) -> Result<Option<Bytes>, VodError> {
        if let Some(known) = self.sprites.lock().get(video, number) {
            return Ok(known);
        }
        // Neither is ever closed.
        let Ok(_turn) = self.sheets.acquire().await else { return Ok(None) };
        if let Some(known) = self.sprites.lock().get(video, number) {
            return Ok(known);
        }
        // Before the turn to decode, which isn't to wait for storage.
        let Some(sheet) = library.sheet(video, number).await? else { return Ok(None) };
        let Ok(turn) = Arc::clone(&self.decoding).acquire_owned().await else { return Ok(None) };
        let made = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let grid = Grid { columns: sheet.columns, tiles: sheet.tiles, tile: sheet.tile };
            sprite(&sheet.pictures, grid)
        });
        let Ok(made) = made.await else { return Ok(None) };
        let made = made.inspect_err(|error| {
            tracing::debug!(stream = %video.stream, number, %error, "no sheet of a storyboard");
        });
        let made = made.ok();
        self.sprites.lock().keep(video, number, made.clone());
        Ok(made)
    }

    /// The video is gone.
    pub fn forget_video(&self, video: Wanted) {
        self.of_videos.lock().retain(|(of, _)| *of != video);
        self.sprites.lock().forget(video);
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

impl Sprites {
    fn get(&self, video: Wanted, number: usize) -> Option<Option<Bytes>> {
        let mut made = self.made.iter();
        let found = made.find(|(of, sheet, _)| (*of, *sheet) == (video, number));
        found.map(|(_, _, sprite)| sprite.clone())
    }

    fn keep(&mut self, video: Wanted, number: usize, sprite: Option<Bytes>) {
        self.bytes += cost(sprite.as_ref());
        self.made.push_back((video, number, sprite));
        while self.bytes > SPRITES_BYTES_MAX
            && let Some((_, _, oldest)) = self.made.pop_front()
        {
            self.bytes -= cost(oldest.as_ref());
        }
    }

    fn forget(&mut self, video: Wanted) {
        self.made.retain(|(of, _, _)| *of != video);
        self.bytes = self.made.iter().map(|(_, _, sprite)| cost(sprite.as_ref())).sum();
    }
}

fn cost(sprite: Option<&Bytes>) -> usize {
    sprite.map_or(0, Bytes::len) + SPRITE_BYTES
}

async fn decode(stream: StreamId, origin: &Origin, turn: OwnedSemaphorePermit) -> Option<Bytes> {
    let (init, keyframe) = origin.latest_keyframe(stream)?;
    make(stream, init, keyframe, turn).await
}

/// The turn is over when decoding is, even if nobody waits for it any more.
async fn make(
    stream: StreamId,
    init: TrackInit,
    keyframe: Bytes,
    turn: OwnedSemaphorePermit,
) -> Option<Bytes> {
    let made = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        thumbnail(&init, &keyframe, WIDTH)
    });
    match made.await.ok()? {
        Ok(picture) => Some(picture),
        Err(error) => {
            tracing::debug!(%stream, %error, "no thumbnail");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sheets_are_kept_within_their_budget_and_go_with_their_video() {
        let [first, second] = [0, 1]
            .map(|n| Wanted { stream: StreamId::generate(), piece_us: (n > 0).then_some((0, 1)) });
        let mut sprites = Sprites::default();
        let large = Bytes::from(vec![0; SPRITES_BYTES_MAX / 3]);
        sprites.keep(first, 0, Some(large.clone()));
        sprites.keep(first, 1, None);
        sprites.keep(second, 0, Some(large.clone()));
        assert_eq!(sprites.get(first, 0), Some(Some(large.clone())));
        assert_eq!(sprites.get(first, 1), Some(None), "known to have no picture");
        assert_eq!(sprites.get(first, 2), None);
        sprites.keep(second, 1, Some(large.clone()));
        assert_eq!(sprites.get(first, 0), None, "the oldest went");
        assert!(sprites.bytes <= SPRITES_BYTES_MAX);
        sprites.forget(second);
        assert_eq!(sprites.get(second, 1), None);
        assert_eq!(sprites.bytes, SPRITE_BYTES);
    }
}
