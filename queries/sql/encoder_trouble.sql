-- The worst seconds of ingest, with a link to what viewers saw: messages dropped,
-- timestamps that jumped, or less than half of the broadcast's usual bitrate.
SELECT h.stream_id, h.at, h.bitrate_bps, usual.bitrate_bps AS usual_bps, h.fps, h.dropped,
       h.discontinuities, play_url(h.stream_id, h.at - INTERVAL '5 seconds') AS link
FROM (
    -- First, since a join keeps its first side in memory; with a bound, which no lake
    -- reaches, since it keeps that side once if it knows that it is small.
    SELECT stream_id, approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY bitrate_bps) AS bitrate_bps
    FROM stream_health GROUP BY stream_id LIMIT 1000000
) AS usual
JOIN stream_health AS h ON h.stream_id = usual.stream_id
WHERE h.dropped > 0 OR h.discontinuities > 0 OR h.bitrate_bps * 2 < usual.bitrate_bps
ORDER BY h.dropped DESC, h.discontinuities DESC, h.at, h.stream_id
LIMIT 100
