//! The ladder's pictures, each scaled once, in software.
//!
//! ```text
//! decoded 720p ──► 480p ──► 360p ──► 160p      one Pyramid per picture
//!                   │        │        │        each level made by whoever first asks
//!                   ▼        ▼        ▼
//!                 rung     rung     rung
//! ```
//!
//! Enters: decoded pictures in system memory, 8 bits, 4:2:0, planar. Leaves:
//! the same in the sizes of the rungs. Each is made from the next higher one,
//! which costs half of making all from the source; a rung that is shed has no
//! level. Held: buffers to be used again. Rungs ask from threads of their own,
//! so work is spread over them and none waits for another's encoder. Never
//! done here: any other format, for which a rung's general scaler stands by.
//!
//! The filter is Catmull-Rom, widened to the scale: about what ffmpeg calls bicubic.

use std::sync::{Arc, OnceLock};

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video::{VideoFormat, VideoFrameExt, VideoFrameRef, VideoInfo, VideoInterlaceMode};
use parking_lot::Mutex;

use super::ladder::Target;
use super::turn::turn;

/// Luma and two of chroma.
const PLANES: u32 = 3;

/// What the pictures of one decoder are made into.
pub(super) struct Levels {
    source_caps: gst::Caps,
    source: VideoInfo,
    // Highest first.
    levels: Vec<Level>,
}

struct Level {
    /// Which of the run's targets it is.
    index: usize,
    caps: gst::Caps,
    info: VideoInfo,
    pool: gst::BufferPool,
    bench: Mutex<Bench>,
}

/// What scaling needs beside the two pictures.
#[derive(Default)]
struct Bench {
    resizer: Resizer,
    /// One plane in the target's height and the source's width, then in the target's size.
    rows: Vec<u8>,
    /// The same on their side.
    columns: Vec<u8>,
}

impl Levels {
    /// For pictures of these caps and targets, highest first. None: the
    /// general scaler must do it.
    pub fn new(source_caps: &gst::CapsRef, targets: &[(usize, Target)]) -> Option<Self> {
        let source_caps = source_caps.to_owned();
        let in_memory = source_caps
            .features(0)
            .is_none_or(|features| features.is_equal(&gst::CAPS_FEATURES_MEMORY_SYSTEM_MEMORY));
        let source = VideoInfo::from_caps(&source_caps).ok().filter(|info| {
            in_memory
                && info.format() == VideoFormat::I420
                && info.interlace_mode() == VideoInterlaceMode::Progressive
        })?;
        let levels = targets.iter().map(|(index, target)| Level::new(*index, &source_caps, target));
        let levels = levels.collect::<Option<Vec<_>>>()?;
        Some(Self { source_caps, source, levels })
    }

    /// Whether they are these targets'.
    pub fn are_of(&self, targets: &[(usize, Target)]) -> bool {
        self.levels.iter().map(|level| level.index).eq(targets.iter().map(|(index, _)| *index))
    }

    /// Whether they are for pictures of these caps.
    pub fn are_for(&self, caps: &gst::CapsRef) -> bool {
        self.source_caps.as_ref() == caps
    }
}

impl Level {
    fn new(index: usize, source: &gst::Caps, target: &Target) -> Option<Self> {
        let mut caps = source.clone();
        let structure = caps.make_mut().structure_mut(0)?;
        structure.set("width", i32::from(target.width));
        structure.set("height", i32::from(target.height));
        let info = VideoInfo::from_caps(&caps).ok()?;
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        config.set_params(Some(&caps), u32::try_from(info.size()).ok()?, 0, 0);
        pool.set_config(config).ok()?;
        pool.set_active(true).ok()?;
        Some(Self { index, caps, info, pool, bench: Mutex::default() })
    }

    fn make(&self, from: &gst::Buffer, from_info: &VideoInfo) -> Option<gst::Buffer> {
        if from_info.width() == self.info.width() && from_info.height() == self.info.height() {
            return Some(from.clone());
        }
        let mut buffer = self.pool.acquire_buffer(None).ok()?;
        {
            let buffer = buffer.get_mut()?;
            buffer.set_pts(from.pts());
            buffer.set_duration(from.duration());
            let from = VideoFrameRef::from_buffer_ref_readable(from, from_info).ok()?;
            let mut to = VideoFrameRef::from_buffer_ref_writable(buffer, &self.info).ok()?;
            let mut bench = self.bench.lock();
            for plane in 0..PLANES {
                scale_plane(&mut bench, plane, &from, &mut to)?;
            }
        }
        Some(buffer)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        // Fails if it is inactive already.
        let _ = self.pool.set_active(false);
    }
}

