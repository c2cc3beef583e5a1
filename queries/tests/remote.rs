//! A lake in an object store: the same answers, and errors that name it.

use std::path::Path as FilePath;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use records::schema::TABLES;
use store::{Place, Root};

use super::fixture::{Fixture, open_at};
use crate::lake::Lake;
use crate::{Error, Limits, Session};

const ROOT: &str = "s3://bucket/pre/lake";

fn root(client: Arc<dyn ObjectStore>) -> Root {
    Root::within(&Place::new(client, ROOT).unwrap()).unwrap()
}

/// Copies all files of a folder to below `to`.
async fn copy(folder: &FilePath, to: &Path, store: &InMemory) {
    let mut folders = vec![(folder.to_owned(), to.clone())];
    while let Some((folder, to)) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let to = to.clone().join(entry.file_name().into_string().unwrap());
            if entry.path().is_dir() {
                folders.push((entry.path(), to));
            } else {
                store.put(&to, std::fs::read(entry.path()).unwrap().into()).await.unwrap();
            }
        }
    }
}

async fn error(session: &Session, sql: &str) -> Error {
    match session.query(sql, "").await {
        Ok(rows) => rows.collect().await.unwrap_err(),
        Err(error) => error,
    }
}

#[tokio::test]
async fn the_same_lake_gives_the_same_answers() {
    let mut fixture = Fixture::with_rows().await;
    let memory = Arc::new(InMemory::new());
    copy(&fixture.lake(), &Path::from("pre/lake"), &memory).await;
    let limits = Limits { threads: 2, ..Limits::default() };
    let session = open_at(root(memory), fixture.dir.path(), limits, None);
    let questions = [
        "SELECT count(*), max(at) FROM segments WHERE date = '2026-11-20'",
        "SELECT * FROM events ORDER BY log_offset",
        "SELECT s.title, count(*) FROM streams s JOIN stream_health h USING (stream_id) GROUP BY 1 ORDER BY 1",
    ];
    let mut answers = Vec::new();
    for sql in questions {
        answers.push(fixture.ask(sql).await);
    }
    fixture.session = session;
    for (sql, answer) in questions.into_iter().zip(answers) {
        assert_eq!(fixture.ask(sql).await, answer, "{sql}");
    }
}

#[tokio::test]
async fn a_store_that_fails_is_named() {
    let fixture = Fixture::with_rows().await;
    let memory = Arc::new(InMemory::new());
    copy(&fixture.lake(), &Path::from("pre/lake"), &memory).await;
    let limits = Limits { threads: 2, ..Limits::default() };
    let session = open_at(root(Arc::clone(&memory) as _), fixture.dir.path(), limits, None);
    let files: Vec<_> = memory.list_with_delimiter(None).await.unwrap().common_prefixes;
    assert_eq!(files, [Path::from("pre")]);
    let events = Path::from("pre/lake/events/date=2026-11-20");
    for file in memory.list_with_delimiter(Some(&events)).await.unwrap().objects {
        memory.delete(&file.location).await.unwrap();
    }
    let failed = error(&session, "SELECT kind FROM events").await;
    assert!(matches!(failed, Error::Storage { .. }), "{failed:?}");
    let said = failed.to_string();
    assert!(said.contains(ROOT) && said.contains(".parquet") && !failed.is_callers_fault());
    let others = session.query("SELECT rendition FROM segments", "").await.unwrap();
    assert!(!others.collect().await.unwrap().is_empty(), "other tables can be read");

    // Nobody answers there.
    let options = [("endpoint", "http://127.0.0.1:9"), ("allow_http", "true")];
    let secrets = [("access_key_id", "k"), ("secret_access_key", "hunter2")];
    let options = options.into_iter().chain(secrets);
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let away = Root::parse(ROOT, &options).unwrap();
    let session = open_at(away, fixture.dir.path(), limits, None);
    let failed = error(&session, "SELECT kind FROM events").await;
    assert!(matches!(failed, Error::Lake { .. }), "{failed:?}");
    let said = failed.to_string();
    assert!(said.contains(ROOT) && said.contains("127.0.0.1:9"), "{said}");
    assert!(!said.contains("hunter2") && !said.contains('\n'), "{said}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_table_for_ever() {
    let lake = Lake::new(root(Arc::new(InMemory::new())), None);
    let opening = lake.blocked(TABLES[0].name).await;
    let Err(error) = lake.open(TABLES[0].name).await else { panic!("it opened") };
    drop(opening);
    let said = error.to_string();
    assert!(said.contains(ROOT) && said.contains("did not answer within 20 s"), "{said}");
    assert!(lake.open(TABLES[0].name).await.unwrap().is_some());
}
