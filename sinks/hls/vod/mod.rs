//! Recordings to viewers: finished broadcasts, and clips of them.
//!
//! ```text
//! archive::record ──► recording.json ──(Cold)──► Library ──► playlists, storyboard: made once
//! segment files ─────────────────────(Cold)────►    └──────► the same bodies as live
//! ```
//!
//! - **Enters**: requests for a video, which the caller found and allowed.
//! - **Leaves**: responses like the live origin's: gzip, ranges, files that the
//!   kernel sends. Nothing of low latency: all of it is there.
//! - **Held**: the recordings that were asked for last, with the playlists'
//!   texts and the download's layout that were; bounded by their number of segments.
//! - **Ends**: a recording's place when others need it, or with [`Library::forget`].
//! - **Never here**: deciding who may watch; writing.

mod kept;
mod mp4;
mod playlist;
mod recording;
mod still;
mod storyboard;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use parking_lot::Mutex;
use records::{Rendition, StreamId, TrackInit};
use tokio::sync::OnceCell;

pub use mp4::{Download, Piece};
pub use recording::{Moment, RecordedRendition, RecordedTrack, Recording, Stored, end_us};
pub use storyboard::{Sheet, sheet_number};

#[cfg(test)]
pub(crate) use recording::tests as tests_support;

use storyboard::Layout;

use super::reply::{self, Refusal};
use super::route::Route;
use super::text::Text;
use super::{Cold, ColdError, HlsBody, InFile, Object, problem};

/// Segments of all renditions whose metadata stay in memory: about 60 bytes each,
/// and 500 more if somebody downloads them.
const SEGMENTS_MAX: usize = 1_000_000;

/// What never changes may be kept for as long as caches like.
const IMMUTABLE: &str = "max-age=31536000, immutable";
/// A video that was taken off stops to begin after this long.
const LADDER: &str = "max-age=60";

/// Names what is to be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Whose recording.
    pub stream: StreamId,
    /// Which piece of it, in microseconds of playing time; None: all.
    pub piece_us: Option<(i64, i64)>,
}

/// The recording can't be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VodError {
    /// It isn't stored, or no longer.
    #[error("the recording is not stored")]
    Missing,
    /// The piece lies outside of it.
    #[error("the piece lies outside the recording")]
    Outside,
    /// Its description is damaged: an operator has to restore it.
    #[error("recording.json of stream {0} can't be read ({1}); restore it from a backup")]
    Damaged(StreamId, Arc<serde_json::Error>),
    /// Storage failed: a retry may help.
    #[error(transparent)]
    Storage(ColdError),
}

impl VodError {
    /// What a viewer is told: the status, and a sentence without our internals.
    #[must_use]
    pub fn answer(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Missing => ColdError::Missing.answer(),
            Self::Outside => (StatusCode::NOT_FOUND, "the clip lies outside its recording"),
            Self::Damaged(..) => (StatusCode::SERVICE_UNAVAILABLE, "storage failed; try again"),
            Self::Storage(error) => error.answer(),
        }
    }
}

impl From<ColdError> for VodError {
    fn from(error: ColdError) -> Self {
        match error {
            ColdError::Missing => Self::Missing,
            error => Self::Storage(error),
        }
    }
}

/// A recording with the playlists that were asked for.
struct Title {
    recording: Arc<Recording>,
    begin_at_us: i64,
    texts: Mutex<HashMap<Route, Arc<Text>>>,
    storyboard: OnceLock<Option<Arc<Text>>>,
    download: OnceCell<Arc<Download>>,
}

#[derive(Default)]
struct Shelf {
    // A cell without a value is being read; whoever asks meanwhile waits for it.
    titles: HashMap<Wanted, Arc<OnceCell<Arc<Title>>>>,
    // Those with a value and their segments, the longest unused first.
    order: VecDeque<(Wanted, usize)>,
    segments: usize,
}

/// Recordings and clips, to be played. Clones share it.
#[derive(Clone)]
pub struct Library {
    cold: Arc<dyn Cold>,
    shelf: Arc<Mutex<Shelf>>,
    gzips_total: Arc<AtomicU64>,
    // What of each broadcast isn't stored any more, whatever recording.json says.
    left_out: Arc<Mutex<HashMap<StreamId, Arc<[Rendition]>>>>,
}

impl Library {
    /// A library of what `cold` stores.
    #[must_use]
    pub fn new(cold: Arc<dyn Cold>) -> Self {
        let (shelf, gzips_total, left_out) = Default::default();
        Self { cold, shelf, gzips_total, left_out }
    }

