//! A session: what every query of a server or of one command shares.
//!
//! Enters: [`Options`], then the text of queries. Leaves: [`Rows`]. Held: the
//! tables' snapshots, and threads that are nobody else's. A query gets a state
//! of its own (catalog, memory, temporary files), so nothing that one does can
//! be seen by another. Ends: with its last handle, running queries too.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::SchemaProvider;
use datafusion::common::ParamValues;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use futures_util::StreamExt;
use parking_lot::Mutex;
use store::Root;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::catalog::{CATALOG, Catalog, SCHEMA};
use crate::lake::Lake;
use crate::memory::QueryPool;
use crate::pool::{Pool, Task};
use crate::views::{plain_batch, plain_schema};
use crate::{Error, Limits, Rows, Tail, comments, functions, guard};

/// How DataFusion names its temporary folders.
const SPILL_PREFIX: &str = "datafusion-";

/// Batches that wait for a slow reader.
const BATCHES_WAITING: usize = 2;

/// Most memory that a thread's sort keeps free for merging, in bytes: DataFusion's default.
const MERGE_BYTES_MAX: usize = 10 << 20;

/// Most parameters of a question: as many as PostgreSQL's clients can number.
const PARAMETERS_MAX: usize = 65_535;

/// What a session is about.
pub struct Options {
    /// The lake's root, with a Delta table below each name. It needs not exist yet.
    pub lake: Root,
    /// Where queries put temporary files, each in a folder `datafusion-*` that
    /// goes with it. Such folders of a process that was killed are removed.
    pub spill: PathBuf,
    /// What each query may use.
    pub limits: Limits,
    /// What the log has beyond the lake; none without a server.
    pub tail: Option<Arc<dyn Tail>>,
}

/// A cheap handle on a session.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    lake: Arc<Lake>,
    meta: Arc<dyn SchemaProvider>,
    // Functions, rules and settings, before a query's own are put in.
    base: SessionState,
    stores: Arc<dyn ObjectStoreRegistry>,
    spill: PathBuf,
    limits: Limits,
    places: Arc<Semaphore>,
    pool: Pool,
}

impl Inner {
    /// What can be named and called, and what that may use.
    fn state(
        &self,
        mut catalog: Catalog,
        dialect: Option<&Dialect>,
        base_url: &str,
        runtime: Arc<RuntimeEnv>,
    ) -> Result<SessionState, Error> {
        let mut base = &self.base;
        if let Some(dialect) = dialect {
            catalog = catalog.with(dialect.schema.0, &dialect.schema.1);
            base = &dialect.base;
        }
        let tables = catalog.lake();
        let mut state = SessionStateBuilder::new_from_existing(base.clone())
            .with_runtime_env(runtime)
            .with_catalog_list(catalog.list()?)
            .build();
        state.register_udtf("clip", functions::clip(tables));
        state.register_udf(functions::play_url(base_url))?;
        Ok(state)
    }
}

impl Session {
    /// Begins a session. Reads nothing yet.
    ///
    /// # Errors
    /// [`Error::Start`] if there are no threads to be had.
    pub fn open(options: Options) -> Result<Self, Error> {
        let limits = options.limits;
        let mut base = SessionStateBuilder::new()
            .with_default_features()
            .with_config(settings(&limits))
            .build();
        base.register_udf(functions::time_bucket())?;
        base.register_udf(functions::chat_spike())?;
        base.register_udaf(functions::count())?;
        base.register_udwf(functions::chat_usual())?;
        sweep(&options.spill);
        Ok(Self(Arc::new(Inner {
            lake: Arc::new(Lake::new(options.lake, options.tail)),
            meta: comments::schema()?,
            base,
            stores: Arc::new(DefaultObjectStoreRegistry::new()),
            spill: options.spill,
            limits,
            places: Arc::new(Semaphore::new(limits.at_once)),
            pool: Pool::start(limits.threads.max(limits.at_once + 1))?,
        })))
    }

    /// Runs the one statement in `text`. `base_url` is where the server's pages
    /// are, for links: scheme and authority without a slash at the end, or empty
    /// for links without them. Answers when the first rows can be fetched; of a
    /// dropped answer nothing stays.
    ///
    /// # Errors
    /// See [`Error`]; the same may come in mid-answer.
    pub async fn query(&self, text: &str, base_url: &str) -> Result<Rows, Error> {
        let (text, base_url) = (text.to_owned(), base_url.to_owned());
        self.ask(Question { text, values: None, base_url, dialect: None }).await
    }

