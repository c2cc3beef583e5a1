//! `/api/videos/{id}/chat`, and what of a room is in the lake alone.
//!
//! Enters: a span of a video, or a place in a room. Leaves: messages as a socket has them,
//! without those that were taken back. Held: nothing. Never here: what is still in memory.

use axum::Json;
use axum::extract::{Path, Query, State};
use records::{EmoteRange, StreamId};
use serde::Deserialize;
use serde_json::{Value, json};
use sinks::hls::vod::Recording;

use super::auth::Viewer;
use super::sql::parsed;
use super::videos::allowed;
use super::{App, Problem};

/// Messages of one answer.
const PAGE_MAX: usize = 1000;

/// A row of `chat_messages`.
#[derive(Deserialize)]
struct Row {
    seq: u64,
    message_id: String,
    user_id: String,
    name: String,
    at_us: u64,
    message: String,
    emotes: Option<String>,
    badges: Option<String>,
}

impl Row {
    /// As on a socket.
    fn text(self) -> Value {
        let mut text = json!({
            "type": "message",
            "seq": self.seq,
            "message_id": self.message_id,
            "user_id": self.user_id,
            "name": self.name,
            "sent_at_us": self.at_us,
            "message": self.message,
        });
        let emotes: Vec<EmoteRange> =
            self.emotes.and_then(|emotes| serde_json::from_str(&emotes).ok()).unwrap_or_default();
        if !emotes.is_empty() {
            text["emotes"] = json!(emotes);
        }
        if let Some(badges) = self.badges.filter(|badges| !badges.is_empty()) {
            text["badges"] = badges.split(',').collect();
        }
        text
    }
}

/// What was taken back is left out: a message, or all before a moment.
fn shown(stream: StreamId, only: &str, order: &str, limit: usize) -> String {
    format!(
        "SELECT seq, message_id, user_id, name, CAST(at AS BIGINT) AS at_us, message, emotes, badges \
         FROM chat_messages WHERE stream_id = '{stream}' AND {only} \
         AND seq NOT IN (SELECT target_seq FROM chat_acts \
             WHERE stream_id = '{stream}' AND kind = 'delete' AND target_seq IS NOT NULL) \
         AND seq > (SELECT coalesce(max(seq), 0) FROM chat_acts \
             WHERE stream_id = '{stream}' AND kind = 'clear') \
         ORDER BY {order} LIMIT {limit}"
    )
}

/// Messages before number `before` (or all), the newest first.
pub(super) async fn before(
    app: &App,
    stream: StreamId,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Value>, Problem> {
    let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let sql = shown(stream, &format!("seq < {before}"), "seq DESC", limit);
    let rows: Vec<Row> = parsed(app, &sql).await?;
    Ok(rows.into_iter().map(Row::text).collect())
}

/// A span of playing time.
#[derive(Deserialize)]
pub struct Span {
    from_ms: Option<u64>,
    to_ms: Option<u64>,
}

/// `GET /api/videos/{id}/chat`: what was said while this was on, with where in the video.
pub async fn chat(
    viewer: Viewer,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(span): Query<Span>,
) -> Result<Json<Value>, Problem> {
    let video = allowed(&app, &id, &viewer)?;
    let recording = app.library.recording(video.wanted()).await;
    let recording = recording.map_err(|error| Problem::unreadable(&error))?;
    let us = |ms: u64| i64::try_from(ms.saturating_mul(1000)).unwrap_or(i64::MAX);
    let from_us = span.from_ms.map_or(0, us);
    let to_us = span.to_ms.map_or(i64::MAX, us);
    let Some((from, to)) = walls(&recording, from_us, to_us) else {
        return Ok(Json(json!({ "messages": [], "more": false })));
    };
    let only = format!("at >= to_timestamp_micros({from}) AND at < to_timestamp_micros({to})");
    let sql = shown(video.stream_id, &only, "seq", PAGE_MAX + 1);
    let mut rows: Vec<Row> = parsed(&app, &sql).await?;
    let more = rows.len() > PAGE_MAX;
    rows.truncate(PAGE_MAX);
    let messages: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let at_ms = place(&recording, row.at_us) / 1000;
            let mut text = row.text();
            text["at_ms"] = json!(at_ms);
            text
        })
        .collect();
    Ok(Json(json!({ "messages": messages, "more": more })))
}

