//! Attribute lists (bis 4.2).

use super::ByteRange;

/// A tag's attributes in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(String, Value)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Quoted(String),
    Plain(String),
}

impl Attributes {
    /// Parses `NAME=value,NAME="value"`.
    ///
    /// # Errors
    /// Says which attribute is malformed or appears twice.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut list = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (name, after) =
                rest.split_once('=').ok_or_else(|| format!("{rest:?} is no attribute"))?;
            let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(format!("{name:?} is no attribute name"));
            }
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => {
                    let (value, after) = quoted
                        .split_once('"')
                        .ok_or_else(|| format!("{name} has no closing quote"))?;
                    (Value::Quoted(value.to_owned()), after)
                }
                None => {
                    let (value, after) = after.split_at(after.find(',').unwrap_or(after.len()));
                    if value.is_empty() || value.contains([' ', '"']) {
                        return Err(format!("{name} has a malformed value"));
                    }
                    (Value::Plain(value.to_owned()), after)
                }
            };
            if list.iter().any(|(known, _)| known == name) {
                return Err(format!("{name} appears twice"));
            }
            list.push((name.to_owned(), value));
            rest = match after.strip_prefix(',') {
                Some("") => return Err("it ends with a comma".into()),
                Some(next) => next,
                None if after.is_empty() => "",
                None => return Err(format!("no comma after {name}")),
            };
        }
        Ok(Self(list))
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Names in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// A quoted string.
    ///
    /// # Errors
    /// It isn't quoted.
    pub fn quoted(&self, name: &str) -> Result<Option<&str>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Quoted(value)) => Ok(Some(value)),
            Some(Value::Plain(_)) => Err(format!("{name} must be quoted")),
        }
    }

    /// A quoted string that must be there.
    ///
    /// # Errors
    /// It is missing or isn't quoted.
    pub fn required(&self, name: &str) -> Result<&str, String> {
        self.quoted(name)?.ok_or_else(|| format!("{name} is missing"))
    }

    /// An enumerated string or another unquoted value.
    ///
    /// # Errors
    /// It is quoted.
    pub fn plain(&self, name: &str) -> Result<Option<&str>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Plain(value)) => Ok(Some(value)),
            Some(Value::Quoted(_)) => Err(format!("{name} must not be quoted")),
        }
    }

    /// Quoted or not: for the few attributes that may be either.
    #[must_use]
    pub fn either(&self, name: &str) -> Option<&str> {
        self.get(name).map(|value| match value {
            Value::Quoted(text) | Value::Plain(text) => text.as_str(),
        })
    }

    /// YES or NO; NO if it isn't there.
    ///
    /// # Errors
    /// It is anything else.
    pub fn yes(&self, name: &str) -> Result<bool, String> {
        match self.plain(name)? {
            None | Some("NO") => Ok(false),
            Some("YES") => Ok(true),
            Some(other) => Err(format!("{name} is {other}, neither YES nor NO")),
        }
    }

    /// A decimal integer.
    ///
    /// # Errors
    /// It isn't one.
    pub fn integer(&self, name: &str) -> Result<Option<u64>, String> {
        self.plain(name)?.map(|text| integer(text).map_err(|e| format!("{name}: {e}"))).transpose()
    }

    /// A decimal number of seconds or the like.
    ///
    /// # Errors
    /// It isn't one.
    pub fn decimal(&self, name: &str) -> Result<Option<f64>, String> {
        self.plain(name)?.map(|text| decimal(text).map_err(|e| format!("{name}: {e}"))).transpose()
    }

    /// `WIDTHxHEIGHT`.
    ///
    /// # Errors
    /// It isn't one.
    pub fn resolution(&self, name: &str) -> Result<Option<(u64, u64)>, String> {
        let Some(text) = self.plain(name)? else {
            return Ok(None);
        };
        let (width, height) =
            text.split_once('x').ok_or_else(|| format!("{name} is no resolution"))?;
        Ok(Some((integer(width)?, integer(height)?)))
    }

    /// A quoted byte range.
    ///
    /// # Errors
    /// It isn't one.
    pub fn byte_range(&self, name: &str) -> Result<Option<ByteRange>, String> {
        self.quoted(name)?.map(byte_range).transpose()
    }
}

/// `0..=2^64-1` in decimal digits, nothing else.
pub(super) fn integer(text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{text:?} is no decimal integer"));
    }
    text.parse().map_err(|_| format!("{text} is too large"))
}

/// Digits with at most one point; no sign, no exponent (bis 4.2).
pub(super) fn decimal(text: &str) -> Result<f64, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(format!("{text:?} is no decimal number"));
    }
    text.parse().map_err(|_| format!("{text:?} is no decimal number"))
}

/// `n[@o]`.
pub(super) fn byte_range(text: &str) -> Result<ByteRange, String> {
    match text.split_once('@') {
        Some((length, offset)) => {
            Ok(ByteRange { length: integer(length)?, offset: Some(integer(offset)?) })
        }
        None => Ok(ByteRange { length: integer(text)?, offset: None }),
    }
}
