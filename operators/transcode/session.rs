//! One decoder at work, and the tee behind it.
//!
//! Enters: published samples from a keyframe on. Leaves: pictures, to the
//! [`Tee`]. Held: at most [`QUEUE`] samples and what the decoder holds. Ends
//! with end-of-stream (all is decoded, then the rungs are told to finish), an
//! error, or drop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks, AppSrc, AppSrcCallbacks};
use gstreamer_video::VideoMeta;
use records::{Codec, Kind, TrackInit};

use super::TranscodeError;
use super::candidates::Memory;
use super::chain::link;
use super::inbox::{Feed, Inbox};
use super::pipeline::{Contexts, Running};
use super::run::RunShared;
use super::tee::Tee;

/// Samples before the decoder: the queue that counts is the inbox.
const QUEUE: u64 = 4;
/// With work before it and nothing done for so long, a decoder hangs.
const STALL: Duration = Duration::from_secs(3);
/// So many samples without a picture: more than any codec reorders.
const UNANSWERED_MAX: usize = 64;

/// A decoder at work.
pub(super) struct Session {
    appsrc: AppSrc,
    running: Running,
    tee: Arc<Tee>,
    run: Arc<RunShared>,
    alive: Arc<AtomicBool>,
    pictures: Arc<AtomicU64>,
    // Samples wait since then, and how many pictures there had been.
    busy: Option<(Instant, u64)>,
    begun: bool,
}

impl Session {
    /// Builds a decoder and starts it in the background. Errors go to the
    /// inbox as alarms with this `serial`.
    pub fn start(
        run: &Arc<RunShared>,
        inbox: &Arc<Inbox>,
        serial: u64,
    ) -> Result<Self, TranscodeError> {
        let contexts = Contexts::default();
        let tee = Arc::new(Tee::new(Arc::clone(run), Arc::clone(&contexts)));
        let appsrc = AppSrc::builder()
            .caps(&caps(&run.video)?)
            .format(gst::Format::Time)
            .max_buffers(QUEUE)
            .max_bytes(0)
            .build();
        let nudge = Arc::clone(inbox);
        appsrc
            .set_callbacks(AppSrcCallbacks::builder().need_data(move |_, _| nudge.nudge()).build());

        let alive = Arc::new(AtomicBool::new(true));
        let pictures = Arc::new(AtomicU64::new(0));
        let appsink = AppSink::builder().sync(false).async_(false).max_buffers(1).build();
        appsink.set_callbacks(hand_to(&tee, run, &alive, &pictures));
        if run.path.frames == Memory::System {
            accept_any_stride(&appsink);
        }

        let pipeline = gst::Pipeline::new();
        let mut elements = vec![appsrc.clone().upcast::<gst::Element>()];
        elements.extend(run.path.decode_chain(&run.config).make()?);
        elements.push(appsink.upcast());
        link(&pipeline, &elements)?;

        let alarm = Arc::clone(inbox);
        let running = Running::new(pipeline, contexts, move |reason| alarm.alarm(serial, reason));
        let started = Arc::clone(inbox);
        running.start_soon(move |result| match result {
            Ok(()) => started.nudge(),
            Err(error) => started.alarm(serial, error.to_string()),
        });
        let run = Arc::clone(run);
        Ok(Self { appsrc, running, tee, run, alive, pictures, busy: None, begun: false })
    }

    /// Whether a sample may be fed now.
    pub fn has_room(&self) -> bool {
        self.running.is_ready() && self.appsrc.current_level_buffers() < QUEUE
    }

    /// A sample for the decoder; the first one must be a keyframe.
    pub fn feed(&mut self, feed: &Feed) {
        let first = !std::mem::replace(&mut self.begun, true);
        let timeline = &self.run.timeline;
        if first {
            timeline.begin(feed.dts.min(feed.pts));
        }
        let (pts, dts) = timeline.feed(feed.dts, feed.pts, feed.arrival_us, feed.realign);
        let data = with_headers(&self.run.video, feed);
        let mut buffer = gst::Buffer::from_slice(data);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_nseconds(pts));
            buffer.set_dts(gst::ClockTime::from_nseconds(dts));
            if !feed.keyframe {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        // Fails when the decoder stopped, and then an alarm says why.
        let _ = self.appsrc.push_buffer(buffer);
    }

