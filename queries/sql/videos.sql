-- Every video that is there now: its title, length in seconds, size in gigabytes,
-- what can be chosen from, and where its files lie.
SELECT video_id, stream_id, title, clip_of, started_at,
       CAST(duration_us AS DOUBLE) / 1e6 AS seconds, CAST(bytes AS DOUBLE) / 1e9 AS gigabytes,
       renditions, tier, status, visibility
FROM (
    SELECT *, row_number() OVER (PARTITION BY video_id ORDER BY log_offset DESC) AS age
    FROM videos
) AS changes
WHERE age = 1 AND NOT deleted
ORDER BY started_at DESC, video_id