/// One plane of one picture. Its rows are longer than it is wide: the rest is
/// the decoder's, and must not bleed in.
///
/// Heights come first, so that there are fewer rows to narrow. To the resizer
/// rows are six times as dear as columns, and still more than twice with the
/// turning counted: so the plane lies on its side meanwhile. Not one pixel
/// differs by it.
fn scale_plane(
    bench: &mut Bench,
    plane: u32,
    from: &VideoFrameRef<&gst::BufferRef>,
    to: &mut VideoFrameRef<&mut gst::BufferRef>,
) -> Option<()> {
    // In these formats a component has a plane of its own.
    let size = |info: &VideoInfo| (info.comp_width(plane as u8), info.comp_height(plane as u8));
    let (from_width, from_height) = size(from.info());
    let stride = u32::try_from(*from.plane_stride().get(plane as usize)?).ok()?;
    let source = from.plane_data(plane).ok()?;
    let source = TypedImageRef::<U8>::from_buffer(stride, from_height, source).ok()?;
    let source = TypedCroppedImage::new(source, 0, 0, from_width, from_height).ok()?;
    let (width, height) = size(to.info());

    let Bench { resizer, rows, columns } = bench;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    let low = at_least(rows, from_width, height);
    let mut target = TypedImage::<U8>::from_buffer(from_width, height, low).ok()?;
    resizer.resize_typed(&source, &mut target, &options).ok()?;

    let low = at_least(rows, from_width, height);
    let on_side = at_least(columns, from_width, height);
    turn(low, from_width as usize, on_side, height as usize);
    let source = TypedImageRef::<U8>::from_buffer(height, from_width, on_side).ok()?;
    let mut target =
        TypedImage::<U8>::from_buffer(height, width, at_least(rows, width, height)).ok()?;
    resizer.resize_typed(&source, &mut target, &options).ok()?;

    let stride = usize::try_from(*to.plane_stride().get(plane as usize)?).ok()?;
    let target = to.plane_data_mut(plane).ok()?;
    turn(at_least(rows, width, height), height as usize, target, stride);
    Some(())
}

/// Room for a plane, which is never given back: sizes alternate.
fn at_least(scratch: &mut Vec<u8>, width: u32, height: u32) -> &mut [u8] {
    let bytes = width as usize * height as usize;
    if scratch.len() < bytes {
        scratch.resize(bytes, 0);
    }
    &mut scratch[..bytes]
}

/// One decoded picture in all sizes.
pub(super) struct Pyramid {
    levels: Arc<Levels>,
    source: gst::Buffer,
    made: Vec<OnceLock<Option<gst::Buffer>>>,
}

impl Pyramid {
    /// Makes nothing yet.
    pub fn new(levels: &Arc<Levels>, source: gst::Buffer) -> Arc<Self> {
        let made = levels.levels.iter().map(|_| OnceLock::new()).collect();
        Arc::new(Self { levels: Arc::clone(levels), source, made })
    }

    /// For the target with this index.
    pub fn picture(self: &Arc<Self>, target: usize) -> Option<Scaled> {
        let level = self.levels.levels.iter().position(|level| level.index == target)?;
        Some(Scaled { pyramid: Arc::clone(self), level })
    }

    fn level(&self, level: usize) -> Option<&gst::Buffer> {
        let make = || {
            let (from, info) = match level.checked_sub(1) {
                Some(higher) => (self.level(higher)?, &self.levels.levels[higher].info),
                None => (&self.source, &self.levels.source),
            };
            self.levels.levels[level].make(from, info)
        };
        self.made[level].get_or_init(make).as_ref()
    }
}

/// A picture in one rung's size, made when it is asked for.
pub(super) struct Scaled {
    pyramid: Arc<Pyramid>,
    level: usize,
}

impl Scaled {
    /// Stands for the picture until it is asked for: its caps and times.
    pub fn placeholder(&self) -> gst::Sample {
        let mut buffer = gst::Buffer::new();
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(self.pyramid.source.pts());
            buffer.set_duration(self.pyramid.source.duration());
        }
        let caps = &self.pyramid.levels.levels[self.level].caps;
        gst::Sample::builder().buffer(&buffer).caps(caps).build()
    }

    /// The picture itself; none if there is no memory for it.
    pub fn make(&self) -> Option<gst::Buffer> {
        self.pyramid.level(self.level).cloned()
    }
}

#[cfg(test)]
mod tests {
    use records::Rendition;

