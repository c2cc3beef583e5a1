//! Real clips through the segmenter, read back by ffprobe and decoded by ffmpeg.

use std::path::{Path, PathBuf};
use std::process::Command;

use mp4_atom::{Codec as Entry, Encode, Moov, Trak};

use super::*;

/// One track of an MP4 file.
struct Clip {
    init: TrackInit,
    samples: Vec<Sample>,
}

/// Takes a file apart with mp4-atom, edit lists ignored.
fn demux(path: &Path) -> Vec<Clip> {
    let file = Bytes::from(std::fs::read(path).unwrap());
    let mut rest: &[u8] = &file;
    let mut moov = None;
    while let Some(atom) = mp4_atom::DecodeMaybe::decode_maybe(&mut rest).unwrap() {
        if let Any::Moov(found) = atom {
            moov = Some(found);
        }
    }
    let moov: Moov = moov.expect("a moov");
    moov.trak.iter().map(|trak| clip(trak, &file)).collect()
}

fn clip(trak: &Trak, file: &Bytes) -> Clip {
    let stbl = &trak.mdia.minf.stbl;
    let timescale = trak.mdia.mdhd.timescale;
    let durations = stbl
        .stts
        .entries
        .iter()
        .flat_map(|e| std::iter::repeat_n(i64::from(e.sample_delta), e.sample_count as usize));
    let mut offsets = stbl
        .ctts
        .iter()
        .flat_map(|ctts| &ctts.entries)
        .flat_map(|e| std::iter::repeat_n(e.sample_offset, e.sample_count as usize));
    let mp4_atom::StszSamples::Different { sizes } = &stbl.stsz.samples else {
        panic!("sizes differ")
    };
    let chunks = &stbl.stco.as_ref().unwrap().entries;
    let mut positions = Vec::new();
    for (i, chunk) in chunks.iter().enumerate() {
        let rule = stbl.stsc.entries.iter().rfind(|e| e.first_chunk as usize <= i + 1).unwrap();
        let mut at = *chunk as usize;
        for _ in 0..rule.samples_per_chunk {
            let size = sizes[positions.len()] as usize;
            positions.push(at..at + size);
            at += size;
        }
    }
    let (rendition, codec, config, kind) = match &stbl.stsd.codecs[0] {
        Entry::Avc1(avc1) => {
            let mut config = Vec::new();
            avc1.avcc.encode(&mut config).unwrap();
            let (width, height) = (avc1.visual.width, avc1.visual.height);
            (SOURCE, Codec::H264, config.split_off(8), Kind::Video { width, height, fps: None })
        }
        Entry::Mp4a(mp4a) => {
            let specific = mp4a.esds.es_desc.dec_config.dec_specific.as_ref().unwrap();
            let kind = Kind::Audio { sample_rate: timescale, channels: mp4a.audio.channel_count };
            (AUDIO, Codec::Aac, specific.raw.clone(), kind)
        }
        other => panic!("unexpected {other:?}"),
    };
    let sync =
        |i: usize| stbl.stss.as_ref().is_none_or(|stss| stss.entries.contains(&(i as u32 + 1)));
    let mut dts = 0;
    let samples: Vec<Sample> = positions
        .into_iter()
        .zip(durations.clone())
        .enumerate()
        .map(|(i, (range, duration))| {
            let cts = offsets.next().unwrap_or(0) as i32;
            let data = file.slice(range);
            dts += duration;
            Sample { rendition, dts: dts - duration, cts, keyframe: sync(i), data }
        })
        .collect();
    let sample_ticks = durations.clone().next().unwrap() as u32;
    let init = TrackInit { codec, config: config.into(), timescale, sample_ticks, kind };
    Clip { init, samples }
}

/// Both tracks in order of time, with a cut at each keyframe of the picture.
fn frames(clips: &[Clip]) -> Vec<FrameBody> {
    let find = |video| clips.iter().find(|clip| clip.init.is_video() == video);
    let video = find(true).unwrap();
    let pts = |s: &Sample| MediaTime::new(s.dts + i64::from(s.cts), video.init.timescale);
    let start = pts(&video.samples[0]);
    let mut bodies = vec![FrameBody::Run(Box::new(Run {
        number: 0,
        start,
        start_wall_us: 0,
        video: Some(video.init.clone()),
        audio: find(false).map(|clip| clip.init.clone()),
        passthrough: true,
        rungs: Arc::default(),
    }))];
    let mut all: Vec<(MediaTime, &Sample)> = clips
        .iter()
        .flat_map(|c| c.samples.iter().map(|s| (MediaTime::new(s.dts, c.init.timescale), s)))
        .collect();
    // Pictures first where both begin, as the demuxer has it.
    all.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.rendition.cmp(&a.1.rendition)));
    let mut msn = 0;
    for (_, sample) in all {
        if sample.rendition == SOURCE && sample.keyframe {
            bodies.push(FrameBody::Cut(Cut { msn, at: pts(sample), gap: false }));
            msn += 1;
        }
        bodies.push(FrameBody::Sample(sample.clone()));
    }
    bodies.extend([FrameBody::Pause, FrameBody::End]);
    bodies
}

