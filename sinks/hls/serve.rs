//! Answers to requests, and how long they are held.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method, Response};
use records::{Pieces, Rendition};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::playlist::{Form, next_part};
use super::reply::{self, Refusal};
use super::route::{Directives, Route};
use super::stream::{Context, State, Stream};
use super::text::Text;
use super::track::{Arrived, Track};
use super::{HlsBody, InFile, Object};

type Answer<T> = Result<T, Refusal>;

const GONE: &str = "the stream was removed";
const NO_RENDITION: &str = "the stream has no such rendition";

/// A request, parsed.
pub(super) struct Request<'a> {
    pub(super) route: Route,
    pub(super) directives: Directives,
    pub(super) headers: &'a HeaderMap,
    pub(super) method: &'a Method,
}

pub(super) async fn serve(
    context: &Context,
    stream: &Stream,
    request: &Request<'_>,
) -> Answer<Response<HlsBody>> {
    let gzip = reply::accepts_gzip(request.headers);
    let playlist = |text: Arc<Text>| {
        let body = if gzip { text.gzip(&context.metrics.gzips_total) } else { text.plain() };
        reply::playlist(body, gzip)
    };
    let media =
        |body: HlsBody, is_init| reply::media(body, is_init, request.headers, request.method);
    match request.route {
        Route::Multivariant => multivariant(context, stream).await.map(playlist),
        Route::Media(rendition) => {
            media_playlist(context, stream, rendition, request.directives, false)
                .await
                .map(playlist)
        }
        Route::IFrames(rendition) if rendition.is_video() => {
            media_playlist(context, stream, rendition, request.directives, true).await.map(playlist)
        }
        Route::IFrames(_) => Err(Refusal::not_found("sound has no I-frames")),
        Route::Init(rendition, run) => {
            init(context, stream, rendition, run).await.map(|body| media(body, true))
        }
        Route::Segment(rendition, msn) => {
            segment(context, stream, rendition, msn).await.map(|body| media(body, false))
        }
        Route::Part(rendition, msn, index) => {
            part(context, stream, rendition, msn, index).await.map(|body| media(body, false))
        }
    }
}

/// Counts a request that waits, also when its client vanishes.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(gauge: &'a AtomicUsize) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Asks `look` at once and again whenever `woken`, until it has an answer.
/// None: there was none within `limit`.
async fn hold<T>(
    context: &Context,
    stream: &Stream,
    woken: &Notify,
    limit: Duration,
    mut look: impl FnMut(&mut State) -> Option<T>,
) -> Option<T> {
    if let Some(answer) = look(&mut stream.state.lock()) {
        return Some(answer);
    }
    let _waiting = Waiting::new(&context.metrics.waiting);
    let deadline = Instant::now() + limit;
    loop {
        // Registered before looking, so that nothing that comes between is missed.
        let mut notified = std::pin::pin!(woken.notified());
        notified.as_mut().enable();
        if let Some(answer) = look(&mut stream.state.lock()) {
            return Some(answer);
        }
        if timeout_at(deadline, notified).await.is_err() {
            return None;
        }
    }
}

/// Held until the whole ladder has begun, so that nobody gets half of it;
/// after [`super::HlsConfig::ladder_wait`] what there is has to do.
async fn multivariant(context: &Context, stream: &Stream) -> Answer<Arc<Text>> {
    let limit = context.config.ladder_wait;
    let whole = hold(context, stream, &stream.begun, limit, |state| {
        if state.removed {
            return Some(Err(Refusal::not_found(GONE)));
        }
        let ready = state.ended || state.ladder_is_whole();
        ready
            .then(|| state.multivariant(context).ok_or(Refusal::not_found("nothing was published")))
    });
    match whole.await {
        Some(answer) => answer,
        None => stream
            .state
            .lock()
            .multivariant(context)
            .ok_or_else(|| timed_out(context, "nothing is published yet")),
    }
}

fn timed_out(context: &Context, detail: &'static str) -> Refusal {
    context.metrics.timeouts_total.fetch_add(1, Ordering::Relaxed);
    Refusal::unavailable(detail)
}

/// Waits until a rendition that was announced begins; its notifiers then.
async fn arrivals(
    context: &Context,
    stream: &Stream,
    rendition: Rendition,
) -> Answer<Arc<Arrived>> {
    let limit = context.config.target_durations(3);
    let found = hold(context, stream, &stream.begun, limit, |state| {
        if state.removed {
            return Some(Err(Refusal::not_found(GONE)));
        }
        if let Some(track) = state.track(rendition) {
            return Some(Ok(Arc::clone(&track.arrived)));
        }
        let may_come = state.tracks.is_empty() || state.is_active(rendition);
        (state.ended || !may_come).then_some(Err(Refusal::not_found(NO_RENDITION)))
    });
    match found.await {
        Some(answer) => answer,
        None => Err(timed_out(context, "the rendition has not begun")),
    }
}

