//! All streams, and the way in and out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use parking_lot::RwLock;
use records::{Kind, Media, MediaBody, StreamId, TrackInit};

use super::reply::{self, CacheLifetimes};
use super::route::{Directives, Route};
use super::serve::{Request, serve};
use super::stream::{Context, Stream, due_us, wake};
use super::{
    Cold, HlsBody, HlsConfig, OriginMetrics, RestoredStream, StreamSnapshot, TrackSnapshot,
    multivariant, problem, thumbnail,
};

/// What viewers fetch, of all streams. Clones share it.
#[derive(Clone)]
pub struct Origin {
    inner: Arc<Inner>,
}

struct Inner {
    context: Context,
    streams: RwLock<HashMap<StreamId, Arc<Stream>>>,
}

impl Origin {
    /// An origin without streams; what leaves memory is read back from `cold`.
    /// `config` must be valid ([`HlsConfig::validate`]).
    #[must_use]
    pub fn new(config: HlsConfig, cold: Arc<dyn Cold>) -> Self {
        let lifetimes = CacheLifetimes::new(config.target_duration_s);
        let context = Context { config, lifetimes, cold, metrics: OriginMetrics::default() };
        Self { inner: Arc::new(Inner { context, streams: RwLock::default() }) }
    }

    /// Makes a stream known, before its first record. Nothing happens if it is known.
    pub fn open(&self, stream: StreamId, restored: Option<RestoredStream>) {
        let Inner { context, streams } = &*self.inner;
        streams
            .write()
            .entry(stream)
            .or_insert_with(|| Arc::new(Stream::new(stream, context, restored)));
    }

    /// Takes one record; see [`Origin::apply_all`].
    pub fn apply(&self, media: Media) {
        self.apply_all([media]);
    }