    /// The same for a question with more to it.
    pub(crate) async fn ask(&self, question: Question) -> Result<Rows, Error> {
        let (head, planned) = oneshot::channel();
        let (batches, fetched) = mpsc::channel(BATCHES_WAITING);
        let query = Query { session: Arc::clone(&self.0), question, batches };
        let task = self.spawn(query.run(head)).ok_or(Error::Closed)?;
        let schema = planned.await.map_err(|_| Error::Closed)??;
        Ok(Rows { schema, batches: fetched, _task: task })
    }

    /// The plan of a question, over tables without rows: for its columns and parameters.
    pub(crate) async fn plan(
        &self,
        text: &str,
        values: Option<&ParamValues>,
        dialect: Option<&Dialect>,
    ) -> Result<LogicalPlan, Error> {
        let catalog = Catalog::empty(&self.0.meta);
        let state = self.0.state(catalog, dialect, "", Arc::default())?;
        let plan = comments::with_comments(guard::plan(&state, text).await?)?;
        let plan = match values {
            Some(values) => plan.replace_params_with_values(values)?,
            None => plan,
        };
        // The optimizer settles types, but only if all of them are known.
        let is_known = plan.get_parameter_fields()?.is_empty();
        if is_known { Ok(state.optimize(&plan)?) } else { Ok(plan) }
    }

    /// The columns of a plan's answer, as its rows will have them.
    pub(crate) fn columns(plan: &LogicalPlan) -> SchemaRef {
        plain_schema(plan.schema().inner())
    }

    /// The parameters of a plan by number, each with its type if the text tells it.
    ///
    /// # Errors
    /// [`Error::Sql`] for one that has no number.
    pub(crate) fn parameters(plan: &LogicalPlan) -> Result<Vec<Option<FieldRef>>, Error> {
        let mut parameters = Vec::new();
        for (id, field) in plan.get_parameter_fields()? {
            let number: usize = id.trim_start_matches('$').parse().unwrap_or(0);
            if number == 0 || number > PARAMETERS_MAX {
                return Err(Error::Sql(format!("{id} is no parameter, such as $1")));
            }
            if parameters.len() < number {
                parameters.resize_with(number, || None);
            }
            parameters[number - 1] = field;
        }
        Ok(parameters)
    }

    /// What a dialect adds to: the state without tables, and a catalog to describe.
    pub(crate) fn base(&self) -> (SessionState, Catalog) {
        (self.0.base.clone(), Catalog::empty(&self.0.meta))
    }

    /// Runs a task on the session's threads; dropping the handle cancels it.
    /// None: the session has ended.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<Task<T>> {
        self.0.pool.spawn(task)
    }
}

/// What is asked, and how.
pub(crate) struct Question {
    /// One statement.
    pub text: String,
    /// What its parameters stand for, if it has any.
    pub values: Option<ParamValues>,
    /// As for [`Session::query`].
    pub base_url: String,
    /// Whose SQL it is; None: DataFusion's own.
    pub dialect: Option<Arc<Dialect>>,
}

/// What a way in adds to SQL.
pub(crate) struct Dialect {
    /// The session's base state with more functions and types.
    pub base: SessionState,
    /// A schema beside the others.
    pub schema: (&'static str, Arc<dyn SchemaProvider>),
}

/// One query, on the session's own threads.
struct Query {
    session: Arc<Inner>,
    question: Question,
    batches: mpsc::Sender<Result<RecordBatch, Error>>,
}

impl Query {
    async fn run(self, head: oneshot::Sender<Result<SchemaRef, Error>>) {
        let limits = self.session.limits;
        let deadline = Instant::now() + limits.time;
        let query = Arc::new(self);
        let head = Arc::new(Mutex::new(Some(head)));
        let error =
            match timeout_at(deadline, Arc::clone(&query.session.places).acquire_owned()).await {
                Ok(Ok(place)) => {
                    let (worker, first) = (Arc::clone(&query), Arc::clone(&head));
                    // A task of its own: one that computes for long can't be timed from within.
                    let work = Task::spawn(async move {
                        let _place = place;
                        worker.answer(&first).await
                    });
                    match timeout_at(deadline, work).await {
                        Ok(Ok(Ok(()))) => return,
                        Ok(Ok(Err(error))) => query.bounded(error),
                        Ok(Err(panic)) => Error::Internal(panic.to_string()),
                        Err(_) => Error::TimedOut(limits.time),
                    }
                }
                Ok(Err(_)) => Error::Closed,
                Err(_) => Error::Busy,
            };
        tracing::debug!(%error, "a query ended early");
        let head = head.lock().take();
        // Whoever asked may be gone.
        match head {
            Some(head) => drop(head.send(Err(error))),
            None => drop(query.batches.send(Err(error)).await),
        }
    }

