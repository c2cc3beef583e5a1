//! Many pictures in one.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use records::Codec;

use super::fixture::Clip;
use crate::transcode::{Grid, sprite, thumbnail};

/// A keyframe of one shade: 0 black, 255 white.
fn shade(width: u16, height: u16, shade: u32) -> Clip {
    let color = 0xff00_0000_u32 | shade << 16 | shade << 8 | shade;
    Clip::run(
        &format!(
            "videotestsrc num-buffers=1 pattern=solid-color foreground-color={color} ! \
             video/x-raw,format=I420,width={width},height={height},framerate=25/1 ! \
             x264enc speed-preset=ultrafast ! h264parse ! \
             video/x-h264,stream-format=avc,alignment=au ! appsink name=out sync=false"
        ),
        Codec::H264,
    )
}

/// A JPEG's luma as a row-major picture, and its width.
fn luma(jpeg: &Bytes) -> (Vec<u8>, usize) {
    static FILES: AtomicU32 = AtomicU32::new(0);
    let name = format!("{}-{}.jpg", std::process::id(), FILES.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, jpeg).unwrap();
    let description = format!(
        "filesrc location={} ! jpegdec ! videoconvert ! video/x-raw,format=GRAY8 ! \
         appsink name=out sync=false",
        path.display()
    );
    let pipeline = gst::parse::launch(&description).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let sample = sink.pull_sample().unwrap();
    let width = sample.caps().unwrap().structure(0).unwrap().get::<i32>("width").unwrap();
    let pixels = sample.buffer().unwrap().map_readable().unwrap().to_vec();
    pipeline.set_state(gst::State::Null).unwrap();
    std::fs::remove_file(path).unwrap();
    (pixels, width as usize)
}

#[test]
fn a_sprite_has_every_picture_in_its_place() {
    let [dark, bright] = [40, 255].map(|of| shade(320, 180, of));
    let tall = shade(160, 320, 160);
    let key = |clip: &Clip| clip.samples[0].data.clone();
    let broken = Bytes::from_static(&[0, 0, 0, 4, 1, 2, 3, 4]);
    let pictures = [
        (dark.init.clone(), vec![(0, key(&dark)), (1, key(&bright)), (3, broken.clone())]),
        (tall.init.clone(), vec![(4, key(&tall))]),
    ];
    let grid = Grid { columns: 3, tiles: 6, tile: (160, 90) };
    let made = sprite(&pictures, grid).unwrap();
    let (pixels, width) = luma(&made);
    assert_eq!((width, pixels.len()), (480, 480 * 180));
    let at = |x: usize, y: usize| i32::from(pixels[y * 480 + x]);
    let middle = |tile: usize| at(tile % 3 * 160 + 80, tile / 3 * 90 + 45);
    // What wasn't there, or is broken, shows the picture before.
    for (tile, wanted) in [(0, 40), (1, 255), (2, 255), (3, 255), (4, 160), (5, 160)] {
        assert!((middle(tile) - wanted).abs() <= 3, "tile {tile}: {}", middle(tile));
    }
    assert!(at(160 + 5, 90 + 45) < 4, "an upright picture has borders, in JPEG's own black");
    let late = [(bright.init.clone(), vec![(1, key(&bright))])];
    let (pixels, _) = luma(&sprite(&late, Grid { tiles: 2, columns: 2, ..grid }).unwrap());
    assert!(pixels[45 * 320 + 80] > 250, "the first tile shows the first picture there is");
    assert!(sprite(&[(dark.init.clone(), vec![(0, broken)])], grid).is_err());
    assert!(sprite(&[], grid).is_err());
}

#[test]
fn a_still_is_as_dark_and_as_bright_as_its_picture() {
    for wanted in [0, 40, 255] {
        let clip = shade(320, 180, wanted);
        let (pixels, width) = luma(&thumbnail(&clip.init, &clip.samples[0].data, 320).unwrap());
        let found = u32::from(pixels[90 * width + 160]);
        assert!(found.abs_diff(wanted) <= 3, "{found} for {wanted}");
    }
}