    /// Takes records in order, from one task at a time. What is there already
    /// is ignored, so a replay is harmless.
    ///
    /// Neighbours of one stream are taken in one step: no playlist shows a
    /// segment's last part without its end, whose hint would be abandoned.
    pub fn apply_all(&self, media: impl IntoIterator<Item = Media>) {
        let context = &self.inner.context;
        let metrics = &context.metrics;
        let mut media = media.into_iter().peekable();
        while let Some(first) = media.next() {
            let Some(stream) = self.stream(first.stream) else {
                metrics.repeats_total.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let mut begun = false;
            let mut state = stream.state.lock();
            let before = state.hot_bytes();
            let mut next = Some(first);
            while let Some(record) = next {
                begun |= matches!(record.body, MediaBody::Track(_) | MediaBody::End);
                let due_us = due_us(&record);
                if !state.apply(stream.id, record.body, context) {
                    metrics.repeats_total.fetch_add(1, Ordering::Relaxed);
                } else if let Some(due_us) = due_us {
                    metrics.part_latency.record(runtime::wall_us().saturating_sub(due_us));
                }
                next = media.next_if(|next| next.stream == stream.id);
            }
            let after = state.hot_bytes();
            let fresh = state.take_fresh();
            drop(state);
            wake(&fresh);
            // Wraps to a subtraction when bytes were let go of.
            metrics.hot_bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
            if begun {
                stream.begun.notify_waiters();
            }
        }
    }

    /// The broadcast is over, though no record says so (deleted, or drained at shutdown).
    pub fn end(&self, stream: StreamId) {
        self.apply(Media { stream, body: MediaBody::End });
    }

    /// Lets go of a stream's bytes that are stored; it is served from storage from now on.
    pub fn cool(&self, stream: StreamId) {
        let Inner { context, .. } = &*self.inner;
        let Some(stream) = self.stream(stream) else { return };
        let mut state = stream.state.lock();
        let before = state.hot_bytes();
        state.tracks.iter_mut().for_each(|track| track.cool_all(&*context.cold));
        let after = state.hot_bytes();
        drop(state);
        context.metrics.hot_bytes.fetch_sub(before - after, Ordering::Relaxed);
    }

    /// Forgets a stream; requests that wait for it are answered with 404.
    pub fn remove(&self, stream: StreamId) {
        let Some(stream) = self.inner.streams.write().remove(&stream) else { return };
        let hot_bytes = {
            let mut state = stream.state.lock();
            state.removed = true;
            state.hot_bytes()
        };
        self.inner.context.metrics.hot_bytes.fetch_sub(hot_bytes, Ordering::Relaxed);
        stream.wake_all();
    }

    /// Answers a request for `path`, which is what follows `/live/{stream}/`.
    ///
    /// A request for what is about to come is held until it is there, three
    /// target durations at most; dropping the future is how a client that
    /// vanished is forgotten.
    pub async fn respond(
        &self,
        stream: StreamId,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
        method: &Method,
    ) -> Response<HlsBody> {
        let context = &self.inner.context;
        if method == Method::OPTIONS {
            return reply::preflight();
        }
        let route = Route::parse(path);
        let mut blocking = false;
        let mut response = if method == Method::GET || method == Method::HEAD {
            let directives = match route {
                Some(Route::Media(_) | Route::IFrames(_)) => Directives::parse(query),
                _ => Ok(Directives::default()),
            };
            // An error in a directive is one of a blocking request.
            blocking = directives.map_or(true, |directives| directives.blocks());
            match (route, directives, self.stream(stream)) {
                (Some(route), Ok(directives), Some(stream)) => {
                    let request = Request { route, directives, headers, method };
                    match serve(context, &stream, &request).await {
                        Ok(response) => response,
                        Err(refusal) => problem(refusal.status, refusal.detail),
                    }
                }
                (Some(_), Err(detail), _) => problem(StatusCode::BAD_REQUEST, detail),
                (None, ..) => problem(StatusCode::NOT_FOUND, "a stream has no such resource"),
                (.., None) => problem(StatusCode::NOT_FOUND, "the stream is not live"),
            }
        } else {
            reply::wrong_method()
        };
        context.lifetimes.finish(&mut response, route, blocking);
        if method == Method::HEAD {
            *response.body_mut() = HlsBody::Empty;
        }
        response
    }

    /// A stream as its viewers see it. None: not open.
    #[must_use]
    pub fn snapshot(&self, stream: StreamId) -> Option<StreamSnapshot> {
        let target_duration_s = self.inner.context.config.target_duration_s;
        let stream = self.stream(stream)?;
        let state = stream.state.lock();
        let tracks = state
            .tracks
            .iter()
            .map(|track| {
                let rate = multivariant::bit_rate(track, target_duration_s);
                let listed_us: i64 =
                    track.listed().map(|seg| seg.meta.end_us - seg.meta.start_us).sum();
                TrackSnapshot {
                    rendition: track.rendition,
                    active: state.is_active(track.rendition),
                    peak_bps: rate.peak,
                    average_bps: rate.average,
                    listed_segments: track.listed().len(),
                    listed_s: listed_us as f64 / 1e6,
                    hot_bytes: track.hot_bytes,
                    last_msn: track.last().map(|(msn, _)| msn),
                    last_part: track.last().and_then(|(_, part)| part),
                    edge_wall_us: track.edge_wall_us(),
                }
            })
            .collect();
        Some(StreamSnapshot { ended: state.ended, tracks })
    }

    /// The newest key picture of the smallest rendition that has one in
    /// memory: its configuration and access unit, for thumbnails.
    #[must_use]
    pub fn latest_keyframe(&self, stream: StreamId) -> Option<(TrackInit, Bytes)> {
        let stream = self.stream(stream)?;
        let state = stream.state.lock();
        let pictures = state.tracks.iter().filter_map(thumbnail::latest_keyframe);
        pictures.min_by_key(|(init, _)| match init.kind {
            Kind::Video { width, height, .. } => u32::from(width) * u32::from(height),
            Kind::Audio { .. } => u32::MAX,
        })
    }

    /// Counters over all streams.
    #[must_use]
    pub fn metrics(&self) -> &OriginMetrics {
        &self.inner.context.metrics
    }

    fn stream(&self, stream: StreamId) -> Option<Arc<Stream>> {
        self.inner.streams.read().get(&stream).cloned()
    }
}
