-- How smoothly each picture played: hours watched, stalls and stalls per hour, the
-- share of the time that was spent waiting in percent, and the median latency in ms.
SELECT rendition,
       round(sum(watched_ms) / 3.6e6, 4) AS hours,
       sum(stalls) AS stalls,
       round(sum(stalls) * 3.6e6 / nullif(sum(watched_ms), 0), 1) AS stalls_per_hour,
       round(sum(stalled_ms) * 100.0 / nullif(sum(watched_ms) + sum(stalled_ms), 0), 2) AS waiting_percent,
       approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms) AS latency_ms
FROM views
GROUP BY rendition
ORDER BY hours DESC, rendition
