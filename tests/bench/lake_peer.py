"""What the lake's figures are measured beside: deltalake and DuckDB from PyPI.

    lake_peer.py commit ROWS                    appends ready-made batches of ROWS rows
    lake_peer.py merge FOLDER                   merges a table's files towards 128 MiB
    lake_peer.py generate FOLDER ROWS SEGMENTS  a lake with ROWS rows of chat and of health
    lake_peer.py ask FOLDER FILE...             the query in each file, by DuckDB
"""

import datetime
import json
import pathlib
import re
import resource
import sys
import tempfile
import time
import uuid

import duckdb
import pyarrow
from deltalake import DeltaTable, write_deltalake

ASKED = 5
# What chat_usual() gives, as a frame; and spans of time as they are quickest there.
USUAL = """coalesce(sum(messages) OVER (PARTITION BY stream_id ORDER BY epoch_us(moment) // 10000000
    RANGE BETWEEN 30 PRECEDING AND 1 PRECEDING), 0) / greatest(1, least(30,
    epoch_us(moment) // 10000000 - min(epoch_us(moment) // 10000000) OVER (PARTITION BY stream_id)))"""
SPAN = """make_timestamptz(epoch_us("at") // 10000000 * 10000000)"""
STREAMS = 230


def commit(size):
    total = max(size * 10, 500_000)
    streams = [str(uuid.UUID(int=(n % 40) << 64 | 7)) for n in range(40)]
    schema = pyarrow.schema([
        ("date", pyarrow.date32()), ("stream_id", pyarrow.string()), ("at", pyarrow.timestamp("us", "UTC")),
        ("kind", pyarrow.string()), ("detail", pyarrow.string()), ("log_partition", pyarrow.int32()),
        ("log_offset", pyarrow.int64()),
    ])
    now = datetime.datetime.now(datetime.timezone.utc)
    batches = []
    for first in range(0, total, size):
        numbers = range(first, first + size)
        detail = [json.dumps({"message": f"message {n:08} says what people say in a room like this one"}) for n in numbers]
        batches.append(pyarrow.record_batch([
            pyarrow.array([now.date()] * size), pyarrow.array([streams[n % 40] for n in numbers]),
            pyarrow.array([now + datetime.timedelta(microseconds=n) for n in numbers], schema.field("at").type),
            pyarrow.array(["MESSAGE"] * size), pyarrow.array(detail),
            pyarrow.array([n % 40 % 16 for n in numbers], pyarrow.int32()), pyarrow.array(numbers, pyarrow.int64()),
        ], schema=schema))
    with tempfile.TemporaryDirectory() as folder:
        spent, begun = time.process_time(), time.monotonic()
        for batch in batches:
            write_deltalake(folder, pyarrow.Table.from_batches([batch]), mode="append", partition_by=["date"])
        spent, wall = time.process_time() - spent, time.monotonic() - begun
    print(json.dumps({"rows": total, "commits": len(batches), "cpu_s": spent, "wall_s": wall}))


def merge(folder):
    table = DeltaTable(folder)
    spent, begun = time.process_time(), time.monotonic()
    table.optimize.compact(target_size=128 << 20)
    spent, wall = time.process_time() - spent, time.monotonic() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"cpu_s": spent, "wall_s": wall, "peak_mib": peak, "files": len(table.file_uris())}))


def connect():
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    # What is printed is JSON.
    db.execute("SET enable_progress_bar = false")
    return db


def stream_sql(number):
    return f"'019a0000-0000-7000-8000-' || lpad(to_hex({number}), 12, '0')"


