//! What is known of a session's picture and sound, and messages made into units.
//!
//! Enters: message bodies. Leaves: [`Unit`]s that are known to be whole, in the
//! form [`records::Codec`] says. Held: the newest configuration of each track.
//! What is damaged is refused here, so that nothing behind it need look again.

use bytes::Bytes;
use records::{Codec, Kind, TrackInit};

use super::clock;
use super::metadata::Metadata;
use super::params::{self, Picture};
use super::sound::{self, Sound};
use super::tag::{self, Tag, TagError};

/// One whole access unit in source time.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// Picture, or sound.
    pub(super) video: bool,
    /// Decode time as published, in microseconds.
    pub(super) us: i64,
    /// Presentation minus decode time, in microseconds.
    pub(super) cts_us: i64,
    /// Whether decoding can start here.
    pub(super) keyframe: bool,
    /// Sound: its duration in ticks.
    pub(super) ticks: u32,
    /// The access unit.
    pub(super) data: Bytes,
    /// Wall clock of its arrival.
    pub(super) arrival_us: u64,
    /// Arrival time, see [`super::timeline::Arrival`].
    pub(super) now: i64,
}

/// What a message turned out to be.
#[derive(Debug)]
pub(super) enum Event {
    /// An access unit; `us`, `arrival_us` and `now` are set.
    Unit(Unit),
    /// The track's first configuration, or the same one again.
    Known,
    /// Another configuration than before: what follows can't be joined to what came.
    Changed,
    /// Nothing that matters.
    Nothing,
    /// Could not be used.
    Dropped,
    /// The track's first message in a codec that isn't carried: its name.
    Foreign(String),
}

#[derive(Clone, Debug)]
struct VideoTrack {
    codec: Codec,
    config: Bytes,
    nal_length: usize,
    // AV1 may leave it to the first keyframe.
    picture: Option<Picture>,
}

#[derive(Clone, Debug)]
struct AudioTrack {
    codec: Codec,
    config: Bytes,
    sound: Sound,
}

/// What is known of a session's tracks.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracks {
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
    metadata: Option<Metadata>,
    // Sound, picture: that its codec isn't carried was said.
    foreign: [bool; 2],
}

/// No message is that far from the session's start: 2^46 ms are 2,000 years.
const TIMESTAMP_MS_MAX: i64 = 1 << 46;

/// A picture is shown at most this long before, or after, it is decoded.
const CTS_MS_RANGE: std::ops::RangeInclusive<i32> = -2_000..=10_000;

impl Tracks {
    /// A data message; true if it was `onMetaData`.
    pub(super) fn data(&mut self, data: &[u8]) -> bool {
        match Metadata::parse(data) {
            Some(metadata) => {
                self.metadata = Some(metadata);
                true
            }
            None => false,
        }
    }

    /// Whether a picture's configuration is known.
    pub(super) fn has_video(&self) -> bool {
        self.video.is_some()
    }

    /// Whether a sound's configuration is known.
    pub(super) fn has_audio(&self) -> bool {
        self.audio.is_some()
    }

    /// Whether the metadata says that there will be no sound.
    pub(super) fn promises_no_audio(&self) -> bool {
        self.metadata.is_some_and(|m| m.video_only())
    }

    /// Whether the metadata says that there will be no picture.
    pub(super) fn promises_no_video(&self) -> bool {
        self.metadata.is_some_and(|m| m.audio_only())
    }

