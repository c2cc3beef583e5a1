//! The CMAF header of one track: `ftyp` + `moov` (bis 3.1.2, PROTOCOLS §2).
//!
//! Enters: a track's decoder configuration. Leaves: its initialization section,
//! the same bytes for equal configurations. Held: nothing.
//!
//! The codec's configuration record is copied as it came instead of being
//! parsed and written again: explicit SBR signalling, program config elements
//! and parameter set extensions survive, and a record that a parser of ours
//! doesn't know is the decoder's business, not an error here.
//!
//! No edit list. Pictures start at the run's first instant by signed offsets
//! in the trun. For passed-through sound the encoder's priming is long over
//! (or was never declared), so there is nothing that may be cut away.

use bytes::{BufMut, Bytes, BytesMut};
use records::mp4::{
    LANGUAGE_UNDETERMINED, boxed, full, put_handler, put_matrix, put_media_information,
};
use records::{Codec, Kind, TrackInit};

/// The only track's id.
pub(super) const TRACK_ID: u32 = 1;

/// The initialization section of a track.
pub(super) fn encode(init: &TrackInit) -> Bytes {
    let mut out = BytesMut::with_capacity(1024 + init.config.len());
    boxed(&mut out, b"ftyp", |out| {
        // cmf2 beside cmfc: defaults in each traf, signed offsets, no edit
        // list (ISO 23000-19 7.7).
        out.put_slice(b"iso6\0\0\0\0iso6cmfccmf2");
    });
    boxed(&mut out, b"moov", |out| {
        full(out, b"mvhd", 0, 0, |out| {
            out.put_bytes(0, 8); // created, modified
            out.put_u32(init.timescale);
            out.put_u32(0); // duration: unknown, the fragments tell
            out.put_u32(0x1_0000); // rate 1
            out.put_u16(0x100); // volume 1
            out.put_bytes(0, 10);
            put_matrix(out);
            out.put_bytes(0, 24);
            out.put_u32(TRACK_ID + 1);
        });
        boxed(out, b"trak", |out| put_trak(out, init));
        boxed(out, b"mvex", |out| {
            full(out, b"trex", 0, 0, |out| {
                out.put_u32(TRACK_ID);
                out.put_u32(1); // sample description
                out.put_bytes(0, 12); // duration, size and flags: in each tfhd or trun
            });
        });
    });
    out.freeze()
}

fn put_trak(out: &mut BytesMut, init: &TrackInit) {
    let (width, height, volume) = match init.kind {
        Kind::Video { width, height, .. } => (width, height, 0),
        Kind::Audio { .. } => (0, 0, 0x100),
    };
    // Enabled and in the movie.
    full(out, b"tkhd", 0, 3, |out| {
        out.put_bytes(0, 8);
        out.put_u32(TRACK_ID);
        out.put_bytes(0, 4 + 4 + 8 + 2 + 2); // reserved, duration, reserved, layer, group
        out.put_u16(volume);
        out.put_u16(0);
        put_matrix(out);
        out.put_u32(u32::from(width) << 16);
        out.put_u32(u32::from(height) << 16);
    });
    boxed(out, b"mdia", |out| {
        full(out, b"mdhd", 0, 0, |out| {
            out.put_bytes(0, 8);
            out.put_u32(init.timescale);
            out.put_u32(0);
            out.put_u16(LANGUAGE_UNDETERMINED);
            out.put_u16(0);
        });
        put_handler(out, init.is_video());
        put_media_information(out, init.is_video(), |out| {
            full(out, b"stsd", 0, 0, |out| {
                out.put_u32(1);
                put_sample_entry(out, init);
            });
            for empty in [b"stts", b"stsc", b"stco"] {
                full(out, empty, 0, 0, |out| out.put_u32(0));
            }
            full(out, b"stsz", 0, 0, |out| out.put_bytes(0, 8));
        });
    });
}

