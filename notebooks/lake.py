"""Two ways into Millstream's lake: ask a running server, or open the tables themselves.

`ask` and `named` send SQL to a server and see every row, also those of the last
second. `table` needs no server, only the files, and sees what was committed.

Where things are is said by the environment; what it doesn't say is as after
`make run`, with the notebooks started in their own folder:

    MILLSTREAM_URL           http://127.0.0.1:8080
    MILLSTREAM_ADMIN_TOKEN   the content of ../data/admin-token
    MILLSTREAM_LAKE          ../data/lake
"""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
from deltalake import DeltaTable

URL = os.environ.get("MILLSTREAM_URL", "http://127.0.0.1:8080").rstrip("/")
LAKE = os.environ.get("MILLSTREAM_LAKE", "../data/lake")


class Refused(Exception):
    """The server's own words on why it doesn't answer."""


def ask(sql: str) -> pa.Table:
    """The answer to one statement."""
    return _post({"sql": sql})


def named(name: str) -> pa.Table:
    """The answer to one of the queries that come with Millstream."""
    return _post({"named": name})


def table(name: str, version: int | None = None) -> DeltaTable:
    """A table's files, as they are or as they were at a version."""
    return DeltaTable(f"{LAKE}/{name}", version=version)


def _post(question: dict) -> pa.Table:
    request = urllib.request.Request(
        f"{URL}/api/sql",
        data=json.dumps(question).encode(),
        headers={
            "Accept": "application/vnd.apache.arrow.stream",
            "Authorization": f"Bearer {_token()}",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request) as answer, pa.ipc.open_stream(answer) as rows:
            return rows.read_all()
    except urllib.error.HTTPError as error:
        raise Refused(json.load(error)["detail"]) from None


def _token() -> str:
    return os.environ.get("MILLSTREAM_ADMIN_TOKEN") or Path("../data/admin-token").read_text().strip()
