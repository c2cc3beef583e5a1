//! What PostgreSQL's clients expect of a server beyond SQL: its system catalog
//! (`pg_catalog`, which psql's `\d` asks), its functions, and its spellings.

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::setup_pg_catalog;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;

use super::acts::Act;
use super::spelling::respell;
use super::{comments, sizes};
use crate::catalog::CATALOG;
use crate::limits::TEXT_BYTES_MAX;
use crate::session::Dialect;
use crate::{Error, Session};

/// The system catalog's schema.
const PG_CATALOG: &str = "pg_catalog";

/// PostgreSQL's ways.
pub(super) struct Ways {
    /// Its functions, types and system catalog, whose objects keep their numbers
    /// for as long as this lives.
    pub(super) dialect: Arc<Dialect>,
    parser: PostgresCompatibilityParser,
}

impl Ways {
    /// Those of a session.
    pub(super) async fn new(session: &Session) -> Result<Self, Error> {
        let (base, catalog) = session.base();
        let state =
            SessionStateBuilder::new_from_existing(base).with_catalog_list(catalog.list()?).build();
        let context = SessionContext::new_with_state(state);
        setup_pg_catalog(&context, CATALOG, EmptyContextProvider)
            .map_err(|error| Error::Internal(error.strip_backtrace()))?;
        for function in comments::functions(&context).await?.into_iter().chain(sizes::functions()) {
            context.register_udf(function);
        }
        let schema = context
            .catalog(CATALOG)
            .and_then(|catalog| catalog.schema(PG_CATALOG))
            .ok_or_else(|| Error::Internal("there is no system catalog".into()))?;
        let dialect = Dialect { base: context.state(), schema: (PG_CATALOG, schema) };
        Ok(Self { dialect: Arc::new(dialect), parser: PostgresCompatibilityParser::new() })
    }

    /// The statements in `text`, in words that DataFusion understands.
    pub(super) fn read(&self, text: &str) -> Result<Vec<Act>, Error> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Error::TooLong { bytes: text.len(), bytes_max: TEXT_BYTES_MAX });
        }
        let parsed = self.parser.parse(text).map_err(|error| Error::Sql(error.to_string()))?;
        let mut acts = Vec::new();
        for mut statement in parsed {
            respell(&mut statement);
            acts.push(Act::of(&statement)?);
        }
        Ok(acts)
    }
}
