//! A GStreamer pipeline that always ends in NULL, and whose errors are heard.
//!
//! Enters: linked elements. Leaves: at most one error. Ends with
//! [`Running::retire`] or on drop: an element that hangs then hangs a thread of
//! GStreamer's and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;
use parking_lot::Mutex;

use super::TranscodeError;

/// GPU contexts that a stream's pipelines share, so that pictures pass from
/// one to the other without a copy.
pub(super) type Contexts = Arc<Mutex<Vec<gst::Context>>>;

/// A pipeline on its way from start to NULL.
pub(super) struct Running {
    pipeline: gst::Pipeline,
    state: Arc<Flags>,
}

#[derive(Default)]
struct Flags {
    ready: AtomicBool,
    failed: AtomicBool,
    retired: AtomicBool,
}

impl Running {
    /// Takes over a pipeline in NULL. `on_error` hears of its first error,
    /// from any thread; it may only signal.
    pub fn new(
        pipeline: gst::Pipeline,
        contexts: Contexts,
        on_error: impl Fn(String) + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::<Flags>::default();
        if let Some(bus) = pipeline.bus() {
            let flags = Arc::clone(&state);
            bus.set_sync_handler(move |_, message| {
                match message.view() {
                    gst::MessageView::Error(error)
                        if !flags.failed.swap(true, Ordering::AcqRel) =>
                    {
                        on_error(describe(error));
                    }
                    gst::MessageView::NeedContext(need) => share(&contexts, need),
                    gst::MessageView::HaveContext(have) => contexts.lock().push(have.context()),
                    _ => {}
                }
                gst::BusSyncReply::Drop
            });
        }
        Self { pipeline, state }
    }

    /// Starts it and returns when it runs.
    pub fn start(&self) -> Result<(), TranscodeError> {
        start(&self.pipeline, &self.state)
    }

    /// Starts it from another thread; [`Running::is_ready`] when it runs.
    pub fn start_soon(&self, on_done: impl FnOnce(Result<(), TranscodeError>) + Send + 'static) {
        let state = Arc::clone(&self.state);
        self.pipeline.call_async(move |pipeline| on_done(start(pipeline, &state)));
    }

    /// Takes packets or pictures.
    pub fn is_ready(&self) -> bool {
        self.state.ready.load(Ordering::Acquire)
    }

    /// An error was posted.
    pub fn has_failed(&self) -> bool {
        self.state.failed.load(Ordering::Acquire)
    }

    /// It is NULL, or soon will be.
    pub fn is_retired(&self) -> bool {
        self.state.retired.load(Ordering::Acquire)
    }

    /// Tears it down, from another thread. Whoever waits to push into it is released.
    pub fn retire(&self) {
        if !self.state.retired.swap(true, Ordering::AcqRel) {
            self.pipeline.call_async(|pipeline| {
                // Fails only if an element can't be shut down: nothing more can be done.
                let _ = pipeline.set_state(gst::State::Null);
            });
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.retire();
    }
}

fn start(pipeline: &gst::Pipeline, state: &Flags) -> Result<(), TranscodeError> {
    if state.retired.load(Ordering::Acquire) {
        return Ok(());
    }
    let started = pipeline.set_state(gst::State::Playing);
    if state.retired.load(Ordering::Acquire) {
        // Retired meanwhile: whichever of the two set its state last, it is NULL.
        let _ = pipeline.set_state(gst::State::Null);
        return Ok(());
    }
    match started {
        Ok(_) => {
            state.ready.store(true, Ordering::Release);
            Ok(())
        }
        Err(_) => Err(TranscodeError::Element {
            element: "pipeline",
            reason: "an element could not be started".into(),
        }),
    }
}

fn share(contexts: &Contexts, need: &gst::message::NeedContext) {
    let wanted = need.context_type();
    let found = contexts.lock().iter().rev().find(|c| c.context_type() == wanted).cloned();
    if let (Some(context), Some(source)) = (found, need.src())
        && let Some(element) = source.downcast_ref::<gst::Element>()
    {
        element.set_context(&context);
    }
}

fn describe(error: &gst::message::Error) -> String {
    let from = error.src().map_or_else(String::new, |source| format!("{}: ", source.name()));
    format!("{from}{}", error.error())
}
