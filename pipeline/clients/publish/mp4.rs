//! MP4 files: sample tables or fragments to FLV tag bodies.
//!
//! Enters: a file's bytes. Leaves: the first usable video and audio track.
//! Supported edits: leading empty edits, then one edit into the media (what
//! encoders write for reordering, priming and late tracks).

use bytes::{BufMut, Bytes, BytesMut};
use mp4_atom::{Atom, Codec, Decode, FourCC, Header, Moov, Stbl, StszSamples, Trak};

use super::clip::{ClipError, Metadata, RawSample, RawTrack, Track};
use super::flv::{self, Wrap};
use super::fragments;

/// Where a sample is in the file and on the timeline.
pub(super) struct Sample {
    pub(super) offset: u64,
    pub(super) size: u32,
    pub(super) dts: i64,
    pub(super) cts: i64,
    pub(super) sync: bool,
}

/// Reads the tracks that RTMP can carry.
pub(super) fn read(data: &[u8]) -> Result<(Vec<RawTrack>, Metadata), ClipError> {
    let moov = find_moov(data)?;
    let mut metadata = Metadata::default();
    let mut tracks = Vec::new();
    for track in [Track::Video, Track::Audio] {
        let usable = moov.trak.iter().find_map(|trak| {
            let codec = trak.mdia.minf.stbl.stsd.codecs.first()?;
            describe(codec, &mut metadata).filter(|(t, ..)| *t == track).map(|d| (trak, d))
        });
        if let Some((trak, (track, wrap, config))) = usable {
            tracks.push(read_track(data, &moov, trak, track, wrap, &config)?);
        }
    }
    if let Some(video) = tracks.iter().find(|t| t.track == Track::Video)
        && video.duration > 0
    {
        let seconds = video.duration as f64 / f64::from(video.timescale);
        metadata.fps = Some((video.samples.len() as f64 / seconds * 1000.0).round() / 1000.0);
    }
    Ok((tracks, metadata))
}

/// The movie box, wherever it is; media data isn't looked at.
fn find_moov(data: &[u8]) -> Result<Moov, ClipError> {
    let mut rest = data;
    while rest.len() >= 8 {
        let header = Header::decode(&mut rest)?;
        let size = header.size.unwrap_or(rest.len());
        let body = rest.get(..size).ok_or(ClipError::Damaged("a box reaches beyond the file"))?;
        if header.kind == FourCC::new(b"moov") {
            let mut body = body;
            return Ok(Moov::decode_body(&mut body)?);
        }
        rest = &rest[size..];
    }
    Err(ClipError::NothingUsable)
}

/// How a codec goes over RTMP, with its configuration record.
fn describe(codec: &Codec, metadata: &mut Metadata) -> Option<(Track, Wrap, Vec<u8>)> {
    let mut config = Vec::new();
    let (wrap, visual) = match codec {
        Codec::Avc1(entry) => {
            entry.avcc.encode_body(&mut config).ok()?;
            (Wrap::Avc, &entry.visual)
        }
        Codec::Hvc1(entry) => {
            entry.hvcc.encode_body(&mut config).ok()?;
            (Wrap::VideoFourCc(*b"hvc1"), &entry.visual)
        }
        Codec::Hev1(entry) => {
            entry.hvcc.encode_body(&mut config).ok()?;
            (Wrap::VideoFourCc(*b"hvc1"), &entry.visual)
        }
        Codec::Av01(entry) => {
            entry.av1c.encode_body(&mut config).ok()?;
            (Wrap::VideoFourCc(*b"av01"), &entry.visual)
        }
        _ => return describe_audio(codec, metadata),
    };
    metadata.width = Some(visual.width);
    metadata.height = Some(visual.height);
    metadata.video_codec = Some(wrap.codec_id());
    Some((Track::Video, wrap, config))
}

fn describe_audio(codec: &Codec, metadata: &mut Metadata) -> Option<(Track, Wrap, Vec<u8>)> {
    let (wrap, audio, config, channels) = match codec {
        Codec::Mp4a(entry) => {
            // 0x40: MPEG-4 audio, the only one whose config RTMP has a place for.
            let decoder = &entry.esds.es_desc.dec_config;
            let specific = decoder.dec_specific.as_ref()?;
            if decoder.object_type_indication != 0x40 || specific.raw.len() < 2 {
                return None;
            }
            // The sample entry often says 2 whatever there is (ISO 14496-3 table 1.19).
            let channels = match specific.chan_conf {
                0 => entry.audio.channel_count,
                7 => 8,
                count => u16::from(count),
            };
            (Wrap::Aac, &entry.audio, specific.raw.clone(), channels)
        }
        Codec::Opus(entry) => {
            let channels = u16::from(entry.dops.output_channel_count);
            (Wrap::AudioFourCc(*b"Opus"), &entry.audio, opus_head(&entry.dops), channels)
        }
        _ => return None,
    };
    metadata.channels = Some(channels);
    metadata.sample_rate = Some(u32::from(audio.sample_rate.integer()));
    metadata.audio_codec = Some(wrap.codec_id());
    Some((Track::Audio, wrap, config))
}

/// `dOps` in the form of RFC 7845 §5.1, which E-RTMP carries.
fn opus_head(dops: &mp4_atom::Dops) -> Vec<u8> {
    let mut head = Vec::with_capacity(19);
    head.put_slice(b"OpusHead");
    head.put_u8(1);
    head.put_u8(dops.output_channel_count);
    head.put_u16_le(dops.pre_skip);
    head.put_u32_le(dops.input_sample_rate);
    head.put_i16_le(dops.output_gain);
    match &dops.channel_mapping {
        None => head.put_u8(0),
        Some(mapping) => {
            head.put_slice(&[mapping.family, mapping.stream_count, mapping.coupled_count]);
            head.put_slice(&mapping.channel_mapping);
        }
    }
    head
}

