-- When a chat exploded: ten seconds in which far more was said than usual in the five
-- minutes before, the strongest first, with a link that plays what it was about.
SELECT stream_id, time_bucket(INTERVAL '10 seconds', first_at) AS moment, messages,
       round(usual, 1) AS usual, round(chat_spike(messages, usual), 1) AS score,
       play_url(stream_id, time_bucket(INTERVAL '10 seconds', first_at) - INTERVAL '10 seconds') AS link
FROM (
    SELECT stream_id, first_at, messages,
           coalesce(before, 0) / greatest(1.0, least(30, spans)) AS usual
    FROM (
        -- In numbers of spans: ranges of time are ten times as dear.
        SELECT stream_id, first_at, messages,
               sum(messages) OVER (
                   PARTITION BY stream_id ORDER BY span RANGE BETWEEN 30 PRECEDING AND 1 PRECEDING
               ) AS before,
               span - first_value(span) OVER (PARTITION BY stream_id ORDER BY span) AS spans
        FROM (
            SELECT stream_id, CAST(floor(date_part('epoch', at) / 10) AS BIGINT) AS span,
                   min(at) AS first_at, count(*) AS messages
            FROM chat_messages
            GROUP BY stream_id, span
        ) AS counted
    ) AS compared
) AS scored
WHERE messages >= 5 AND chat_spike(messages, usual) >= 3
ORDER BY score DESC, stream_id, moment
LIMIT 100
