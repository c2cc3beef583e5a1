//! A strict reader of media playlists, for tests: the rules of one text, and
//! of one text after another (bis 6.2.1, 6.2.2).

use std::collections::BTreeMap;

/// A segment as a client would understand it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entry {
    pub(super) uri: String,
    pub(super) duration_us: u64,
    pub(super) discontinuities: u64,
    pub(super) map: Option<String>,
    pub(super) date: String,
    pub(super) gap: bool,
    pub(super) parts: Vec<String>,
    pub(super) byterange: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Playlist {
    pub(super) version: u32,
    pub(super) target_s: u64,
    pub(super) control: String,
    pub(super) media_sequence: u64,
    pub(super) discontinuity_sequence: u64,
    pub(super) skipped: usize,
    pub(super) entries: Vec<Entry>,
    /// Parts of the open segment.
    pub(super) open: Option<Entry>,
    pub(super) hints: Vec<String>,
    pub(super) reports: Vec<String>,
    pub(super) ended: bool,
}

pub(super) fn us(text: &str) -> u64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 6, "{text}");
    whole.parse::<u64>().unwrap() * 1_000_000 + format!("{fraction:0<6}").parse::<u64>().unwrap()
}

/// An attribute list's value, without quotes.
pub(super) fn attribute(list: &str, name: &str) -> Option<String> {
    let mut attributes = BTreeMap::new();
    let mut rest = list;
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=').expect(list);
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect(list),
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        assert!(attributes.insert(key, value).is_none(), "repeated {key} in {list}");
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    attributes.get(name).map(ToString::to_string)
}

