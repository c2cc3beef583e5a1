//! Nothing that SQL can say writes, sets, or reads a file.

use super::fixture::Fixture;
use crate::Error;

/// Everything in a folder, with sizes.
fn listing(folder: &std::path::Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let length = std::fs::metadata(&path).unwrap().len();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.display().to_string(), length));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn statements_that_are_not_questions_are_refused() {
    let fixture = Fixture::with_rows().await;
    let before = listing(fixture.dir.path());
    let out = fixture.dir.path().join("out");
    let out = out.display();
    for sql in [
        format!("COPY segments TO '{out}.parquet'"),
        format!("COPY (SELECT 1) TO '{out}.csv' STORED AS CSV"),
        format!("EXPLAIN ANALYZE COPY segments TO '{out}.parquet'"),
        format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{out}'"),
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'".into(),
        "CREATE TABLE t (a INT)".into(),
        "CREATE TABLE t AS SELECT * FROM segments".into(),
        "CREATE OR REPLACE TABLE segments AS SELECT 1 AS a".into(),
        "CREATE TEMPORARY TABLE t (a INT)".into(),
        "CREATE VIEW v AS SELECT 1".into(),
        "CREATE SCHEMA s".into(),
        "CREATE DATABASE d".into(),
        "CREATE INDEX i ON segments (msn)".into(),
        "CREATE FUNCTION f() RETURNS INT RETURN 1".into(),
        "DROP TABLE segments".into(),
        "DROP SCHEMA public CASCADE".into(),
        "ALTER TABLE segments ADD COLUMN a INT".into(),
        "TRUNCATE TABLE segments".into(),
        "INSERT INTO events SELECT * FROM events".into(),
        "INSERT INTO meta.tables VALUES ('a', 'b')".into(),
        "UPDATE events SET kind = 'x'".into(),
        "DELETE FROM events".into(),
        "MERGE INTO events USING segments ON true WHEN MATCHED THEN DELETE".into(),
        "EXPLAIN INSERT INTO events SELECT * FROM events".into(),
        "EXPLAIN ANALYZE DELETE FROM events".into(),
        "WITH x AS (SELECT * FROM events) INSERT INTO events SELECT * FROM x".into(),
        "WITH x AS (DELETE FROM events RETURNING *) SELECT * FROM x".into(),
        "SELECT * INTO t FROM events".into(),
        "SET datafusion.execution.batch_size = 1".into(),
        "SET TIME ZONE 'Europe/Berlin'".into(),
        "RESET datafusion.execution.batch_size".into(),
        "PREPARE p AS SELECT 1".into(),
        "EXECUTE p".into(),
        "DEALLOCATE p".into(),
        "BEGIN".into(),
        "COMMIT".into(),
        "ROLLBACK".into(),
        "USE millstream".into(),
        "VACUUM".into(),
        "GRANT ALL ON events TO x".into(),
        "CALL f()".into(),
        "LOAD 'x'".into(),
        "ATTACH 'x' AS y".into(),
        "SELECT 1; DROP TABLE events".into(),
        "SELECT 1; SELECT 2".into(),
    ] {
        let error = fixture.error(&sql).await;
        assert!(matches!(error, Error::Refused(_) | Error::Sql(_)), "{sql}: {error:?}");
        assert!(error.is_callers_fault());
    }
    assert_eq!(listing(fixture.dir.path()), before, "nothing was written");
    assert_eq!(fixture.count("events").await, 9, "nothing was changed");
}

#[tokio::test]
async fn what_is_refused_is_named_without_its_contents() {
    let fixture = Fixture::empty();
    for (sql, name) in [
        ("COPY (SELECT 'secret') TO 'x'", "COPY"),
        ("SET x = 'secret'", "SET"),
        ("CREATE TABLE secret (a INT)", "CREATE TABLE"),
        ("INSERT INTO events VALUES ('secret')", "INSERT INTO"),
        ("WITH x AS (SELECT 1) DELETE FROM events", "DELETE FROM"),
    ] {
        let Error::Refused(what) = fixture.error(sql).await else { panic!("{sql}") };
        assert_eq!(what, name);
    }
}

#[tokio::test]
async fn no_table_or_function_leads_to_a_file() {
    let fixture = Fixture::with_rows().await;
    let lake = fixture.lake();
    let file = listing(&lake).into_iter().map(|(path, _)| path).find(|p| p.ends_with(".parquet"));
    let file = file.expect("a Parquet file");
    let mut queries: Vec<String> = [
        "read_parquet",
        "read_csv",
        "read_json",
        "read_text",
        "parquet_scan",
        "delta_scan",
        "glob",
        "parquet_metadata",
        "load_extension",
        "pg_read_file",
        "file",
        "url",
        "s3",
    ]
    .iter()
    .flat_map(|f| [format!("SELECT * FROM {f}('{file}')"), format!("SELECT {f}('{file}')")])
    .collect();
    for path in [file.as_str(), "/etc/passwd", "file:///etc/passwd", "https://example.org/a.csv"] {
        queries.push(format!("SELECT * FROM '{path}'"));
        queries.push(format!("SELECT * FROM \"{path}\""));
        queries.push(format!("TABLE \"{path}\""));
        queries.push(format!("DESCRIBE \"{path}\""));
    }
    for sql in queries {
        let error = fixture.error(&sql).await;
        assert!(matches!(error, Error::Sql(_) | Error::Refused(_)), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn the_settings_show_no_way_to_change_them() {
    let fixture = Fixture::empty();
    let sql = "SELECT value FROM information_schema.df_settings WHERE name = 'datafusion.execution.batch_size'";
    let before = fixture.ask(sql).await;
    let _ = fixture.error("SET datafusion.execution.batch_size = 7").await;
    assert_eq!(fixture.ask(sql).await, before);
}

#[tokio::test]
async fn questions_are_answered() {
    let fixture = Fixture::with_rows().await;
    for sql in [
        "SELECT 1",
        "select 1;",
        "VALUES (1), (2)",
        "WITH x AS (SELECT 1 AS a) SELECT * FROM x",
        "SELECT 1 UNION ALL SELECT 2",
        "EXPLAIN SELECT * FROM events",
        "EXPLAIN ANALYZE SELECT * FROM events",
        "EXPLAIN FORMAT TREE SELECT * FROM events",
        "SHOW TABLES",
        "SHOW COLUMNS FROM events",
        "SHOW ALL",
        "SHOW datafusion.execution.batch_size",
        "DESCRIBE events",
        "DESC meta.columns",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.columns WHERE table_name = 'streams'",
        "SELECT * FROM generate_series(1, 3)",
    ] {
        let rows = fixture.rows(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert!(rows.iter().any(|batch| batch.num_rows() > 0), "{sql}");
    }
}
