-- The worst seconds of ingest, with a link to what viewers saw: messages dropped,
-- timestamps that jumped, or less than half of the broadcast's usual bitrate.
SELECT stream_id, at, bitrate_bps, usual_bps, fps, dropped, discontinuities,
       play_url(stream_id, at - INTERVAL '5 seconds') AS link
FROM (
    SELECT h.*, usual.bitrate_bps AS usual_bps
    FROM stream_health AS h
    LEFT JOIN (
        -- A join keeps the side once that it knows to be small.
        SELECT stream_id, approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY bitrate_bps) AS bitrate_bps
        FROM stream_health GROUP BY stream_id LIMIT 500000
    ) AS usual ON usual.stream_id = h.stream_id
    WHERE h.dropped > 0 OR h.discontinuities > 0 OR h.bitrate_bps * 2 < usual.bitrate_bps
    -- All of them: what is sorted below isn't compared with each second that is read.
    LIMIT 9223372036854775807
) AS troubled
ORDER BY dropped DESC, discontinuities DESC, at, stream_id
LIMIT 100
