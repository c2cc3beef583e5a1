-- How much was said in each chat, by the minute, and by how many.
SELECT stream_id, time_bucket(INTERVAL '1 minute', at) AS minute,
       count(*) AS messages, count(DISTINCT user_id) AS people
FROM chat_messages
GROUP BY stream_id, minute
ORDER BY minute, stream_id
