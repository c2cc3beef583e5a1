//! A still picture of a stream, for the page that lists what is live.
//!
//! Enters: a track's configuration and one keyframe of it. Leaves: a JPEG.
//! Held: nothing. Software only: hardware sessions are few and a still is not
//! worth one. Never done here: caching, deciding how often.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};
use records::{Kind, TrackInit};

use super::TranscodeError;
use super::candidates::{DECODERS, Memory};
use super::chain::{Chain, Step, link, make};
use super::session::caps;
use super::sprite::jpeg;

/// How long a still may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why there is no still.
#[derive(Debug, thiserror::Error)]
pub enum ThumbnailError {
    /// This machine can't: an element is missing.
    #[error(transparent)]
    Machine(#[from] TranscodeError),
    /// The keyframe can't be decoded: the publisher's fault.
    #[error("the keyframe can't be decoded")]
    Undecodable,
    /// Not done in time. A later try may be.
    #[error("the still was not done in {} s", PATIENCE.as_secs())]
    TimedOut,
}

/// Makes a JPEG, `width` pixels wide (16..=3840, made even; at most as wide as
/// the source), from one keyframe
/// in the form that [`records::Codec`] says. Blocks, 3 s at most: call it where
/// blocking is allowed.
///
/// # Errors
/// See [`ThumbnailError`].
pub fn thumbnail(
    init: &TrackInit,
    keyframe_sample: &[u8],
    width: u32,
) -> Result<Bytes, ThumbnailError> {
    gst::init().map_err(TranscodeError::from)?;
    let Kind::Video { width: source_width, height: source_height, .. } = init.kind else {
        return Err(TranscodeError::Source { reason: "is sound, not pictures" }.into());
    };
    let (source_width, source_height) = (u32::from(source_width).max(1), u32::from(source_height));
    let width = (width.min(source_width) & !1).clamp(16, 3840);
    let height = ((width * source_height / source_width) & !1).clamp(16, 4320);
    let appsrc = AppSrc::builder().caps(&caps(init)?).format(gst::Format::Time).build();
    let appsink = AppSink::builder().sync(false).build();
    let mut elements = vec![appsrc.clone().upcast::<gst::Element>()];
    elements.extend(decoder(init)?);
    let scaled = format!("video/x-raw,format=RGB,width={width},height={height}");
    let still = Chain(vec![
        Step::element("videoconvertscale", &[("add-borders", "false")]),
        Step::Caps(scaled),
    ]);
    elements.extend(still.make()?);
    elements.extend(jpeg("80").make()?);
    elements.push(appsink.clone().upcast());
    let pipeline = gst::Pipeline::new();
    link(&pipeline, &elements)?;
    let done = pull(&pipeline, &appsrc, &appsink, keyframe_sample);
    // Not from this thread: an element that hangs would hang it.
    pipeline.call_async(|pipeline| {
        let _ = pipeline.set_state(gst::State::Null);
    });
    done
}

/// The first software decoder that is there, with its parser.
pub(super) fn decoder(init: &TrackInit) -> Result<Vec<gst::Element>, TranscodeError> {
    let mut missing = TranscodeError::Source { reason: "has a codec without a decoder" };
    let software =
        |d: &&super::candidates::Decoder| d.codec == init.codec && d.memory == Memory::System;
    for decoder in DECODERS.iter().filter(software) {
        let elements = decoder.parser.into_iter().chain([decoder.element]).map(make);
        match elements.collect::<Result<Vec<_>, _>>() {
            Ok(elements) => return Ok(elements),
            Err(error) => missing = error,
        }
    }
    Err(missing)
}

fn pull(
    pipeline: &gst::Pipeline,
    appsrc: &AppSrc,
    appsink: &AppSink,
    keyframe: &[u8],
) -> Result<Bytes, ThumbnailError> {
    let by = Instant::now() + PATIENCE;
    pipeline.set_state(gst::State::Playing).map_err(|_| ThumbnailError::Undecodable)?;
    let mut buffer = gst::Buffer::from_slice(Bytes::copy_from_slice(keyframe));
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(gst::ClockTime::ZERO);
    }
    let pushed = appsrc.push_buffer(buffer).and_then(|_| appsrc.end_of_stream());
    pushed.map_err(|_| ThumbnailError::Undecodable)?;
    let left = by.saturating_duration_since(Instant::now()).as_millis() as u64;
    match appsink.try_pull_sample(gst::ClockTime::from_mseconds(left)) {
        Some(sample) => sample
            .buffer()
            .and_then(|buffer| buffer.map_readable().ok())
            .map(|map| Bytes::copy_from_slice(&map))
            .ok_or(ThumbnailError::Undecodable),
        None if Instant::now() < by => Err(ThumbnailError::Undecodable),
        None => Err(ThumbnailError::TimedOut),
    }
}
