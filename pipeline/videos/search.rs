//! Searching videos: what is wanted, in which order, a page at a time.
//!
//! Enters: a search and the videos that may be seen. Leaves: a page, and a
//! cursor for the next. Held: nothing; a cursor says by itself where it
//! stands, so it survives restarts and videos that come and go. Never done here:
//! deciding who may see what.

use std::collections::HashSet;

use clients::playlist::parse_date;
use records::StreamId;
use serde::{Deserialize, Serialize};

use super::{VideoEntry, VideoId, VideoStatus, Visibility};

/// Most videos on a page.
pub const PAGE_MAX: usize = 100;
const PAGE: usize = 24;

/// In which order videos come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// By their broadcast's time, the latest first.
    #[default]
    Newest,
    /// The same, the earliest first.
    Oldest,
    /// By how long they play.
    Longest,
    /// By the alphabet.
    Title,
}

/// What is looked for; all of it must apply. Fields as in the API's query.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// Words that the title or category holds, in any case and order.
    pub q: String,
    /// Of this broadcast.
    pub stream_id: Option<StreamId>,
    /// Of this channel, which any of its broadcasts names: what its key had
    /// before and after. Who asks the catalog tells [`Search::run`].
    pub channel: Option<StreamId>,
    /// Began at this time or later: `2026-11-21` (midnight UTC) or RFC 3339.
    pub from: Option<String>,
    /// Began before this time.
    pub to: Option<String>,
    /// With this status.
    pub status: Option<VideoStatus>,
    /// With this visibility.
    pub visibility: Option<Visibility>,
    /// The order.
    pub sort: Sort,
    /// Videos on a page, `1..=`[`PAGE_MAX`].
    pub limit: Option<usize>,
    /// Where the page before ended: its `next_cursor`.
    pub cursor: Option<String>,
}

/// The client's: the search can't be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// A time that can't be read.
    #[error("{0} is not a date such as 2026-11-21 or 2026-11-21T14:00:00Z")]
    Date(&'static str),
    /// Too many or none.
    #[error("limit must be from 1 to {PAGE_MAX}")]
    Limit,
    /// Not one of ours, or of another order.
    #[error("cursor is not one that this search gave; begin again without it")]
    Cursor,
}

/// Some of the videos that were found.
#[derive(Debug)]
pub struct Page {
    /// In the order that was asked for.
    pub videos: Vec<VideoEntry>,
    /// Where to go on. None: these were the last.
    pub next_cursor: Option<String>,
}

/// A place in an order. Ascending; ties are broken by the id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place {
    sort: u8,
    number: i64,
    text: String,
    id: VideoId,
}

impl Place {
    fn of(sort: Sort, entry: &VideoEntry) -> Self {
        let signed = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
        let (number, text) = match sort {
            Sort::Newest => (-signed(entry.started_at_us), String::new()),
            Sort::Oldest => (signed(entry.started_at_us), String::new()),
            Sort::Longest => (-signed(entry.duration_us), String::new()),
            Sort::Title => (0, entry.title.to_lowercase()),
        };
        Self { sort: sort as u8, number, text, id: entry.video_id }
    }

    /// Safe in a URL as it is.
    fn encode(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        json.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn decode(sort: Sort, text: &str) -> Option<Self> {
        let digits = text.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        });
        let json: Option<Vec<_>> = digits.collect();
        let place: Self = serde_json::from_slice(&json?).ok()?;
        (place.sort == sort as u8).then_some(place)
    }
}

impl Search {
    /// The page of `videos` that is asked for; `channel` holds the broadcasts of
    /// [`Search::channel`], if that is asked for.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub fn run<'a>(
        &self,
        channel: Option<&HashSet<StreamId>>,
        videos: impl Iterator<Item = &'a VideoEntry>,
    ) -> Result<Page, SearchError> {
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(SearchError::Limit);
        }
        let from_us = date("from", self.from.as_deref())?.unwrap_or(i64::MIN);
        let to_us = date("to", self.to.as_deref())?.unwrap_or(i64::MAX);
        let cursor = self.cursor.as_deref();
        let after = cursor.map(|text| Place::decode(self.sort, text).ok_or(SearchError::Cursor));
        let after = after.transpose()?;
        let words: Vec<_> = self.q.split_whitespace().map(str::to_lowercase).collect();
        let wanted = videos.filter(|entry| {
            let began_us = i64::try_from(entry.started_at_us).unwrap_or(i64::MAX);
            (from_us..to_us).contains(&began_us)
                && channel.is_none_or(|channel| channel.contains(&entry.stream_id))
                && self.stream_id.is_none_or(|stream| stream == entry.stream_id)
                && self.status.is_none_or(|status| status == entry.status)
                && self.visibility.is_none_or(|visibility| visibility == entry.visibility)
                && holds(entry, &words)
        });
        let placed = wanted.map(|entry| (Place::of(self.sort, entry), entry));
        let mut placed: Vec<_> =
            placed.filter(|(place, _)| after.as_ref().is_none_or(|after| place > after)).collect();
        placed.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let has_more = placed.len() > limit;
        placed.truncate(limit);
        let last = placed.last().filter(|_| has_more);
        let next_cursor = last.map(|(place, _)| place.encode());
        let videos = placed.into_iter().map(|(_, entry)| entry.clone()).collect();
        Ok(Page { videos, next_cursor })
    }
}

