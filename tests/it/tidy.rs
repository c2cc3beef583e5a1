//! The repository keeps the promises that its documents make.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::root;

/// Which of our crates each crate may depend on (DESIGN §8).
const ARROWS: [(&str, &str, &[&str]); 14] = [
    ("pipeline/records", "records", &[]),
    ("pipeline/runtime", "runtime", &["records"]),
    ("pipeline/log", "log", &["records"]),
    ("pipeline/store", "store", &[]),
    ("pipeline/accounts", "accounts", &["records", "log"]),
    ("operators", "operators", &["records", "runtime", "log"]),
    ("operators/moderate", "moderate", &["records"]),
    ("sources", "sources", &["records", "runtime", "log"]),
    ("sinks", "sinks", &["records", "runtime", "log", "store"]),
    ("sinks/chat", "chat", &[]),
    ("sinks/lake", "lake", &["records", "log", "store"]),
    ("queries", "queries", &["records", "log", "store"]),
    ("pipeline/clients", "clients", &["records", "sources"]),
    ("pipeline/clients/chat", "chat-load", &[]),
];

#[test]
fn crates_depend_only_along_the_arrows() {
    let ours: BTreeSet<_> = ARROWS.iter().map(|(_, name, _)| *name).collect();
    for (folder, name, allowed) in ARROWS {
        let manifest = read(&root().join(folder).join("Cargo.toml"));
        let dependencies = manifest.split("[dependencies]").nth(1).expect("dependencies");
        let dependencies = dependencies.split("\n[").next().expect("a section");
        for line in dependencies.lines() {
            let dependency = line.split('.').next().unwrap_or_default().trim();
            assert!(
                !ours.contains(dependency) || allowed.contains(&dependency),
                "{name} may not depend on {dependency}"
            );
        }
    }
}

#[test]
fn the_folder_map_equals_the_disk() {
    let readme = read(&root().join("README.md"));
    let map = readme.split("<!-- folder map -->").nth(1).expect("README has a folder map");
    for line in map.lines().skip_while(|l| !l.starts_with("```")).skip(1) {
        if line.starts_with("```") {
            break;
        }
        let path = line.split_whitespace().next().unwrap_or_default();
        assert!(root().join(path).exists(), "README's folder map names {path}, which isn't there");
    }
    for entry in fs::read_dir(root()).expect("the root") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let is_made = ["target", "data", ".git", ".cache"].contains(&name.as_str());
        assert!(is_made || map.contains(&name), "README's folder map lacks {name}");
    }
}

#[test]
fn every_module_says_what_it_is() {
    for file in sources() {
        let text = read(&file);
        assert!(text.starts_with("//!"), "{} has no //! header", file.display());
    }
}

#[test]
fn every_silenced_lint_has_a_reason() {
    for file in sources() {
        let text = read(&file);
        for (number, line) in text.lines().enumerate() {
            let silences = line.trim_start().starts_with("#[allow(")
                || line.trim_start().starts_with("#![allow(")
                || line.trim_start().starts_with("#[expect(");
            let block: String = text.lines().skip(number).take(4).collect();
            assert!(
                !silences || block.contains("reason"),
                "{}:{} silences a lint without a reason",
                file.display(),
                number + 1
            );
        }
    }
}

#[test]
fn nothing_is_left_to_do() {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["todo", "!("].concat()];
    for file in sources() {
        let text = read(&file);
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{} has a {mark}", file.display());
        }
    }
}

/// All Rust sources of ours.
fn sources() -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for folder in ["pipeline", "operators", "sinks", "sources", "queries", "tests"] {
        walk(&root().join(folder), &mut found);
    }
    assert!(found.len() > 30, "the walk finds the sources");
    found
}

fn walk(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let is_made = path.ends_with("node_modules")
            || path.ends_with("target")
            || path.ends_with("fuzz_targets");
        if path.is_dir() && !is_made {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
