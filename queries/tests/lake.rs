//! Tables come, grow, gain columns and break.

use arrow::datatypes::{DataType, Schema};
use records::schema::{Column, ColumnKind, EVENTS, TableSchema};
use serde_json::json;

use super::fixture::{self, CALM, Fixture, noon};
use crate::Error;

fn event(offset: u32) -> serde_json::Value {
    json!({
        "date": "2026-11-20", "stream_id": CALM, "at": noon(offset), "kind": "CREATED",
        "detail": null, "log_partition": 3, "log_offset": offset,
    })
}

fn columns(schema: &Schema) -> Vec<(String, DataType)> {
    let fields = schema.fields().iter();
    fields.map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

/// The columns of an answer with all of a table.
async fn asked(fixture: &Fixture, table: &TableSchema) -> Vec<(String, DataType)> {
    let all = format!("SELECT * FROM {}", table.name);
    columns(&fixture.session.query(&all, "").await.unwrap().schema())
}

#[tokio::test]
async fn tables_that_are_not_there_are_empty_and_have_their_columns() {
    let fixture = Fixture::empty();
    for table in records::schema::TABLES {
        assert_eq!(fixture.count(table.name).await, 0);
        assert_eq!(asked(&fixture, table).await, columns(&table.arrow()), "{}", table.name);
    }
    assert!(matches!(fixture.error("SELECT * FROM none").await, Error::Sql(_)));
}

#[tokio::test]
async fn columns_are_the_same_with_rows() {
    let fixture = Fixture::with_rows().await;
    for table in records::schema::TABLES {
        assert_eq!(asked(&fixture, table).await, columns(&table.arrow()), "{}", table.name);
        assert!(fixture.count(table.name).await > 0);
    }
}

#[tokio::test]
async fn a_commit_shows_in_the_next_query() {
    let fixture = Fixture::empty();
    assert_eq!(fixture.count("events").await, 0);
    for version in 0..3 {
        let row = [event(u32::try_from(version).unwrap())];
        fixture::append(&fixture.lake(), &EVENTS, &row, version, 1).await;
        assert_eq!(fixture.count("events").await, version as i64 + 1);
    }
}

#[tokio::test]
async fn a_day_reads_only_its_own_files() {
    let fixture = Fixture::with_rows().await;
    let plan = fixture
        .ask("EXPLAIN ANALYZE SELECT count(*) FROM segments WHERE date = '2026-11-21'")
        .await;
    assert!(!plan.contains("bytes_scanned=1") && !plan.contains(".parquet"), "{plan}");
    assert!(
        fixture
            .ask("SELECT count(*) AS n FROM segments WHERE date = '2026-11-20'")
            .await
            .contains("| 80 |")
    );
}

/// A lake from before `detail` was there.
static OLDER: TableSchema = TableSchema {
    name: "events",
    comment: "older",
    columns: &[
        Column { name: "date", kind: ColumnKind::Date, nullable: false, comment: "" },
        Column { name: "stream_id", kind: ColumnKind::Text, nullable: false, comment: "" },
        Column { name: "at", kind: ColumnKind::Time, nullable: false, comment: "" },
        Column { name: "kind", kind: ColumnKind::Text, nullable: false, comment: "" },
        Column { name: "log_partition", kind: ColumnKind::Int, nullable: false, comment: "" },
        Column { name: "log_offset", kind: ColumnKind::Long, nullable: false, comment: "" },
    ],
};

#[tokio::test]
async fn a_column_that_an_older_lake_lacks_is_null() {
    let fixture = Fixture::empty();
    fixture::append(&fixture.lake(), &OLDER, &[event(0), event(1)], 0, 2).await;
    for (sql, expected) in [
        ("SELECT count(*) AS n FROM events WHERE detail IS NULL", "| 2 |"),
        ("SELECT count(*) AS n FROM events WHERE detail = 'x' OR kind = 'x'", "| 0 |"),
        ("SELECT count(detail) AS n FROM events", "| 0 |"),
        (
            "SELECT detail, kind, log_offset FROM events ORDER BY log_offset LIMIT 1",
            "|        | CREATED | 0 ",
        ),
        ("SELECT detail, count(*) AS n FROM events GROUP BY detail", "|        | 2 |"),
    ] {
        let answer = fixture.ask(sql).await;
        assert!(answer.contains(expected), "{sql}\n{answer}");
    }
}

fn first(folder: &std::path::Path, ending: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                return path;
            }
        }
    }
    panic!("no {ending}");
}

#[tokio::test]
async fn a_broken_lake_says_which_file_and_is_nobody_elses_fault() {
    let fixture = Fixture::with_rows().await;
    let file = first(&fixture.lake().join("events"), ".parquet");
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let whole = std::fs::read(&file).unwrap();

    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let error = fixture.error("SELECT kind FROM events").await;
    assert!(!error.is_callers_fault(), "{error:?}");

    std::fs::remove_file(&file).unwrap();
    let error = fixture.error("SELECT kind FROM events").await;
    assert!(!error.is_callers_fault() && error.to_string().contains(&name), "{error:?}");
    assert!(fixture.count("segments").await > 0, "other tables can be read");

    std::fs::write(&file, &whole).unwrap();
    fixture.rows("SELECT kind FROM events").await.unwrap();
}

#[tokio::test]
async fn a_newer_protocol_is_said() {
    let fixture = Fixture::with_rows().await;
    let log = fixture.lake().join("events/_delta_log");
    let newer = r#"{"protocol":{"minReaderVersion":99,"minWriterVersion":99}}"#;
    std::fs::write(log.join("00000000000000000002.json"), format!("{newer}\n")).unwrap();
    let error = fixture.error("SELECT kind FROM events").await;
    let Error::Lake { table, cause, .. } = &error else { panic!("{error:?}") };
    assert_eq!(table, "events");
    assert!(cause.contains("99") || cause.to_lowercase().contains("version"), "{cause}");
}
