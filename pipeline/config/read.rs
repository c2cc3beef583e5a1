//! From the sources to one checked value per key.
//!
//! ```text
//! defaults ◄ file ◄ environment ◄ flags      (later ones win)
//! ```
//!
//! Every source is checked completely, also where a later one wins: a mistake
//! in the file doesn't hide behind a flag.

use std::collections::BTreeMap;

use toml_edit::{Document, Item, TableLike};

use super::kind::Value;
use super::problem::{Origin, Problem};
use super::table::{KEYS, SECTIONS, find};

/// Every key's value and where it came from.
pub type Settings = BTreeMap<&'static str, (Value, Origin)>;

/// Variables with our prefix that are no keys: the ones that name the file or
/// belong to commands.
pub const RESERVED: &[&str] = &["MILLSTREAM_CONFIG"];

const PREFIX: &str = "MILLSTREAM_";

/// The environment variable that sets `key`: the prefix, capitals, `_` for `.`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// This process's variables with our prefix. Bytes that are no text are
/// replaced, to be refused with the rest.
pub fn environment() -> Vec<(String, String)> {
    let all = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        name.starts_with(PREFIX).then(|| (name, value.to_string_lossy().into_owned()))
    });
    let mut ours: Vec<_> = all.collect();
    ours.sort();
    ours
}

#[derive(Default)]
pub struct Reader {
    pub settings: Settings,
    pub problems: Vec<Problem>,
}

impl Reader {
    pub fn defaults(&mut self) {
        for key in KEYS {
            let item = key.default.parse::<toml_edit::Value>().map(Item::Value);
            let value = match &item {
                Ok(item) => key.kind.parse_toml(item),
                Err(error) => Err(error.to_string()),
            };
            self.set(key.name, value, Origin::Default);
        }
    }

    pub fn file(&mut self, name: &str, text: &str) {
        let at = |span: Option<std::ops::Range<usize>>| {
            let (line, column) = position(text, span.map_or(0, |span| span.start));
            Origin::File { name: name.into(), line, column }
        };
        match Document::parse(text) {
            Ok(document) => self.table("", document.as_table(), &at),
            Err(error) => {
                let reason = error.message().trim().replace('\n', "; ");
                self.problems.push(Problem { origin: at(error.span()), reason });
            }
        }
    }

    fn table(
        &mut self,
        prefix: &str,
        table: &dyn TableLike,
        at: &dyn Fn(Option<std::ops::Range<usize>>) -> Origin,
    ) {
        for (name, item) in table.iter() {
            let full = format!("{prefix}{name}");
            let span = table.get_key_value(name).and_then(|(key, _)| key.span());
            let origin = at(span.or_else(|| item.span()));
            let inside = format!("{full}.");
            let is_section = SECTIONS.iter().any(|(s, _)| *s == full || s.starts_with(&inside));
            if let Some(key) = find(&full) {
                let value = key.kind.parse_toml(item);
                self.set(key.name, value, origin);
            } else if is_section {
                match item.as_table_like() {
                    Some(table) => self.table(&inside, table, at),
                    None => self.refuse(origin, format!("{full} is a section: write [{full}]")),
                }
            } else if item.is_table_like() {
                let near = super::nearest(&full, SECTIONS.iter().map(|(name, _)| *name));
                self.refuse(origin, unknown("section", &full, near));
            } else {
                self.refuse(origin, unknown("key", &full, nearest_key(&full)));
            }
        }
    }

    pub fn environment(&mut self, variables: &[(String, String)]) {
        for (name, text) in variables {
            if !name.starts_with(PREFIX) || RESERVED.contains(&name.as_str()) {
                continue;
            }
            let origin = Origin::Environment(name.clone());
            match KEYS.iter().find(|key| variable(key.name) == *name) {
                Some(key) => self.set(key.name, key.kind.parse_text(text), origin),
                None => {
                    let names: Vec<_> = KEYS.iter().map(|key| variable(key.name)).collect();
                    let near = super::nearest(name, names.iter().map(String::as_str));
                    self.refuse(origin, unknown("key", name, near));
                }
            }
        }
    }

    pub fn flags(&mut self, flags: &[(String, String)]) {
        for (name, text) in flags {
            let origin = Origin::Flag(name.clone());
            match find(name) {
                Some(key) => self.set(key.name, key.kind.parse_text(text), origin),
                None => self.refuse(origin, unknown("key", name, nearest_key(name))),
            }
        }
    }

    fn set(&mut self, key: &'static str, value: Result<Value, String>, origin: Origin) {
        match value {
            Ok(value) => {
                self.settings.insert(key, (value, origin));
            }
            Err(reason) => self.refuse(origin, format!("{key}: {reason}")),
        }
    }

    fn refuse(&mut self, origin: Origin, reason: String) {
        self.problems.push(Problem { origin, reason });
    }
}

fn unknown(what: &str, name: &str, near: Option<&str>) -> String {
    // Shortened: it may be anything.
    let name: String = name.chars().take(80).collect();
    match near {
        Some(near) => format!("unknown {what} {name}; did you mean {near}?"),
        None => format!("unknown {what} {name}; config.example.toml lists them all"),
    }
}

/// The right name in the wrong section, or else the most similar name.
fn nearest_key(name: &str) -> Option<&'static str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let wanted = last(name);
    let mut moved = KEYS.iter().filter(|key| last(key.name) == wanted);
    match (moved.next(), moved.next()) {
        (Some(key), None) => Some(key.name),
        _ => super::nearest(name, KEYS.iter().map(|key| key.name)),
    }
}

/// Line and column of a byte, both from 1, the column in characters.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let mut end = byte.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
