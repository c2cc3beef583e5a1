//! Many small pictures in one, for a seek bar.
//!
//! ```text
//! key pictures ─► appsrc ! decoder ! videoconvertscale ! appsink ─► tiles
//! tiles, copied side by side ─► appsrc ! videoconvertscale ! jpegenc ! appsink ─► JPEG
//! ```
//!
//! - **Enters**: key pictures of one recording, by track configuration, and
//!   the grid that they go to. **Leaves**: a JPEG.
//! - One pipeline decodes all pictures of a configuration: 25 of 480p took 51 ms
//!   of a core, and 146 ms with a pipeline for each. Software only, and one
//!   thread: it works beside encoders that live viewers wait for.
//! - **Held**: nothing. **Never here**: caching; which picture goes where.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};
use records::TrackInit;

use super::TranscodeError;
use super::chain::{Chain, Step, link, set};
use super::session::caps;
use super::thumbnail::{ThumbnailError, decoder};

/// How long a sprite may take, all its pictures together.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the tiles of a sprite lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Tiles in a row; at least 1.
    pub columns: usize,
    /// Tiles in all; at least 1. The last row may be shorter.
    pub tiles: usize,
    /// Width and height of a tile in pixels; the width a multiple of 4, so that
    /// rows have no padding.
    pub tile: (u32, u32),
}

/// Key pictures of one track: access units in the form that
/// [`records::Codec`] says, each with the number of its tile, rising.
pub type KeyPictures = (TrackInit, Vec<(usize, Bytes)>);

/// Makes a JPEG of small pictures beside each other; what is narrower than a
/// tile gets black borders. A tile without a picture, or whose picture can't be
/// decoded, shows what the tile before it does; the first one what the next one
/// does. Blocks, 10 s at most: call it where blocking is allowed.
///
/// # Errors
/// None of the pictures can be decoded, or see [`ThumbnailError`].
pub fn sprite(pictures: &[KeyPictures], grid: Grid) -> Result<Bytes, ThumbnailError> {
    gst::init().map_err(TranscodeError::from)?;
    let by = Instant::now() + PATIENCE;
    let mut tiles = vec![None; grid.tiles];
    for (init, of_track) in pictures {
        decode(init, of_track, grid.tile, by, &mut tiles)?;
    }
    let first = tiles.iter().flatten().next().cloned().ok_or(ThumbnailError::Undecodable)?;
    let mut canvas = Canvas::new(grid);
    let mut shown = first;
    for (index, tile) in tiles.into_iter().enumerate() {
        shown = tile.unwrap_or(shown);
        canvas.put(index, &shown);
    }
    encode(canvas, by)
}

/// RGB to JPEG, in JPEG's own colours: BT.601, in 4:2:0 and the full range. From
/// RGB, since the converter leaves the range between two of 4:2:0 as it is.
pub(super) fn jpeg(quality: &str) -> Chain {
    Chain(vec![
        Step::element("videoconvertscale", &[]),
        Step::Caps("video/x-raw,format=I420,colorimetry=1:4:5:1".into()),
        Step::element("jpegenc", &[("quality", quality)]),
    ])
}

/// Decoded pictures, scaled.
fn raw((width, height): (u32, u32)) -> String {
    format!("video/x-raw,format=RGB,width={width},height={height},pixel-aspect-ratio=1/1")
}

/// Bytes of such a picture, which has no padding if its width is a multiple of 4.
fn raw_bytes((width, height): (u32, u32)) -> usize {
    width as usize * height as usize * 3
}

/// Decodes the pictures of one track into their tiles, as far as that goes.
fn decode(
    init: &TrackInit,
    pictures: &[(usize, Bytes)],
    tile: (u32, u32),
    by: Instant,
    tiles: &mut [Option<Bytes>],
) -> Result<(), ThumbnailError> {
    let mut steps = decoder(init)?;
    for element in &steps {
        set(element, "max-threads", "1");
    }
    let scale = Chain(vec![
        Step::element("videoconvertscale", &[("add-borders", "true")]),
        Step::Caps(raw(tile)),
    ]);
    steps.extend(scale.make()?);
    let fed = pictures.iter().map(|(index, picture)| (*index, picture.clone()));
    through(steps, &caps(init)?, fed.collect(), by, |index, bytes| {
        if bytes.len() == raw_bytes(tile)
            && let Some(place) = tiles.get_mut(index)
        {
            *place = Some(Bytes::copy_from_slice(bytes));
        }
    })
}