/// Blocking playlist reload (bis 6.2.5.2).
async fn media_playlist(
    context: &Context,
    stream: &Stream,
    rendition: Rendition,
    directives: Directives,
    iframes: bool,
) -> Answer<Arc<Text>> {
    let arrived = arrivals(context, stream, rendition).await?;
    let form = match (iframes, directives.skip) {
        (false, false) => Form::Full,
        (false, true) => Form::Delta,
        (true, false) => Form::IFrames,
        (true, true) => Form::IFramesDelta,
    };
    let limit = context.config.target_durations(3);
    let answer = hold(context, stream, &arrived.lists, limit, |state| {
        if state.removed {
            return Some(Err(Refusal::not_found(GONE)));
        }
        let ended = state.ended;
        let whole = state.ladder_is_whole();
        let track = state.track(rendition)?;
        // With ENDLIST directives are ignored.
        let ready = ended
            || match directives.msn {
                Some(msn) => match is_there(track, msn, directives.part.filter(|_| !iframes)) {
                    Ok(ready) => ready,
                    Err(refusal) => return Some(Err(refusal)),
                },
                // The first playlist has a segment, since many clients take
                // one without for broken, and is made when all have begun,
                // since PART-HOLD-BACK depends on all.
                None => !track.segments.is_empty() && (whole || track.segments.len() > 2),
            };
        if !ready {
            return None;
        }
        let text = state.playlist(rendition, form, context);
        Some(text.ok_or(Refusal::not_found(NO_RENDITION)))
    });
    match answer.await {
        Some(answer) => answer,
        None => Err(timed_out(
            context,
            "what the request waits for did not come in three target durations",
        )),
    }
}

/// Whether the playlist has segment `msn`, or part `part` of it.
fn is_there(track: &Track, msn: u64, part: Option<u32>) -> Answer<bool> {
    // The first segment to come, if there is none yet.
    let coming = track.next_msn().or(track.open.as_ref().map(|open| open.msn));
    let Some(coming) = coming else { return Ok(false) };
    // "The last segment" is `coming - 1`: at most two beyond it may be asked for.
    if msn > coming + 1 {
        return Err(Refusal::bad_request("_HLS_msn is more than two beyond the last segment"));
    }
    let parts = track.open.as_ref().map_or(0, |open| open.parts.len() as u32);
    if let Some(part) = part {
        // Parts beyond the last that may be asked for: three, or as many as
        // fit in three seconds (bis 6.2.5.2, Advance Part Limit).
        let target_us = track.part_target_us.max(1);
        let limit = if target_us < 1_000_000 { 3_000_000 / target_us } else { 3 };
        let beyond = match msn.cmp(&coming) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => i64::from(part) + 1 - i64::from(parts),
            std::cmp::Ordering::Greater => i64::from(part) + 1,
        };
        if beyond > limit {
            return Err(Refusal::bad_request("_HLS_part is too far beyond the last part"));
        }
    }
    if msn >= coming {
        return Ok(msn == coming && part.is_some_and(|part| part < parts));
    }
    // Past its parent's last part: part 0 of the next segment. A gap has no
    // last part to be past of.
    let Some(part) = part.filter(|_| msn + 1 == coming) else { return Ok(true) };
    let count = track.segment(msn).map_or(0, |seg| seg.part_count);
    Ok(count == 0 || part < count || parts > 0)
}

enum Found {
    Hot(HlsBody),
    /// In storage, of which this range; None: all of it.
    Cold(Object, Option<(u64, u64)>),
}

async fn init(
    context: &Context,
    stream: &Stream,
    rendition: Rendition,
    run: u64,
) -> Answer<HlsBody> {
    let found = {
        let mut state = stream.state.lock();
        let track = state.track(rendition).ok_or(Refusal::not_found(NO_RENDITION))?;
        match track.init(run) {
            Some(init) => match &init.live {
                Some((_, header)) => Found::Hot(header.clone().into()),
                None => Found::Cold(Object::Init { stream: stream.id, rendition, run }, None),
            },
            None => return Err(Refusal::not_found("no such initialization section")),
        }
    };
    fetch(context, found).await
}

