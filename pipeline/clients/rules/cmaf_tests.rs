//! Each rule of the media on boxes that keep it and on boxes that break it.

use mp4_atom::{
    Avc1, Avcc, Codec, Encode, FourCC, Ftyp, Mdat, Mfhd, Moof, Moov, Mvex, Tfdt, Tfhd, Traf, Trak,
    Trex, Trun, TrunEntry,
};

use super::cmaf::{Track, i_frame, init};
use super::*;
use crate::playlist::Part;

const SYNC: u32 = 0x0200_0000;
const NON_SYNC: u32 = 0x0101_0000;

fn moov() -> Moov {
    let mut trak = Trak::default();
    trak.tkhd.track_id = 1;
    trak.mdia.mdhd.timescale = 25_000;
    trak.mdia.hdlr.handler = FourCC::new(b"vide");
    let avcc = Avcc {
        configuration_version: 1,
        avc_profile_indication: 0x42,
        avc_level_indication: 0x1e,
        length_size: 4,
        ..Avcc::default()
    };
    trak.mdia.minf.stbl.stsd.codecs = vec![Codec::Avc1(Avc1 { avcc, ..Avc1::default() })];
    let trex = Trex { track_id: 1, default_sample_description_index: 1, ..Trex::default() };
    Moov {
        mvex: Some(Mvex { trex: vec![trex], ..Mvex::default() }),
        trak: vec![trak],
        ..Moov::default()
    }
}

fn header(moov: &Moov, brand: &[u8; 4]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let brands = vec![FourCC::new(brand)];
    Ftyp { major_brand: FourCC::new(brand), minor_version: 0, compatible_brands: brands }
        .encode(&mut bytes)
        .unwrap();
    moov.encode(&mut bytes).unwrap();
    bytes
}

/// What a chunk of five pictures is made of.
#[derive(Clone)]
struct Spec {
    sequence: u32,
    decode_time: u64,
    base_is_moof: bool,
    has_tfdt: bool,
    trafs: usize,
    flags: [u32; 5],
    idr: [bool; 5],
    offset_error: i32,
    track: u32,
}

fn spec(index: u32) -> Spec {
    let first = index == 0;
    Spec {
        sequence: index + 1,
        decode_time: u64::from(index) * 5000,
        base_is_moof: true,
        has_tfdt: true,
        trafs: 1,
        flags: [if first { SYNC } else { NON_SYNC }, NON_SYNC, NON_SYNC, NON_SYNC, NON_SYNC],
        idr: [first, false, false, false, false],
        offset_error: 0,
        track: 1,
    }
}

fn chunk(spec: &Spec) -> Vec<u8> {
    let data: Vec<u8> =
        spec.idr.iter().flat_map(|idr| [0, 0, 0, 2, if *idr { 0x65 } else { 0x41 }, 0]).collect();
    let build = |offset: i32| {
        let samples = spec.flags.map(|flags| TrunEntry {
            duration: Some(1000),
            size: Some(6),
            flags: Some(flags),
            cts: None,
        });
        let traf = Traf {
            tfhd: Tfhd {
                track_id: spec.track,
                default_base_is_moof: spec.base_is_moof,
                ..Tfhd::default()
            },
            tfdt: spec.has_tfdt.then_some(Tfdt { base_media_decode_time: spec.decode_time }),
            trun: vec![Trun { data_offset: Some(offset), samples: samples.to_vec().into() }],
            ..Traf::default()
        };
        let moof =
            Moof { mfhd: Mfhd { sequence_number: spec.sequence }, traf: vec![traf; spec.trafs] };
        let mut bytes = Vec::new();
        moof.encode(&mut bytes).unwrap();
        bytes
    };
    let mut bytes = build(build(0).len() as i32 + 8 + spec.offset_error);
    Mdat { data }.encode(&mut bytes).unwrap();
    bytes
}

fn tag(duration: f64, independent: bool) -> Part {
    Part { uri: "p".into(), duration, independent, gap: false, byte_range: None }
}

fn track() -> Track {
    let mut track = Track::default();
    let codecs = ["avc1.42001e".to_owned(), "mp4a.40.2".to_owned()];
    assert_eq!(track.init(&header(&moov(), b"iso6"), Some(&codecs)), []);
    assert_eq!(track.part(&tag(0.2, true), true, &chunk(&spec(0))), []);
    track
}

fn rules_of(violations: &[Violation]) -> Vec<&'static str> {
    violations.iter().map(|v| v.rule).collect()
}