fn put_sample_entry(out: &mut BytesMut, init: &TrackInit) {
    let (entry, config): (&[u8; 4], &[u8; 4]) = match init.codec {
        Codec::H264 => (b"avc1", b"avcC"),
        Codec::Hevc => (b"hvc1", b"hvcC"),
        Codec::Av1 => (b"av01", b"av1C"),
        Codec::Aac => (b"mp4a", b"esds"),
        Codec::Opus => (b"Opus", b"dOps"),
    };
    boxed(out, entry, |out| {
        out.put_bytes(0, 6);
        out.put_u16(1); // data reference
        match init.kind {
            Kind::Video { width, height, .. } => put_visual(out, width, height),
            Kind::Audio { sample_rate, channels } => put_audio(out, sample_rate, channels),
        }
        match (init.codec, init.kind) {
            (Codec::Aac, _) => full(out, config, 0, 0, |out| put_es_descriptor(out, &init.config)),
            (Codec::Opus, kind) => {
                boxed(out, config, |out| put_opus_specific(out, &init.config, kind));
            }
            _ => boxed(out, config, |out| out.put_slice(&init.config)),
        }
    });
}

fn put_visual(out: &mut BytesMut, width: u16, height: u16) {
    out.put_bytes(0, 16);
    out.put_u16(width);
    out.put_u16(height);
    out.put_u32(0x48_0000); // 72 dpi, as everybody writes
    out.put_u32(0x48_0000);
    out.put_u32(0);
    out.put_u16(1); // one picture per sample
    out.put_bytes(0, 32); // compressor's name
    out.put_u16(0x18); // depth
    out.put_u16(0xffff);
}

fn put_audio(out: &mut BytesMut, sample_rate: u32, channels: u16) {
    out.put_bytes(0, 8);
    out.put_u16(channels);
    out.put_u16(16);
    out.put_bytes(0, 4);
    // 16.16; a rate that doesn't fit is left to the codec's configuration.
    out.put_u32(u16::try_from(sample_rate).map_or(0, |rate| u32::from(rate) << 16));
}

/// ISO 14496-1 7.2.6: what wraps an AudioSpecificConfig.
fn put_es_descriptor(out: &mut BytesMut, config: &[u8]) {
    const SL_CONFIG: [u8; 3] = [0x06, 1, 0x02];
    let specific = 5 + config.len();
    let decoder = 13 + specific;
    put_descriptor_head(out, 0x03, 3 + 5 + decoder + SL_CONFIG.len());
    out.put_u16(0); // ES_ID: 0 in files (ISO 14496-14 3.1.2)
    out.put_u8(0);
    put_descriptor_head(out, 0x04, decoder);
    out.put_u8(0x40); // MPEG-4 audio
    out.put_u8(0x15); // audio stream
    out.put_bytes(0, 3 + 4 + 4); // buffer size and bitrates: unknown
    put_descriptor_head(out, 0x05, config.len());
    out.put_slice(config);
    out.put_slice(&SL_CONFIG);
}

/// A tag and its length in the four-byte form, so that sizes can be added up beforehand.
fn put_descriptor_head(out: &mut BytesMut, tag: u8, length: usize) {
    out.put_u8(tag);
    for shift in [21, 14, 7] {
        out.put_u8((length >> shift) as u8 & 0x7f | 0x80);
    }
    out.put_u8(length as u8 & 0x7f);
}

/// dOps is OpusHead without its magic and in big-endian order (Opus in ISOBMFF 4.3.2).
fn put_opus_specific(out: &mut BytesMut, head: &[u8], kind: Kind) {
    let head = head.strip_prefix(b"OpusHead").unwrap_or(head);
    out.put_u8(0);
    if let Some(&[_, channels, s0, s1, r0, r1, r2, r3, g0, g1, family]) = head.first_chunk::<11>() {
        out.put_u8(channels);
        out.put_slice(&[s1, s0, r3, r2, r1, r0, g1, g0, family]);
        if family != 0 {
            out.put_slice(&head[11..]);
        }
    } else {
        let channels = match kind {
            Kind::Audio { channels, .. } => channels.clamp(1, 2) as u8,
            Kind::Video { .. } => 2,
        };
        out.put_u8(channels);
        out.put_u16(312); // libopus's pre-skip at 48 kHz
        out.put_u32(48_000);
        out.put_bytes(0, 3);
    }
}

