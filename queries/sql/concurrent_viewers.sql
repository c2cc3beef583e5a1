-- How many watched each broadcast live, by the minute, from what their players
-- told: pages, and how many of them watched at once on average.
SELECT stream_id, time_bucket(INTERVAL '1 minute', at) AS minute,
       count(DISTINCT session) AS pages,
       round(sum(watched_ms) / 60000.0, 2) AS viewers
FROM views
WHERE video_id IS NULL
GROUP BY stream_id, minute
ORDER BY minute, stream_id
