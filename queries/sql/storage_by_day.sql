-- What each day added to the archive: broadcasts, hours, and gigabytes by rendition.
SELECT date, rendition, count(DISTINCT stream_id) AS broadcasts,
       round(sum(duration_us) / 3.6e9, 3) AS hours,
       round(sum(bytes) / 1e9, 6) AS gigabytes
FROM segments
WHERE uri IS NOT NULL
GROUP BY date, rendition
ORDER BY date, rendition
