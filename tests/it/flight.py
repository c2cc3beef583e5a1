"""ADBC against a server: Arrow tables by Arrow Flight SQL.

Its arguments are `plain`, the server's URI, the admin token and the server's
process, where there are two streams, First and Second; or `tls`, the URI, the
token and the file of the certificate.
"""

import sys
import threading

import adbc_driver_flightsql.dbapi as flight
import adbc_driver_manager as adbc
import pyarrow
from adbc_driver_flightsql import DatabaseOptions

HOW, URI, TOKEN, PID = sys.argv[1:]
ENDLESS = (
    "SELECT count(*) FROM generate_series(1, 10000000) AS a(x) "
    "CROSS JOIN generate_series(1, 10000000) AS b(y) WHERE sin(x) + cos(y) > 3"
)


def connect(**options):
    return flight.connect(URI, db_kwargs=options, autocommit=True)


def bearer(token=TOKEN):
    return connect(**{DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token}"})


def table(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetch_arrow_table()


def fails(action, said):
    try:
        action()
    except adbc.Error as error:
        assert said in str(error), (said, str(error))
    else:
        raise AssertionError(f"there was no error with {said!r}")


def who_comes_in():
    with connect(username="anybody", password=TOKEN) as connection:
        assert table(connection, "SELECT 1 AS one").to_pydict() == {"one": [1]}
    fails(lambda: table(bearer("wrong"), "SELECT 1"), "not the admin token")
    fails(lambda: table(connect(), "SELECT 1"), "bring the admin token")
    fails(lambda: connect(username="x", password="wrong").cursor().execute("SELECT 1"), "not the admin token")


def answers(connection):
    streams = table(connection, "SELECT DISTINCT title, created_at, deleted FROM streams WHERE title = 'First'")
    assert streams.column("title").to_pylist() == ["First"], streams
    assert streams.schema.field("title").type == pyarrow.string(), streams.schema
    assert streams.schema.field("created_at").type == pyarrow.timestamp("us", "UTC"), streams.schema
    for name in ("segments", "events", "stream_health", "streams", "videos"):
        columns = table(connection, f"SELECT * FROM {name} LIMIT 5").schema
        assert columns.field("date").type == pyarrow.date32(), columns
        assert columns.field("date").metadata[b"comment"], columns.field("date").metadata
    nothing = table(connection, "SELECT bytes FROM segments WHERE false")
    assert nothing.num_rows == 0 and nothing.schema.field("bytes").type == pyarrow.int64(), nothing
    frame = table(connection, "SELECT NULL AS n, ARRAY[1, 2] AS l, 2.5::double AS d")
    assert frame.to_pydict() == {"n": [None], "l": [[1, 2]], "d": [2.5]}, frame


def parameters(connection):
    with connection.cursor() as cursor:
        sql = "SELECT DISTINCT title FROM streams WHERE title = $1 AND log_offset >= $2"
        for title in ("First", "Second", "it's none"):
            cursor.execute(sql, (title, 0))
            expected = [] if "none" in title else [title]
            assert cursor.fetch_arrow_table().column("title").to_pylist() == expected, title
        cursor.execute("SELECT CAST($1 AS BIGINT) AS n, CAST($2 AS VARCHAR) AS t", (None, "x"))
        assert cursor.fetch_arrow_table().to_pydict() == {"n": [None], "t": ["x"]}
    fails(lambda: table(connection, "SELECT CAST($1 AS BIGINT) AS n"), "$1")


def lists(connection):
    objects = connection.adbc_get_objects(depth="columns").read_all().to_pylist()
    assert [catalog["catalog_name"] for catalog in objects] == ["millstream"], objects
    schemas = {schema["db_schema_name"]: schema for schema in objects[0]["catalog_db_schemas"]}
    assert {"public", "meta"} <= set(schemas), schemas.keys()
    tables = {found["table_name"]: found for found in schemas["public"]["db_schema_tables"]}
    assert {"segments", "events", "stream_health", "streams", "videos"} <= set(tables), tables.keys()
    columns = [column["column_name"] for column in tables["segments"]["table_columns"]]
    assert columns[:3] == ["date", "stream_id", "at"], columns
    some = connection.adbc_get_objects(depth="tables", table_name_filter="stream%").read_all()
    some = [found["table_name"] for schema in some.to_pylist()[0]["catalog_db_schemas"] for found in schema["db_schema_tables"]]
    assert sorted(some) == ["stream_health", "streams"], some
    assert connection.adbc_get_table_types() == ["TABLE"]
    assert connection.adbc_get_info()["vendor_name"] == "Millstream"
    schema = connection.adbc_get_table_schema("segments", db_schema_filter="public")
    assert schema.field("duration_us").type == pyarrow.int64(), schema


def refusals(connection):
    for sql, said in [
        ("DROP TABLE segments", "not allowed"),
        ("INSERT INTO events SELECT * FROM events", "not allowed"),
        ("COPY (SELECT 1) TO '/tmp/x'", "not allowed"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "not allowed"),
        ("SET datafusion.execution.batch_size = 1", "not allowed"),
        ("SELECT * FROM '/etc/passwd'", "not found"),
        ("SELECT pg_read_file('/etc/passwd')", "pg_read_file"),
        ("SELECT nothing FROM segments", "nothing"),
        ("SELECT 1; SELECT 2", "statement"),
        (f"SELECT '{'x' * 70000}'", "at most 65536"),
        (f"SELECT 1{' + 1' * 2000}", "deep"),
        ("SELECT * FROM generate_series(1, 3000000)", "more than 1000000 rows"),
    ]:
        fails(lambda: table(connection, sql), said)
        fails(lambda: connection.cursor().executemany(sql, [(1,)]), "")
    rows = pyarrow.table({"stream_id": ["x"]})
    with connection.cursor() as cursor:
        fails(lambda: cursor.adbc_ingest("events", rows, mode="append"), "")
    assert table(connection, "SELECT 1 AS one").num_rows == 1


def peak_mib():
    with open(f"/proc/{PID}/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


def large_answers(connection):
    """200 MB, of which the server holds a few batches."""
    wide = "SELECT x, repeat('x', 1000) AS t FROM generate_series(1, %d) AS t(x)"
    assert table(connection, wide % 5000).num_rows == 5000
    before = peak_mib()
    with connection.cursor() as cursor:
        cursor.execute(wide % 200000)
        rows = sum(batch.num_rows for batch in cursor.fetch_record_batch())
    assert rows == 200000, rows
    assert peak_mib() - before < 100, (before, peak_mib())


def who_leaves_is_not_worked_for(connection):
    """More than may run at once: those that are left would keep the next from its place."""
    for _ in range(6):
        # With its first rows on their way, and left with most of them unread.
        cursor = connection.cursor()
        cursor.execute("SELECT repeat('x', 1000) AS t FROM generate_series(1, 900000)")
        reader = cursor.fetch_record_batch()
        assert reader.read_next_batch().num_rows > 0
        reader.close()
        cursor.close()
    for _ in range(6):
        cursor, ended = connection.cursor(), threading.Event()

        def cancel():
            # Before it has begun there is nothing to cancel.
            while not ended.wait(0.1):
                cursor.adbc_cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        try:
            fails(lambda: (cursor.execute(ENDLESS), cursor.fetchall()), "")
        finally:
            ended.set()
            canceller.join()
            cursor.close()
    assert table(connection, "SELECT 1 AS one").num_rows == 1


def over_tls():
    with open(PID) as certificate:
        trusted = {DatabaseOptions.TLS_ROOT_CERTS.value: certificate.read()}
    with connect(username="anybody", password=TOKEN, **trusted) as connection:
        assert table(connection, "SELECT 1 AS one").to_pydict() == {"one": [1]}
    fails(lambda: table(bearer(), "SELECT 1"), "certificate")


def in_the_clear():
    who_comes_in()
    with bearer() as connection:
        answers(connection)
        parameters(connection)
        lists(connection)
        refusals(connection)
        large_answers(connection)
        who_leaves_is_not_worked_for(connection)


if HOW == "tls":
    over_tls()
else:
    in_the_clear()
print("all is well")