    async fn answer(
        &self,
        head: &Mutex<Option<oneshot::Sender<Result<SchemaRef, Error>>>>,
    ) -> Result<(), Error> {
        let mut stream = self.start().await?;
        let schema = plain_schema(&stream.schema());
        // None: the time is over.
        let Some(head) = head.lock().take() else { return Ok(()) };
        if head.send(Ok(Arc::clone(&schema))).is_err() {
            return Ok(());
        }
        let rows_max = self.session.limits.rows;
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            let batch = plain_batch(&batch?, &schema).map_err(DataFusionError::from)?;
            rows += batch.num_rows() as u64;
            if rows > rows_max {
                return Err(Error::TooManyRows { rows_max });
            }
            if self.batches.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Plans it and begins its execution.
    async fn start(&self) -> Result<SendableRecordBatchStream, Error> {
        let state = self.state()?;
        let mut plan = comments::with_comments(guard::plan(&state, &self.question.text).await?)?;
        if let Some(values) = &self.question.values {
            plan = plan.replace_params_with_values(values)?;
        }
        let plan = with_pauses(state.create_physical_plan(&plan).await?)?;
        Ok(execute_stream(plan, state.task_ctx())?)
    }

    /// The session's state with this query's catalog, memory and files.
    fn state(&self) -> Result<SessionState, Error> {
        let session = &self.session;
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![session.spill.clone()]))
            .with_max_temp_directory_size(session.limits.spill_bytes);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(QueryPool::new(session.limits.memory_bytes)))
            .with_disk_manager_builder(disk)
            .with_object_store_registry(Arc::clone(&session.stores))
            .build_arc()?;
        let question = &self.question;
        let catalog = Catalog::now(&session.lake, &session.meta);
        let dialect = question.dialect.as_deref();
        let mut state = session.state(catalog, dialect, &question.base_url, runtime)?;
        // now() is one moment for the whole query.
        state.mark_start_execution();
        Ok(state)
    }

    /// Puts bounds and places into an error that is about them.
    fn bounded(&self, error: Error) -> Error {
        match error {
            Error::TooLarge { cause, .. } => Error::TooLarge {
                memory_bytes_max: self.session.limits.memory_bytes,
                spill_bytes_max: self.session.limits.spill_bytes,
                cause,
            },
            Error::Storage { cause, .. } => {
                Error::Storage { root: self.session.lake.root().to_string(), cause }
            }
            other => other,
        }
    }
}

/// Lets joins pause, so that their query can be ended: DataFusion has pauses only
/// where rows are read, and a join makes billions of few.
fn with_pauses(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let paused = plan.transform_up(|node| {
        if !node.name().ends_with("JoinExec") {
            return Ok(Transformed::no(node));
        }
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(paused.data)
}

/// Removes what queries of a killed process left.
fn sweep(spill: &Path) {
    // Not there yet, in most cases.
    let Ok(entries) = std::fs::read_dir(spill) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(SPILL_PREFIX) {
            continue;
        }
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(%error, path = %entry.path().display(), "temporary files stay");
        }
    }
}

fn settings(limits: &Limits) -> SessionConfig {
    // Each thread's sort keeps this much free for merging what it spilled: all
    // of them a small part of what the query may use.
    let merge = (limits.memory_bytes / limits.threads.max(1) / 16).min(MERGE_BYTES_MAX);
    // A join's side that is known to be smaller is held once, and the other side's rows
    // needn't be sent between threads.
    let held = limits.memory_bytes / 8;
    SessionConfig::new()
        .set_usize("datafusion.optimizer.hash_join_single_partition_threshold", held)
        .set_usize("datafusion.optimizer.hash_join_single_partition_threshold_rows", held / 64)
        .with_sort_spill_reservation_bytes(merge)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_target_partitions(limits.threads.max(1))
        .set_bool("datafusion.execution.parquet.pushdown_filters", true)
        // What filters read is cheaper to decode once more than to keep.
        .set_usize("datafusion.execution.parquet.max_predicate_cache_size", 0)
        .set_str("datafusion.sql_parser.dialect", "postgresql")
        .set_str("datafusion.execution.time_zone", "UTC")
}
