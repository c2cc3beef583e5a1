//! Our functions, and what names mean.

use records::schema::TABLES;

use super::fixture::{CALM, Fixture};
use crate::Error;

#[tokio::test]
async fn play_url_leads_to_the_moment() {
    let fixture = Fixture::with_rows().await;
    let answer = fixture
        .ask(&format!(
            "SELECT play_url(stream_id, at) AS url FROM segments \
             WHERE stream_id = '{CALM}' AND msn = 3 AND rendition = 'source'"
        ))
        .await;
    assert!(
        answer.contains(&format!("https://live.example/watch/{CALM}?at=2026-11-20T12:00:12.000Z")),
        "{answer}"
    );
    let literal = fixture.ask("SELECT play_url('s', '2026-11-20T12:00:00.1234Z')").await;
    assert!(literal.contains("/watch/s?at=2026-11-20T12:00:00.123Z"), "{literal}");
    let null = fixture
        .ask("SELECT play_url(NULL, now()) IS NULL AND play_url('s', NULL) IS NULL AS n")
        .await;
    assert!(null.contains("true"), "{null}");
    let error = fixture.error("SELECT play_url('s')").await;
    assert!(error.to_string().contains("play_url(stream_id, at)"), "{error}");
}

#[tokio::test]
async fn buckets_begin_where_people_expect() {
    let fixture = Fixture::empty();
    for (width, at, expected) in [
        ("5 minutes", "2026-11-20T12:03:59Z", "2026-11-20T12:00:00Z"),
        ("1 day", "2026-11-20T12:03:59Z", "2026-11-20T00:00:00Z"),
        // A Friday; its week began on Monday.
        ("1 week", "2026-11-20T12:03:59Z", "2026-11-16T00:00:00Z"),
        ("1 month", "2026-11-20T12:03:59Z", "2026-11-01T00:00:00Z"),
        ("3 months", "2026-11-20T12:03:59Z", "2026-10-01T00:00:00Z"),
        ("1 hour", "1999-12-31T23:30:00Z", "1999-12-31T23:00:00Z"),
    ] {
        let text = format!("SELECT time_bucket('{width}', TIMESTAMPTZ '{at}') AS b");
        let typed = format!("SELECT time_bucket(INTERVAL '{width}', TIMESTAMPTZ '{at}') AS b");
        for sql in [text, typed] {
            let answer = fixture.ask(&sql).await;
            assert!(answer.contains(expected), "{sql}\n{answer}");
        }
    }
    let origin = fixture
        .ask(
            "SELECT time_bucket(INTERVAL '1 day', TIMESTAMPTZ '2026-11-20T12:00:00Z', \
             TIMESTAMPTZ '2000-01-01T06:00:00Z') AS b",
        )
        .await;
    assert!(origin.contains("2026-11-20T06:00:00Z"), "{origin}");
    assert!(matches!(fixture.error("SELECT time_bucket(INTERVAL '1 day')").await, Error::Sql(_)));
}

#[tokio::test]
async fn clip_holds_what_reaches_into_it() {
    let fixture = Fixture::with_rows().await;
    // Segments of four seconds each: the second to the fourth.
    let clip =
        format!("clip('{CALM}', '2026-11-20T12:00:05Z', TIMESTAMPTZ '2026-11-20T12:00:12.001Z')");
    let answer = fixture
        .ask(&format!("SELECT rendition, min(msn) AS a, max(msn) AS b, count(*) AS n FROM {clip} GROUP BY rendition ORDER BY 1"))
        .await;
    assert!(answer.contains("| 360p      | 1 | 3 | 3 |"), "{answer}");
    assert!(answer.contains("| source    | 1 | 3 | 3 |"), "{answer}");
    let up_to_its_end =
        format!("SELECT * FROM clip('{CALM}', '2026-11-20T12:00:05Z', '2026-11-20T12:00:12Z')");
    assert_eq!(
        fixture.rows(&up_to_its_end).await.unwrap().iter().map(|b| b.num_rows()).sum::<usize>(),
        4
    );
    let recent =
        format!("SELECT count(*) AS n FROM clip('{CALM}', now() - INTERVAL '1 minute', now())");
    assert!(fixture.ask(&recent).await.contains("| 0 |"));
    for wrong in ["clip('s')", "clip('s', '2026-11-20', '2026-11-19')", "clip('s', 'x', 'y')"] {
        let error = fixture.error(&format!("SELECT * FROM {wrong}")).await;
        assert!(matches!(error, Error::Sql(_)), "{wrong}: {error:?}");
    }
}

#[tokio::test]
async fn buckets_group_rows() {
    let fixture = Fixture::with_rows().await;
    let answer = fixture
        .ask(
            "SELECT time_bucket(INTERVAL '1 minute', at) AS minute, count(*) AS n \
             FROM stream_health GROUP BY minute ORDER BY minute",
        )
        .await;
    assert!(answer.contains("| 2026-11-20T12:00:00Z | 99 |"), "{answer}");
    assert!(answer.contains("| 2026-11-20T12:02:00Z | 1  |"), "{answer}");
}