    /// A video or audio message: what it is, and how many units of other tracks it held.
    pub(super) fn message(
        &mut self,
        video: bool,
        timestamp_ms: i64,
        body: &Bytes,
        arrival_us: u64,
        now: i64,
    ) -> (Event, u32) {
        let parsed = if video { tag::video(body) } else { tag::audio(body) };
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(TagError::Codec) if !std::mem::replace(&mut self.foreign[video as usize], true) => {
                return (Event::Foreign(tag::codec_name(video, body)), 0);
            }
            Err(_) => return (Event::Dropped, 0),
        };
        let event = match parsed.tag {
            Tag::Nothing => Event::Nothing,
            Tag::Config { codec, config } if video => self.video_config(codec, config),
            Tag::Config { codec, config } => self.audio_config(codec, config),
            Tag::Coded { codec, keyframe, cts_ms, offset_ns, data } => {
                let sane = timestamp_ms.abs() <= TIMESTAMP_MS_MAX && CTS_MS_RANGE.contains(&cts_ms);
                let unit = Unit {
                    video,
                    us: timestamp_ms.saturating_mul(1000) + i64::from(offset_ns / 1000),
                    cts_us: i64::from(cts_ms) * 1000,
                    keyframe,
                    ticks: 0,
                    data,
                    arrival_us,
                    now,
                };
                let whole = match (sane, video) {
                    (false, _) => None,
                    (true, true) => self.picture(codec, unit),
                    (true, false) => self.sound(codec, unit),
                };
                whole.map_or(Event::Dropped, Event::Unit)
            }
        };
        (event, parsed.others)
    }

    fn video_config(&mut self, codec: Codec, config: Bytes) -> Event {
        if let Some(known) = &self.video
            && known.codec == codec
            && known.config == config
        {
            return Event::Known;
        }
        let shape = params::picture(codec, &config).or(self.promised_picture());
        let nal_length = match codec {
            // The four bytes of an av1C; its sequence header may follow in the stream.
            Codec::Av1 if config.len() >= 4 && config[0] == 0x81 => 0,
            Codec::Av1 => return Event::Dropped,
            _ => match params::nal_length_size(codec, &config) {
                Some(size) if shape.is_some() => size,
                _ => return Event::Dropped,
            },
        };
        let before = self.video.replace(VideoTrack { codec, config, nal_length, picture: shape });
        if before.is_some() { Event::Changed } else { Event::Known }
    }

    fn audio_config(&mut self, codec: Codec, config: Bytes) -> Event {
        if let Some(known) = &self.audio
            && known.codec == codec
            && known.config == config
        {
            return Event::Known;
        }
        let Some(sound) = sound::sound(codec, &config) else { return Event::Dropped };
        let before = self.audio.replace(AudioTrack { codec, config, sound });
        if before.is_some() { Event::Changed } else { Event::Known }
    }

    fn promised_picture(&self) -> Option<Picture> {
        let metadata = self.metadata?;
        let known = metadata.width > 0 && metadata.height > 0;
        known.then_some(Picture { width: metadata.width, height: metadata.height, fps: None })
    }

    fn picture(&mut self, codec: Codec, mut unit: Unit) -> Option<Unit> {
        let promised = self.promised_picture();
        let track = self.video.as_mut().filter(|track| track.codec == codec)?;
        match codec {
            Codec::Av1 => {
                let lead = params::av1_delimiters(&unit.data)?;
                unit.data = unit.data.slice(lead..);
                if track.picture.is_none() && unit.keyframe {
                    track.picture = params::av1_sequence(&unit.data).or(promised);
                }
                track.picture?;
                (!unit.data.is_empty()).then_some(unit)
            }
            _ => {
                let nals = nal_units(codec, track.nal_length, &unit.data)?;
                unit.keyframe |= nals.random_access;
                nals.coded.then_some(unit)
            }
        }
    }

    fn sound(&mut self, codec: Codec, mut unit: Unit) -> Option<Unit> {
        if unit.data.is_empty() {
            return None;
        }
        if self.audio.is_none() && codec == Codec::Opus {
            // Opus needs no configuration to be decoded, so some send none.
            self.audio_config(codec, Bytes::from_static(sound::OPUS_HEAD));
        }
        let track = self.audio.as_ref().filter(|track| track.codec == codec)?;
        unit.ticks = match codec {
            Codec::Opus => sound::opus_ticks(&unit.data)?,
            _ => track.sound.frame_ticks,
        };
        Some(unit)
    }

    /// The picture's configuration for a run.
    pub(super) fn video_init(&self) -> Option<TrackInit> {
        let track = self.video.as_ref()?;
        let picture = track.picture?;
        let fps = self.frame_rate(picture.fps);
        let (timescale, sample_ticks) = clock::timescale(fps);
        let kind = Kind::Video { width: picture.width, height: picture.height, fps };
        Some(TrackInit {
            codec: track.codec,
            config: track.config.clone(),
            timescale,
            sample_ticks,
            kind,
        })
    }

    /// The sound's configuration for a run whose first block lasts `ticks`, if that is known.
    pub(super) fn audio_init(&self, ticks: Option<u32>) -> Option<TrackInit> {
        let track = self.audio.as_ref()?;
        let Sound { sample_rate, channels, frame_ticks } = track.sound;
        Some(TrackInit {
            codec: track.codec,
            config: track.config.clone(),
            timescale: sample_rate,
            sample_ticks: ticks.unwrap_or(frame_ticks),
            kind: Kind::Audio { sample_rate, channels },
        })
    }

    /// The stream's own word is exact but sometimes off by a factor (fields
    /// counted as frames); where the metadata contradicts it, that is believed.
    fn frame_rate(&self, own: Option<(u32, u32)>) -> Option<(u32, u32)> {
        let promised = self.metadata.and_then(|m| m.fps);
        let (Some((a, b)), Some((c, d))) = (own, promised) else { return own.or(promised) };
        let (left, right) = (u64::from(a) * u64::from(d), u64::from(c) * u64::from(b));
        if left.abs_diff(right) * 200 <= right { own } else { promised }
    }
}

/// What a sample's NAL units are.
struct NalUnits {
    /// At least one is part of a picture.
    coded: bool,
    /// One is an IDR or IRAP slice, whatever the container says.
    random_access: bool,
}

/// Walks length-prefixed NAL units; none if their lengths don't add up.
fn nal_units(codec: Codec, length_size: usize, data: &[u8]) -> Option<NalUnits> {
    let mut found = NalUnits { coded: false, random_access: false };
    let mut rest = data;
    while !rest.is_empty() {
        let (length, tail) = rest.split_at_checked(length_size)?;
        let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        let (nal, tail) = tail.split_at_checked(length)?;
        rest = tail;
        let head = *nal.first()?;
        let (coded, random_access) = match codec {
            Codec::H264 => (matches!(head & 31, 1..=5), head & 31 == 5),
            _ => (head >> 1 & 63 < 32, (16..=21).contains(&(head >> 1 & 63))),
        };
        found.coded |= coded;
        found.random_access |= random_access;
    }
    Some(found)
}
