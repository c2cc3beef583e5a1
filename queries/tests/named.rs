//! Each named query gives what its golden file says.
//!
//! After a change that is meant, `UPDATE_GOLDEN=1 cargo test -p millstream-queries`
//! writes the files anew; their difference shows what changed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::fixture::Fixture;
use crate::named;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn names(folder: &Path, extension: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn answers_are_as_in_the_golden_files() {
    let fixture = Fixture::with_rows().await;
    let mut wrong = Vec::new();
    for query in named::ALL {
        let answer = fixture.ask(query.sql()).await + "\n";
        let path = folder().join("tests/golden").join(query.name).with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &answer).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        if golden != answer {
            wrong.push(format!("{}\nexpected\n{golden}got\n{answer}", query.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn they_work_before_there_is_a_lake() {
    let fixture = Fixture::empty();
    for query in named::ALL {
        let rows = fixture.rows(query.sql()).await;
        let rows = rows.unwrap_or_else(|error| panic!("{}: {error}", query.name));
        assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 0, "{}", query.name);
    }
}

#[test]
fn each_file_is_one_of_them_and_says_what_it_answers() {
    let listed: BTreeSet<_> = named::ALL.iter().map(|query| query.name.to_owned()).collect();
    assert_eq!(names(&folder().join("sql"), "sql"), listed);
    assert_eq!(names(&folder().join("tests/golden"), "txt"), listed);
    for query in named::ALL {
        assert!(query.comment().ends_with('.'), "{}", query.name);
        assert!(query.sql().starts_with("SELECT"), "{}", query.name);
        assert_eq!(named::find(query.name).unwrap().sql(), query.sql());
    }
    assert!(named::find("none").is_none());
}
