//! What a statement is: a question, or about the connection rather than the lake.
//!
//! Drivers and tools send SET, SHOW, BEGIN and the like before and between their
//! questions. What stands here decides only who answers; what may be asked is
//! the guard's to say.

use datafusion::sql::sqlparser::ast::{
    CloseCursor, CopySource, CopyTarget, Declare, FetchDirection, Ident, Query, Reset, Set,
    Statement,
};

use super::copy::Lines;
use super::settings::is_setting;
use crate::Error;

/// What a statement is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A question for the session.
    Ask(String),
    /// COPY … TO STDOUT: a question, and how its answer is written.
    Copy(String, Lines),
    /// DECLARE: a cursor's name and question.
    Declare(String, String),
    /// FETCH from the cursor of this name; without a number, all that is left.
    Fetch(String, Option<usize>),
    /// CLOSE; without a name, all cursors.
    Close(Option<String>),
    /// SET; without a value, back to the default.
    Set(String, Option<String>),
    /// RESET ALL and DISCARD ALL.
    Forget(&'static str),
    /// SHOW of a setting of PostgreSQL's.
    Show(String),
    /// BEGIN: every query is a transaction of its own all the same.
    Begin,
    /// COMMIT or ROLLBACK.
    End(&'static str),
    /// SAVEPOINT and RELEASE, of which nothing depends.
    Mark(&'static str),
    /// ROLLBACK TO a savepoint: what failed is forgotten.
    Return,
    /// DEALLOCATE; without a name, all.
    Deallocate(Option<String>),
}

impl Act {
    /// What this statement is.
    ///
    /// # Errors
    /// [`Error::Sql`] if it asks for something that isn't there.
    pub(super) fn of(statement: &Statement) -> Result<Self, Error> {
        Ok(match statement {
            Statement::Set(set) => Self::of_set(set),
            Statement::Reset(reset) => match &reset.reset {
                Reset::ALL => Self::Forget("RESET"),
                Reset::ConfigurationParameter(name) => Self::Set(lower(name), None),
            },
            Statement::Discard { .. } => Self::Forget("DISCARD ALL"),
            // Nobody is ever notified.
            Statement::UNLISTEN { .. } => Self::Mark("UNLISTEN"),
            Statement::StartTransaction { .. } => Self::Begin,
            Statement::Commit { .. } => Self::End("COMMIT"),
            Statement::Rollback { savepoint: None, .. } => Self::End("ROLLBACK"),
            Statement::Rollback { .. } => Self::Return,
            Statement::Savepoint { .. } => Self::Mark("SAVEPOINT"),
            Statement::ReleaseSavepoint { .. } => Self::Mark("RELEASE"),
            Statement::Deallocate { name, .. } => {
                let is_all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
                Self::Deallocate((!is_all).then(|| name.value.clone()))
            }
            Statement::Copy {
                source,
                to: true,
                target: CopyTarget::Stdout,
                options,
                legacy_options,
                ..
            } => Self::Copy(copied(source), Lines::of(options, legacy_options)?),
            // DataFusion's own COPY writes files; it doesn't know most others.
            Statement::Copy { .. } => return Err(Error::Refused("COPY".into())),
            Statement::Declare { stmts } => Self::of_declare(stmts, statement)?,
            Statement::Fetch { name, direction, into: None, .. } => {
                Self::Fetch(folded(name), fetched(direction)?)
            }
            Statement::Close { cursor } => Self::Close(match cursor {
                CloseCursor::All => None,
                CloseCursor::Specific { name } => Some(folded(name)),
            }),
            Statement::ShowVariable { variable } => {
                let words: Vec<_> = variable.iter().map(|word| word.value.to_lowercase()).collect();
                let name = match words.join(" ").as_str() {
                    "time zone" => "timezone".into(),
                    "transaction isolation level" => "transaction_isolation".into(),
                    other => other.to_owned(),
                };
                // Others are the engine's, which only reads them here.
                if is_setting(&name) {
                    return Ok(Self::Show(name));
                }
                let path: Vec<_> = variable.iter().map(Ident::to_string).collect();
                Self::Ask(format!("SHOW {}", path.join(".")))
            }
            other => Self::Ask(other.to_string()),
        })
    }

    /// The question in it, which is planned before anything else.
    pub(super) fn question(&self) -> Option<&str> {
        match self {
            Self::Ask(question) | Self::Copy(question, _) | Self::Declare(_, question) => {
                Some(question)
            }
            _ => None,
        }
    }

    fn of_set(set: &Set) -> Self {
        match set {
            Set::SingleAssignment { variable, values, .. } => {
                let values: Vec<_> = values.iter().map(|value| plain(&value.to_string())).collect();
                let value = values.join(", ");
                let is_default = value.eq_ignore_ascii_case("default");
                Self::Set(lower(variable), (!is_default).then_some(value))
            }
            Set::SetTimeZone { value, .. } => {
                Self::Set("timezone".into(), Some(plain(&value.to_string())))
            }
            Set::SetNames { charset_name, .. } => {
                Self::Set("client_encoding".into(), Some(charset_name.value.clone()))
            }
            Set::SetTransaction { .. } => Self::Set("transaction".into(), None),
            other => Self::Ask(other.to_string()),
        }
    }

    fn of_declare(cursors: &[Declare], statement: &Statement) -> Result<Self, Error> {
        // Other databases declare variables so.
        let [Declare { names, for_query: Some(question), scroll, hold, binary, .. }] = cursors
        else {
            return Ok(Self::Ask(statement.to_string()));
        };
        let [name] = names.as_slice() else { return Ok(Self::Ask(statement.to_string())) };
        for (asked, what) in [(scroll, "SCROLL"), (hold, "WITH HOLD"), (binary, "BINARY")] {
            if *asked == Some(true) {
                return Err(Error::Sql(format!("cursors {what} are not supported")));
            }
        }
        Ok(Self::Declare(folded(name), question.to_string()))
    }
}

fn copied(source: &CopySource) -> String {
    match source {
        CopySource::Query(query) => Query::to_string(query),
        CopySource::Table { table_name, columns } if columns.is_empty() => {
            format!("SELECT * FROM {table_name}")
        }
        CopySource::Table { table_name, columns } => {
            let columns: Vec<_> = columns.iter().map(Ident::to_string).collect();
            format!("SELECT {} FROM {table_name}", columns.join(", "))
        }
    }
}

/// How many rows; None: all.
fn fetched(direction: &FetchDirection) -> Result<Option<usize>, Error> {
    let limit = match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => return Ok(Some(1)),
        FetchDirection::All | FetchDirection::ForwardAll => return Ok(None),
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => limit,
        _ => return Err(Error::Sql("cursors go forward only".into())),
    };
    let limit = limit.to_string();
    limit.parse().map(Some).map_err(|_| Error::Sql(format!("{limit} is no number of rows")))
}

/// A name as PostgreSQL knows it: in lower case unless it is quoted.
fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

fn lower(name: &impl ToString) -> String {
    name.to_string().to_lowercase()
}

/// A value without its quotes.
fn plain(value: &str) -> String {
    value.trim_matches(|quote| quote == '\'' || quote == '"').to_owned()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn act(sql: &str) -> Result<Act, Error> {
        let parsed = Parser::parse_sql(&PostgreSqlDialect {}, sql);
        Act::of(&parsed.map_err(|error| Error::Sql(error.to_string()))?[0])
    }

    #[test]
    fn statements_are_told_apart() {
        let set = |name: &str, value: Option<&str>| Act::Set(name.into(), value.map(Into::into));
        let ask = |sql: &str| Act::Ask(sql.into());
        for (sql, expected) in [
            ("SET DateStyle = 'ISO, MDY'", set("datestyle", Some("ISO, MDY"))),
            ("SET extra_float_digits TO 3", set("extra_float_digits", Some("3"))),
            ("SET SESSION application_name = DEFAULT", set("application_name", None)),
            ("SET TIME ZONE 'Europe/Berlin'", set("timezone", Some("Europe/Berlin"))),
            (
                "SET datafusion.execution.batch_size = 1",
                set("datafusion.execution.batch_size", Some("1")),
            ),
            ("RESET ALL", Act::Forget("RESET")),
            ("DISCARD ALL", Act::Forget("DISCARD ALL")),
            ("SHOW server_version", Act::Show("server_version".into())),
            ("SHOW TIME ZONE", Act::Show("timezone".into())),
            ("BEGIN", Act::Begin),
            ("START TRANSACTION READ ONLY", Act::Begin),
            ("COMMIT", Act::End("COMMIT")),
            ("SAVEPOINT a", Act::Mark("SAVEPOINT")),
            ("RELEASE SAVEPOINT a", Act::Mark("RELEASE")),
            ("ROLLBACK TO SAVEPOINT a", Act::Return),
            ("DEALLOCATE _pg3_0", Act::Deallocate(Some("_pg3_0".into()))),
            ("DEALLOCATE ALL", Act::Deallocate(None)),
            ("DECLARE c CURSOR FOR SELECT 1", Act::Declare("c".into(), "SELECT 1".into())),
            ("FETCH FORWARD 10 FROM C", Act::Fetch("c".into(), Some(10))),
            ("FETCH NEXT FROM c", Act::Fetch("c".into(), Some(1))),
            ("FETCH FORWARD ALL FROM \"C\"", Act::Fetch("C".into(), None)),
            ("CLOSE c", Act::Close(Some("c".into()))),
            ("CLOSE ALL", Act::Close(None)),
            ("COPY (SELECT 1) TO STDOUT", Act::Copy("SELECT 1".into(), Lines::text())),
            ("COPY t (a, b) TO STDOUT", Act::Copy("SELECT a, b FROM t".into(), Lines::text())),
            ("COPY t TO STDOUT CSV", Act::Copy("SELECT * FROM t".into(), Lines::csv())),
            ("SELECT 1", ask("SELECT 1")),
            ("SHOW datafusion.execution.batch_size", ask("SHOW datafusion.execution.batch_size")),
        ] {
            assert_eq!(act(sql).unwrap(), expected, "{sql}");
        }
    }

    #[test]
    fn nothing_is_copied_but_to_the_client() {
        for sql in [
            "COPY t FROM STDIN",
            "COPY t (a) FROM '/tmp/x'",
            "COPY t FROM PROGRAM 'x'",
            "COPY t TO '/tmp/x'",
            "COPY (SELECT 1) TO PROGRAM 'x'",
        ] {
            assert!(matches!(act(sql), Err(Error::Refused(_))), "{sql}: {:?}", act(sql));
        }
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for sql in [
            "DECLARE c SCROLL CURSOR FOR SELECT 1",
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "FETCH BACKWARD 1 FROM c",
            "FETCH ABSOLUTE 1 FROM c",
            "FETCH -1 FROM c",
            "COPY t TO STDOUT BINARY",
        ] {
            assert!(matches!(act(sql), Err(Error::Sql(_))), "{sql}: {:?}", act(sql));
        }
    }
}