fn encode(canvas: Canvas, by: Instant) -> Result<Bytes, ThumbnailError> {
    let caps = format!("{},framerate=1/1", raw(canvas.size));
    let caps: gst::Caps = caps.parse().map_err(|_| ThumbnailError::Undecodable)?;
    let steps = jpeg("75").make()?;
    let mut made = None;
    through(steps, &caps, vec![(0, canvas.bytes.into())], by, |_, bytes| {
        made = Some(Bytes::copy_from_slice(bytes));
    })?;
    made.ok_or(ThumbnailError::Undecodable)
}

/// Sends numbered buffers through elements; `take` gets what comes out, with
/// the number of what it was made of. That nothing comes out is no error.
fn through(
    steps: Vec<gst::Element>,
    caps: &gst::Caps,
    buffers: Vec<(usize, Bytes)>,
    by: Instant,
    mut take: impl FnMut(usize, &[u8]),
) -> Result<(), ThumbnailError> {
    let appsrc = AppSrc::builder().caps(caps).format(gst::Format::Time).build();
    let appsink = AppSink::builder().sync(false).build();
    let mut elements = vec![appsrc.clone().upcast::<gst::Element>()];
    elements.extend(steps);
    elements.push(appsink.clone().upcast());
    let pipeline = gst::Pipeline::new();
    link(&pipeline, &elements)?;
    let run = || {
        pipeline.set_state(gst::State::Playing).map_err(|_| ThumbnailError::Undecodable)?;
        for (index, bytes) in buffers {
            let mut buffer = gst::Buffer::from_slice(bytes);
            if let Some(buffer) = buffer.get_mut() {
                // The time is the number: decoders may reorder and leave out.
                buffer.set_pts(gst::ClockTime::from_seconds(index as u64));
            }
            // Refused once the decoder has given up: what it decoded counts.
            if appsrc.push_buffer(buffer).is_err() {
                break;
            }
        }
        let _ = appsrc.end_of_stream();
        let bus = pipeline.bus();
        loop {
            let left = by.saturating_duration_since(Instant::now());
            // In slices: an element that failed ends without an end of the stream.
            let slice = left.min(Duration::from_millis(200)).as_millis() as u64;
            match appsink.try_pull_sample(gst::ClockTime::from_mseconds(slice)) {
                Some(sample) => {
                    if let Some(buffer) = sample.buffer()
                        && let Some(at) = buffer.pts()
                        && let Ok(map) = buffer.map_readable()
                    {
                        take(at.seconds() as usize, &map);
                    }
                }
                None if appsink.is_eos() => return Ok(()),
                None if left.is_zero() => return Err(ThumbnailError::TimedOut),
                None => {
                    let failed = [gst::MessageType::Error];
                    if bus.as_ref().is_some_and(|bus| bus.pop_filtered(&failed).is_some()) {
                        return Ok(());
                    }
                }
            }
        }
    };
    let done = run();
    // Not from this thread: an element that hangs would hang it.
    pipeline.call_async(|pipeline| {
        let _ = pipeline.set_state(gst::State::Null);
    });
    done
}

/// A picture that tiles are copied into; black where none is.
struct Canvas {
    bytes: Vec<u8>,
    size: (u32, u32),
    grid: Grid,
}

impl Canvas {
    fn new(grid: Grid) -> Self {
        let rows = grid.tiles.div_ceil(grid.columns);
        let (width, height) = grid.tile;
        let size = (width * grid.columns as u32, height * rows as u32);
        Self { bytes: vec![0; raw_bytes(size)], size, grid }
    }

    /// Copies the tile of that number, row by row.
    fn put(&mut self, index: usize, tile: &[u8]) {
        let (column, row) = (index % self.grid.columns, index / self.grid.columns);
        let height = self.grid.tile.1 as usize;
        let (line, whole) = (self.grid.tile.0 as usize * 3, self.size.0 as usize * 3);
        for (from, pixels) in tile.chunks_exact(line).enumerate() {
            let at = (row * height + from) * whole + column * line;
            self.bytes[at..at + line].copy_from_slice(pixels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_lie_in_rows() {
        let mut canvas = Canvas::new(Grid { columns: 2, tiles: 3, tile: (4, 2) });
        for index in 0..3 {
            canvas.put(index, &[index as u8 + 1; 4 * 2 * 3]);
        }
        assert_eq!(canvas.size, (8, 4));
        let row = |left: u8, right: u8| [[left; 12], [right; 12]].concat();
        assert_eq!(canvas.bytes, [row(1, 2), row(1, 2), row(3, 0), row(3, 0)].concat());
    }
}