/// The wall clock while `from_us..to_us` of playing time was on. What was said while
/// nothing was on belongs to what was on before. None: it isn't in the recording.
fn walls(recording: &Recording, from_us: i64, to_us: i64) -> Option<(u64, u64)> {
    let (mut at_us, mut from, mut to) = (0, None, None);
    for (index, moment) in recording.moments.iter().enumerate() {
        let length_us = moment.end_us - moment.start_us;
        let within = |us: i64| moment.wall_us + u64::try_from(us - at_us).unwrap_or(0);
        if from.is_none() && from_us < at_us + length_us {
            from = Some(within(from_us));
        }
        if to_us <= at_us + length_us {
            // Up to the next one's beginning if all of this one is wanted.
            let next = recording.moments.get(index + 1).map(|next| next.wall_us);
            let is_whole = to_us == at_us + length_us;
            to = Some(next.filter(|_| is_whole).unwrap_or_else(|| within(to_us)));
            break;
        }
        at_us += length_us;
    }
    let from = from?;
    // Some linger after the end.
    let end = recording.moments.last().map(|last| last.wall_us + LINGER_US)?;
    Some((from, to.unwrap_or(end)))
}

/// How long after its end what is said still belongs to a broadcast.
const LINGER_US: u64 = 60_000_000;

/// Where in the playing time it was, in microseconds.
fn place(recording: &Recording, wall_us: u64) -> i64 {
    let mut at_us = 0;
    let mut placed = 0;
    for moment in &recording.moments {
        if wall_us < moment.wall_us {
            break;
        }
        let length_us = moment.end_us - moment.start_us;
        let into_us = i64::try_from(wall_us - moment.wall_us).unwrap_or(i64::MAX);
        placed = at_us + into_us.min(length_us);
        at_us += length_us;
    }
    placed
}

#[cfg(test)]
mod tests {
    use sinks::hls::vod::Moment;

    use super::*;

    /// Two seconds, ten seconds of nothing, three seconds.
    fn recording() -> Recording {
        let moment = |msn: u64, start_s: i64, end_s: i64, wall_s: u64| Moment {
            msn,
            run: 0,
            start_us: start_s * 1_000_000,
            end_us: end_s * 1_000_000,
            wall_us: wall_s * 1_000_000,
            discontinuity: false,
        };
        Recording {
            moments: vec![moment(0, 0, 2, 100), moment(1, 12, 15, 112)],
            tracks: Vec::new(),
        }
    }

    #[test]
    fn what_was_said_is_where_it_was_said() {
        let recording = recording();
        let at = |wall_ms: u64| place(&recording, wall_ms * 1000) / 1000;
        assert_eq!(at(99_000), 0, "before it began");
        assert_eq!(at(101_500), 1500);
        assert_eq!(at(107_000), 2000, "while nothing was on: when it had stopped");
        assert_eq!(at(113_000), 3000);
        assert_eq!(at(200_000), 5000, "after its end");
    }

    #[test]
    fn spans_follow_each_other_without_gap_or_overlap() {
        let recording = recording();
        let walls = |from: i64, to: i64| {
            super::walls(&recording, from * 1_000_000, to * 1_000_000)
                .map(|(from, to)| (from / 1_000_000, to / 1_000_000))
        };
        assert_eq!(walls(0, 1), Some((100, 101)));
        assert_eq!(walls(1, 2), Some((101, 112)), "with the wait");
        assert_eq!(walls(2, 4), Some((112, 114)));
        assert_eq!(walls(4, 100), Some((114, 172)));
        assert_eq!(walls(5, 100), None);
    }
}