    /// Forgets what is known of a stream's recording and its pieces: it changed, or is gone.
    pub fn forget(&self, stream: StreamId) {
        self.cold.forget(stream);
        let mut shelf = self.shelf.lock();
        shelf.titles.retain(|wanted, _| wanted.stream != stream);
        let gone: usize = shelf.order.iter().filter(|(w, _)| w.stream == stream).map(|o| o.1).sum();
        shelf.order.retain(|(wanted, _)| wanted.stream != stream);
        shelf.segments -= gone;
    }

    /// What a video holds.
    ///
    /// # Errors
    /// See [`VodError`].
    pub async fn recording(&self, wanted: Wanted) -> Result<Arc<Recording>, VodError> {
        Ok(Arc::clone(&self.title(wanted).await?.recording))
    }

    /// A key picture at `share` (0 to 1) of a video, of its smallest
    /// rendition: its configuration and access unit. None: it has none.
    ///
    /// # Errors
    /// See [`VodError`].
    pub async fn still(
        &self,
        wanted: Wanted,
        share: f64,
    ) -> Result<Option<(TrackInit, Bytes)>, VodError> {
        let recording = self.recording(wanted).await?;
        let Some(place) = still::place(&recording, share) else { return Ok(None) };
        let still::Place { rendition, run, msn, end } = place;
        let init = Object::Init { stream: wanted.stream, rendition, run };
        let segment = Object::Segment { stream: wanted.stream, rendition, msn };
        let (init, segment) = (self.read(init).await?, self.read(segment).await?);
        let sample = still::sample(&place, &segment.slice(..segment.len().min(end as usize)));
        Ok(still::configuration(&init).zip(sample))
    }

    /// The key pictures of sheet `number` of a video's storyboard, which are
    /// what `storyboard-{number}.jpg` shows. None: it has no such sheet.
    ///
    /// # Errors
    /// See [`VodError`].
    pub async fn sheet(&self, wanted: Wanted, number: usize) -> Result<Option<Sheet>, VodError> {
        let recording = self.recording(wanted).await?;
        let Some(layout) = Layout::of(&recording) else { return Ok(None) };
        let cold = Arc::clone(&self.cold);
        // Only where each picture is: a segment of the source may have megabytes.
        let begin = move |object, length: Option<u32>| {
            let file = cold.open(object)?;
            let read = || {
                let length = length.map_or_else(|| file.length(), |length| Ok(length.into()));
                let mut bytes = vec![0; usize::try_from(length?).map_err(io::Error::other)?];
                file.read_exact_at(&mut bytes, 0)?;
                Ok(Bytes::from(bytes))
            };
            read().map_err(|error| ColdError::Storage(Arc::new(error)))
        };
        let runtime = tokio::runtime::Handle::current();
        let read = tokio::task::spawn_blocking(move || {
            let _inside = runtime.enter();
            layout.sheet(&recording, wanted.stream, number, begin)
        });
        read.await.unwrap_or_else(died).map_err(VodError::from)
    }

    /// The video as one MP4 file: its best picture and its sound. The first
    /// who asks waits until every segment's header is read.
    ///
    /// # Errors
    /// See [`VodError`].
    pub async fn download(&self, wanted: Wanted) -> Result<Arc<Download>, VodError> {
        let title = self.title(wanted).await?;
        let plan = async {
            let (recording, cold) = (Arc::clone(&title.recording), Arc::clone(&self.cold));
            let runtime = tokio::runtime::Handle::current();
            let planned = tokio::task::spawn_blocking(move || {
                mp4::plan(&recording, wanted.stream, |object| {
                    let _inside = runtime.enter();
                    cold.open(object)
                })
            });
            planned.await.unwrap_or_else(died).map(Arc::new).map_err(VodError::from)
        };
        title.download.get_or_try_init(|| plan).await.cloned()
    }

    /// The bytes of a piece of a download, as slices of its segment.
    ///
    /// # Errors
    /// See [`VodError`].
    pub async fn piece(&self, piece: &Piece) -> Result<Vec<Bytes>, VodError> {
        let segment = self.read(piece.object).await?;
        let slices = piece.places.iter().map(|(at, len)| {
            let (from, to) = (*at as usize, (at + len) as usize);
            (to <= segment.len()).then(|| segment.slice(from..to))
        });
        slices.collect::<Option<_>>().ok_or(VodError::Missing)
    }

