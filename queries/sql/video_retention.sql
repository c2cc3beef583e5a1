-- How far viewers of each video came: for every ten seconds of it, how many watched
-- them, and their share of all who watched it, in percent.
SELECT seen.video_id, seen.second, seen.viewers,
       round(seen.viewers * 100.0 / everyone.viewers, 1) AS percent
FROM (
    -- First, since a join keeps its first side in memory.
    SELECT video_id, count(DISTINCT session) AS viewers
    FROM views
    WHERE video_id IS NOT NULL
    GROUP BY video_id
) AS everyone
JOIN (
    SELECT video_id, position_ms / 10000 * 10 AS second, count(DISTINCT session) AS viewers
    FROM views
    WHERE video_id IS NOT NULL AND position_ms IS NOT NULL
    GROUP BY video_id, position_ms / 10000 * 10
) AS seen ON seen.video_id = everyone.video_id
ORDER BY seen.video_id, seen.second