#[test]
fn each_rule_of_init_sections_fires() {
    let with = |change: fn(&mut Moov)| {
        let mut moov = moov();
        change(&mut moov);
        rules_of(&init(&header(&moov, b"iso6")).1)
    };
    assert!(with(|_| ()).is_empty());
    assert_eq!(with(|m| m.mvhd.duration = 1), ["bis 3.1.2 mvhd without a duration"]);
    assert_eq!(with(|m| m.trak[0].tkhd.duration = 1), ["bis 3.1.2 tkhd without a duration"]);
    assert_eq!(with(|m| m.mvex = None), ["bis 3.1.2 mvex with a trex"]);
    assert_eq!(with(|m| m.trak.push(m.trak[0].clone())), ["AC one track in each playlist"]);
    let samples = |m: &mut Moov| {
        let entry = mp4_atom::SttsEntry { sample_count: 1, sample_delta: 1 };
        m.trak[0].mdia.minf.stbl.stts.entries.push(entry);
    };
    assert_eq!(with(samples), ["bis 3.1.2 no samples in the moov"]);
    let old = init(&header(&moov(), b"mp42")).1;
    assert_eq!(rules_of(&old), ["bis 3.1.2 ftyp with iso6 or later"]);
    assert!(rules_of(&init(b"junk").1).contains(&"BMFF whole, readable boxes"));
    let mut track = Track::default();
    let found = track.init(&header(&moov(), b"iso6"), Some(&["avc1.64001f".to_owned()]));
    assert_eq!(rules_of(&found), ["bis 4.4.6.2 CODECS names what the sample entry says"]);
}

#[test]
fn each_rule_of_chunks_fires() {
    let second = |change: fn(&mut Spec)| {
        let mut spec = spec(1);
        change(&mut spec);
        rules_of(&track().part(&tag(0.2, false), false, &chunk(&spec)))
    };
    assert!(second(|_| ()).is_empty());
    let gap = "A 7.3 decode times go on where the last chunk ended";
    assert_eq!(second(|s| s.decode_time += 1), [gap]);
    assert_eq!(second(|s| s.sequence = 1), ["BMFF 8.8.5 mfhd sequence rises"]);
    assert_eq!(second(|s| s.base_is_moof = false), ["bis 3.1.2 default-base-is-moof"]);
    assert_eq!(second(|s| s.trafs = 2), ["AC one traf in each moof"]);
    assert_eq!(second(|s| s.track = 2), ["BMFF 8.8.7 the traf's track exists"]);
    assert!(second(|s| s.has_tfdt = false).contains(&"bis 3.1.2 a tfdt in every traf"));
    assert!(second(|s| s.offset_error = 4).contains(&"BMFF 8.8.8 samples lie in their mdat"));
    assert_eq!(second(|s| s.flags[2] = SYNC), ["BMFF 8.8.3.1 sync flags are honest"]);
    assert_eq!(second(|s| s.idr[2] = true), ["BMFF 8.8.3.1 sync flags are honest"]);
}

#[test]
fn each_rule_of_parts_fires() {
    let judge = |tag: Part, first, bytes: &[u8]| rules_of(&track().part(&tag, first, bytes));
    let (sync, other) =
        (chunk(&Spec { decode_time: 5000, sequence: 2, ..spec(0) }), chunk(&spec(1)));
    assert_eq!(
        judge(tag(0.2, true), false, &other),
        ["bis 4.4.4.9 INDEPENDENT only with a sync sample"]
    );
    assert_eq!(
        judge(tag(0.2, false), false, &sync),
        ["bis 4.4.4.9 INDEPENDENT where a part begins with a sync sample"]
    );
    assert_eq!(judge(tag(0.2, false), true, &other), ["A 7 a segment begins with a sync sample"]);
    let wrong = judge(tag(0.3, false), false, &other);
    assert!(wrong.contains(&"A 8.1 durations are true to within one frame"), "{wrong:?}");
    assert!(judge(tag(0.2, false), false, &other[..20]).contains(&"BMFF whole, readable boxes"));
    assert!(judge(tag(0.2, false), false, &[]).contains(&"bis 3.1.2 a whole moof and mdat"));
    let mut track = track();
    let whole = [chunk(&spec(0)), other.clone()].concat();
    assert_eq!(track.segment("s", 0.4, &whole, Some(&whole)), []);
    let found = track.segment("s", 0.4, &whole, Some(&other));
    assert_eq!(rules_of(&found), ["bis 4.4.4.9 the parts are exactly their segment"]);
}

#[test]
fn durations_must_not_drift() {
    let mut track = track();
    let mut found = Vec::new();
    for index in 1..10 {
        // Each is true to within a frame (40 ms), together they aren't.
        found.extend(track.part(&tag(0.21, false), false, &chunk(&spec(index))));
    }
    assert_eq!(rules_of(&found)[..1], ["A 8.1 durations add up to within one frame"]);
}

#[test]
fn i_frames_are_a_moof_and_a_picture() {
    const RULE: &str = "A 6 an I-frame entry is a moof and one sync sample";
    let init = init(&header(&moov(), b"iso6")).0.unwrap();
    let whole = chunk(&spec(0));
    let first = &whole[..whole.len() - 4 * 6];
    assert_eq!(i_frame(&init, first), []);
    assert_eq!(rules_of(&i_frame(&init, &first[..first.len() - 1])), [RULE]);
    assert_eq!(rules_of(&i_frame(&init, &whole[4..])), [RULE]);
    assert_eq!(rules_of(&i_frame(&init, &chunk(&spec(1)))), [RULE]);
}
