//! One encoder at work: raw pictures in, H.264 access units out.
//!
//! ```text
//! push ──► appsrc ! [upload] ! scaler ! [download] ! encoder ! appsink ──► Output
//!                ▲                                   ▲ keyframe, just before its picture
//!                └ a level of the Pyramid, which the scaler then lets through as it is
//! ```
//!
//! Enters: decoded pictures of which those that begin a segment are marked, or
//! what stands for them until this rung's thread asks for them in its size.
//! Leaves: access units, to the rung's [`Output`]. Held: at most
//! `raw_frames_max` pictures; a push beyond waits, which is how a slow encoder
//! slows the decoder. Ends with end-of-stream (delivers all), an error, or drop.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks, AppSrc};
use gstreamer_video::UpstreamForceKeyUnitEvent;
use parking_lot::Mutex;
use records::{Codec, Kind, TrackInit};

use super::TranscodeError;
use super::candidates::Path;
use super::chain::{Chain, Step, link};
use super::ladder::Target;
use super::output::Output;
use super::pipeline::{Contexts, Running};
use super::scale::Scaled;

/// What an encoder is made from.
pub(super) struct RungSpec<'a> {
    pub path: &'a Path,
    pub chain: Chain,
    pub target: &'a Target,
    /// The source's track: timescale and grid are kept.
    pub source: &'a TrackInit,
    pub raw_frames_max: u32,
    pub contexts: Contexts,
}

/// An encoder at work.
pub(super) struct RungEncoder {
    appsrc: AppSrc,
    running: Arc<Running>,
    /// Timestamps of pictures that must become keyframes.
    keys: Arc<Mutex<VecDeque<u64>>>,
    /// Pictures behind their placeholders, by timestamp: as many as the appsrc holds.
    scaled: Arc<Mutex<VecDeque<(u64, Scaled)>>>,
}

impl RungEncoder {
    /// Builds and starts an encoder that delivers to `output` as `token`.
    /// `on_error` hears of its first error; it may only signal.
    pub fn start(
        spec: &RungSpec<'_>,
        output: &Arc<Output>,
        token: u64,
        on_error: impl Fn(String) + Send + Sync + 'static,
    ) -> Result<Self, TranscodeError> {
        let appsrc = AppSrc::builder()
            .format(gst::Format::Time)
            .max_buffers(u64::from(spec.raw_frames_max))
            .max_bytes(0)
            .block(true)
            .build();
        let appsink = AppSink::builder().sync(false).async_(false).build();

        let steps = spec.chain.make()?;
        let keys = Arc::<Mutex<VecDeque<u64>>>::default();
        let position = spec.chain.0.iter().position(
            |step| matches!(step, Step::Element { factory, .. } if *factory == spec.path.encoder.element),
        );
        let encoder = position.and_then(|index| steps.get(index));
        encoder.map(|encoder| force_keyframes(encoder, &keys)).transpose()?;

        let scaled = Arc::<Mutex<VecDeque<(u64, Scaled)>>>::default();
        put_in_place(&appsrc, &scaled);

        let mut elements = vec![appsrc.clone().upcast::<gst::Element>()];
        elements.extend(steps);
        elements.push(appsink.clone().upcast());
        let pipeline = gst::Pipeline::new();
        link(&pipeline, &elements)?;
        let failed_output = Arc::clone(output);
        let running = Arc::new_cyclic(|running: &Weak<Running>| {
            let running = running.clone();
            Running::new(pipeline, Arc::clone(&spec.contexts), move |reason| {
                on_error(reason);
                failed_output.ended(token);
                // Releases the decoder if it waits for room in this encoder.
                if let Some(running) = running.upgrade() {
                    running.retire();
                }
            })
        });
        appsink.set_callbacks(deliver_to(
            Arc::clone(output),
            token,
            spec,
            Arc::downgrade(&running),
        ));
        running.start()?;
        Ok(Self { appsrc, running, keys, scaled })
    }

    /// Hands over a picture, as it was decoded unless it can be had `scaled`;
    /// waits for room. False: the encoder is gone.
    #[must_use]
    pub fn push(
        &self,
        sample: &gst::Sample,
        scaled: Option<Scaled>,
        ns: u64,
        keyframe: bool,
    ) -> bool {
        if self.running.has_failed() {
            return false;
        }
        if keyframe {
            self.keys.lock().push_back(ns);
        }
        let Some(scaled) = scaled else { return self.appsrc.push_sample(sample).is_ok() };
        let placeholder = scaled.placeholder();
        self.scaled.lock().push_back((ns, scaled));
        self.appsrc.push_sample(&placeholder).is_ok()
    }

    /// No more pictures: what is held is delivered, then the output is told.
    pub fn finish(&self) {
        // Fails when it is gone already, and then the output was told.
        let _ = self.appsrc.end_of_stream();
    }