    /// Answers a request for `path`, which is what follows the video's name.
    /// `is_shared`: caches between us and the viewer may keep it.
    pub async fn respond(
        &self,
        wanted: Wanted,
        path: &str,
        headers: &HeaderMap,
        method: &Method,
        is_shared: bool,
    ) -> Response<HlsBody> {
        if method == Method::OPTIONS {
            return reply::preflight();
        }
        let route = Route::parse(path);
        let is_storyboard = path == storyboard::NAME;
        let mut response = match route {
            _ if method != Method::GET && method != Method::HEAD => reply::wrong_method(),
            _ if is_storyboard => match self.storyboard(wanted, headers).await {
                Ok(response) => response,
                Err(refusal) => problem(refusal.status, refusal.detail),
            },
            None | Some(Route::Part(..)) => {
                problem(StatusCode::NOT_FOUND, "a video has no such resource")
            }
            Some(route) => match self.answer(wanted, route, headers, method).await {
                Ok(response) => response,
                Err(refusal) => problem(refusal.status, refusal.detail),
            },
        };
        let lifetime = if route == Some(Route::Multivariant) { LADDER } else { IMMUTABLE };
        let is_text = is_storyboard || route.is_some_and(Route::is_playlist);
        finish(&mut response, lifetime, is_text, is_shared);
        if method == Method::HEAD {
            *response.body_mut() = HlsBody::Empty;
        }
        response
    }

    async fn storyboard(
        &self,
        wanted: Wanted,
        headers: &HeaderMap,
    ) -> Result<Response<HlsBody>, Refusal> {
        let title = self.title(wanted).await.map_err(|error| refusal(wanted, &error))?;
        let text = title.storyboard.get_or_init(|| {
            Layout::of(&title.recording).map(|layout| Arc::new(Text::new(layout.vtt())))
        });
        let text = text.as_ref().ok_or(Refusal::not_found("the video has no pictures"))?;
        let gzip = reply::accepts_gzip(headers);
        let body = if gzip { text.gzip(&self.gzips_total) } else { text.plain() };
        let mut response = reply::playlist(body, gzip);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/vtt"));
        Ok(response)
    }

    async fn answer(
        &self,
        wanted: Wanted,
        route: Route,
        headers: &HeaderMap,
        method: &Method,
    ) -> Result<Response<HlsBody>, Refusal> {
        let title = self.title(wanted).await.map_err(|error| refusal(wanted, &error))?;
        let recording = &title.recording;
        let gap = Refusal::not_found("the video has no such segment");
        let object = match route {
            Route::Segment(rendition, msn) => {
                let at = recording.moments.binary_search_by_key(&msn, |m| m.msn);
                let track = track(recording, rendition)?;
                let stored = at.ok().and_then(|at| track.stored.get(at)?.as_ref());
                stored.ok_or(gap)?;
                Object::Segment { stream: wanted.stream, rendition, msn }
            }
            Route::Init(rendition, run) => {
                let track = track(recording, rendition)?;
                let known = track.inits.iter().any(|(of, _)| *of == run);
                known.then_some(()).ok_or(gap)?;
                Object::Init { stream: wanted.stream, rendition, run }
            }
            _ => {
                let text = title.text(route)?;
                let gzip = reply::accepts_gzip(headers);
                let body = if gzip { text.gzip(&self.gzips_total) } else { text.plain() };
                return Ok(reply::playlist(body, gzip));
            }
        };
        let bytes = self.read(object).await.map_err(|error| refusal(wanted, &error))?;
        // Read just now, so it is whole and opening it doesn't wait.
        let file = self.cold.reopen(object, bytes.len() as u64);
        let file = file.map(|file| InFile { file, offset: 0 });
        let body = HlsBody::Chunks { chunks: VecDeque::from([bytes]), file };
        Ok(reply::media(body, matches!(route, Route::Init(..)), headers, method))
    }

    async fn read(&self, object: Object) -> Result<Bytes, VodError> {
        self.cold.read(object).await.map_err(VodError::from)
    }

    async fn title(&self, wanted: Wanted) -> Result<Arc<Title>, VodError> {
        let cell = Arc::clone(self.shelf.lock().titles.entry(wanted).or_default());
        let outcome = cell.get_or_try_init(|| self.load(wanted)).await.cloned();
        self.shelf.lock().settle(wanted, &outcome);
        outcome
    }

