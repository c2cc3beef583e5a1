//! The threads that queries run on.
//!
//! Enters: tasks. Held: a runtime of its own whose threads are nice, so that the
//! scheduler gives the live path its turn first. Ends: with the last handle;
//! what still runs is cancelled. Never here: anything that viewers wait for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle};

use crate::Error;

/// Niceness of the threads: about a tenth of a busy core's time beside normal ones.
const NICENESS: i32 = 10;

/// A long chain of operators makes a deep plan, which is walked and dropped
/// recursively. Address space only, until it is used.
const STACK_BYTES: usize = 64 << 20;

/// A handle on the threads.
#[derive(Debug)]
pub(crate) struct Pool(Option<Runtime>);

impl Pool {
    /// Starts `threads` threads.
    pub(crate) fn start(threads: usize) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .max_blocking_threads(threads.max(1) * 4)
            .thread_name("queries")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .on_thread_start(be_nice)
            .build();
        runtime.map(|runtime| Self(Some(runtime))).map_err(|error| Error::Start(Arc::new(error)))
    }

    /// Runs a task; dropping the handle cancels it.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<Task<T>> {
        Some(Task(self.0.as_ref()?.spawn(task)))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Waiting for the threads isn't possible from within another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// On Linux the priority of process 0 is the calling thread's own.
fn be_nice() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "query threads keep the normal priority");
    }
}

/// A running task that ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    /// Runs a task on the runtime of whoever calls.
    pub(crate) fn spawn(task: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
