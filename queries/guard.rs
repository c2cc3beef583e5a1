//! What may be asked: a list of what is allowed, everything else is refused.
//!
//! Enters: text. Leaves: one statement that only reads. There are three lines
//! of defence: this list of statements; the plan, in which nothing that defines,
//! writes or sets may stand; and an execution that knows nothing but reading.
//! Files are out of reach because no table, function or URL scheme leads to them.

use std::ops::ControlFlow;

use datafusion::config::Dialect;
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{
    Expr, Query, SetExpr, Statement, TableFactor, Visit, Visitor,
};

use crate::Error;
use crate::limits::{EXPRESSION_DEPTH_MAX, TABLES_MAX, TEXT_BYTES_MAX};

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
        Statement::Query(query) => {
            admit_query(query)?;
            bound(query)
        }
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

/// Refuses what would be planned for minutes: the time is the square of the depth,
/// and planning can't be interrupted.
fn bound(query: &Query) -> Result<(), Error> {
    match query.visit(&mut Size::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(too_deep) => Err(too_deep),
    }
}

/// How large a query is so far.
#[derive(Default)]
struct Size {
    depth: usize,
    tables: usize,
}

impl Visitor for Size {
    type Break = Error;

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<Error> {
        self.depth += 1;
        if self.depth > EXPRESSION_DEPTH_MAX {
            return ControlFlow::Break(Error::TooDeep {
                what: "expressions",
                depth_max: EXPRESSION_DEPTH_MAX,
            });
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<Error> {
        self.tables += 1;
        if self.tables > TABLES_MAX {
            return ControlFlow::Break(Error::TooDeep { what: "tables", depth_max: TABLES_MAX });
        }
        ControlFlow::Continue(())
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