fn run_tool(command: &mut Command) -> String {
    let done = command.output().expect("ffmpeg and ffprobe are installed for the tests");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && errors.is_empty(), "{command:?}: {errors}");
    String::from_utf8(done.stdout).unwrap()
}

/// A directory of this test process.
fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("millstream-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Header and segments of each rendition: same samples for ffprobe, no complaint from ffmpeg.
fn survives(name: &str, clips: &[Clip]) -> BTreeMap<Rendition, Track> {
    let mut feed = Feed::new();
    frames(clips).into_iter().for_each(|body| feed.push(body));
    let tracks = feed.streams();
    let dir = scratch(name);
    for clip in clips {
        let rendition = clip.samples[0].rendition;
        let track = &tracks[&rendition];
        let mut file = track.starts[0].header.to_vec();
        track
            .segments
            .iter()
            .flat_map(|s| &s.chunks)
            .for_each(|chunk| file.extend(chunk.to_bytes()));
        let path = dir.join(format!("{rendition}.mp4"));
        std::fs::write(&path, file).unwrap();
        let listed = run_tool(
            Command::new("ffprobe")
                .args(["-v", "error", "-show_entries", "packet=pts", "-of", "csv=p=0"])
                .arg(&path),
        );
        let mut listed: Vec<i64> =
            listed.lines().map(|line| line.trim_matches(',').parse().unwrap()).collect();
        let mut given: Vec<i64> = clip.samples.iter().map(|s| s.dts + i64::from(s.cts)).collect();
        listed.sort_unstable();
        given.sort_unstable();
        // ffmpeg 5 moves a fragmented track by its lowest offset, to keep pts above dts.
        let moved = listed[0] - given[0];
        listed.iter_mut().for_each(|pts| *pts -= moved);
        assert_eq!(listed, given, "{name} {rendition}");
        assert!(moved == 0 || track.samples().iter().any(|(dts, pts, _)| pts - dts == -moved));
        run_tool(
            Command::new("ffmpeg")
                .args(["-v", "error", "-xerror", "-i"])
                .arg(&path)
                .args(["-f", "null", "-"]),
        );
    }
    std::fs::remove_dir_all(dir).unwrap();
    tracks
}

#[test]
fn big_buck_bunny_survives() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/bigbuckbunny.mp4");
    let tracks = survives("bunny", &demux(Path::new(path)));
    assert_eq!(tracks[&SOURCE].samples().len(), 132);
    assert_eq!(tracks[&SOURCE].msns(), tracks[&AUDIO].msns());
    assert_eq!(tracks[&SOURCE].starts[0].init.rfc6381(), "avc1.4d401f");
}

#[test]
fn b_frames_survive() {
    let dir = scratch("source");
    let path = dir.join("b.mp4");
    run_tool(
        Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=30"])
            .args(["-f", "lavfi", "-i", "sine", "-t", "4", "-pix_fmt", "yuv420p"])
            .args(["-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "30"])
            .args(["-c:a", "aac", "-movflags", "-negative_cts_offsets"])
            .arg(&path),
    );
    let clips = demux(&path);
    std::fs::remove_dir_all(dir).unwrap();
    let video = &clips.iter().find(|clip| clip.init.is_video()).unwrap().samples;
    assert!(video.iter().any(|s| s.cts > video[0].cts), "the encoder reorders");
    let tracks = survives("b-frames", &clips);
    let source = &tracks[&SOURCE];
    assert_eq!(source.msns(), [0, 1, 2, 3]);
    for segment in &source.segments {
        let first = source.parts.iter().filter(|p| p.msn == segment.msn).flat_map(read);
        let shown = first.map(|row| row.pts).min().unwrap();
        assert_eq!(shown, segment.start.ticks, "shown from the segment's start on");
    }
}