    /// For whoever must release a decoder that waits for room here.
    pub fn running(&self) -> Arc<Running> {
        Arc::clone(&self.running)
    }
}

/// Makes scaled pictures in the thread of the rung that wants them, once they
/// leave its queue.
fn put_in_place(appsrc: &AppSrc, scaled: &Arc<Mutex<VecDeque<(u64, Scaled)>>>) {
    let Some(source) = appsrc.static_pad("src") else { return };
    let scaled = Arc::clone(scaled);
    source.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(pts) = info.buffer().and_then(|buffer| buffer.pts()) else {
            return gst::PadProbeReturn::Ok;
        };
        let mut waiting = scaled.lock();
        while waiting.front().is_some_and(|(ns, _)| *ns < pts.nseconds()) {
            waiting.pop_front();
        }
        let found = waiting.pop_front_if(|(ns, _)| *ns == pts.nseconds());
        drop(waiting);
        let Some((_, picture)) = found else { return gst::PadProbeReturn::Ok };
        match picture.make() {
            Some(buffer) => {
                info.data = Some(gst::PadProbeData::Buffer(buffer));
                gst::PadProbeReturn::Ok
            }
            // Without memory for it, one picture less.
            None => gst::PadProbeReturn::Drop,
        }
    });
}

/// Asks for a keyframe in the very call that brings its picture to the
/// encoder, so no picture before or after can take it.
fn force_keyframes(
    encoder: &gst::Element,
    keys: &Arc<Mutex<VecDeque<u64>>>,
) -> Result<(), TranscodeError> {
    let missing = |pad: &str| TranscodeError::Element {
        element: "encoder",
        reason: format!("has no {pad} pad"),
    };
    let sink = encoder.static_pad("sink").ok_or_else(|| missing("sink"))?;
    let source = encoder.static_pad("src").ok_or_else(|| missing("src"))?.downgrade();
    let keys = Arc::clone(keys);
    sink.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(pts) = info.buffer().and_then(|buffer| buffer.pts()) {
            let mut due = false;
            let mut keys = keys.lock();
            while keys.front().is_some_and(|ns| *ns <= pts.nseconds()) {
                keys.pop_front();
                due = true;
            }
            drop(keys);
            if due && let Some(source) = source.upgrade() {
                source.send_event(UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
            }
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

fn deliver_to(
    output: Arc<Output>,
    token: u64,
    spec: &RungSpec<'_>,
    running: Weak<Running>,
) -> AppSinkCallbacks {
    let source = spec.source.clone();
    let target = *spec.target;
    let mut init: Option<(gst::Caps, TrackInit)> = None;
    let at_end = Arc::clone(&output);
    AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let (Some(buffer), Some(caps)) = (sample.buffer(), sample.caps()) else {
                return Ok(gst::FlowSuccess::Ok);
            };
            if init.as_ref().is_none_or(|(known, _)| known.as_ref() != caps) {
                init = describe(caps, &source, &target).map(|track| (caps.to_owned(), track));
            }
            // Encoders shift timestamps and say so in the segment (x264enc: by
            // 1000 hours, to have room for decode times); running time undoes it.
            let running = sample
                .segment()
                .and_then(|segment| segment.downcast_ref::<gst::ClockTime>())
                .zip(buffer.pts())
                .and_then(|(segment, pts)| segment.to_running_time(pts));
            let (Some((_, track)), Some(time)) = (&init, running) else {
                return Err(gst::FlowError::NotNegotiated);
            };
            let Ok(map) = buffer.map_readable() else { return Err(gst::FlowError::Error) };
            let keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            let data = Bytes::copy_from_slice(&map);
            if output.deliver(token, time.nseconds(), keyframe, track, data) {
                Ok(gst::FlowSuccess::Ok)
            } else {
                Err(gst::FlowError::NotNegotiated)
            }
        })
        .eos(move |_| {
            at_end.ended(token);
            if let Some(running) = running.upgrade() {
                running.retire();
            }
        })
        .build()
}

/// The track that the encoder's caps describe, in the source's timescale.
fn describe(caps: &gst::CapsRef, source: &TrackInit, target: &Target) -> Option<TrackInit> {
    let structure = caps.structure(0)?;
    let config = structure.get::<gst::Buffer>("codec_data").ok()?;
    let config = Bytes::copy_from_slice(&config.map_readable().ok()?);
    let pixels = |name: &str, otherwise: u16| {
        structure.get::<i32>(name).ok().and_then(|n| u16::try_from(n).ok()).unwrap_or(otherwise)
    };
    let fps = match source.kind {
        Kind::Video { fps, .. } => fps,
        Kind::Audio { .. } => None,
    };
    Some(TrackInit {
        codec: Codec::H264,
        config,
        timescale: source.timescale,
        sample_ticks: source.sample_ticks,
        kind: Kind::Video {
            width: pixels("width", target.width),
            height: pixels("height", target.height),
            fps,
        },
    })
}