#[tokio::test]
async fn every_table_and_column_tells_its_meaning() {
    let fixture = Fixture::with_rows().await;
    let described = fixture.ask("DESCRIBE segments").await;
    assert!(described.contains("| duration_us"), "{described}");
    assert!(described.contains("duration in microseconds"), "{described}");
    let of_a_query = fixture.ask("DESCRIBE SELECT fps, 1 AS one FROM stream_health").await;
    assert!(of_a_query.contains("pictures received per second"), "{of_a_query}");
    let missing = fixture.ask("SELECT count(*) AS n FROM meta.columns WHERE comment = ''").await;
    assert!(missing.contains("| 0 |"), "{missing}");
    let tables = fixture
        .ask(
            "SELECT count(*) AS n FROM information_schema.tables AS t \
             JOIN meta.tables AS m ON t.table_name = m.table_name WHERE t.table_schema = 'public'",
        )
        .await;
    assert!(tables.contains(&format!("| {} |", TABLES.len())), "{tables}");
    let columns = fixture
        .ask(
            "SELECT count(*) AS n FROM information_schema.columns AS i \
             FULL JOIN meta.columns AS m USING (table_name, column_name) \
             WHERE i.table_schema = 'public' AND m.comment IS NULL",
        )
        .await;
    assert!(columns.contains("| 0 |"), "{columns}");
}

/// What is usual before each of these spans, second and messages, by the same frame in SQL and
/// by `chat_usual`.
#[tokio::test]
async fn what_is_usual_is_what_a_frame_of_five_minutes_gives() {
    let fixture = Fixture::empty();
    let second = |n: u32| n * n * 7 % 1900;
    let rows: Vec<_> =
        (0..120).map(|n| format!("({}, {}, {})", n % 3, second(n), n % 11)).collect();
    let counted = format!(
        "(SELECT room, to_timestamp_seconds(1800000000 + s / 10 * 10) AS at, sum(n) AS messages \
          FROM (VALUES {}) AS v (room, s, n) GROUP BY room, at)",
        rows.join(", ")
    );
    let answer = fixture
        .ask(&format!(
            "SELECT count(*) AS rows, count(*) FILTER (WHERE ours > 0) > 60 AS some, \
               max(abs(ours - coalesce(before, 0) / greatest(1, least(30, spans)))) < 1e-9 AS same \
             FROM (SELECT chat_usual(messages, at) OVER (PARTITION BY room ORDER BY at) AS ours, \
               sum(messages) OVER (PARTITION BY room ORDER BY at RANGE BETWEEN \
                 INTERVAL '300 seconds' PRECEDING AND INTERVAL '10 seconds' PRECEDING) AS before, \
               date_part('epoch', at - min(at) OVER (PARTITION BY room)) / 10 AS spans \
               FROM {counted} AS counted) AS both"
        ))
        .await;
    assert_eq!(answer.matches("true").count(), 2, "{answer}");
}

#[tokio::test]
async fn what_is_usual_needs_an_order_and_takes_what_is_missing() {
    let fixture = Fixture::empty();
    let over = |order: &str| {
        format!(
            "SELECT sum(coalesce(chat_usual, -1)) AS usual FROM (SELECT chat_usual(n, to_timestamp_seconds(s)) \
             OVER ({order}) AS chat_usual FROM (VALUES (4, 20), (3, 0), (NULL, 10), (7, NULL)) AS v (n, s)) AS u"
        )
    };
    // Nothing before the first, 3 in the ten seconds before the second, as much in the twenty
    // before the third; and one without a time.
    let answer = fixture.ask(&over("ORDER BY s")).await;
    assert!(answer.contains("| 3.5 "), "{answer}");
    let error = fixture.error(&over("")).await;
    assert!(error.to_string().contains("ORDER BY at"), "{error}");
    let error = fixture.error("SELECT chat_usual(1) OVER ()").await;
    assert!(error.to_string().contains("chat_usual(messages, at)"), "{error}");
}

#[tokio::test]
async fn different_texts_have_no_order() {
    let fixture = Fixture::empty();
    for order in ["", "ORDER BY name", "ORDER BY n"] {
        let answer = fixture
            .ask(&format!(
                "SELECT room, count(DISTINCT name {order}) AS different, count(*) AS rows \
                 FROM (SELECT room, arrow_cast(name, 'Utf8View') AS name, n FROM (VALUES \
                   (1, 'a', 1), (1, 'b', 2), (1, 'a', 3), (2, NULL, 4)) AS v (room, name, n)) AS t \
                 GROUP BY room ORDER BY room"
            ))
            .await;
        assert!(answer.contains("| 1    | 2         | 3    |"), "{order}: {answer}");
        assert!(answer.contains("| 2    | 0         | 1    |"), "{order}: {answer}");
    }
}

#[tokio::test]
async fn a_spike_is_measured_in_deviations() {
    let fixture = Fixture::empty();
    let answer = fixture
        .ask(
            "SELECT chat_spike(24, 8) = 16.0 / 3 AS a, chat_spike(3, 0) = 3 AS b, \
              chat_spike(1, 8) < 0 AS c, chat_spike(NULL, 1) IS NULL AS d",
        )
        .await;
    assert_eq!(answer.matches("true").count(), 4, "{answer}");
    let error = fixture.error("SELECT chat_spike(1)").await;
    assert!(error.to_string().contains("chat_spike(messages, usual)"), "{error}");
}