#[cfg(test)]
mod tests {
    use mp4_atom::{Codec as Entry, Decode, Encode, Ftyp, Moov};

    use super::*;

    fn track(codec: Codec, config: Vec<u8>, kind: Kind) -> TrackInit {
        TrackInit { codec, config: config.into(), timescale: 48_000, sample_ticks: 1024, kind }
    }

    fn parsed(init: &TrackInit) -> Moov {
        let header = encode(init);
        let mut rest: &[u8] = &header;
        let ftyp = Ftyp::decode(&mut rest).unwrap();
        assert_eq!(ftyp.major_brand, b"iso6".into());
        let moov = Moov::decode(&mut rest).unwrap();
        assert!(rest.is_empty());
        assert_eq!((moov.trak.len(), moov.mvhd.duration, moov.trak[0].tkhd.duration), (1, 0, 0));
        assert_eq!(moov.mvex.as_ref().unwrap().trex[0].track_id, TRACK_ID);
        assert_eq!(moov.trak[0].mdia.mdhd.timescale, init.timescale);
        assert_eq!(moov.trak[0].mdia.mdhd.language, "und");
        moov
    }

    fn entry(moov: &Moov) -> &Entry {
        &moov.trak[0].mdia.minf.stbl.stsd.codecs[0]
    }

    const PICTURE: Kind = Kind::Video { width: 1280, height: 720, fps: Some((25, 1)) };
    const SOUND: Kind = Kind::Audio { sample_rate: 48_000, channels: 2 };

    #[test]
    fn h264_keeps_its_record() {
        let config = vec![1, 77, 0, 31, 0xff, 0xe1, 0, 4, 0x67, 77, 0, 31, 1, 0, 2, 0x68, 0xee];
        let moov = parsed(&track(Codec::H264, config.clone(), PICTURE));
        let Entry::Avc1(avc1) = entry(&moov) else { panic!("not avc1") };
        assert_eq!((avc1.visual.width, avc1.visual.height), (1280, 720));
        let mut written = Vec::new();
        avc1.avcc.encode(&mut written).unwrap();
        assert_eq!(written[8..], config);
        assert_eq!(moov.trak[0].tkhd.width, 1280.into());
    }

    #[test]
    fn aac_keeps_its_config() {
        let moov = parsed(&track(Codec::Aac, vec![0x11, 0x90], SOUND));
        let Entry::Mp4a(mp4a) = entry(&moov) else { panic!("not mp4a") };
        let decoder = &mp4a.esds.es_desc.dec_config;
        assert_eq!(decoder.object_type_indication, 0x40);
        assert_eq!(decoder.dec_specific.as_ref().unwrap().profile, 2);
        assert_eq!((mp4a.audio.channel_count, mp4a.audio.sample_rate), (2, 48_000.into()));
    }

    #[test]
    fn opus_head_becomes_dops() {
        let mut head = b"OpusHead\x01\x02".to_vec();
        head.extend(312u16.to_le_bytes());
        head.extend(44_100u32.to_le_bytes());
        head.extend([0, 0, 0]);
        for config in [head, vec![]] {
            let known = !config.is_empty();
            let moov = parsed(&track(Codec::Opus, config, SOUND));
            let Entry::Opus(opus) = entry(&moov) else { panic!("not Opus") };
            assert_eq!((opus.dops.output_channel_count, opus.dops.pre_skip), (2, 312));
            assert_eq!(opus.dops.input_sample_rate, if known { 44_100 } else { 48_000 });
        }
    }

    #[test]
    fn av1_and_hevc_have_their_entries() {
        let moov = parsed(&track(Codec::Av1, vec![0x81, 0x08, 0x0c, 0], PICTURE));
        assert!(matches!(entry(&moov), Entry::Av01(_)));
        let mut hvcc = vec![1, 1, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93];
        hvcc.extend([0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 0]);
        let moov = parsed(&track(Codec::Hevc, hvcc, PICTURE));
        assert!(matches!(entry(&moov), Entry::Hvc1(_)));
    }
}
