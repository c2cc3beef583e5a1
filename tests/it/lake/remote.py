"""Reads a lake in an object store without any code of ours, by the PyPI package `deltalake`.

    python remote.py s3://BUCKET/LAKE ENDPOINT  →  {TABLE: [[partition, offset], …], …}
"""

import json
import sys

from deltalake import DeltaTable, QueryBuilder

OPTIONS = {
    "AWS_ENDPOINT_URL": sys.argv[2],
    "AWS_ALLOW_HTTP": "true",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "reader",
    "AWS_SECRET_ACCESS_KEY": "reader",
}


def read(table):
    delta = DeltaTable(f"{sys.argv[1]}/{table}", storage_options=OPTIONS)
    if lost := delta.transaction_version(f"{table}/lost"):
        sys.exit(f"{table}: {lost} records are written off")
    sql = "SELECT log_partition, log_offset FROM rows ORDER BY 1, 2"
    rows = QueryBuilder().register("rows", delta).execute(sql).read_all()
    return list(zip(*(rows[column].to_pylist() for column in rows.column_names)))


json.dump({table: read(table) for table in ["events", "segments", "stream_health", "streams"]}, sys.stdout)
