"""psycopg against a server: types, parameters, cursors, large answers, cancelling.

Its arguments are the connection's URL, the API's, the admin token and the
server's process; there are two streams, First and Second.
"""

import datetime
import decimal
import json
import sys
import threading
import time
import urllib.request
import uuid

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.json import Json, Jsonb

URL, API, TOKEN, PID = sys.argv[1:]
ENDLESS = (
    "SELECT count(*) FROM generate_series(1, 10000000) AS a(x) "
    "CROSS JOIN generate_series(1, 10000000) AS b(y) WHERE sin(x) + cos(y) > 3"
)
UTC = datetime.timezone.utc


def create(title):
    body = json.dumps({"title": title, "category": "tests"}).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{API}/api/streams", body, headers)).close()


def one(connection, sql, values=None, **options):
    return connection.execute(sql, values, **options).fetchone()


def answers(connection):
    now = datetime.datetime.now(UTC)
    for binary in (False, True):
        row = one(
            connection,
            "SELECT title, created_at, sessions, deleted, started_at, date FROM streams "
            "WHERE title = %s AND created_at > %s AND log_offset >= %s LIMIT 1",
            ("First", now - datetime.timedelta(hours=1), 0),
            binary=binary,
        )
        assert row[0] == "First" and row[2:5] == (0, False, None), row
        assert abs(row[1] - now) < datetime.timedelta(hours=1), row
        assert row[5] == row[1].astimezone(UTC).date(), row
        titles = connection.execute(
            "SELECT DISTINCT title FROM streams WHERE title IN (%s, %s) ORDER BY title",
            ("First", "Second"),
            binary=binary,
        ).fetchall()
        assert titles == [("First",), ("Second",)], titles


def types(connection):
    """Every type that the lake or a function gives, as text and in binary."""
    noon = datetime.datetime(2026, 11, 20, 12, 30, 15, 123456)
    for sql, expected in [
        ("1::smallint", 1),
        ("-7::int", -7),
        ("9007199254740993::bigint", 9007199254740993),
        ("1.5::real", 1.5),
        ("2.25::double precision", 2.25),
        ("'NaN'::double precision = 'NaN'::double precision", True),
        ("CAST('123456.789' AS DECIMAL(12, 3))", decimal.Decimal("123456.789")),
        ("true", True),
        ("'ä 語 🎬'", "ä 語 🎬"),
        ("''", ""),
        ("NULL", None),
        ("CAST(NULL AS BIGINT)", None),
        ("CAST(NULL AS TIMESTAMP)", None),
        ("DATE '2026-11-20'", datetime.date(2026, 11, 20)),
        ("TIMESTAMP '2026-11-20 12:30:15.123456'", noon),
        ("TIMESTAMPTZ '2026-11-20 12:30:15.123456Z'", noon.replace(tzinfo=UTC)),
        ("TIMESTAMPTZ '2026-11-20 14:30:15.123456+02'", noon.replace(tzinfo=UTC)),
        ("TIME '12:30:15'", datetime.time(12, 30, 15)),
        ("INTERVAL '1 day 2 hours'", datetime.timedelta(days=1, hours=2)),
        ("ARRAY[1, 2, 3]::bigint[]", [1, 2, 3]),
        ("ARRAY['a', NULL, 'b,c']", ["a", None, "b,c"]),
        ("decode('00ff10', 'hex')", b"\x00\xff\x10"),
        ("count(*)", 1),
        ("string_agg('x', ',')", "x"),
    ]:
        for binary in (False, True):
            got = one(connection, f"SELECT {sql}", binary=binary)[0]
            assert got == expected and type(got) is type(expected), (sql, binary, got)
    for table in ("segments", "events", "stream_health", "streams", "videos", "meta.columns"):
        for binary in (False, True):
            cursor = connection.execute(f"SELECT * FROM {table} LIMIT 5", binary=binary)
            names = [column.name for column in cursor.description]
            assert names and "date" in names or table == "meta.columns", names
            cursor.fetchall()