fn holds(entry: &VideoEntry, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let text = format!("{} {}", entry.title, entry.category).to_lowercase();
    words.iter().all(|word| text.contains(word))
}

/// Microseconds since 1970.
fn date(name: &'static str, text: Option<&str>) -> Result<Option<i64>, SearchError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let at = parse_date(text).or_else(|| parse_date(&format!("{text}T00:00:00Z")));
    at.map(Some).ok_or(SearchError::Date(name))
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::*;

    /// Titles by age, a minute apart from 2026-11-21 on.
    fn videos(titles: &[&str]) -> Vec<VideoEntry> {
        let begin_us = 1_795_219_200_000_000;
        let made = titles.iter().enumerate().map(|(n, title)| VideoEntry {
            title: (*title).into(),
            started_at_us: begin_us + n as u64 * 60_000_000,
            duration_us: (n as u64 * 7 % 5) * 1_000_000,
            ..entry()
        });
        made.collect()
    }

    fn titles(search: &Search, videos: &[VideoEntry]) -> Vec<String> {
        let page = search.run(None, videos.iter()).unwrap();
        page.videos.into_iter().map(|video| video.title).collect()
    }

    #[test]
    fn words_dates_and_orders_are_heeded() {
        let videos = videos(&["Chess finals", "cooking", "Late chess", "Ärger"]);
        let found = |search: Search| titles(&search, &videos);
        let q = |q: &str| Search { q: q.into(), ..Search::default() };
        assert_eq!(found(q("")), ["Ärger", "Late chess", "cooking", "Chess finals"]);
        assert_eq!(found(q("CHESS")), ["Late chess", "Chess finals"]);
        assert_eq!(found(q("finals chess")), ["Chess finals"]);
        assert_eq!(found(q("ÄRGER")), ["Ärger"]);
        assert_eq!(found(q("go")), [] as [&str; 0]);
        let oldest = Search { sort: Sort::Oldest, ..Search::default() };
        assert_eq!(found(oldest)[0], "Chess finals");
        let by_title = Search { sort: Sort::Title, ..Search::default() };
        assert_eq!(found(by_title), ["Chess finals", "cooking", "Late chess", "Ärger"]);
        let later = Search { from: Some("2026-11-21T00:02:00Z".into()), ..Search::default() };
        assert_eq!(found(later), ["Ärger", "Late chess"]);
        let earlier = Search { to: Some("2026-11-21".into()), ..Search::default() };
        assert!(found(earlier).is_empty());
        let channel = [videos[0].stream_id, videos[3].stream_id].into();
        let page = q("").run(Some(&channel), videos.iter()).unwrap();
        assert_eq!(page.videos, [videos[3].clone(), videos[0].clone()]);
    }

    #[test]
    fn pages_hold_each_video_once() {
        let videos = videos(&["a", "b", "b", "b", "c", "d", "e"]);
        for sort in [Sort::Newest, Sort::Oldest, Sort::Longest, Sort::Title] {
            let mut search = Search { sort, limit: Some(2), ..Search::default() };
            let mut seen = Vec::new();
            loop {
                let page = search.run(None, videos.iter()).unwrap();
                seen.extend(page.videos.iter().map(|video| video.video_id));
                let Some(next) = page.next_cursor else { break };
                search.cursor = Some(next);
            }
            assert_eq!(seen.len(), 7, "{sort:?}");
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 7, "{sort:?}");
        }
    }

    #[test]
    fn what_cannot_be_searched_is_said() {
        let refused = |search: Search| search.run(None, [].into_iter()).unwrap_err();
        let none = Search { limit: Some(0), ..Search::default() };
        assert_eq!(refused(none), SearchError::Limit);
        let date = Search { from: Some("yesterday".into()), ..Search::default() };
        assert_eq!(refused(date), SearchError::Date("from"));
        for cursor in ["", "zz", "7b7d", "ü"] {
            let search = Search { cursor: Some(cursor.into()), ..Search::default() };
            assert_eq!(refused(search), SearchError::Cursor, "{cursor}");
        }
        let videos = videos(&["a", "b"]);
        let first =
            Search { limit: Some(1), ..Search::default() }.run(None, videos.iter()).unwrap();
        let other = Search { sort: Sort::Title, cursor: first.next_cursor, ..Search::default() };
        assert_eq!(refused(other), SearchError::Cursor, "of another order");
    }
}
