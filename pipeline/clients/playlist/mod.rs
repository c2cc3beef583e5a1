//! HLS playlists as structs, read strictly.
//!
//! Enters: a playlist's text. Leaves: [`MultivariantPlaylist`] or
//! [`MediaPlaylist`], with every tag that isn't known kept as text. A text
//! that breaks the grammar is a [`ParseError`] with its line; a text that is
//! well-formed but breaks a rule of HLS is parsed, and judged by
//! [`crate::rules`].
//!
//! Rule source: *bis* = draft-pantos-hls-rfc8216bis-22, section 4.

mod attributes;
mod date;
mod delta;
mod media;
mod multivariant;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use attributes::Attributes;
pub use date::{format_date, parse_date};
pub use delta::DeltaError;
pub use media::parse_media;
pub use multivariant::parse_multivariant;

/// The text isn't a playlist of the expected kind: the server's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// `n[@o]` of EXT-X-BYTERANGE and BYTERANGE (bis 4.4.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// How many bytes.
    pub length: u64,
    /// From where; none: after the last range of the same resource.
    pub offset: Option<u64>,
}

/// EXT-X-MAP: an initialization section (bis 4.4.4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Where it is.
    pub uri: String,
    /// Which bytes of it, if not all.
    pub byte_range: Option<ByteRange>,
}

/// EXT-X-SERVER-CONTROL (bis 4.4.3.8). Times in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerControl {
    /// CAN-SKIP-UNTIL.
    pub can_skip_until: Option<f64>,
    /// CAN-SKIP-DATERANGES=YES.
    pub can_skip_dateranges: bool,
    /// HOLD-BACK.
    pub hold_back: Option<f64>,
    /// PART-HOLD-BACK.
    pub part_hold_back: Option<f64>,
    /// CAN-BLOCK-RELOAD=YES.
    pub can_block_reload: bool,
}

/// EXT-X-PLAYLIST-TYPE (bis 4.4.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaylistType {
    /// Only grows.
    Event,
    /// Never changes.
    Vod,
}

/// EXT-X-SKIP (bis 4.4.5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skip {
    /// SKIPPED-SEGMENTS.
    pub segments: u64,
    /// RECENTLY-REMOVED-DATERANGES, if given.
    pub removed_dateranges: Option<String>,
}

/// EXT-X-PART (bis 4.4.4.9).
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Where it is.
    pub uri: String,
    /// DURATION in seconds.
    pub duration: f64,
    /// INDEPENDENT=YES.
    pub independent: bool,
    /// GAP=YES.
    pub gap: bool,
    /// Which bytes of it, if not all.
    pub byte_range: Option<ByteRange>,
}

/// What a segment has whether it is complete or still open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SegmentHead {
    /// Media sequence number.
    pub msn: u64,
    /// EXT-X-DISCONTINUITY stands before it.
    pub discontinuity: bool,
    /// Its discontinuity sequence number.
    pub discontinuity_sequence: u64,
    /// The EXT-X-MAP that applies to it.
    pub map: Option<Arc<Map>>,
    /// Wall clock of its first sample in microseconds since 1970: as tagged,
    /// or counted on from the last tag; none after an untagged discontinuity.
    pub pdt_us: Option<i64>,
    /// Its own EXT-X-PROGRAM-DATE-TIME, as tagged.
    pub pdt_tag_us: Option<i64>,
    /// EXT-X-GAP.
    pub gap: bool,
    /// Its parts, as far as they are listed.
    pub parts: Vec<Part>,
    /// Tags of its own that this parser doesn't know, as written.
    pub unknown: Vec<String>,
}

/// A complete segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// What it shares with an open one.
    pub head: SegmentHead,
    /// Where it is.
    pub uri: String,
    /// EXTINF in seconds.
    pub duration: f64,
    /// EXTINF's title.
    pub title: String,
    /// Which bytes of it, if not all.
    pub byte_range: Option<ByteRange>,
}

/// What a hint or key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintType {
    /// A part.
    Part,
    /// An initialization section.
    Map,
}

