//! Media playlists (bis 4.4.3 to 4.4.5).

use std::sync::Arc;

use super::attributes::{Attributes, byte_range, decimal, integer};
use super::date::parse_date;
use super::{
    ByteRange, HintType, Map, MediaPlaylist, ParseError, Part, PlaylistType, PreloadHint,
    RenditionReport, Segment, SegmentHead, ServerControl, Skip,
};

/// Tags that may appear only once (bis 4.4.3: "MUST NOT appear more than once").
const SINGLE: [&str; 11] = [
    "EXT-X-VERSION",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-ENDLIST",
    "EXT-X-PLAYLIST-TYPE",
    "EXT-X-I-FRAMES-ONLY",
    "EXT-X-PART-INF",
    "EXT-X-SERVER-CONTROL",
    "EXT-X-INDEPENDENT-SEGMENTS",
    "EXT-X-SKIP",
];

/// Reads a media playlist, whole or a delta update.
///
/// # Errors
/// The first line that breaks the grammar.
pub fn parse_media(text: &str) -> Result<MediaPlaylist, ParseError> {
    let mut parser = Parser::new();
    let mut lines = lines(text)?;
    for (line, content) in &mut lines {
        parser.line(content).map_err(|what| ParseError { line, what })?;
    }
    let last = text.lines().count();
    parser.finish().map_err(|what| ParseError { line: last, what })
}

/// The lines after `#EXTM3U`, numbered, without blank ones and comments.
pub(super) fn lines(text: &str) -> Result<impl Iterator<Item = (usize, &str)>, ParseError> {
    let fail = |line, what: &str| Err(ParseError { line, what: what.into() });
    if text.lines().next() != Some("#EXTM3U") {
        return fail(1, "the first line isn't #EXTM3U");
    }
    if let Some(at) = text.find(|c: char| c.is_control() && c != '\n' && c != '\r') {
        return fail(text[..at].lines().count(), "it holds a control character");
    }
    let lines = text.lines().enumerate().skip(1).map(|(index, line)| (index + 1, line));
    Ok(lines.filter(|(_, line)| {
        !line.is_empty() && (!line.starts_with('#') || line.starts_with("#EXT"))
    }))
}

/// A tag's name and what follows its colon.
pub(super) fn split_tag(line: &str) -> Option<(&str, &str)> {
    let tag = line.strip_prefix('#')?;
    Some(tag.split_once(':').unwrap_or((tag, "")))
}

struct Parser {
    playlist: MediaPlaylist,
    seen: Vec<&'static str>,
    has_target: bool,
    // Of the segment that comes next.
    head: SegmentHead,
    head_touched: bool,
    extinf: Option<(f64, String)>,
    range: Option<ByteRange>,
    map: Option<Arc<Map>>,
    // Wall clock where the next segment begins, if it is known.
    clock_us: Option<i64>,
    discontinuities: u64,
}

impl Parser {
    fn new() -> Self {
        Self {
            playlist: MediaPlaylist {
                version: 1,
                target_duration: 0,
                media_sequence: 0,
                discontinuity_sequence: None,
                part_target: None,
                server_control: None,
                playlist_type: None,
                i_frames_only: false,
                independent_segments: false,
                end_list: false,
                skip: None,
                segments: Vec::new(),
                open: None,
                preload_hints: Vec::new(),
                rendition_reports: Vec::new(),
                unknown: Vec::new(),
                version_needed: 1,
            },
            seen: Vec::new(),
            has_target: false,
            head: SegmentHead::default(),
            head_touched: false,
            extinf: None,
            range: None,
            map: None,
            clock_us: None,
            discontinuities: 0,
        }
    }

    fn needs(&mut self, version: u64) {
        self.playlist.version_needed = self.playlist.version_needed.max(version);
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        match split_tag(line) {
            Some((name, value)) => self.tag(name, value, line),
            None => self.uri(line),
        }
    }