fn read_track(
    data: &[u8],
    moov: &Moov,
    trak: &Trak,
    track: Track,
    wrap: Wrap,
    config: &[u8],
) -> Result<RawTrack, ClipError> {
    let timescale = trak.mdia.mdhd.timescale.max(1);
    let shift = presentation_shift(moov, trak);
    let (samples, duration) = if moov.mvex.is_some() {
        fragments::samples(data, moov, trak.tkhd.track_id, track)?
    } else {
        samples(&trak.mdia.minf.stbl, track)?
    };
    let ms = |ticks: i64| records::MediaTime::new(ticks, timescale).rescale(1000).ticks;
    let tags = samples.iter().map(|sample| {
        let start = usize::try_from(sample.offset).unwrap_or(usize::MAX);
        let payload = data
            .get(start..start.saturating_add(sample.size as usize))
            .ok_or(ClipError::Damaged("a sample lies beyond the file"))?;
        // Rounded as a difference, so that presentation times are the file's
        // to the millisecond although decode times are rounded too.
        let offset_ms = ms(sample.dts + sample.cts) - ms(sample.dts);
        let mut body = BytesMut::with_capacity(payload.len() + 8);
        wrap.sample(sample.sync, offset_ms as i32, &mut body);
        body.put_slice(payload);
        Ok(RawSample { dts: sample.dts + shift, keyframe: sample.sync, body: body.freeze() })
    });
    Ok(RawTrack {
        track,
        header: wrap.header(config),
        timescale,
        samples: tags.collect::<Result<_, ClipError>>()?,
        duration,
    })
}

/// What the edit list adds to media times (ISO 14496-12 §8.6.6), in the
/// track's timescale.
fn presentation_shift(moov: &Moov, trak: &Trak) -> i64 {
    let Some(list) = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref()) else {
        return 0;
    };
    let mut shift = 0;
    for entry in &list.entries {
        match entry.media_time {
            None => {
                let movie = records::MediaTime::new(
                    i64::try_from(entry.segment_duration).unwrap_or(0),
                    moov.mvhd.timescale,
                );
                shift += movie.rescale(trak.mdia.mdhd.timescale.max(1)).ticks;
            }
            Some(start) => return shift - i64::try_from(start).unwrap_or(0),
        }
    }
    shift
}

/// Joins the sample tables; gives the samples and their durations' sum.
fn samples(stbl: &Stbl, track: Track) -> Result<(Vec<Sample>, i64), ClipError> {
    let sizes: Vec<u32> = match &stbl.stsz.samples {
        StszSamples::Identical { count, size } => vec![*size; *count as usize],
        StszSamples::Different { sizes } => sizes.clone(),
    };
    let durations = stbl
        .stts
        .entries
        .iter()
        .flat_map(|e| std::iter::repeat_n(i64::from(e.sample_delta), e.sample_count as usize));
    let reorder = stbl.ctts.iter().flat_map(|ctts| {
        ctts.entries
            .iter()
            .flat_map(|e| std::iter::repeat_n(e.sample_offset, e.sample_count as usize))
    });
    let mut reorder = reorder.fuse();
    let mut offsets = offsets(stbl, &sizes)?.into_iter();
    let mut samples = Vec::with_capacity(sizes.len());
    let mut dts = 0;
    for ((number, size), duration) in (1u32..).zip(&sizes).zip(durations) {
        let sync = track == Track::Audio
            || stbl.stss.as_ref().is_none_or(|stss| stss.entries.binary_search(&number).is_ok());
        samples.push(Sample {
            offset: offsets.next().ok_or(ClipError::Damaged("more samples than chunks hold"))?,
            size: *size,
            dts,
            cts: reorder.next().unwrap_or(0),
            sync,
        });
        dts += duration;
    }
    if samples.len() < sizes.len() {
        return Err(ClipError::Damaged("more sizes than durations"));
    }
    Ok((samples, dts))
}

/// Each sample's place in the file, from chunk offsets and samples per chunk.
fn offsets(stbl: &Stbl, sizes: &[u32]) -> Result<Vec<u64>, ClipError> {
    let chunks: Vec<u64> = match (&stbl.co64, &stbl.stco) {
        (Some(co64), _) => co64.entries.clone(),
        (None, Some(stco)) => stco.entries.iter().map(|o| u64::from(*o)).collect(),
        (None, None) => Vec::new(),
    };
    let mut offsets = Vec::with_capacity(sizes.len());
    let mut sizes = sizes.iter();
    let mut runs = stbl.stsc.entries.iter().peekable();
    let mut per_chunk = 0;
    for (number, start) in (1u32..).zip(chunks) {
        while let Some(run) = runs.next_if(|run| run.first_chunk <= number) {
            per_chunk = run.samples_per_chunk;
        }
        let mut at = start;
        for size in sizes.by_ref().take(per_chunk as usize) {
            offsets.push(at);
            at = at
                .checked_add(u64::from(*size))
                .ok_or(ClipError::Damaged("a sample's offset overflows"))?;
        }
    }
    Ok(offsets)
}

impl Wrap {
    fn header(self, config: &[u8]) -> Bytes {
        let mut body = BytesMut::with_capacity(config.len() + 8);
        flv::sequence_header(self, &mut body);
        body.put_slice(config);
        body.freeze()
    }
}