/// EXT-X-PRELOAD-HINT (bis 4.4.5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreloadHint {
    /// What it will be.
    pub kind: HintType,
    /// Where it will be.
    pub uri: String,
    /// BYTERANGE-START.
    pub start: u64,
    /// BYTERANGE-LENGTH.
    pub length: Option<u64>,
}

/// EXT-X-RENDITION-REPORT (bis 4.4.5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenditionReport {
    /// The other playlist.
    pub uri: String,
    /// Its last segment, complete or open.
    pub last_msn: Option<u64>,
    /// The last part of that segment.
    pub last_part: Option<u64>,
}

/// A media playlist (bis 4.4.3).
#[derive(Clone, Debug, PartialEq)]
pub struct MediaPlaylist {
    /// EXT-X-VERSION, 1 without one.
    pub version: u64,
    /// EXT-X-TARGETDURATION in seconds.
    pub target_duration: u64,
    /// EXT-X-MEDIA-SEQUENCE, 0 without one.
    pub media_sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE, as tagged.
    pub discontinuity_sequence: Option<u64>,
    /// PART-TARGET of EXT-X-PART-INF, in seconds.
    pub part_target: Option<f64>,
    /// EXT-X-SERVER-CONTROL.
    pub server_control: Option<ServerControl>,
    /// EXT-X-PLAYLIST-TYPE.
    pub playlist_type: Option<PlaylistType>,
    /// EXT-X-I-FRAMES-ONLY.
    pub i_frames_only: bool,
    /// EXT-X-INDEPENDENT-SEGMENTS.
    pub independent_segments: bool,
    /// EXT-X-ENDLIST.
    pub end_list: bool,
    /// EXT-X-SKIP: a delta update, whose segments begin after the skipped ones.
    pub skip: Option<Skip>,
    /// Complete segments, oldest first.
    pub segments: Vec<Segment>,
    /// The segment under way: parts, or at least its tags, without a URI yet.
    pub open: Option<SegmentHead>,
    /// EXT-X-PRELOAD-HINT tags.
    pub preload_hints: Vec<PreloadHint>,
    /// EXT-X-RENDITION-REPORT tags.
    pub rendition_reports: Vec<RenditionReport>,
    /// Playlist tags that this parser doesn't know, as written.
    pub unknown: Vec<String>,
    /// Whether a tag was written that needs at least this version (bis 8).
    pub version_needed: u64,
}

/// A part with its place in the playlist.
#[derive(Clone, Copy, Debug)]
pub struct PlacedPart<'a> {
    /// Media sequence number of its parent.
    pub msn: u64,
    /// Position in its parent.
    pub index: usize,
    /// Its parent is still open.
    pub open: bool,
    /// Its parent.
    pub head: &'a SegmentHead,
    /// The part.
    pub part: &'a Part,
}

impl MediaPlaylist {
    /// Media sequence number after the last complete segment.
    #[must_use]
    pub fn next_msn(&self) -> u64 {
        let skipped = self.skip.as_ref().map_or(0, |skip| skip.segments);
        self.media_sequence + skipped + self.segments.len() as u64
    }

    /// Segments as they are, then the open one.
    pub fn heads(&self) -> impl Iterator<Item = &SegmentHead> {
        self.segments.iter().map(|s| &s.head).chain(&self.open)
    }