def parameters(connection):
    noon = datetime.datetime(2026, 11, 20, 12, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    for sql, value in [
        ("CAST(%s AS BIGINT)", 5_000_000_000),
        ("CAST(%s AS DOUBLE)", 2.5),
        ("CAST(%s AS VARCHAR)", "it's \\ \"quoted\" ; -- ä"),
        ("CAST(%s AS BOOLEAN)", True),
        ("CAST(%s AS DATE)", datetime.date(2026, 2, 28)),
        ("CAST(%s AS TIMESTAMPTZ)", noon),
        ("CAST(%s AS BIGINT)", None),
        ("CAST(%s AS VARCHAR)", None),
    ]:
        for form in ("%s", "%b", "%t"):
            got = one(connection, f"SELECT {sql.replace('%s', form)}", (value,))
            assert got == (value,), (sql, form, got)
    for sql, value, expected in [
        ("%s", "{\"a\": 1}", "{\"a\": 1}"),
        ("%s", None, None),
        ("upper(%s)", "{a}", "{A}"),
        ("upper(%s)", uuid.UUID(int=10), "00000000-0000-0000-0000-00000000000A"),
        ("CAST(%s AS VARCHAR)", Json({"a": 1}), "{\"a\": 1}"),
        ("CAST(%s AS VARCHAR)", Jsonb({"a": 1}), "{\"a\": 1}"),
        ("1 = ANY(%s)", [1, 2], True),
        ("'c' = ANY(%s)", ["a", "b"], False),
        ("'b, \"c\"' = ANY(%s)", ["a", "b, \"c\""], True),
    ]:
        for form in ("%s", "%b", "%t"):
            got = one(connection, f"SELECT {sql.replace('%s', form)}", (value,))
            assert got == (expected,), (sql, form, got)
    for at, expected in [("2026-11-20 10:00:00+00", 0), (noon, 0)]:
        got = one(connection, "SELECT count(*) FROM segments WHERE at >= %s", (at,))
        assert got == (expected,), got
    # The same statement is prepared by and by, then executed by its name.
    for number in range(12):
        row = one(connection, "SELECT CAST(%s AS BIGINT) + 1", (number,), prepare=True)
        assert row == (number + 1,), row
    row = one(connection, "SELECT count(*) FROM streams WHERE title = %s OR title = %s", ("x", "y"))
    assert row == (0,), row
    with connection.cursor() as cursor:
        cursor.executemany("SELECT CAST(%s AS INT)", [(1,), (2,)], returning=True)
        assert cursor.fetchall() == [(1,)] and cursor.nextset() and cursor.fetchall() == [(2,)]


def is_fresh(connection):
    """A prepared statement sees rows that came after it was prepared."""
    count = "SELECT count(*) FROM streams WHERE title = %s"
    for many in range(3):
        while one(connection, count, ("Fresh",), prepare=True) != (many,):
            time.sleep(0.05)
        create("Fresh")


def peak_mib():
    with open(f"/proc/{PID}/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


def large_answers(connection):
    """200 MB by each of the ways; the server holds a few batches of it."""
    wide = "SELECT x, repeat('x', 1000) AS t FROM generate_series(1, 200000) AS t(x)"
    with connection.cursor() as cursor:
        assert sum(1 for _ in cursor.stream(wide.replace("200000", "5000"))) == 5000
        before = peak_mib()
        rows = sum(1 for _ in cursor.stream(wide))
        assert rows == 200000, rows
        rows = 0
        with cursor.copy(f"COPY ({wide}) TO STDOUT") as copy:
            for row in copy:
                rows += bytes(row).count(b"\n")
        assert rows == 200000, rows
    with psycopg.connect(URL) as other, other.cursor("large") as cursor:
        cursor.itersize = 5000
        cursor.execute(wide)
        rows = sum(1 for _ in cursor)
        assert rows == 200000, rows
    assert peak_mib() - before < 100, (before, peak_mib())


def cursors():
    with psycopg.connect(URL) as connection:
        with connection.cursor("rows") as cursor:
            cursor.itersize = 100
            cursor.execute(
                "SELECT x, CAST(x AS VARCHAR) FROM generate_series(1, 1000) AS t(x) WHERE x > %s ORDER BY x",
                (10,),
            )
            assert [column.name for column in cursor.description][0] == "x"
            assert cursor.fetchone() == (11, "11")
            assert cursor.fetchmany(2) == [(12, "12"), (13, "13")]
            assert len(cursor.fetchall()) == 987
            assert cursor.fetchall() == []
        with connection.cursor("left open") as cursor:
            cursor.execute("SELECT x FROM generate_series(1, 900000) AS t(x)")
            assert cursor.fetchone() == (1,)
            connection.rollback()
        # Its place is free again, and its name.
        with connection.cursor("left open") as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)
        with connection.cursor("in binary", binary=True) as cursor:
            cursor.execute("SELECT 1")
            try:
                cursor.fetchone()
            except psycopg.errors.FeatureNotSupported:
                connection.rollback()
            else:
                raise AssertionError("rows in text were taken for binary ones")


def fails(connection, sql, state, values=None):
    try:
        connection.execute(sql, values, prepare=True).fetchall()
    except psycopg.Error as error:
        assert error.sqlstate == state, (sql, error.sqlstate, str(error))
    else:
        raise AssertionError(f"{sql} was answered")


def refusals(connection):
    fails(connection, "DROP TABLE segments", "25006")
    fails(connection, "DELETE FROM events WHERE stream_id = %s", "25006", ("x",))
    fails(connection, "INSERT INTO events SELECT * FROM events", "25006")
    fails(connection, "COPY events TO '/tmp/x'", "25006")
    fails(connection, "SET datafusion.execution.batch_size = 1", "25006")
    fails(connection, "SELECT nothing FROM segments", "42000")
    fails(connection, "SELECT CAST('x' AS BIGINT)", "42000")
    fails(connection, "SELECT * FROM generate_series(1, 3000000)", "54000")
    try:
        with connection.cursor() as cursor, cursor.copy("COPY events FROM STDIN") as copy:
            copy.write("x")
    except psycopg.errors.ReadOnlySqlTransaction:
        pass
    # The connection goes on.
    assert one(connection, "SELECT 1") == (1,)


def transactions():
    with psycopg.connect(URL) as connection:
        assert one(connection, "SELECT 1") == (1,)
        assert connection.info.transaction_status == TransactionStatus.INTRANS
        connection.commit()
        fails(connection, "SELECT nothing FROM segments", "42000")
        assert connection.info.transaction_status == TransactionStatus.INERROR
        fails(connection, "SELECT 1", "25P02")
        connection.rollback()
        assert connection.info.transaction_status == TransactionStatus.IDLE
        with connection.transaction():
            try:
                with connection.transaction():
                    connection.execute("SELECT nothing FROM segments")
            except psycopg.Error:
                pass
            assert one(connection, "SELECT 1") == (1,)
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        assert one(connection, "SELECT 1") == (1,)


def cancelling(connection):
    # The second is cancelled while its rows are on their way.
    for sql in (ENDLESS, "SELECT x FROM generate_series(1, 900000) AS t(x)"):
        ended = threading.Event()

        def cancel():
            # Before it has begun there is nothing to cancel.
            while not ended.wait(0.1):
                connection.cancel_safe()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        try:
            with connection.cursor() as cursor:
                for _ in cursor.stream(sql):
                    pass
        except psycopg.errors.QueryCanceled:
            pass
        else:
            raise AssertionError(f"{sql} was answered")
        finally:
            ended.set()
            canceller.join()
        assert one(connection, "SELECT 1") == (1,)


def what_tools_ask(connection):
    """What PostgreSQL's JDBC driver and tools on top of it send by themselves."""
    for sql in [
        "SET extra_float_digits = 3",
        "SET application_name = 'PostgreSQL JDBC Driver'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SHOW TRANSACTION ISOLATION LEVEL",
        "SHOW standard_conforming_strings",
        "SHOW search_path",
        "SELECT version()",
        "SELECT current_schema()",
        "SELECT current_database()",
        "SELECT current_database(), current_schema(), session_user, current_user",
        "SELECT n.nspname = ANY(current_schemas(true)), n.nspname, t.typname FROM pg_catalog.pg_type t "
        "JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE t.oid = 25",
        "SELECT nspname AS TABLE_SCHEM, NULL AS TABLE_CATALOG FROM pg_catalog.pg_namespace "
        "WHERE nspname <> 'pg_toast' ORDER BY TABLE_SCHEM",
        "SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME, c.relkind "
        "FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_description d "
        "ON (c.oid = d.objoid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass) "
        "WHERE c.relnamespace = n.oid AND n.nspname LIKE 'public' AND c.relkind IN ('r', 'p', 'v') "
        "ORDER BY TABLE_SCHEM, TABLE_NAME",
        "SELECT datname AS TABLE_CAT FROM pg_catalog.pg_database WHERE datallowconn = true ORDER BY datname",
        "SELECT oid, typname FROM pg_catalog.pg_type WHERE typname IN ('hstore', 'geometry')",
        "SELECT table_name, column_name, data_type, ordinal_position FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
        "DISCARD ALL",
    ]:
        try:
            cursor = connection.execute(sql)
        except psycopg.Error as error:
            raise AssertionError(f"{sql}: {error}") from error
        if cursor.description:
            rows = cursor.fetchall()
            assert rows or "hstore" in sql, sql


with psycopg.connect(URL, autocommit=True) as connection:
    answers(connection)
    types(connection)
    parameters(connection)
    what_tools_ask(connection)
    is_fresh(connection)
    refusals(connection)
    large_answers(connection)
    cancelling(connection)
cursors()
transactions()
print("all is well")
