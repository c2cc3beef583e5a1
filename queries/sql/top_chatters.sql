-- Who said most in each chat, under the name that they had last: ten of each.
SELECT stream_id, name, messages, first_at, last_at
FROM (
    SELECT stream_id, user_id, last_value(name ORDER BY seq) AS name, count(*) AS messages,
           min(at) AS first_at, max(at) AS last_at,
           row_number() OVER (PARTITION BY stream_id ORDER BY count(*) DESC, user_id) AS place
    FROM chat_messages
    GROUP BY stream_id, user_id
) AS people
WHERE place <= 10
ORDER BY stream_id, messages DESC, name