    async fn load(&self, wanted: Wanted) -> Result<Arc<Title>, VodError> {
        let stream = wanted.stream;
        let text = self.read(Object::Recording { stream }).await?;
        // Hours of it are megabytes of text.
        let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&text)).await;
        let whole: Recording = match parsed {
            Ok(parsed) => parsed.map_err(|e| VodError::Damaged(stream, Arc::new(e)))?,
            Err(died) => {
                let error = Arc::new(io::Error::other(died));
                return Err(VodError::Storage(ColdError::Storage(error)));
            }
        };
        let left_out = self.left_out.lock().get(&stream).cloned();
        let whole = whole.without(left_out.as_deref().unwrap_or_default());
        let (recording, begin_at_us) = match wanted.piece_us {
            None => (whole, 0),
            Some((from_us, to_us)) => {
                let (piece, begins_us) = whole.cut(from_us, to_us).ok_or(VodError::Outside)?;
                (piece, (from_us - begins_us).max(0))
            }
        };
        let recording = Arc::new(recording);
        Ok(Arc::new(Title {
            recording,
            begin_at_us,
            texts: Mutex::default(),
            storyboard: OnceLock::new(),
            download: OnceCell::new(),
        }))
    }
}

impl Shelf {
    /// Keeps what was read, within the budget; forgets what failed.
    fn settle(&mut self, wanted: Wanted, outcome: &Result<Arc<Title>, VodError>) {
        match (outcome, self.order.iter().position(|(of, _)| *of == wanted)) {
            (Ok(_), Some(at)) => {
                let used = self.order.remove(at);
                self.order.extend(used);
            }
            (Ok(title), None) if self.titles.contains_key(&wanted) => {
                let recording = &title.recording;
                let segments = recording.moments.len() * (recording.tracks.len() + 1);
                self.segments += segments;
                self.order.push_back((wanted, segments));
            }
            (Ok(_), None) => {}
            (Err(_), _) => {
                self.titles.remove(&wanted);
            }
        }
        // The newest stays, however long it is.
        while self.segments > SEGMENTS_MAX && self.order.len() > 1 {
            let Some((oldest, segments)) = self.order.pop_front() else { break };
            self.segments -= segments;
            self.titles.remove(&oldest);
        }
    }
}

impl Title {
    /// A playlist's text, made when it is first asked for.
    fn text(&self, route: Route) -> Result<Arc<Text>, Refusal> {
        if let Some(known) = self.texts.lock().get(&route) {
            return Ok(Arc::clone(known));
        }
        let recording = &*self.recording;
        let text = match route {
            Route::Multivariant => playlist::multivariant(recording, self.begin_at_us)
                .ok_or(Refusal::not_found("nothing was published"))?,
            Route::IFrames(rendition) if !rendition.is_video() => {
                return Err(Refusal::not_found("sound has no I-frames"));
            }
            Route::Media(rendition) | Route::IFrames(rendition) => {
                let iframes = matches!(route, Route::IFrames(_));
                playlist::media(recording, track(recording, rendition)?, iframes)
            }
            _ => return Err(Refusal::not_found("a video has no such resource")),
        };
        let text = Arc::new(Text::new(text));
        Ok(Arc::clone(self.texts.lock().entry(route).or_insert(text)))
    }
}

fn track(recording: &Recording, rendition: Rendition) -> Result<&RecordedTrack, Refusal> {
    let mut tracks = recording.tracks.iter();
    let found = tracks.find(|track| track.rendition == rendition);
    found.ok_or(Refusal::not_found("the video has no such rendition"))
}

fn refusal(wanted: Wanted, error: &VodError) -> Refusal {
    if matches!(error, VodError::Damaged(..) | VodError::Storage(_)) {
        tracing::warn!(stream = %wanted.stream, %error, "a video can't be played");
    }
    let (status, detail) = error.answer();
    Refusal { status, detail }
}

/// The task that read or planned came to no end.
fn died<T>(error: tokio::task::JoinError) -> Result<T, ColdError> {
    Err(ColdError::Storage(Arc::new(io::Error::other(error))))
}

/// Adds what every response has. `is_text`: it may be sent as gzip.
fn finish(response: &mut Response<HlsBody>, lifetime: &str, is_text: bool, is_shared: bool) {
    let is_ok = response.status().is_success();
    let who = if is_shared { "public" } else { "private" };
    let cache = if is_ok { format!("{who}, {lifetime}") } else { "no-store".to_owned() };
    let length = response.body().len();
    let headers = response.headers_mut();
    if let Ok(cache) = HeaderValue::try_from(cache) {
        headers.insert(header::CACHE_CONTROL, cache);
    }
    headers.insert(header::CONTENT_LENGTH, length.into());
    if is_text {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    reply::cors(headers);
}

#[cfg(test)]
mod tests;
