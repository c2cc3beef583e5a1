//! The settings of one connection: what SET changes and SHOW tells.
//!
//! Those that matter to how rows are written, or how long one waits, have an
//! effect on this connection alone; others of PostgreSQL's are accepted without
//! one. None reaches the engine's own.

use std::time::Duration;

use pgwire::api::ClientInfo;
use pgwire::error::PgWireResult;

use super::failure::{failure, refused};
use crate::Error;

/// What PostgreSQL we are said to be: clients choose their queries by it.
pub(super) const SERVER_VERSION: &str =
    concat!("16.6 (Millstream ", env!("CARGO_PKG_VERSION"), ")");

/// A setting as it is told to clients, and its default. Those with a name in
/// the third place are told again when they change.
const SETTINGS: &[(&str, &str, Option<&str>)] = &[
    ("application_name", "", Some("application_name")),
    ("bytea_output", "hex", None),
    ("client_encoding", "UTF8", None),
    ("datestyle", "ISO, YMD", Some("DateStyle")),
    ("default_transaction_read_only", "on", None),
    ("extra_float_digits", "1", None),
    ("integer_datetimes", "on", None),
    ("intervalstyle", "postgres", Some("IntervalStyle")),
    ("is_superuser", "off", None),
    ("max_identifier_length", "63", None),
    ("search_path", "public", None),
    ("server_encoding", "UTF8", None),
    ("server_version", SERVER_VERSION, None),
    ("server_version_num", "160006", None),
    ("standard_conforming_strings", "on", None),
    ("statement_timeout", "0", None),
    ("timezone", "UTC", None),
    ("transaction_isolation", "repeatable read", None),
    ("transaction_read_only", "on", None),
];

/// Those that a client may change with an effect.
const CHANGEABLE: &[&str] = &[
    "application_name",
    "bytea_output",
    "datestyle",
    "extra_float_digits",
    "intervalstyle",
    "statement_timeout",
];

fn shown(name: &str) -> Option<&'static (&'static str, &'static str, Option<&'static str>)> {
    SETTINGS.iter().find(|(known, ..)| *known == name)
}

/// Whether PostgreSQL's clients may ask for the setting of this name.
pub(super) fn is_setting(name: &str) -> bool {
    shown(name).is_some()
}

/// The value of a setting for this client.
pub(super) fn show<C: ClientInfo>(client: &C, name: &str) -> String {
    let changed = CHANGEABLE.contains(&name).then(|| client.metadata().get(name)).flatten();
    let default = || shown(name).map_or_else(String::new, |(_, value, _)| (*value).to_owned());
    changed.cloned().unwrap_or_else(default)
}

/// Changes a setting of this client. Gives what is to be told about it: its name and value.
///
/// # Errors
/// A setting of the engine's, or a value that would make answers other than they look.
pub(super) fn set<C: ClientInfo>(
    client: &mut C,
    name: &str,
    value: Option<&str>,
) -> PgWireResult<Option<(&'static str, String)>> {
    // PostgreSQL's own names have no dots.
    if name.contains('.') {
        return Err(failure(&Error::Refused(format!("SET {name}"))));
    }
    match (name, value) {
        ("timezone", Some(zone)) if !is_utc(zone) => {
            return Err(refused("0A000", "times are in UTC; convert them by AT TIME ZONE"));
        }
        ("client_encoding", Some(encoding))
            if !["utf8", "utf-8", "unicode"].contains(&encoding.to_lowercase().as_str()) =>
        {
            return Err(refused("0A000", "texts are in UTF8 only"));
        }
        ("statement_timeout", Some(limit)) if duration(limit).is_none() => {
            return Err(refused("22023", format!("{limit:?} is no duration, such as 5000 or 5s")));
        }
        _ => {}
    }
    if !CHANGEABLE.contains(&name) {
        return Ok(None);
    }
    match value {
        Some(value) => client.metadata_mut().insert(name.to_owned(), value.to_owned()),
        None => client.metadata_mut().remove(name),
    };
    let told = shown(name).and_then(|(.., told)| *told);
    Ok(told.map(|told| (told, show(client, name))))
}

/// Every setting at its default.
pub(super) fn reset<C: ClientInfo>(client: &mut C) {
    for name in CHANGEABLE {
        client.metadata_mut().remove(*name);
    }
}

fn is_utc(zone: &str) -> bool {
    ["utc", "etc/utc", "gmt", "etc/gmt", "zulu", "z", "0", "+00", "+00:00"]
        .contains(&zone.to_lowercase().as_str())
}

/// How long this client wants to wait for an answer at most; it never waits
/// longer than the session allows.
pub(super) fn timeout<C: ClientInfo>(client: &C) -> Option<Duration> {
    let limit = client.metadata().get("statement_timeout")?;
    duration(limit).filter(|limit| !limit.is_zero())
}

/// PostgreSQL's durations: milliseconds unless there is a unit.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let ms = match text[digits..].trim() {
        "" | "ms" => number,
        "s" => number.checked_mul(1000)?,
        "min" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1500"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(duration("2 min"), Some(Duration::from_secs(120)));
        assert_eq!(duration("soon"), None);
    }
}
