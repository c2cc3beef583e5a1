//! What may be asked: a list of what is allowed, everything else is refused.
//!
//! Enters: text. Leaves: one statement that only reads. There are three lines
//! of defence: this list of statements; the plan, in which nothing that defines,
//! writes or sets may stand; and an execution that knows nothing but reading.
//! Files are out of reach because no table, function or URL scheme leads to them.

use datafusion::config::Dialect;
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement};

use crate::Error;
use crate::limits::TEXT_BYTES_MAX;

/// Plans the one statement in `text` if it only reads.
///
/// # Errors
/// [`Error::Refused`], [`Error::TooLong`], [`Error::Sql`]; [`Error::Lake`] if a
/// table that it names can't be read.
pub(crate) async fn plan(state: &SessionState, text: &str) -> Result<LogicalPlan, Error> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::TooLong { bytes: text.len(), bytes_max: TEXT_BYTES_MAX });
    }
    let statement = state.sql_to_statement(text, &Dialect::PostgreSQL)?;
    admit(&statement)?;
    let plan = state.statement_to_plan(statement).await?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(|error| Error::Refused(error.strip_backtrace()))?;
    Ok(plan)
}

fn admit(statement: &Parsed) -> Result<(), Error> {
    match statement {
        Parsed::Statement(statement) => admit_sql(statement),
        Parsed::Explain(explain) => admit(&explain.statement),
        Parsed::CreateExternalTable(_) => refuse("CREATE EXTERNAL TABLE"),
        Parsed::CopyTo(_) => refuse("COPY"),
        Parsed::Reset(_) => refuse("RESET"),
    }
}

fn admit_sql(statement: &Statement) -> Result<(), Error> {
    match statement {
        Statement::Query(query) => admit_query(query),
        Statement::Explain { statement, .. } => admit_sql(statement),
        Statement::ExplainTable { .. }
        | Statement::ShowVariable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowFunctions { .. } => Ok(()),
        other => refuse(&first_words(&other.to_string())),
    }
}

/// A query can hold a statement that writes, as its body or below a WITH.
fn admit_query(query: &Query) -> Result<(), Error> {
    if let Some(with) = &query.with {
        for table in &with.cte_tables {
            admit_query(&table.query)?;
        }
    }
    admit_body(&query.body)
}

fn admit_body(body: &SetExpr) -> Result<(), Error> {
    match body {
        SetExpr::Select(select) if select.into.is_some() => refuse("SELECT INTO"),
        SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Table(_) => Ok(()),
        SetExpr::Query(query) => admit_query(query),
        SetExpr::SetOperation { left, right, .. } => {
            admit_body(left)?;
            admit_body(right)
        }
        SetExpr::Insert(statement)
        | SetExpr::Update(statement)
        | SetExpr::Delete(statement)
        | SetExpr::Merge(statement) => refuse(&first_words(&statement.to_string())),
    }
}

fn refuse<T>(what: &str) -> Result<T, Error> {
    Err(Error::Refused(what.to_owned()))
}

/// Enough of a statement to recognise it, without what it holds.
fn first_words(statement: &str) -> String {
    let is_keyword =
        |word: &&str| word.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
    let words: Vec<&str> = statement.split_whitespace().take_while(is_keyword).take(3).collect();
    if words.is_empty() { "this statement".into() } else { words.join(" ") }
}