def generate(folder, rows, segments):
    """Streams that are on around the clock, a day after the other, sorted by stream and time."""
    db = connect()
    day = 86_400
    # Second n belongs to stream (n / day) on day (n / day / 16).
    db.execute(f"""CREATE VIEW health AS SELECT
        DATE '2026-10-01' + CAST(n // {day} // 16 AS INTEGER) AS date, {stream_sql(f'n // {day}')} AS stream_id,
        TIMESTAMPTZ '2026-10-01 00:00:00Z' + to_days(CAST(n // {day} // 16 AS INTEGER)) + to_seconds(n % {day}) AS "at",
        2500000 + n * 7919 % 200000 - CASE WHEN n % 9973 = 0 THEN 2000000 ELSE 0 END AS bitrate_bps,
        2370000 + n * 7919 % 200000 AS video_bps, 130000::BIGINT AS audio_bps,
        30.0 - (n % 9973 = 0)::INT * 20 AS fps, 2.0::DOUBLE AS keyframe_interval_s, (n % 13 - 6)::BIGINT AS av_drift_ms,
        CASE WHEN n % 9973 = 0 THEN 3 ELSE 0 END::BIGINT AS dropped, 0::BIGINT AS discontinuities,
        (n // {day} % 16)::INT AS log_partition, n AS log_offset FROM range({rows}) AS r(n)""")
    # A message each second, but every 4 h a hundred within 5 s and nothing for a while. Few of
    # a room's 5,000 people say most.
    db.execute(f"""CREATE VIEW chat AS SELECT
        DATE '2026-10-01' + CAST(n // {day} // 16 AS INTEGER) AS date, {stream_sql(f'n // {day}')} AS stream_id,
        TIMESTAMPTZ '2026-10-01 00:00:00Z' + to_days(CAST(n // {day} // 16 AS INTEGER)) + to_microseconds((
            1000000 * CASE WHEN n % 14400 < 100 THEN n % {day} - n % 14400 * 0.95 ELSE n % {day} END)::BIGINT) AS "at",
        n % {day} + 1 AS seq, uuid()::VARCHAR AS message_id, md5(person::VARCHAR)::UUID::VARCHAR AS user_id,
        'viewer_' || person AS name, 'message ' || n || ' says what people say in a room like this one' AS message,
        NULL::VARCHAR AS emotes, CASE WHEN person % 400 = 0 THEN 'moderator' END AS badges,
        (n // {day} % 16)::INT AS log_partition, n AS log_offset
        FROM (SELECT n, (5000 * pow(hash(n) % 1000003 / 1000003, 3))::INT AS person FROM range({rows}) AS r(n))""")
    # Segments of four seconds in two renditions.
    db.execute(f"""CREATE VIEW segments AS SELECT
        DATE '2026-10-01' + CAST(n // 43200 // 16 AS INTEGER) AS date, {stream_sql('n // 43200')} AS stream_id,
        TIMESTAMPTZ '2026-10-01 00:00:00Z' + to_days(CAST(n // 43200 // 16 AS INTEGER)) + to_seconds(n % 43200 // 2 * 4) AS "at",
        CASE n % 2 WHEN 0 THEN 'source' ELSE '480p' END AS rendition, n % 43200 // 2 AS msn, 0::BIGINT AS run,
        n % 43200 // 2 * 4000000 AS start_us, 4000000::BIGINT AS duration_us,
        CASE n % 2 WHEN 0 THEN 1250000 ELSE 600000 END + n * 7919 % 100000 AS bytes, 8::INT AS parts,
        n % 49999 = 0 AS gap, false AS lost,
        CASE WHEN n % 49999 = 0 THEN NULL ELSE stream_id || '/source/' || msn || '.m4s' END AS uri,
        (n // 43200 % 16)::INT AS log_partition, n AS log_offset FROM range({segments}) AS r(n)""")
    for view, table in (("health", "stream_health"), ("chat", "chat_messages"), ("segments", "segments")):
        rows = db.sql(f'SELECT * FROM {view} ORDER BY stream_id, "at"').to_arrow_reader(1_000_000)
        # As ours are: only what may be missing is nullable.
        optional = {"uri", "keyframe_interval_s", "av_drift_ms", "emotes", "badges"}
        schema = pyarrow.schema([field.with_nullable(field.name in optional) for field in rows.schema])
        rows = pyarrow.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in rows))
        write_deltalake(f"{folder}/{table}", rows, partition_by=["date"])
    print(json.dumps({"stream": db.execute(f"SELECT {stream_sql(STREAMS // 2)}").fetchone()[0]}))


def ask(folder, files):
    db = connect()
    for table in ("stream_health", "chat_messages", "segments"):
        parquet = f"read_parquet('{folder}/{table}/**/*.parquet', hive_partitioning = true)"
        db.execute(f"CREATE VIEW {table} AS SELECT * FROM {parquet}")
    db.execute("CREATE MACRO play_url(s, t) AS '/watch/' || s || '?at=' || strftime(t, '%Y-%m-%dT%H:%M:%S.%gZ')")
    db.execute("CREATE MACRO chat_spike(n, usual) AS (n - greatest(usual, 0)) / sqrt(greatest(usual, 0) + 1)")
    for file in files:
        sql, times = pathlib.Path(file).read_text(), []
        # A word that is reserved there, and a function that has another name.
        sql = re.sub(r"\bat\b", '"at"', sql)
        sql = sql.replace("approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY bitrate_bps)", "approx_quantile(bitrate_bps, 0.5)")
        sql = sql.replace("chat_usual(messages, moment) OVER (PARTITION BY stream_id ORDER BY moment)", USUAL)
        sql = sql.replace("""time_bucket(INTERVAL '10 seconds', "at")""", SPAN)
        # It needs no telling what to hold and what to leave alone.
        sql = re.sub(r"LIMIT (500000|9223372036854775807)\b", "", sql)
        for _ in range(ASKED):
            begun = time.monotonic()
            rows = db.sql(sql).to_arrow_table().num_rows
            times.append((time.monotonic() - begun) * 1e3)
        print(json.dumps({"file": file, "ms": times, "rows": rows}))


match sys.argv[1:]:
    case ["commit", size]:
        commit(int(size))
    case ["merge", folder]:
        merge(folder)
    case ["generate", folder, health, segments]:
        generate(folder, int(health), int(segments))
    case ["ask", folder, *files]:
        ask(folder, files)
    case _:
        sys.exit(__doc__)
