//! The kinds of values, their text forms and their bounds.
//!
//! A value has one meaning and two spellings: TOML in the file, plain text in
//! the environment and on the command line.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use records::Rung;
use toml_edit::{Item, TableLike};

/// What values a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// Any text; may be empty.
    Text,
    /// Text that is never printed.
    Secret,
    /// `address:port`.
    Address,
    /// `address:port`, or empty for none.
    OptionalAddress,
    /// An absolute URL of one of these schemes, or empty for none.
    OptionalUrl(&'static [&'static str]),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number.
    Integer(u64, u64),
    /// A number.
    Number(f64, f64),
    /// A whole number with a unit: `ms`, `s`, `m`, `h`, `d`.
    Duration(Duration, Duration),
    /// A whole number with a unit: `B`, `KiB`, `MiB`, `GiB`.
    Size(u64, u64),
    /// Heights and bitrates.
    Ladder,
    /// Names and texts, which are never printed: some are passwords.
    Properties,
}

/// A value within its kind's bounds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of all kinds of text.
    Text(String),
    /// Of both kinds of addresses.
    Address(Option<SocketAddr>),
    /// Of [`Kind::Integer`] and [`Kind::Size`].
    Integer(u64),
    /// Of [`Kind::Number`].
    Number(f64),
    /// Of [`Kind::Duration`].
    Duration(Duration),
    /// Of [`Kind::Ladder`].
    Ladder(Vec<Rung>),
    /// Of [`Kind::Properties`].
    Properties(BTreeMap<String, String>),
}

const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Milliseconds of a duration in the largest unit that shows it exactly.
pub fn show_duration(duration: Duration) -> String {
    show_unit(duration.as_millis() as u64, &DURATIONS)
}

/// A size in the largest unit that shows it exactly.
pub fn show_size(bytes: u64) -> String {
    show_unit(bytes, &SIZES)
}

fn show_unit(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| amount != 0 && amount.is_multiple_of(*factor);
    match units.iter().rev().find(fits) {
        Some((unit, factor)) => format!("{}{unit}", amount / factor),
        None => format!("0{}", units[1].0),
    }
}

fn parse_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (amount, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    amount.parse::<u64>().ok()?.checked_mul(*factor)
}

impl fmt::Display for Kind {
    /// The values it takes, as a noun: "an address such as 0.0.0.0:8080".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Text | Self::Secret => f.write_str("a text"),
            Self::Address => f.write_str("an address and port such as 0.0.0.0:8080"),
            Self::OptionalAddress => {
                f.write_str("an address and port such as 0.0.0.0:8443, or empty for none")
            }
            Self::OptionalUrl(schemes) => {
                write!(f, "a URL such as {}://live.example.org, or empty", schemes[0])
            }
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Self::Integer(min, max) => write!(f, "a whole number from {min} to {max}"),
            Self::Number(min, max) => write!(f, "a number from {min} to {max}"),
            Self::Duration(min, max) => write!(
                f,
                "a duration with its unit (ms, s, m, h, d) from {} to {}",
                show_duration(*min),
                show_duration(*max)
            ),
            Self::Size(min, max) => write!(
                f,
                "a size with its unit (B, KiB, MiB, GiB) from {} to {}",
                show_size(*min),
                show_size(*max)
            ),
            Self::Ladder => f.write_str("a list of heights and bitrates"),
            Self::Properties => f.write_str("a table of names and texts"),
        }
    }
}

