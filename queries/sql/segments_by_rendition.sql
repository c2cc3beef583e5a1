-- Each rendition of each broadcast: segments, seconds, megabytes, bitrate in
-- kbit/s, the longest segment in seconds, runs between discontinuities, and gaps.
SELECT stream_id, rendition, count(*) AS segments,
       sum(duration_us) / 1e6 AS seconds,
       round(sum(bytes) / 1e6, 3) AS megabytes,
       round(sum(bytes) * 8000.0 / nullif(sum(duration_us), 0)) AS kbps,
       max(duration_us) / 1e6 AS seconds_max,
       count(DISTINCT run) AS runs,
       count(*) FILTER (WHERE gap OR lost) AS gaps
FROM segments
GROUP BY stream_id, rendition
ORDER BY stream_id, rendition