async fn segment(
    context: &Context,
    stream: &Stream,
    rendition: Rendition,
    msn: u64,
) -> Answer<HlsBody> {
    let object = Object::Segment { stream: stream.id, rendition, msn };
    let found = {
        let mut state = stream.state.lock();
        let track = state.track(rendition).ok_or(Refusal::not_found(NO_RENDITION))?;
        match track.segment_mut(msn) {
            Some(seg) if seg.meta.gap => return Err(Refusal::not_found("the segment is a gap")),
            // Joined by the first who asks, for all who come after.
            Some(seg) if !seg.chunks.is_empty() => Found::Hot(HlsBody::Chunks {
                chunks: seg.chunks.iter_mut().map(Pieces::join).collect(),
                file: None,
            }),
            Some(_) => Found::Cold(object, None),
            None => return Err(Refusal::not_found("no such segment, or no longer")),
        }
    };
    let body = fetch(context, found).await?;
    let file = context.cold.file(object, body.len()).map(|file| InFile { file, offset: 0 });
    Ok(match body {
        HlsBody::Chunks { chunks, .. } => HlsBody::Chunks { chunks, file },
        HlsBody::Full(bytes) => HlsBody::Chunks { chunks: VecDeque::from([bytes]), file },
        HlsBody::Empty => HlsBody::Empty,
    })
}

/// A part; the one that is hinted at is held until all of it is there (bis 6.2.6).
async fn part(
    context: &Context,
    stream: &Stream,
    rendition: Rendition,
    msn: u64,
    index: u32,
) -> Answer<HlsBody> {
    let arrived = {
        let mut state = stream.state.lock();
        let track = state.track(rendition).ok_or(Refusal::not_found(NO_RENDITION))?;
        Arc::clone(&track.arrived)
    };
    let limit = context.config.target_durations(3);
    let found = hold(context, stream, &arrived.media, limit, |state| {
        if state.removed {
            return Some(Err(Refusal::not_found(GONE)));
        }
        let ended = state.ended;
        let id = stream.id;
        let track = state.track(rendition)?;
        if let Some(found) = find_part(id, track, msn, index) {
            return Some(found.ok_or(Refusal::not_found("the part is a gap, or no longer there")));
        }
        // Held only if it is the one that is hinted at; it stays so until it
        // comes or its segment ends without it.
        let hinted = !ended && next_part(track) == (msn, index);
        (!hinted).then_some(Err(Refusal::not_found("no such part, or it was abandoned")))
    });
    match found.await {
        Some(found) => fetch(context, found?).await,
        None => Err(timed_out(context, "the part did not come in three target durations")),
    }
}

/// None: not there (yet). Some(None): it was, or was never more than a tag.
fn find_part(
    stream: records::StreamId,
    track: &mut Track,
    msn: u64,
    index: u32,
) -> Option<Option<Found>> {
    let index = index as usize;
    if let Some(open) = track.open.as_mut().filter(|open| open.msn == msn) {
        let bytes = open.chunks.get_mut(index)?.join();
        return Some((!bytes.is_empty()).then(|| Found::Hot(bytes.into())));
    }
    let rendition = track.rendition;
    let seg = track.segment_mut(msn)?;
    let Some(part) = seg.parts.get(index) else {
        return if (index as u64) < u64::from(seg.part_count) { Some(None) } else { None };
    };
    if part.len == 0 {
        return Some(None);
    }
    Some(Some(match seg.chunks.get_mut(index) {
        Some(bytes) => Found::Hot(bytes.join().into()),
        None => {
            let first: u64 = seg.parts[..index].iter().map(|p| u64::from(p.len)).sum();
            let object = Object::Segment { stream, rendition, msn };
            Found::Cold(object, Some((first, first + u64::from(part.len) - 1)))
        }
    }))
}

/// Reads what isn't in memory.
async fn fetch(context: &Context, found: Found) -> Answer<HlsBody> {
    let (object, range) = match found {
        Found::Hot(body) => return Ok(body),
        Found::Cold(object, range) => (object, range),
    };
    context.metrics.cold_reads_total.fetch_add(1, Ordering::Relaxed);
    let bytes = context.cold.read(object).await.map_err(|error| {
        context.metrics.cold_errors_total.fetch_add(1, Ordering::Relaxed);
        Refusal::cold(&error)
    })?;
    match range {
        None => Ok(bytes.into()),
        Some((first, last)) if last < bytes.len() as u64 => {
            Ok(HlsBody::from(bytes).slice(first, last))
        }
        Some(_) => Err(Refusal::not_found("what is stored is shorter than the part")),
    }
}