    /// No more samples: decode what is there, then let the rungs finish.
    pub fn finish(&self) {
        if self.running.is_ready() {
            let _ = self.appsrc.end_of_stream();
        } else {
            self.tee.finish();
        }
    }

    /// Looks whether the decoder still works; to be called now and then.
    pub fn complaint(&mut self) -> Option<&'static str> {
        let pictures = self.pictures.load(Ordering::Relaxed);
        let waiting = self.appsrc.current_level_buffers() > 0 || !self.running.is_ready();
        match self.busy {
            _ if !waiting => self.busy = None,
            Some((since, before)) if before == pictures => {
                if since.elapsed() > STALL {
                    return Some("hangs");
                }
            }
            _ => self.busy = Some((Instant::now(), pictures)),
        }
        (!waiting && self.run.timeline.unanswered() > UNANSWERED_MAX).then_some("gives no pictures")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::Release);
        self.running.retire();
        self.tee.release();
    }
}

/// Tells the decoder that rows may be longer than the picture is wide: else it
/// copies every picture, since an appsink does not say.
fn accept_any_stride(appsink: &AppSink) {
    let Some(pad) = appsink.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        let Some(query) = info.query_mut() else { return gst::PadProbeReturn::Ok };
        match query.view_mut() {
            gst::QueryViewMut::Allocation(query) => {
                query.add_allocation_meta::<VideoMeta>(None);
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

fn hand_to(
    tee: &Arc<Tee>,
    run: &Arc<RunShared>,
    alive: &Arc<AtomicBool>,
    pictures: &Arc<AtomicU64>,
) -> AppSinkCallbacks {
    let (tee, run) = (Arc::clone(tee), Arc::clone(run));
    let (alive, pictures) = (Arc::clone(alive), Arc::clone(pictures));
    let at_end = (Arc::clone(&tee), Arc::clone(&alive));
    AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            pictures.fetch_add(1, Ordering::Relaxed);
            if !alive.load(Ordering::Acquire) {
                return Err(gst::FlowError::Flushing);
            }
            let ns = sample.buffer().and_then(|b| b.pts()).map(gst::ClockTime::nseconds);
            if let Some(ns) = ns
                && let Some(passed) = run.timeline.pass(ns)
            {
                tee.picture(&sample, ns, &passed);
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .eos(move |_| {
            let (tee, alive) = &at_end;
            if alive.load(Ordering::Acquire) {
                tee.finish();
            }
        })
        .build()
}

/// Caps of the published track, with its decoder configuration.
pub(super) fn caps(video: &TrackInit) -> Result<gst::Caps, TranscodeError> {
    let (media, format, alignment) = match video.codec {
        Codec::H264 => ("video/x-h264", "avc", "au"),
        Codec::Hevc => ("video/x-h265", "hvc1", "au"),
        Codec::Av1 => ("video/x-av1", "obu-stream", "tu"),
        Codec::Aac | Codec::Opus => {
            return Err(TranscodeError::Source { reason: "is sound, not pictures" });
        }
    };
    let Kind::Video { width, height, fps } = video.kind else {
        return Err(TranscodeError::Source { reason: "has no size" });
    };
    let (numer, denom) = fps.unwrap_or((video.timescale, video.sample_ticks.max(1)));
    let fits = |n: u32| i32::try_from(n).unwrap_or(i32::MAX).max(1);
    Ok(gst::Caps::builder(media)
        .field("stream-format", format)
        .field("alignment", alignment)
        .field("codec_data", gst::Buffer::from_slice(video.config.clone()))
        .field("width", i32::from(width))
        .field("height", i32::from(height))
        .field("framerate", gst::Fraction::new(fits(numer), fits(denom)))
        .build())
}

/// AV1's sequence header may be in the configuration alone, where not every
/// decoder looks; a keyframe without one is given it.
fn with_headers(video: &TrackInit, feed: &Feed) -> Bytes {
    let begins_with_sequence_header = feed.data.first().is_some_and(|b| (b >> 3) & 15 == 1);
    match video.config.get(4..) {
        Some(headers)
            if video.codec == Codec::Av1 && feed.keyframe && !begins_with_sequence_header =>
        {
            let mut data = BytesMut::with_capacity(headers.len() + feed.data.len());
            data.extend_from_slice(headers);
            data.extend_from_slice(&feed.data);
            data.freeze()
        }
        _ => feed.data.clone(),
    }
}