impl Kind {
    /// Reads the plain form, of the environment and the command line.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn parse_text(self, text: &str) -> Result<Value, String> {
        let refuse = || self.refuse(&format!("{text:?}"));
        match self {
            Self::Bool => text.parse().map(Value::Bool).map_err(|_| refuse()),
            Self::Integer(..) => self.integer(text.parse().map_err(|_| refuse())?, text),
            Self::Number(..) => self.number(text.parse().map_err(|_| refuse())?),
            Self::Ladder => {
                let rungs = text.split(',').filter(|rung| !rung.trim().is_empty());
                let rungs = rungs.map(|rung| {
                    let (height, bitrate) = rung.trim().split_once(':')?;
                    Some((height.parse().ok()?, bitrate.parse().ok()?))
                });
                let wrong = format!(
                    "{text:?} is not a ladder: write height:kbit/s, separated by commas, \
                     such as 720:3000,480:1400"
                );
                ladder(&rungs.collect::<Option<Vec<_>>>().ok_or(wrong)?)
            }
            Self::Properties => {
                let pairs = text.split(';').filter(|pair| !pair.trim().is_empty());
                let pairs = pairs.map(|pair| {
                    let (name, value) = pair.split_once('=')?;
                    Some((name.trim().to_owned(), value.to_owned()))
                });
                pairs.collect::<Option<_>>().map(Value::Properties).ok_or_else(refuse)
            }
            _ => self.textual(text),
        }
    }

    /// Reads the file's form.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn parse_toml(self, item: &Item) -> Result<Value, String> {
        let refuse = || self.refuse(&shown(item));
        match self {
            Self::Bool => item.as_bool().map(Value::Bool).ok_or_else(refuse),
            Self::Integer(..) => {
                let number = item.as_integer().and_then(|n| u64::try_from(n).ok());
                self.integer(number.ok_or_else(refuse)?, &shown(item))
            }
            Self::Number(..) => {
                let number = item.as_float().or(item.as_integer().map(|n| n as f64));
                self.number(number.ok_or_else(refuse)?)
            }
            Self::Ladder => {
                let tables: Option<Vec<&dyn TableLike>> = match item {
                    Item::ArrayOfTables(tables) => {
                        Some(tables.iter().map(|table| table as &dyn TableLike).collect())
                    }
                    Item::Value(toml_edit::Value::Array(array)) => {
                        let tables = array.iter().map(|value| {
                            value.as_inline_table().map(|table| table as &dyn TableLike)
                        });
                        tables.collect()
                    }
                    _ => None,
                };
                let rungs = tables.ok_or_else(refuse)?.into_iter().map(|table| {
                    let field = |name| table.get(name).and_then(Item::as_integer);
                    match (field("height"), field("bitrate_kbps"), table.len()) {
                        (Some(height), Some(bitrate_kbps), 2) => Ok((height, bitrate_kbps)),
                        _ => Err("each rung is { height = 720, bitrate_kbps = 3000 }".to_owned()),
                    }
                });
                ladder(&rungs.collect::<Result<Vec<_>, _>>()?)
            }
            Self::Properties => {
                let mut out = BTreeMap::new();
                let table = item.as_table_like().ok_or_else(refuse)?;
                properties("", table, &mut out).ok_or_else(refuse)?;
                Ok(Value::Properties(out))
            }
            _ => self.textual(item.as_str().ok_or_else(refuse)?),
        }
    }

    fn textual(self, text: &str) -> Result<Value, String> {
        let refuse = || self.refuse(&format!("{text:?}"));
        match self {
            Self::Text | Self::Secret => Ok(Value::Text(text.into())),
            Self::OptionalAddress if text.is_empty() => Ok(Value::Address(None)),
            Self::Address | Self::OptionalAddress => {
                text.parse().map(|address| Value::Address(Some(address))).map_err(|_| refuse())
            }
            Self::OptionalUrl(_) if text.is_empty() => Ok(Value::Text(String::new())),
            Self::OptionalUrl(schemes) => {
                let uri = text.parse::<http::Uri>().map_err(|_| refuse())?;
                let fine = uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme))
                    && uri.host().is_some_and(|host| !host.is_empty())
                    && uri.query().is_none();
                let wrong = refuse();
                fine.then(|| Value::Text(text.trim_end_matches('/').into())).ok_or(wrong)
            }
            Self::Choice(words) => match words.contains(&text) {
                true => Ok(Value::Text(text.into())),
                false => Err(match super::nearest(text, words.iter().copied()) {
                    Some(near) => format!("{}; did you mean {near}?", refuse()),
                    None => refuse(),
                }),
            },
            Self::Duration(min, max) => {
                let parsed = parse_unit(text, &DURATIONS).map(Duration::from_millis);
                let inside = parsed.filter(|duration| (min..=max).contains(duration));
                inside.map(Value::Duration).ok_or_else(refuse)
            }
            Self::Size(min, max) => {
                let parsed = parse_unit(text, &SIZES);
                let inside = parsed.filter(|size| (min..=max).contains(size));
                inside.map(Value::Integer).ok_or_else(refuse)
            }
            Self::Bool | Self::Integer(..) | Self::Number(..) | Self::Ladder | Self::Properties => {
                Err(refuse())
            }
        }
    }

    fn integer(self, number: u64, text: &str) -> Result<Value, String> {
        match self {
            Self::Integer(min, max) if (min..=max).contains(&number) => Ok(Value::Integer(number)),
            _ => Err(self.refuse(text)),
        }
    }

    fn number(self, number: f64) -> Result<Value, String> {
        match self {
            Self::Number(min, max) if (min..=max).contains(&number) => Ok(Value::Number(number)),
            _ => Err(self.refuse(&number.to_string())),
        }
    }

    fn refuse(self, shown: &str) -> String {
        match self {
            // What was meant to be a secret is not repeated even where it is wrong.
            Self::Secret | Self::Properties => format!("must be {self}"),
            _ => format!("{shown} is not {self}"),
        }
    }
}

