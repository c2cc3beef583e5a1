"""Reads the lake without any code of ours: `deltalake` lists each table's files, DuckDB reads them.

    python once.py LAKE  →  {TABLE: [{column: value, …}, …], …}

Fails where the Delta log promises other rows than its files hold, or says that some were lost.
"""

import json
import sys

import duckdb
from deltalake import DeltaTable

COLUMNS = {
    "events": "log_partition, log_offset, stream_id, kind, detail",
    "segments": "log_partition, log_offset, stream_id, rendition, msn, bytes, gap, lost, uri",
    "stream_health": "log_partition, log_offset, stream_id, epoch_us(\"at\") AS at_us",
    "streams": "log_partition, log_offset, stream_id, state, deleted",
    "chat_messages": "log_partition, log_offset, seq, message",
    "views": "log_partition, log_offset, session",
    "videos": "log_partition, log_offset, video_id",
}


def read(table, columns):
    delta = DeltaTable(f"{sys.argv[1]}/{table}")
    if lost := delta.transaction_version(f"{table}/lost"):
        sys.exit(f"{table}: {lost} records are written off")
    files = [uri.removeprefix("file://") for uri in delta.file_uris()]
    if not files:
        return []
    found = duckdb.sql(f"SELECT {columns} FROM read_parquet({files}, union_by_name = true) ORDER BY 1, 2")
    rows = [dict(zip(found.columns, row)) for row in found.fetchall()]
    promised = sum(delta.get_add_actions()["num_records"].to_pylist())
    if promised != len(rows):
        sys.exit(f"{table}: {len(rows)} rows, the Delta log says {promised}")
    return rows


json.dump({table: read(table, columns) for table, columns in COLUMNS.items()}, sys.stdout)