    use super::*;

    fn caps(format: &str) -> gst::Caps {
        gst::init().unwrap();
        let caps = format!("video/x-raw,format={format},width=128,height=96,framerate=25/1");
        caps.parse().unwrap()
    }

    fn targets() -> Vec<(usize, Target)> {
        let target = |width, height| Target {
            rendition: Rendition::Rung(height),
            width,
            height,
            bitrate_kbps: 100,
        };
        vec![(0, target(128, 96)), (1, target(86, 64)), (3, target(32, 24))]
    }

    fn values(buffer: &gst::Buffer, info: &VideoInfo) -> Vec<(u32, u8, u8)> {
        let frame = VideoFrameRef::from_buffer_ref_readable(buffer, info).unwrap();
        let values = |plane: u32| {
            let stride = frame.plane_stride()[plane as usize] as usize;
            let width = info.comp_width(plane as u8) as usize;
            let rows = frame.plane_data(plane).unwrap().chunks(stride);
            let pixels = || rows.clone().flat_map(move |row| row[..width].iter().copied());
            (plane, pixels().min().unwrap(), pixels().max().unwrap())
        };
        (0..PLANES).map(values).collect()
    }

    #[test]
    fn each_level_has_its_size_times_and_colours() {
        let caps = caps("I420");
        let levels = Arc::new(Levels::new(&caps, &targets()).unwrap());
        assert!(levels.are_for(&caps));
        let mut source = gst::Buffer::with_size(levels.source.size()).unwrap();
        {
            let source = source.get_mut().unwrap();
            source.set_pts(gst::ClockTime::from_seconds(3));
            let mut frame =
                VideoFrameRef::from_buffer_ref_writable(source, &levels.source).unwrap();
            for (plane, value) in [(0, 200), (1, 90), (2, 30)] {
                frame.plane_data_mut(plane).unwrap().fill(value);
            }
        }
        let pyramid = Pyramid::new(&levels, source.clone());
        assert!(pyramid.picture(2).is_none(), "shed");
        for (position, index) in [(2, 3), (1, 1), (0, 0)] {
            let scaled = pyramid.picture(index).unwrap();
            let sample = scaled.placeholder();
            let info = VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
            assert_eq!(info.width(), levels.levels[position].info.width());
            let made = scaled.make().unwrap();
            assert_eq!((made.pts(), made.size()), (source.pts(), info.size()));
            assert_eq!(sample.buffer().unwrap().pts(), source.pts());
            let flat = [(0, 200, 200), (1, 90, 90), (2, 30, 30)];
            assert_eq!(values(&made, &info), flat);
        }
    }

    #[test]
    fn lying_on_its_side_changes_no_pixel() {
        let caps = caps("I420");
        let target =
            Target { rendition: Rendition::Rung(64), width: 86, height: 64, bitrate_kbps: 100 };
        let levels = Arc::new(Levels::new(&caps, &[(0, target)]).unwrap());
        let bytes: Vec<u8> = (0..levels.source.size() as u32).map(|i| (i * i / 97) as u8).collect();
        let source = gst::Buffer::from_slice(bytes.clone());
        let made = Pyramid::new(&levels, source).picture(0).unwrap().make().unwrap();
        let info = &levels.levels[0].info;
        let made = VideoFrameRef::from_buffer_ref_readable(&made, info).unwrap();

        let options =
            ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
        let luma = TypedImageRef::<U8>::from_buffer(128, 96, &bytes[..128 * 96]).unwrap();
        let (mut low, mut scaled) = (TypedImage::new(128, 64), TypedImage::new(86, 64));
        let mut resizer = Resizer::new();
        resizer.resize_typed(&luma, &mut low, &options).unwrap();
        resizer.resize_typed(&low, &mut scaled, &options).unwrap();
        let rows = made.plane_data(0).unwrap().chunks(made.plane_stride()[0] as usize);
        for (made, direct) in rows.zip(scaled.pixels().chunks(86)) {
            assert!(made[..86].iter().eq(direct.iter().map(|pixel| &pixel.0)));
        }
    }

    #[test]
    fn other_formats_are_left_to_the_general_scaler() {
        for format in ["NV12", "I420_10LE", "Y42B"] {
            assert!(Levels::new(&caps(format), &targets()).is_none(), "{format}");
        }
        let mut interlaced = caps("I420");
        let structure = interlaced.get_mut().unwrap().structure_mut(0).unwrap();
        structure.set("interlace-mode", "interleaved");
        assert!(Levels::new(&interlaced, &targets()).is_none());
    }
}