fn shown(item: &Item) -> String {
    match item {
        Item::Value(value) => value.clone().decorated("", "").to_string(),
        other => format!("a {}", other.type_name()),
    }
}

/// A dotted name is a table inside a table in TOML; here it is a name again.
fn properties(
    prefix: &str,
    table: &dyn TableLike,
    out: &mut BTreeMap<String, String>,
) -> Option<()> {
    for (name, item) in table.iter() {
        let name = format!("{prefix}{name}");
        if let Some(inner) = item.as_table_like() {
            properties(&format!("{name}."), inner, out)?;
            continue;
        }
        let text = item.as_str().map(str::to_owned);
        let number = || item.as_integer().map(|number| number.to_string());
        let value = text.or_else(number).or_else(|| item.as_bool().map(|on| on.to_string()))?;
        out.insert(name, value);
    }
    Some(())
}

fn ladder(rungs: &[(i64, i64)]) -> Result<Value, String> {
    let mut out: Vec<Rung> = Vec::with_capacity(rungs.len());
    if rungs.len() > 8 {
        return Err(format!("{} rungs are more than the limit of 8", rungs.len()));
    }
    for (height, bitrate_kbps) in rungs {
        let rung = match (u16::try_from(*height), u32::try_from(*bitrate_kbps)) {
            (Ok(height @ 64..=4320), Ok(bitrate_kbps @ 32..=200_000)) if height % 2 == 0 => {
                Rung { height, bitrate_kbps }
            }
            (Ok(64..=4320), Ok(32..=200_000)) => {
                return Err(format!("height {height} is odd, which no encoder takes"));
            }
            (Ok(64..=4320), _) => {
                return Err(format!("bitrate_kbps {bitrate_kbps} is not from 32 to 200000"));
            }
            _ => return Err(format!("height {height} is not from 64 to 4320")),
        };
        if out.iter().any(|other| other.height == rung.height) {
            return Err(format!("height {height} occurs twice: a rung is named by its height"));
        }
        out.push(rung);
    }
    out.sort_by_key(|rung| std::cmp::Reverse(rung.height));
    if let Some([high, low]) =
        out.array_windows().find(|[high, low]| low.bitrate_kbps > high.bitrate_kbps)
    {
        return Err(format!(
            "{} kbit/s for height {} is more than {} kbit/s for height {}: players choose by bitrate",
            low.bitrate_kbps, low.height, high.bitrate_kbps, high.height
        ));
    }
    Ok(Value::Ladder(out))
}
