//! `COPY … TO STDOUT`: an answer as lines, which psql's `\copy` writes to a file of its own.
//!
//! Enters: rows as they would be sent, in text. Leaves: a line each, in
//! PostgreSQL's text format or CSV. Nothing is held. Never here: files of ours.

use bytes::{Buf, Bytes, BytesMut};
use datafusion::sql::sqlparser::ast::{CopyLegacyCsvOption, CopyLegacyOption, CopyOption};
use pgwire::api::results::FieldInfo;
use pgwire::messages::copy::CopyData;
use pgwire::messages::data::DataRow;

use crate::Error;

/// How lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    delimiter: u8,
    null: String,
    has_header: bool,
    // CSV's; None: the text format, which escapes by backslashes.
    quotes: Option<Quotes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quotes {
    quote: u8,
    // Before a quote within a value.
    escape: u8,
}

impl Lines {
    /// The text format.
    pub(super) fn text() -> Self {
        Self { delimiter: b'\t', null: "\\N".into(), has_header: false, quotes: None }
    }

    /// CSV.
    pub(super) fn csv() -> Self {
        let quotes = Some(Quotes { quote: b'"', escape: b'"' });
        Self { delimiter: b',', null: String::new(), has_header: false, quotes }
    }

    /// As the options of either spelling say.
    ///
    /// # Errors
    /// [`Error::Sql`] for an option that isn't known or doesn't fit.
    pub(super) fn of(
        options: &[CopyOption],
        legacy_options: &[CopyLegacyOption],
    ) -> Result<Self, Error> {
        let mut options = options.to_vec();
        for option in legacy_options {
            match option {
                CopyLegacyOption::Csv(csv) => {
                    options.push(CopyOption::Format("csv".into()));
                    options.extend(csv.iter().map(|option| match option {
                        CopyLegacyCsvOption::Header => CopyOption::Header(true),
                        CopyLegacyCsvOption::Quote(quote) => CopyOption::Quote(*quote),
                        CopyLegacyCsvOption::Escape(escape) => CopyOption::Escape(*escape),
                        CopyLegacyCsvOption::ForceQuote(of) => CopyOption::ForceQuote(of.clone()),
                        CopyLegacyCsvOption::ForceNotNull(of) => {
                            CopyOption::ForceNotNull(of.clone())
                        }
                    }));
                }
                CopyLegacyOption::Delimiter(delimiter) => {
                    options.push(CopyOption::Delimiter(*delimiter));
                }
                CopyLegacyOption::Header => options.push(CopyOption::Header(true)),
                CopyLegacyOption::Null(null) => options.push(CopyOption::Null(null.clone())),
                other => return Err(Error::Sql(format!("COPY's option {other} is not supported"))),
            }
        }
        let mut lines = Self::text();
        for option in &options {
            if let CopyOption::Format(format) = option {
                lines = match format.value.to_lowercase().as_str() {
                    "text" => Self::text(),
                    "csv" => Self::csv(),
                    other => {
                        return Err(Error::Sql(format!("COPY writes text or csv, not {other}")));
                    }
                };
            }
        }
        for option in &options {
            lines.apply(option)?;
        }
        Ok(lines)
    }

    fn apply(&mut self, option: &CopyOption) -> Result<(), Error> {
        let byte = |character: &char| match u8::try_from(*character) {
            Ok(byte) if byte.is_ascii() && !b"\r\n\\".contains(&byte) => Ok(byte),
            _ => Err(Error::Sql(format!("{character:?} can't stand between or around values"))),
        };
        match (option, &mut self.quotes) {
            (CopyOption::Format(_), _) => {}
            (CopyOption::Header(has_header), _) => self.has_header = *has_header,
            (CopyOption::Delimiter(delimiter), _) => self.delimiter = byte(delimiter)?,
            (CopyOption::Null(null), _) if !null.contains(['\r', '\n']) => {
                self.null.clone_from(null);
            }
            (CopyOption::Quote(quote), Some(quotes)) => {
                *quotes = Quotes { quote: byte(quote)?, escape: byte(quote)? };
            }
            (CopyOption::Escape(escape), Some(quotes)) => quotes.escape = byte(escape)?,
            (CopyOption::Encoding(encoding), _) if encoding.to_lowercase().starts_with("utf") => {}
            (other, _) => {
                return Err(Error::Sql(format!("COPY's option {other} is not supported")));
            }
        }
        Ok(())
    }

    /// The names of the columns, if they are asked for.
    pub(super) fn header(&self, columns: &[FieldInfo]) -> Option<CopyData> {
        let names = columns.iter().map(|column| Some(column.name().as_bytes()));
        self.has_header.then(|| self.line(names, columns.len() == 1))
    }

