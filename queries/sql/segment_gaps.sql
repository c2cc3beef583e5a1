-- Segments that viewers can't get: nothing was published for them (gap), or they
-- could not be stored (lost).
SELECT stream_id, rendition, msn, at, duration_us / 1e6 AS seconds,
       CASE WHEN gap THEN 'gap' ELSE 'lost' END AS what, play_url(stream_id, at) AS link
FROM segments
WHERE gap OR lost
ORDER BY at, stream_id, rendition, msn
