-- Every broadcast as it is now: its title, state, and how long it was on, in
-- seconds; for one that is on, so far until its newest change.
SELECT stream_id, title, category, state, started_at, ended_at,
       CAST(date_part('epoch', ended_at) - date_part('epoch', started_at) AS DOUBLE) AS seconds,
       sessions - 1 AS reconnects
FROM (
    SELECT *, row_number() OVER (PARTITION BY stream_id ORDER BY log_offset DESC) AS age
    FROM streams
) AS changes
WHERE age = 1 AND NOT deleted
ORDER BY started_at DESC NULLS LAST, stream_id
