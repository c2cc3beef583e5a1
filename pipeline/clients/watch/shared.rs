//! What viewers of one process share: parsed playlists.
//!
//! A thousand viewers that are told the same text at the same moment needn't
//! read it a thousand times; that is the one place where they aren't as
//! independent as real ones.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::Target;
use crate::playlist::{DeltaError, MediaPlaylist, ParseError, parse_media};
use crate::rules::{self, Violation};

/// Texts remembered for each playlist: whole and delta forms of the newest few.
const TEXTS_KEPT: usize = 4;
/// Newest parts whose first arrival is remembered.
const FIRSTS_KEPT: usize = 256;

type Parsed = Result<Arc<MediaPlaylist>, ParseError>;

/// A text that was answered, and what it says.
struct Text {
    body: Bytes,
    parsed: Parsed,
    // The same made whole, if it is a delta update and somebody could.
    whole: Option<Arc<MediaPlaylist>>,
}

/// Parsed playlists, by playlist URL.
pub(super) struct Shared {
    texts: HashMap<String, Mutex<Vec<Text>>>,
    newest: Mutex<HashMap<String, Arc<MediaPlaylist>>>,
    // By discontinuity sequence number: whose clock was seen first, and what it shows.
    clocks: Mutex<HashMap<u64, (String, i64)>>,
    // When the first viewer had a part, by its URL.
    firsts: Mutex<VecDeque<(String, Instant)>>,
    /// The playlists that are followed and play, I-frames left out.
    pub(super) urls: Vec<String>,
}

impl Shared {
    pub(super) fn new(targets: &[Target]) -> Self {
        Self {
            texts: targets.iter().map(|t| (t.url.clone(), Mutex::default())).collect(),
            newest: Mutex::default(),
            clocks: Mutex::default(),
            firsts: Mutex::default(),
            urls: targets.iter().filter(|t| !t.i_frames).map(|t| t.url.clone()).collect(),
        }
    }

    /// Parses what `url` answered, unless that was done before.
    pub(super) fn parse(&self, url: &str, body: &Bytes) -> Parsed {
        let Some(known) = self.texts.get(url) else {
            return parse(body);
        };
        let mut known = known.lock();
        if let Some(text) = known.iter().find(|text| text.body == body) {
            return text.parsed.clone();
        }
        let parsed = parse(body);
        if known.len() >= TEXTS_KEPT {
            known.remove(0);
        }
        known.push(Text { body: body.clone(), parsed: parsed.clone(), whole: None });
        parsed
    }

    /// Makes `update` whole, unless that was done before: what its skipped
    /// segments are doesn't depend on who remembers them.
    pub(super) fn whole(
        &self,
        url: &str,
        update: &Arc<MediaPlaylist>,
        previous: &MediaPlaylist,
    ) -> Result<Arc<MediaPlaylist>, DeltaError> {
        let is_update =
            |text: &Text| text.parsed.as_ref().is_ok_and(|parsed| Arc::ptr_eq(parsed, update));
        let mut known = self.texts.get(url).map(|known| known.lock());
        let text = known.as_mut().and_then(|known| known.iter_mut().find(|t| is_update(t)));
        if let Some(whole) = text.as_ref().and_then(|text| text.whole.clone()) {
            return Ok(whole);
        }
        let whole = Arc::new(MediaPlaylist::clone(update).with_skipped(previous)?);
        if let Some(text) = text {
            text.whole = Some(Arc::clone(&whole));
        }
        Ok(whole)
    }

    /// How long after the first viewer this one had the part at `url`.
    pub(super) fn after_first(&self, url: &str, at: Instant) -> Duration {
        let mut firsts = self.firsts.lock();
        // Newest last: nearly always found at once.
        if let Some((_, first)) = firsts.iter_mut().rev().find(|(known, _)| known == url) {
            *first = at.min(*first);
            return at - *first;
        }
        if firsts.len() >= FIRSTS_KEPT {
            firsts.pop_front();
        }
        firsts.push_back((url.to_owned(), at));
        Duration::ZERO
    }

    /// Judges a rendition's map from media time to date against the one that
    /// was seen first in its discontinuity sequence.
    pub(super) fn clock(&self, url: &str, sequence: u64, offset_us: i64) -> Option<Violation> {
        let mut clocks = self.clocks.lock();
        let first = clocks.entry(sequence).or_insert_with(|| (url.to_owned(), offset_us));
        rules::across::clocks((&first.0, first.1), (url, offset_us))
    }

    /// Remembers the newest playlist at `url`, for [`Self::across`].
    pub(super) fn saw(&self, url: &str, playlist: &Arc<MediaPlaylist>) {
        self.newest.lock().insert(url.to_owned(), Arc::clone(playlist));
    }

    /// Judges the renditions against each other, as they were last seen.
    pub(super) fn across(&self) -> Vec<Violation> {
        let newest = self.newest.lock();
        let playlists: Vec<(&str, &MediaPlaylist)> = self
            .urls
            .iter()
            .filter_map(|url| newest.get(url).map(|playlist| (url.as_str(), &**playlist)))
            .collect();
        rules::across::renditions(&playlists)
    }
}

fn parse(body: &Bytes) -> Parsed {
    let text = std::str::from_utf8(body)
        .map_err(|_| ParseError { line: 1, what: "it isn't UTF-8".into() })?;
    parse_media(text).map(Arc::new)
}
