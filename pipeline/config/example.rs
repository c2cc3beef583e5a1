//! The table of keys as a TOML file that is its own manual.

use super::read::variable;
use super::table::{KEYS, SECTIONS};

const HEAD: &str = "\
# Millstream's configuration: every key with its default.
#
# Nothing here needs to be set. Keep a file with only what you change, check it
# with `millstream config check FILE`, and start with `millstream serve --config
# FILE`. An environment variable wins over the file and a flag over both; the
# variable of `name` in `[section]` is MILLSTREAM_SECTION_NAME.
";

const WIDTH: usize = 80;

/// The whole file, as `config.example.toml` holds it.
#[must_use]
pub fn example() -> String {
    let mut out = String::from(HEAD);
    for (section, about) in SECTIONS {
        out.push_str(&format!("\n# {about}\n[{section}]\n"));
        let inside = format!("{section}.");
        for key in KEYS {
            let Some(name) = key.name.strip_prefix(&inside).filter(|name| !name.contains('.'))
            else {
                continue;
            };
            out.push('\n');
            comment(&mut out, key.doc);
            comment(
                &mut out,
                &format!("{}. {}", capital(&key.kind.to_string()), variable(key.name)),
            );
            out.push_str(&format!("{name} = {}\n", key.default));
        }
    }
    out
}

fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
