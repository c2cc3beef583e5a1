//! Spellings of PostgreSQL's that DataFusion doesn't know, in words that it does.
//!
//! Enters: a parsed statement. Leaves: one that means the same. Held: nothing. Never
//! here: refusing; what can't be respelled stays, and planning says what is wrong.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query,
    SelectItem, SetExpr, Statement, Value, ValueWithSpan, VisitMut, VisitorMut, visit_expressions,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// A list of texts that isn't there.
const NO_TEXTS: &str = "CAST(NULL AS TEXT[])";

/// Functions whose first argument is a list.
const LIST_FIRST: [&str; 2] = ["array_contains", "array_has"];

/// Writes a statement's expressions so that they can be planned.
pub(super) fn respell(statement: &mut Statement) {
    let _ = statement.visit(&mut Respeller);
}

/// Gives a column that is asked for once more a name of its own, which
/// DataFusion wants and PostgreSQL doesn't.
fn tell_apart(columns: &mut [SelectItem]) {
    let mut times: HashMap<String, usize> = HashMap::new();
    for column in columns {
        let SelectItem::UnnamedExpr(expr) = column else { continue };
        // A cast has the name of what is cast.
        let mut named = &*expr;
        while let Expr::Cast { expr, .. } = named {
            named = expr;
        }
        let text = named.to_string();
        let seen = times.entry(text.clone()).or_default();
        *seen += 1;
        if *seen > 1 {
            let alias = Ident::with_quote('"', format!("{text}_{seen}"));
            *column = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

struct Respeller;

impl VisitorMut for Respeller {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = &mut *query.body {
            tell_apart(&mut select.projection);
        }
        ControlFlow::Continue(())
    }

    // Before what is in it, which may be left out.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(respelled) = respelled(expr) {
            *expr = respelled;
        }
        ControlFlow::Continue(())
    }
}

fn respelled(expr: &Expr) -> Option<Expr> {
    let parsed = |text: &str| {
        let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text);
        parser.and_then(|mut parser| parser.parse_expr()).ok()
    };
    match expr {
        // psql's `\d+` lists the options of a table; none has any here.
        Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right }
            if array_of(right).is_some() && is_named(left, "reloptions") =>
        {
            parsed(NO_TEXTS)
        }
        _ => {
            let query = array_of(expr)?;
            // An aggregate over a query doesn't keep its order: rather an error than another one.
            if query.order_by.is_some() {
                return None;
            }
            let query = query.to_string();
            // Lists of roles and the like, of which there are none.
            if query.contains("pg_catalog.") {
                return parsed(NO_TEXTS);
            }
            parsed(&format!("(SELECT array_agg(value) FROM ({query}) AS listed(value))"))
        }
    }
}

/// The parameters that stand for lists: the right side of ANY and ALL, which
/// `datafusion-pg-catalog` writes as functions.
pub(super) fn lists(question: &str) -> HashSet<String> {
    let mut lists = HashSet::new();
    let parsed = Parser::parse_sql(&PostgreSqlDialect {}, question);
    let _ = visit_expressions(&parsed.unwrap_or_default(), |expr| {
        let list = match expr {
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => Some(&**right),
            Expr::Function(function) if LIST_FIRST.contains(&&*function.name.to_string()) => {
                first_of(function)
            }
            _ => None,
        };
        lists.extend(list.and_then(placeholder));
        ControlFlow::<()>::Continue(())
    });
    lists
}

fn first_of(function: &Function) -> Option<&Expr> {
    match &function.args {
        FunctionArguments::List(list) => match list.args.first()? {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(first)) => Some(first),
            _ => None,
        },
        _ => None,
    }
}

fn placeholder(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) => placeholder(inner),
        Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) => Some(name.clone()),
        _ => None,
    }
}

/// The query of `ARRAY(SELECT …)`.
fn array_of(expr: &Expr) -> Option<&Query> {
    match expr {
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("array") => {
            match &function.args {
                FunctionArguments::Subquery(query) => Some(query),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether it is a column of this name.
fn is_named(expr: &Expr, name: &str) -> bool {
    match expr {
        Expr::Identifier(column) => column.value == name,
        Expr::CompoundIdentifier(path) => path.last().is_some_and(|column| column.value == name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respelled(sql: &str) -> String {
        let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        respell(&mut statement);
        statement.to_string()
    }

    #[test]
    fn arrays_of_queries_become_aggregates() {
        assert_eq!(
            respelled("SELECT array(SELECT kind FROM events)"),
            "SELECT (SELECT array_agg(value) FROM (SELECT kind FROM events) AS listed (value))"
        );
        let ordered = "SELECT array(SELECT kind FROM events ORDER BY at)";
        assert_eq!(respelled(ordered), ordered, "its order would be lost");
        assert_eq!(respelled("SELECT ARRAY[1, 2]"), "SELECT ARRAY[1, 2]");
    }

    #[test]
    fn columns_that_are_asked_for_twice_are_told_apart() {
        assert_eq!(
            respelled("SELECT pi(), at, pi(), at AS x, CAST(at AS TEXT) FROM events"),
            "SELECT pi(), at, pi() AS \"pi()_2\", at AS x, CAST(at AS TEXT) AS \"at_2\" FROM events"
        );
    }

    #[test]
    fn what_the_system_catalog_lists_is_nothing() {
        for sql in [
            "SELECT array_to_string(c.reloptions || array(SELECT 'toast.' || x FROM unnest(tc.reloptions) AS x), ', ')",
            "SELECT array_to_string(array(SELECT b.rolname FROM pg_catalog.pg_roles AS b WHERE b.oid = r.oid), ', ')",
        ] {
            assert_eq!(
                respelled(sql),
                "SELECT array_to_string(CAST(NULL AS TEXT[]), ', ')",
                "{sql}"
            );
        }
    }

    #[test]
    fn parameters_of_any_and_all_are_lists() {
        let found =
            lists("SELECT $1 FROM t WHERE a = ANY($2) AND b <> ALL(($3)) AND c = ANY(ARRAY[$4])");
        assert_eq!(found, HashSet::from(["$2".into(), "$3".into()]));
        assert_eq!(lists("SELECT array_contains($1, $2)"), HashSet::from(["$1".into()]));
        assert!(lists("no SQL").is_empty());
    }
}
