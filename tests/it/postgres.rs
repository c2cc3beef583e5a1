//! SQL by PostgreSQL's wire protocol: psql, psycopg, and clients that mean no good.

use std::process::{Output, Stdio};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::certificate::{certificate, https};
use crate::support::postgres::{Wire, greeting, message, password, say};
use crate::support::scene::seconds;
use crate::support::server::{Server, TOKEN};
use crate::support::{eventually, root};

/// Work without an end or rows.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 10000000) AS a(x) \
     CROSS JOIN generate_series(1, 10000000) AS b(y) WHERE sin(x) + cos(y) > 3";

/// As many as may run at once: any one of them that is left would keep a place.
const AT_ONCE: usize = 4;

async fn server(settings: &[(&str, &str)]) -> (Server, String) {
    let ours = [("transcode.enabled", "false"), ("sql.postgres", "127.0.0.1:0")];
    let server = Server::with(&[&ours[..], settings].concat()).await;
    let address = eventually("address of PostgreSQL's", async || {
        let output = server.output();
        let line = output.lines().find_map(|line| line.trim().strip_prefix("sql "))?;
        let address = line.trim().strip_prefix("postgres://")?;
        Some(address.trim_end_matches("/millstream").to_owned())
    })
    .await;
    (server, address)
}

fn psql(address: &str, password: &str, arguments: &[&str]) -> Command {
    psql_to(&format!("postgres://analyst@{address}/millstream"), password, arguments)
}

fn psql_to(url: &str, password: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("psql");
    command
        .args(["--no-psqlrc", "-v", "ON_ERROR_STOP=1"])
        .arg(url)
        .args(arguments)
        .env("PGPASSWORD", password)
        .env_remove("PGSSLMODE")
        .kill_on_drop(true);
    command
}

async fn run(mut command: Command) -> Output {
    let output = tokio::time::timeout(seconds(60), command.output()).await;
    output.expect("it ends").expect("it runs; Debian's package is postgresql-client")
}

