-- How well each publisher did, by the minute: bitrate in kbit/s, pictures per
-- second, keyframe interval in seconds, drift of the sound in ms, and drops.
SELECT stream_id, time_bucket(INTERVAL '1 minute', at) AS minute,
       round(avg(bitrate_bps) / 1000) AS kbps,
       round(min(bitrate_bps) / 1000.0) AS kbps_min,
       round(avg(fps), 1) AS fps,
       max(keyframe_interval_s) AS keyframe_interval_s_max,
       max(abs(av_drift_ms)) AS av_drift_ms_max,
       sum(dropped) AS dropped,
       sum(discontinuities) AS discontinuities
FROM stream_health
GROUP BY stream_id, minute
ORDER BY minute, stream_id
