-- When a chat exploded: ten seconds in which far more was said than usual in the five
-- minutes before, the strongest first, with a link that plays what it was about.
SELECT stream_id, moment, messages, round(usual, 1) AS usual,
       round(chat_spike(messages, usual), 1) AS score,
       play_url(stream_id, moment - INTERVAL '10 seconds') AS link
FROM (
    SELECT stream_id, moment, messages,
           chat_usual(messages, moment) OVER (PARTITION BY stream_id ORDER BY moment) AS usual
    FROM (
        SELECT stream_id, time_bucket(INTERVAL '10 seconds', at) AS moment, count(*) AS messages
        FROM chat_messages
        GROUP BY stream_id, moment
    ) AS counted
) AS compared
WHERE messages >= 5 AND chat_spike(messages, usual) >= 3
ORDER BY score DESC, stream_id, moment
LIMIT 100