impl Playlist {
    /// Parses and checks one text.
    pub(super) fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("#EXTM3U"));
        assert!(text.ends_with('\n'));
        let mut playlist = Self::default();
        let mut entry = Entry::default();
        let mut map = None;
        let mut extinf = false;
        let mut part_target_us = 0;
        for line in lines {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            assert!(!playlist.ended, "line after ENDLIST: {line}");
            match tag {
                "#EXT-X-VERSION" => playlist.version = value.parse().unwrap(),
                "#EXT-X-TARGETDURATION" => playlist.target_s = value.parse().unwrap(),
                "#EXT-X-SERVER-CONTROL" => playlist.control = value.into(),
                "#EXT-X-PART-INF" => {
                    part_target_us = us(&attribute(value, "PART-TARGET").unwrap());
                }
                "#EXT-X-I-FRAMES-ONLY" => {}
                "#EXT-X-MEDIA-SEQUENCE" => playlist.media_sequence = value.parse().unwrap(),
                "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                    assert!(playlist.entries.is_empty());
                    playlist.discontinuity_sequence = value.parse().unwrap();
                }
                "#EXT-X-SKIP" => {
                    let skipped = attribute(value, "SKIPPED-SEGMENTS").unwrap();
                    playlist.skipped = skipped.parse().unwrap();
                    assert!(playlist.skipped > 0 && playlist.entries.is_empty());
                }
                "#EXT-X-DISCONTINUITY" => entry.discontinuities += 1,
                "#EXT-X-MAP" => map = Some(attribute(value, "URI").unwrap()),
                "#EXT-X-PROGRAM-DATE-TIME" => entry.date = value.into(),
                "#EXT-X-GAP" => entry.gap = true,
                "#EXT-X-BYTERANGE" => entry.byterange = Some(value.into()),
                "#EXT-X-PART" => {
                    assert!(!entry.date.is_empty(), "PART before its date: {line}");
                    assert!(us(&attribute(value, "DURATION").unwrap()) <= part_target_us, "{line}");
                    if entry.parts.is_empty() {
                        assert_eq!(attribute(value, "INDEPENDENT").as_deref(), Some("YES"));
                    }
                    entry.parts.push(value.into());
                }
                "#EXTINF" => {
                    entry.duration_us = us(value.strip_suffix(',').unwrap());
                    extinf = true;
                    let rounded = (entry.duration_us + 500_000) / 1_000_000;
                    assert!(rounded <= playlist.target_s, "{line}");
                }
                "#EXT-X-PRELOAD-HINT" => playlist.hints.push(value.into()),
                "#EXT-X-RENDITION-REPORT" => playlist.reports.push(value.into()),
                "#EXT-X-ENDLIST" => playlist.ended = true,
                _ => {
                    assert!(!line.starts_with('#') && extinf, "unexpected line {line:?}");
                    extinf = false;
                    entry.uri = line.into();
                    entry.map.clone_from(&map);
                    assert!(!entry.date.is_empty());
                    // In a delta update the map may be among what is skipped.
                    assert!(entry.map.is_some() || entry.gap || playlist.skipped > 0);
                    let parts = entry.parts.iter();
                    let sum: u64 = parts.map(|p| us(&attribute(p, "DURATION").unwrap())).sum();
                    assert!(entry.parts.is_empty() || sum == entry.duration_us, "{entry:?}");
                    let msn = playlist.media_sequence
                        + (playlist.skipped + playlist.entries.len()) as u64;
                    assert_eq!(entry.uri, format!("{msn}.m4s"));
                    playlist.entries.push(std::mem::take(&mut entry));
                }
            }
        }
        if !entry.parts.is_empty() {
            entry.map = map;
            playlist.open = Some(entry);
        }
        playlist.check(part_target_us);
        playlist
    }

    fn check(&self, part_target_us: u64) {
        assert_eq!(self.version, if self.skipped > 0 { 9 } else { 6 });
        assert!(self.target_s > 0);
        // Parts only near the end.
        let mut from_end = self.open.as_ref().map_or(0, |open| {
            open.parts.iter().map(|p| us(&attribute(p, "DURATION").unwrap())).sum()
        });
        for entry in self.entries.iter().rev() {
            assert!(entry.parts.is_empty() || from_end <= self.target_s * 3_000_000);
            from_end += entry.duration_us;
        }
        if self.ended {
            assert!(self.hints.is_empty() && self.open.is_none());
            // Parts may still be listed, which requires it (bis 4.4.3.8).
            assert!(self.control.contains("PART-HOLD-BACK="));
            return;
        }
        let control = |name| us(&attribute(&self.control, name).unwrap());
        assert_eq!(attribute(&self.control, "CAN-BLOCK-RELOAD").as_deref(), Some("YES"));
        assert!(control("CAN-SKIP-UNTIL") >= 6_000_000 * self.target_s);
        assert!(control("HOLD-BACK") >= 3_000_000 * self.target_s);
        assert!(control("PART-HOLD-BACK") >= 3 * part_target_us);
        if part_target_us > 0 {
            let next = self.media_sequence + (self.skipped + self.entries.len()) as u64;
            let index = self.open.as_ref().map_or(0, |open| open.parts.len());
            let part = self.hints.last().unwrap();
            assert_eq!(attribute(part, "TYPE").as_deref(), Some("PART"));
            assert_eq!(attribute(part, "URI"), Some(format!("{next}.{index}.m4s")));
        }
    }

    /// Checks that this text may follow `old`.
    pub(super) fn check_follows(&self, old: &Self) {
        assert_eq!(self.target_s, old.target_s);
        assert!(!old.ended || self.entries == old.entries, "changed after ENDLIST");
        assert!(self.media_sequence >= old.media_sequence);
        let removed = (self.media_sequence - old.media_sequence) as usize;
        assert!(removed <= old.entries.len(), "everything was removed");
        let tags: u64 = old.entries[..removed].iter().map(|e| e.discontinuities).sum();
        assert_eq!(self.discontinuity_sequence, old.discontinuity_sequence + tags);
        assert!(self.entries.len() >= old.entries.len() - removed, "the tail was removed");
        for (new, old) in self.entries.iter().zip(&old.entries[removed..]) {
            let mut expected = old.clone();
            if new.parts.is_empty() {
                expected.parts.clear();
            }
            assert_eq!(*new, expected);
        }
        // The open segment only grows, and closes with what it had.
        if let Some(open) = &old.open {
            let at = old.entries.len() - removed;
            let Some(now) = self.entries.get(at).or(self.open.as_ref()) else {
                panic!("the open segment vanished")
            };
            let kept = now.parts.iter().zip(&open.parts).all(|(new, old)| new == old);
            assert!(kept && (now.parts.is_empty() || now.parts.len() >= open.parts.len()));
            assert_eq!((&now.date, now.discontinuities), (&open.date, open.discontinuities));
        }
    }

    pub(super) fn window_us(&self) -> u64 {
        self.entries.iter().map(|entry| entry.duration_us).sum()
    }
}
