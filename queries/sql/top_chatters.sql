-- Who said most in each chat, under the name that they had last: ten of each.
SELECT stream_id, name, messages, first_at, last_at
FROM (
    SELECT stream_id AS room, max(seq) AS last_seq, count(*) AS messages,
           min(at) AS first_at, max(at) AS last_at,
           row_number() OVER (PARTITION BY stream_id ORDER BY count(*) DESC, user_id) AS place
    FROM chat_messages
    GROUP BY stream_id, user_id
) AS people
-- Names of the few, not of all: texts are dear to carry along.
JOIN chat_messages AS said ON said.stream_id = people.room AND said.seq = people.last_seq
WHERE place <= 10
ORDER BY stream_id, messages DESC, name