    fn tag(&mut self, name: &str, value: &str, line: &str) -> Result<(), String> {
        if let Some(single) = SINGLE.iter().find(|single| **single == name) {
            if self.seen.contains(single) {
                return Err(format!("{name} appears twice"));
            }
            self.seen.push(single);
        }
        if self.playlist_tag(name, value)? || self.segment_tag(name, value)? {
            return Ok(());
        }
        match name {
            "EXTM3U" => return Err("EXTM3U appears twice".into()),
            "EXT-X-STREAM-INF" | "EXT-X-MEDIA" | "EXT-X-I-FRAME-STREAM-INF" => {
                return Err(format!("{name} belongs in a multivariant playlist"));
            }
            "EXT-X-KEY" | "EXT-X-BITRATE" => {
                self.head.unknown.push(line.to_owned());
            }
            _ => self.playlist.unknown.push(line.to_owned()),
        }
        Ok(())
    }

    /// Tags of the playlist as a whole; false if it is another one.
    fn playlist_tag(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let before_segments = |parser: &Self| {
            if parser.playlist.segments.is_empty() && !parser.head_touched {
                Ok(())
            } else {
                Err(format!("{name} stands after a segment's tags"))
            }
        };
        let playlist = &mut self.playlist;
        match name {
            "EXT-X-VERSION" => playlist.version = integer(value)?,
            "EXT-X-TARGETDURATION" => {
                playlist.target_duration = integer(value)?;
                self.has_target = true;
            }
            "EXT-X-MEDIA-SEQUENCE" => {
                let msn = integer(value)?;
                before_segments(self)?;
                self.playlist.media_sequence = msn;
            }
            "EXT-X-DISCONTINUITY-SEQUENCE" => {
                let sequence = integer(value)?;
                before_segments(self)?;
                self.playlist.discontinuity_sequence = Some(sequence);
            }
            "EXT-X-PART-INF" => {
                let target = Attributes::parse(value)?.decimal("PART-TARGET")?;
                playlist.part_target = Some(target.ok_or("PART-TARGET is missing")?);
            }
            "EXT-X-SERVER-CONTROL" => playlist.server_control = Some(server_control(value)?),
            "EXT-X-PLAYLIST-TYPE" => {
                playlist.playlist_type = Some(match value {
                    "EVENT" => PlaylistType::Event,
                    "VOD" => PlaylistType::Vod,
                    other => return Err(format!("playlist type {other:?}")),
                });
            }
            "EXT-X-I-FRAMES-ONLY" => {
                playlist.i_frames_only = true;
                self.needs(4);
            }
            "EXT-X-INDEPENDENT-SEGMENTS" => playlist.independent_segments = true,
            "EXT-X-ENDLIST" => playlist.end_list = true,
            "EXT-X-SKIP" => self.skip(value)?,
            "EXT-X-PRELOAD-HINT" => playlist.preload_hints.push(preload_hint(value)?),
            "EXT-X-RENDITION-REPORT" => {
                let attributes = Attributes::parse(value)?;
                playlist.rendition_reports.push(RenditionReport {
                    uri: attributes.required("URI")?.to_owned(),
                    last_msn: attributes.integer("LAST-MSN")?,
                    last_part: attributes.integer("LAST-PART")?,
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Tags of the segment that comes next; false if it is another one.
    fn segment_tag(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "EXTINF" => {
                let (duration, title) =
                    value.split_once(',').ok_or("EXTINF has no comma after its duration")?;
                if self.extinf.is_some() {
                    return Err("EXTINF appears twice for a segment".into());
                }
                self.extinf = Some((decimal(duration)?, title.to_owned()));
                if duration.contains('.') {
                    self.needs(3);
                }
            }
            "EXT-X-BYTERANGE" => {
                self.range = Some(byte_range(value)?);
                self.needs(4);
            }
            "EXT-X-DISCONTINUITY" => {
                if !self.head.parts.is_empty() {
                    return Err("EXT-X-DISCONTINUITY stands between a segment's parts".into());
                }
                self.head.discontinuity = true;
                self.discontinuities += 1;
                self.clock_us = None;
            }
            "EXT-X-PROGRAM-DATE-TIME" => {
                let us = parse_date(value).ok_or_else(|| format!("{value:?} is no date"))?;
                self.head.pdt_tag_us = Some(us);
                self.clock_us = Some(us);
            }
            "EXT-X-MAP" => {
                let attributes = Attributes::parse(value)?;
                self.map = Some(Arc::new(Map {
                    uri: attributes.required("URI")?.to_owned(),
                    byte_range: attributes.byte_range("BYTERANGE")?,
                }));
                self.needs(if self.playlist.i_frames_only { 5 } else { 6 });
            }
            "EXT-X-GAP" => self.head.gap = true,
            "EXT-X-PART" => {
                let part = part(value)?;
                if self.playlist.part_target.is_none() {
                    return Err("EXT-X-PART without EXT-X-PART-INF before it".into());
                }
                if self.extinf.is_some() {
                    return Err("EXT-X-PART stands between EXTINF and its URI".into());
                }
                self.head.parts.push(part);
            }
            _ => return Ok(false),
        }
        self.head_touched = true;
        Ok(true)
    }

    fn skip(&mut self, value: &str) -> Result<(), String> {
        if !self.playlist.segments.is_empty() || self.head_touched {
            return Err("EXT-X-SKIP stands after a segment's tags".into());
        }
        let attributes = Attributes::parse(value)?;
        let removed = attributes.quoted("RECENTLY-REMOVED-DATERANGES")?.map(str::to_owned);
        let segments = attributes.integer("SKIPPED-SEGMENTS")?;
        self.needs(if removed.is_some() { 10 } else { 9 });
        self.playlist.skip = Some(Skip {
            segments: segments.ok_or("SKIPPED-SEGMENTS is missing")?,
            removed_dateranges: removed,
        });
        Ok(())
    }

    fn uri(&mut self, line: &str) -> Result<(), String> {
        let (duration, title) = self.extinf.take().ok_or("a URI without EXTINF before it")?;
        if line.trim() != line {
            return Err("a URI with white space around it".into());
        }
        let head = self.take_head();
        if let Some(clock) = &mut self.clock_us {
            *clock += (duration * 1e6).round() as i64;
        }
        let byte_range = self.range.take();
        let uri = line.to_owned();
        self.playlist.segments.push(Segment { head, uri, duration, title, byte_range });
        Ok(())
    }

    /// Completes the head of the segment that comes next.
    fn take_head(&mut self) -> SegmentHead {
        let mut head = std::mem::take(&mut self.head);
        self.head_touched = false;
        head.msn = self.playlist.next_msn();
        let base = self.playlist.discontinuity_sequence.unwrap_or(0);
        head.discontinuity_sequence = base + self.discontinuities;
        head.map.clone_from(&self.map);
        head.pdt_us = self.clock_us;
        head
    }

    fn finish(mut self) -> Result<MediaPlaylist, String> {
        if self.extinf.is_some() {
            return Err("EXTINF without a URI after it".into());
        }
        if !self.has_target {
            return Err("EXT-X-TARGETDURATION is missing".into());
        }
        if self.head_touched {
            let head = self.take_head();
            self.playlist.open = Some(head);
        }
        Ok(self.playlist)
    }
}

fn part(value: &str) -> Result<Part, String> {
    let attributes = Attributes::parse(value)?;
    Ok(Part {
        uri: attributes.required("URI")?.to_owned(),
        duration: attributes.decimal("DURATION")?.ok_or("DURATION is missing")?,
        independent: attributes.yes("INDEPENDENT")?,
        gap: attributes.yes("GAP")?,
        byte_range: attributes.byte_range("BYTERANGE")?,
    })
}

fn server_control(value: &str) -> Result<ServerControl, String> {
    let attributes = Attributes::parse(value)?;
    Ok(ServerControl {
        can_skip_until: attributes.decimal("CAN-SKIP-UNTIL")?,
        can_skip_dateranges: attributes.yes("CAN-SKIP-DATERANGES")?,
        hold_back: attributes.decimal("HOLD-BACK")?,
        part_hold_back: attributes.decimal("PART-HOLD-BACK")?,
        can_block_reload: attributes.yes("CAN-BLOCK-RELOAD")?,
    })
}

fn preload_hint(value: &str) -> Result<PreloadHint, String> {
    let attributes = Attributes::parse(value)?;
    let kind = match attributes.plain("TYPE")? {
        Some("PART") => HintType::Part,
        Some("MAP") => HintType::Map,
        other => return Err(format!("hint type {other:?}")),
    };
    Ok(PreloadHint {
        kind,
        uri: attributes.required("URI")?.to_owned(),
        start: attributes.integer("BYTERANGE-START")?.unwrap_or(0),
        length: attributes.integer("BYTERANGE-LENGTH")?,
    })
}