async fn ask(address: &str, arguments: &[&str]) -> String {
    let output = run(psql(address, TOKEN, arguments)).await;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    assert!(err.is_empty(), "{arguments:?}: {err}");
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// There is a place for one more query.
async fn is_free(server: &Server) {
    let question = Some(json!({ "sql": "SELECT 1 AS one" }));
    // Queries that were left would hold theirs for a minute.
    let answer = server.admin(Method::POST, "/api/sql", question);
    let answer = tokio::time::timeout(seconds(40), answer).await.expect("a place");
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_asks_and_describes() {
    let (server, address) = server(&[]).await;
    let stream = server.create("PostgreSQL").await;
    let title = format!("SELECT title FROM streams WHERE stream_id = '{}' LIMIT 1", stream.id);
    assert_eq!(ask(&address, &["-At", "-c", &title]).await, "PostgreSQL\n");
    let link = ask(&address, &["-At", "-c", "SELECT play_url('x', '2026-01-01')"]).await;
    assert!(link.starts_with(&format!("{}/watch/x?at=2026", server.http)), "{link}");

    let tables = ask(&address, &["-c", r"\d"]).await;
    for table in ["segments", "events", "stream_health", "streams", "videos"] {
        assert!(tables.contains(table), "{tables}");
    }
    let columns = ask(&address, &["-c", r"\d segments"]).await;
    assert!(columns.contains("Table \"public.segments\""), "{columns}");
    for (column, kind) in [("duration_us", "bigint"), ("at", "timestamp"), ("gap", "boolean")] {
        let line = columns.lines().find(|line| line.trim().starts_with(&format!("{column} ")));
        assert!(line.is_some_and(|line| line.contains(kind)), "{column}: {columns}");
    }
    let comments = ask(&address, &["-c", r"\d+ segments"]).await;
    assert!(comments.contains("size of its file in bytes"), "{comments}");
    for (command, said) in [
        (r"\dt", "stream_health"),
        (r"\dt+", "one finished media segment"),
        (r"\dn", "public"),
        (r"\l", "millstream"),
        (r"\d+", "one finished media segment"),
        (r"\dt public.*", "segments"),
        (r"\d meta.columns", "comment"),
        (r"\dv", ""),
        (r"\di", ""),
        (r"\du", ""),
        (r"\conninfo", "user \"analyst\""),
        (r"\encoding", "UTF8"),
    ] {
        let out = run(psql(&address, TOKEN, &["-c", command])).await;
        let (out, err) = (text(&out.stdout), text(&out.stderr));
        assert!(out.contains(said) && !err.contains("ERROR"), "{command}: {out}{err}");
    }
    // Several statements in one message, of which the session sees the questions.
    let several = "BEGIN; SET DateStyle = 'ISO, DMY'; SELECT 1; SELECT 2; COMMIT";
    assert_eq!(ask(&address, &["-At", "-q", "-c", several]).await, "1\n2\n");
    assert_eq!(ask(&address, &["-At", "-c", "SHOW transaction_read_only"]).await, "on\n");
    let prepared = [
        "-At",
        "-q",
        "-c",
        "BEGIN",
        "-c",
        "DECLARE c CURSOR FOR VALUES (1), (2), (3)",
        "-c",
        "FETCH 2 FROM c",
        "-c",
        "FETCH ALL FROM c",
        "-c",
        "CLOSE c",
        "-c",
        "COMMIT",
    ];
    assert_eq!(ask(&address, &prepared).await, "1\n2\n3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_copies_out_and_nothing_in() {
    let (_server, address) = server(&[("sql.rows_max", "100000")]).await;
    let rows = "VALUES (1, 'a,b'), (2, NULL), (3, '')";
    let copy =
        |how: &str| format!(r"\copy (SELECT * FROM ({rows}) AS t(n, t) ORDER BY n) to stdout{how}");
    for (how, expected) in [
        ("", "1\ta,b\n2\t\\N\n3\t\n"),
        (" csv header", "n,t\n1,\"a,b\"\n2,\n3,\"\"\n"),
        (" with (format csv, delimiter ';', null 'NA')", "1;a,b\n2;NA\n3;\n"),
    ] {
        assert_eq!(ask(&address, &["-c", &copy(how)]).await, expected, "{how}");
    }
    let table =
        ask(&address, &["-c", r"\copy events (stream_id, kind) to stdout csv header"]).await;
    assert_eq!(table, "stream_id,kind\n");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file.csv");
    std::fs::write(&file, "x\n").expect("a file");
    for (command, said) in [
        (format!(r"\copy events from '{}'", file.display()), "COPY is not allowed"),
        ("COPY events FROM STDIN".into(), "COPY is not allowed"),
        (format!("COPY events TO '{}'", dir.path().join("out").display()), "COPY is not allowed"),
        (
            format!("COPY (SELECT 1) TO PROGRAM 'touch {}'", dir.path().join("out").display()),
            "COPY is not allowed",
        ),
        (r"\copy (DELETE FROM events) to stdout".into(), "not allowed"),
        (r"\copy (SELECT nothing FROM events) to stdout".into(), "nothing"),
        (
            r"\copy (SELECT * FROM generate_series(1, 300000)) to stdout".into(),
            "more than 100000 rows",
        ),
    ] {
        let output = run(psql(&address, TOKEN, &["-c", &command])).await;
        let err = text(&output.stderr);
        assert!(!output.status.success() && err.contains(said), "{command}: {err}");
    }
    assert!(!dir.path().join("out").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_question_is_refused() {
    let (server, address) = server(&[]).await;
    let long = format!("SELECT '{}'", "x".repeat(70_000));
    let deep = format!("SELECT 1{}", " + 1".repeat(2_000));
    let slow = format!("SET statement_timeout = '200ms'; {ENDLESS}");
    for (sql, said) in [
        ("DROP TABLE segments", "DROP TABLE is not allowed"),
        ("CREATE TABLE t (a INT)", "CREATE TABLE is not allowed"),
        ("CREATE EXTENSION dblink", "CREATE EXTENSION"),
        ("CREATE FUNCTION f() RETURNS INT LANGUAGE sql AS 'SELECT 1'", "not allowed"),
        ("INSERT INTO events SELECT * FROM events", "INSERT INTO is not allowed"),
        ("SELECT 1; DELETE FROM events", "DELETE FROM is not allowed"),
        ("EXPLAIN ANALYZE INSERT INTO events SELECT * FROM events", "not allowed"),
        ("WITH x AS (DELETE FROM events RETURNING *) SELECT * FROM x", "not allowed"),
        ("SELECT * INTO t FROM events", "SELECT INTO is not allowed"),
        ("BEGIN; DECLARE c CURSOR FOR DELETE FROM events", "DELETE FROM is not allowed"),
        ("SET datafusion.execution.batch_size = 1", "not allowed"),
        ("SET datafusion.runtime.memory_limit = '1G'", "not allowed"),
        ("SET TIME ZONE 'Europe/Berlin'", "UTC"),
        ("SET client_encoding = 'LATIN1'", "UTF8"),
        ("PREPARE p AS DROP TABLE events", "not allowed"),
        ("VACUUM", "not allowed"),
        ("DO $$ BEGIN END $$", "ERROR"),
        ("SELECT * FROM '/etc/passwd'", "/etc/passwd"),
        ("SELECT pg_read_file('/etc/passwd')", "pg_read_file"),
        ("SELECT * FROM pg_ls_dir('/')", "pg_ls_dir"),
        ("SELECT lo_import('/etc/passwd')", "lo_import"),
        ("SELECT pg_sleep(1)", "pg_sleep"),
        ("SELECT pg_terminate_backend(1)", "pg_terminate_backend"),
        ("SELECT * FROM generate_series(1, 3000000)", "more than 1000000 rows"),
        (&long, "at most 65536"),
        (&deep, "deep"),
        (&slow, "statement timeout"),
        ("FETCH 1 FROM c", "no cursor"),
        ("DECLARE c CURSOR FOR SELECT 1", "transactions only"),
    ] {
        let output = run(psql(&address, TOKEN, &["-c", sql])).await;
        let (err, what) = (text(&output.stderr), &sql[..sql.len().min(80)]);
        assert!(!output.status.success() && err.contains(said), "{what}: {err}");
    }
    is_free(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_come_in_is_told_why() {
    let (_server, address) = server(&[]).await;
    for (url, password, said) in [
        (format!("postgres://analyst@{address}/millstream"), "wrong", "not the admin token"),
        (format!("postgres://analyst@{address}/other"), TOKEN, "one database here, millstream"),
        (format!("postgres://analyst@{address}"), TOKEN, "one database here, millstream"),
        // Whether there is such a database is nobody's business before.
        (format!("postgres://analyst@{address}/other"), "wrong", "not the admin token"),
    ] {
        let output = run(psql_to(&url, password, &["-c", "SELECT 1"])).await;
        let err = text(&output.stderr);
        assert!(!output.status.success() && err.contains(said), "{url}: {err}");
    }
    let output =
        run(psql_to(&format!("postgres://{address}/millstream"), TOKEN, &["-c", "SELECT 1"]));
    assert!(output.await.status.success(), "any name will do");
    let required = format!("postgres://analyst@{address}/millstream?sslmode=require");
    let output = run(psql_to(&required, TOKEN, &["-c", "SELECT 1"])).await;
    assert!(text(&output.stderr).contains("does not support SSL"), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so_and_may_still_cancel() {
    let (_server, address) = server(&[]).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(Wire::open(&address).await);
    }
    let output = run(psql(&address, TOKEN, &["-c", "SELECT 1"])).await;
    let err = text(&output.stderr);
    assert!(!output.status.success() && err.contains("too many connections"), "{err}");
    let mut busy = held.pop().expect("a connection");
    busy.query(ENDLESS).await;
    let cancel = busy.cancel.clone();
    let ended = busy.until(b'Z');
    tokio::pin!(ended);
    let answer = eventually("end of the query", async || {
        // Until it has begun there is nothing to cancel.
        say(&address, &cancel).await;
        tokio::time::timeout(Duration::from_millis(100), &mut ended).await.ok()
    })
    .await;
    assert!(text(&answer).contains("57014"), "{}", text(&answer));
    drop(held);
    eventually("a free place", async || {
        run(psql(&address, TOKEN, &["-c", "SELECT 1"])).await.status.success().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupts_in_psql_end_what_runs() {
    let (server, address) = server(&[]).await;
    let mut asked = Vec::new();
    for _ in 0..AT_ONCE {
        let mut psql = psql(&address, TOKEN, &["-At", "-c", "SELECT 1", "-c", ENDLESS]);
        psql.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = psql.spawn().expect("psql");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).await.expect("its first answer");
        assert_eq!(line, "1\n");
        asked.push(child);
    }
    for mut child in asked {
        eventually("end of psql", async || {
            interrupt(&child);
            child.try_wait().expect("a state")
        })
        .await;
        let output = child.wait_with_output().await.expect("its output");
        let err = text(&output.stderr);
        assert!(err.contains("ERROR"), "the server ended the query: {err}");
    }
    is_free(&server).await;
}

fn interrupt(child: &Child) {
    if let Some(pid) = child.id() {
        // It may have ended meanwhile.
        let _ = std::process::Command::new("kill").args(["-INT", &pid.to_string()]).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_is_not_worked_for() {
    let (server, address) = server(&[]).await;
    // Rows first, which show that it is at work, and then no more of them.
    let begun = format!(
        "SELECT repeat('x', 10000) FROM generate_series(1, 4) UNION ALL SELECT CAST(n AS TEXT) FROM ({ENDLESS}) AS t(n)"
    );
    // And one that is never short of rows, but of somebody who reads them.
    let unread = "SELECT repeat('x', 1000) FROM generate_series(1, 900000)".to_owned();
    for query in [begun, unread] {
        let mut asked = Vec::new();
        for _ in 0..AT_ONCE {
            let mut wire = Wire::open(&address).await;
            wire.query(&query).await;
            wire.until(b'D').await;
            asked.push(wire);
        }
        drop(asked);
        is_free(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_binds_streams_and_cancels() {
    // What is asked there has its ends; how long the machine takes isn't the subject.
    let (server, address) = server(&[("sql.time_max", "200s")]).await;
    server.create("First").await;
    server.create("Second").await;
    let mut command = Command::new("python3");
    command
        .arg(root().join("tests/it/postgres.py"))
        .arg(format!("postgres://analyst:{TOKEN}@{address}/millstream"))
        .args([&server.http, TOKEN, &server.pid().to_string()])
        .env("PYTHONPATH", root().join(".cache/drivers"))
        .kill_on_drop(true);
    let output = tokio::time::timeout(seconds(240), command.output()).await;
    let output = output.expect("it ends").expect("it runs");
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.ends_with("all is well\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_it_is_encrypted() {
    let dir = tempfile::tempdir().expect("a directory");
    let (cert, key) = certificate(dir.path()).await;
    let (_server, address) = server(&https(&cert, &key)).await;
    for mode in ["require", "verify-full", "disable"] {
        let mut command = psql(&address, TOKEN, &["-At", "-c", r"\conninfo", "-c", "SELECT 1"]);
        command.env("PGSSLMODE", mode).env("PGSSLROOTCERT", &cert);
        let output = run(command).await;
        let out = text(&output.stdout);
        assert!(output.status.success(), "{mode}: {}", text(&output.stderr));
        assert_eq!(out.contains("SSL connection"), mode != "disable", "{mode}: {out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_past_the_password() {
    let (_server, address) = server(&[]).await;
    let query = message(Some(b'Q'), b"SELECT 41 + 1 AS answer\0");
    let parse = message(Some(b'P'), b"\0SELECT 41 + 1 AS answer\0\0\0");
    let right = [greeting(), password(), query.clone(), message(Some(b'X'), b"")].concat();
    let answer = text(&say(&address, &right).await);
    assert!(answer.contains("answer"), "so that the others can be told apart: {answer}");

    let huge = [&[b'p'][..], &(900_000_000_u32).to_be_bytes(), &[0; 60_000]].concat();
    for (what, bytes) in [
        ("no password", query.clone()),
        ("no password, prepared", parse.clone()),
        ("an unfinished one", message(Some(b'p'), b"x")),
        ("an empty one", message(Some(b'p'), b"\0")),
        ("a wrong one", message(Some(b'p'), b"wrong\0")),
        ("a sync", message(Some(b'S'), b"")),
        ("a huge one", huge),
    ] {
        let answer =
            say(&address, &[greeting(), bytes, query.clone(), parse.clone()].concat()).await;
        assert!(!text(&answer).contains("answer"), "{what}: {}", text(&answer));
        // ReadyForQuery, of five bytes.
        assert!(!answer.windows(5).any(|five| five == [b'Z', 0, 0, 0, 5]), "{what}");
    }
    // Without a greeting, and in another language.
    for bytes in [&query[..], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 64]] {
        let answer = say(&address, bytes).await;
        assert!(!text(&answer).contains("answer"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_numbers_of_rows_and_bytes_do_no_harm() {
    let (server, address) = server(&[]).await;
    let mut wire = Wire::open(&address).await;
    let parse = message(Some(b'P'), b"\0SELECT 41 + 1 AS answer\0\0\0");
    let bind = message(Some(b'B'), b"\0\0\0\0\0\0\0\0");
    let sync = message(Some(b'S'), b"");
    for rows in [i32::MAX, -1, i32::MIN] {
        let execute = message(Some(b'E'), &[&b"\0"[..], &rows.to_be_bytes()].concat());
        let asked = [parse.clone(), bind.clone(), execute, sync.clone()].concat();
        wire.stream.write_all(&asked).await.expect("sent");
        let answer = wire.until(b'Z').await;
        assert!(text(&answer).contains("42"), "{rows}: {}", text(&answer));
    }
    // It says that it will be long, and is.
    let long = [&[b'Q'][..], &(900_000_000_u32).to_be_bytes(), &[b' '; 2 << 20]].concat();
    let _ = wire.stream.write_all(&long).await;
    let mut rest = Vec::new();
    let _ = wire.stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty() || text(&rest).contains("too long"), "{}", text(&rest));
    is_free(&server).await;
}