    /// All listed parts, oldest first.
    pub fn parts(&self) -> impl Iterator<Item = PlacedPart<'_>> {
        let next = self.next_msn();
        self.heads().flat_map(move |head| {
            head.parts.iter().enumerate().map(move |(index, part)| PlacedPart {
                msn: head.msn,
                index,
                open: head.msn == next,
                head,
                part,
            })
        })
    }

    /// The `(msn, part)` that a blocking reload should ask for: what comes
    /// after the last part (bis 6.2.5.2).
    #[must_use]
    pub fn next_part(&self) -> (u64, u64) {
        (self.next_msn(), self.open.as_ref().map_or(0, |open| open.parts.len() as u64))
    }

    /// Seconds of media listed, the open segment's parts included.
    #[must_use]
    pub fn duration(&self) -> f64 {
        let complete: f64 = self.segments.iter().map(|s| s.duration).sum();
        complete + self.open.iter().flat_map(|o| &o.parts).map(|p| p.duration).sum::<f64>()
    }

    /// Whether low latency is offered.
    #[must_use]
    pub fn has_parts(&self) -> bool {
        self.part_target.is_some()
    }

    /// The hinted part, if there is one.
    #[must_use]
    pub fn hinted_part(&self) -> Option<&PreloadHint> {
        self.preload_hints.iter().find(|hint| hint.kind == HintType::Part)
    }
}

impl SegmentHead {
    /// Wall clock of the end of part `index`, in microseconds since 1970.
    #[must_use]
    pub fn part_end_us(&self, index: usize) -> Option<i64> {
        let before: f64 = self.parts.get(..=index)?.iter().map(|p| p.duration).sum();
        Some(self.pdt_us? + (before * 1e6).round() as i64)
    }
}

/// EXT-X-STREAM-INF and EXT-X-I-FRAME-STREAM-INF (bis 4.4.6.2, 4.4.6.3).
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// The media playlist.
    pub uri: String,
    /// It is of EXT-X-I-FRAME-STREAM-INF.
    pub i_frames: bool,
    /// BANDWIDTH in bit/s.
    pub bandwidth: u64,
    /// AVERAGE-BANDWIDTH in bit/s.
    pub average_bandwidth: Option<u64>,
    /// CODECS, one by one.
    pub codecs: Vec<String>,
    /// RESOLUTION in pixels.
    pub resolution: Option<(u64, u64)>,
    /// FRAME-RATE.
    pub frame_rate: Option<f64>,
    /// AUDIO: a group.
    pub audio: Option<String>,
    /// CLOSED-CAPTIONS: a group, or NONE.
    pub closed_captions: Option<String>,
    /// All of its attributes.
    pub attributes: Attributes,
}

/// EXT-X-MEDIA (bis 4.4.6.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// TYPE: AUDIO, VIDEO, SUBTITLES or CLOSED-CAPTIONS.
    pub kind: String,
    /// GROUP-ID.
    pub group: String,
    /// NAME.
    pub name: String,
    /// Its media playlist, if it has one of its own.
    pub uri: Option<String>,
    /// DEFAULT=YES.
    pub default: bool,
    /// AUTOSELECT=YES.
    pub autoselect: bool,
    /// LANGUAGE.
    pub language: Option<String>,
    /// CHANNELS.
    pub channels: Option<String>,
    /// All of its attributes.
    pub attributes: Attributes,
}

/// A multivariant playlist (bis 4.4.6).
#[derive(Clone, Debug, PartialEq)]
pub struct MultivariantPlaylist {
    /// EXT-X-VERSION, 1 without one.
    pub version: u64,
    /// EXT-X-INDEPENDENT-SEGMENTS.
    pub independent_segments: bool,
    /// Variants in their order; those of I-frames after the others.
    pub variants: Vec<Variant>,
    /// Alternative renditions.
    pub media: Vec<Media>,
    /// Tags that this parser doesn't know, as written.
    pub unknown: Vec<String>,
}

impl MultivariantPlaylist {
    /// The variants that play: those that aren't of I-frames only.
    pub fn playable(&self) -> impl Iterator<Item = &Variant> {
        self.variants.iter().filter(|v| !v.i_frames)
    }

    /// URIs of all media playlists, each once.
    #[must_use]
    pub fn uris(&self) -> Vec<&str> {
        let mut uris: Vec<&str> = Vec::new();
        let media = self.media.iter().filter_map(|m| m.uri.as_deref());
        for uri in self.variants.iter().map(|v| v.uri.as_str()).chain(media) {
            if !uris.contains(&uri) {
                uris.push(uri);
            }
        }
        uris
    }
}