    /// One row, its values in text.
    pub(super) fn row(&self, row: &DataRow) -> CopyData {
        let is_single = row.field_count == 1;
        let mut data = row.data.as_ref();
        let values = (0..row.field_count).map_while(|_| {
            // NULL has a length of -1.
            let Ok(length) = usize::try_from(data.try_get_i32().ok()?) else { return Some(None) };
            let (value, rest) = data.split_at_checked(length)?;
            data = rest;
            Some(Some(value))
        });
        self.line(values, is_single)
    }

    fn line<'a>(
        &self,
        values: impl Iterator<Item = Option<&'a [u8]>>,
        is_single: bool,
    ) -> CopyData {
        let mut line = BytesMut::new();
        for (index, value) in values.enumerate() {
            if index > 0 {
                line.extend([self.delimiter]);
            }
            match (value, self.quotes) {
                (None, _) => line.extend(self.null.as_bytes()),
                (Some(value), None) => self.escaped(&mut line, value),
                (Some(value), Some(quotes)) => self.quoted(&mut line, value, quotes, is_single),
            }
        }
        line.extend(b"\n");
        CopyData::new(Bytes::from(line))
    }

    fn escaped(&self, line: &mut BytesMut, value: &[u8]) {
        for &byte in value {
            match byte {
                b'\x08' => line.extend(b"\\b"),
                b'\x0b' => line.extend(b"\\v"),
                b'\x0c' => line.extend(b"\\f"),
                b'\n' => line.extend(b"\\n"),
                b'\r' => line.extend(b"\\r"),
                b'\t' => line.extend(b"\\t"),
                b'\\' => line.extend(b"\\\\"),
                byte if byte == self.delimiter => line.extend([b'\\', byte]),
                byte => line.extend([byte]),
            }
        }
    }

    fn quoted(&self, line: &mut BytesMut, value: &[u8], quotes: Quotes, is_single: bool) {
        let Quotes { quote, escape } = quotes;
        let is_special = |byte: &u8| [self.delimiter, quote, b'\n', b'\r'].contains(byte);
        // What could be taken for NULL, or for the end of all lines.
        let is_ambiguous = value == self.null.as_bytes() || (is_single && value == b"\\.");
        if !is_ambiguous && !value.iter().any(is_special) {
            line.extend(value);
            return;
        }
        line.extend([quote]);
        for &byte in value {
            if byte == quote || byte == escape {
                line.extend([escape]);
            }
            line.extend([byte]);
        }
        line.extend([quote]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(lines: &Lines, values: &[Option<&str>]) -> String {
        let mut data = BytesMut::new();
        for value in values {
            let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
            data.extend(length.to_be_bytes());
            data.extend(value.unwrap_or_default().as_bytes());
        }
        let row = DataRow::new(data, i16::try_from(values.len()).unwrap());
        String::from_utf8(lines.row(&row).data.to_vec()).unwrap()
    }

    #[test]
    fn text_escapes_what_would_end_a_value() {
        let text = Lines::text();
        assert_eq!(line(&text, &[Some("a\tb"), None, Some("")]), "a\\tb\t\\N\t\n");
        assert_eq!(line(&text, &[Some("\\N\n\r")]), "\\\\N\\n\\r\n");
        let bars = Lines::of(&[CopyOption::Delimiter('|')], &[]).unwrap();
        assert_eq!(line(&bars, &[Some("a|b"), Some("c")]), "a\\|b|c\n");
    }

    #[test]
    fn csv_tells_nothing_from_null() {
        let csv = Lines::csv();
        assert_eq!(line(&csv, &[Some(""), None, Some("a")]), "\"\",,a\n");
        assert_eq!(
            line(&csv, &[Some("a,b"), Some("say \"x\""), Some("1\n2")]),
            "\"a,b\",\"say \"\"x\"\"\",\"1\n2\"\n"
        );
        assert_eq!(line(&csv, &[Some("\\.")]), "\"\\.\"\n");
        let other = [CopyOption::Null("NA".into()), CopyOption::Format("csv".into())];
        let other = Lines::of(&other, &[]).unwrap();
        assert_eq!(line(&other, &[None, Some("NA"), Some("")]), "NA,\"NA\",\n");
    }

    #[test]
    fn options_that_do_not_fit_are_refused() {
        for option in [
            CopyOption::Format("binary".into()),
            CopyOption::Quote('\''),
            CopyOption::Delimiter('\n'),
            CopyOption::Delimiter('ä'),
            CopyOption::ForceQuote(vec!["a".into()]),
            CopyOption::Encoding("LATIN1".into()),
        ] {
            assert!(Lines::of(std::slice::from_ref(&option), &[]).is_err(), "{option}");
        }
    }
}
