-- Each time a publisher dropped: when, for how many seconds, and whether it came back.
SELECT stream_id, at AS dropped_at,
       date_part('epoch', next_at) - date_part('epoch', at) AS seconds,
       next_kind = 'STREAM_ACTIVE' AS came_back,
       play_url(stream_id, at - INTERVAL '5 seconds') AS link
FROM (
    SELECT stream_id, kind, at,
           lead(kind) OVER (PARTITION BY stream_id ORDER BY at, log_offset) AS next_kind,
           lead(at) OVER (PARTITION BY stream_id ORDER BY at, log_offset) AS next_at
    FROM events
) AS changes
WHERE kind = 'RECONNECTING'
ORDER BY dropped_at, stream_id
