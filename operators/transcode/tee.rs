//! One decode feeds all rungs.
//!
//! ```text
//! decoder ──picture──► tee ──Pyramid──► rung 1080p   (highest first: shed first)
//!                              ├──────► rung 720p
//!                              └──────► …
//! ```
//!
//! Enters: decoded pictures in order. Leaves: the same, to each rung that has
//! an encoder, in the rung's size where software scales; and to each rung's output the word on what to expect. Held:
//! the encoders, and which of them are shed or failed. This is the one place
//! that decides who gets pictures, and it does so only where a segment begins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer as gst;
use parking_lot::Mutex;

use super::candidates::Memory;
use super::event::EventKind;
use super::output::{Output, Picture};
use super::pipeline::{Contexts, Running};
use super::run::RunShared;
use super::rung::{RungEncoder, RungSpec};
use super::scale::{Levels, Pyramid};
use super::timeline::Passed;

struct Slot {
    index: usize,
    output: Arc<Output>,
    token: u64,
    encoder: Option<RungEncoder>,
    shed: bool,
    failures: u32,
    retry_at: Option<Instant>,
    gave_up: bool,
}

struct State {
    slots: Vec<Slot>,
    square_pixels: bool,
    // Of the rungs that have an encoder; none if a general scaler must do it.
    levels: Option<Arc<Levels>>,
}

/// The tee of one decoder. Called by the decoder's thread alone, except for
/// [`Tee::release`].
pub(super) struct Tee {
    run: Arc<RunShared>,
    contexts: Contexts,
    state: Mutex<State>,
    // Every encoder's pipeline, for `release`: `state` may be held by a push that waits.
    pipelines: Mutex<Vec<Arc<Running>>>,
}

impl Tee {
    /// A tee that takes over all outputs of the run. Whatever an earlier one
    /// still had under way is lost.
    pub fn new(run: Arc<RunShared>, contexts: Contexts) -> Self {
        let slot = |(index, output): (usize, &Arc<Output>)| Slot {
            index,
            output: Arc::clone(output),
            token: output.take_over(),
            encoder: None,
            shed: false,
            failures: 0,
            retry_at: None,
            gave_up: output.is_drained(),
        };
        let slots = run.outputs.iter().enumerate().map(slot).collect();
        let state = Mutex::new(State { slots, square_pixels: true, levels: None });
        Self { run, contexts, state, pipelines: Mutex::default() }
    }

    /// A decoded picture. Waits while a rung's queue is full.
    pub fn picture(&self, sample: &gst::Sample, ns: u64, passed: &Passed) {
        let mut state = self.state.lock();
        if passed.begins.is_some() {
            state.square_pixels = has_square_pixels(sample);
            self.decide(&mut state, passed);
            state.levels = self.levels(&state, sample);
        }
        let levels = state.levels.as_ref().zip(sample.buffer_owned());
        let levels = levels.filter(|(levels, _)| sample.caps().is_some_and(|c| levels.are_for(c)));
        let pyramid = levels.map(|(levels, buffer)| Pyramid::new(levels, buffer));
        for slot in &mut state.slots {
            let Some(encoder) = &slot.encoder else { continue };
            let picture = Picture {
                ns,
                pts: passed.pts,
                arrival_us: passed.arrival_us,
                begins: passed.begins,
            };
            slot.output.expect(slot.token, picture);
            let scaled = pyramid.as_ref().and_then(|pyramid| pyramid.picture(slot.index));
            if !encoder.push(sample, scaled, ns, passed.begins.is_some()) {
                self.failed(slot);
            }
        }
    }

    /// No more pictures will come: every rung delivers what it holds.
    pub fn finish(&self) {
        let mut state = self.state.lock();
        for slot in &mut state.slots {
            if let Some(encoder) = &slot.encoder {
                encoder.finish();
            }
        }
        let missed = self.run.timeline.lose_cuts();
        for slot in &state.slots {
            for msn in &missed {
                slot.output.expect_gap(slot.token, *msn);
            }
            slot.output.drain();
        }
    }

    /// Tears down all encoders, whoever waits for them.
    pub fn release(&self) {
        for pipeline in self.pipelines.lock().drain(..) {
            pipeline.retire();
        }
    }

    /// A segment begins: who gets its pictures?
    fn decide(&self, state: &mut State, passed: &Passed) {
        let Some(msn) = passed.begins else { return };
        let waiting = state
            .slots
            .iter()
            .filter(|slot| slot.encoder.is_some())
            .filter_map(|slot| slot.output.oldest())
            .fold((passed.pts, passed.arrival_us), |one, other| {
                (one.0.min(other.0), one.1.min(other.1))
            });
        let lag_ms = self.run.timeline.lag_ms(Some(waiting.0));
        let shed = self.run.shed_at_cut(lag_ms, self.run.timeline.age_ms(waiting.1));
        let square_pixels = state.square_pixels;
        for slot in state.slots.iter_mut().filter(|slot| !slot.gave_up) {
            for missed in &passed.missed {
                slot.output.expect_gap(slot.token, *missed);
            }
            let wanted = slot.index >= shed;
            if wanted == slot.shed {
                slot.shed = !wanted;
                let rendition = slot.output.rendition;
                self.run.reporter.report(if wanted {
                    EventKind::Restored { rendition }
                } else {
                    EventKind::Shed { rendition, lag_ms }
                });
            }
            if !wanted && let Some(encoder) = slot.encoder.take() {
                // Delivers what it holds, then retires.
                encoder.finish();
            }
            if wanted && slot.encoder.is_none() {
                self.start(slot, square_pixels);
            }
            if slot.encoder.is_none() && !slot.gave_up {
                slot.output.expect_gap(slot.token, msn);
            }
            self.run.set_idle(slot.index, slot.encoder.is_none());
        }
    }

    /// The sizes of the rungs that have encoders, if software scales.
    fn levels(&self, state: &State, sample: &gst::Sample) -> Option<Arc<Levels>> {
        let run = &self.run;
        if run.path.scaler.memory != Memory::System {
            return None;
        }
        let busy = state.slots.iter().filter(|slot| slot.encoder.is_some());
        let targets: Vec<_> = busy.map(|slot| (slot.index, run.targets[slot.index])).collect();
        let known = state.levels.as_ref().filter(|levels| {
            levels.are_of(&targets) && sample.caps().is_some_and(|caps| levels.are_for(caps))
        });
        match known {
            Some(levels) => Some(Arc::clone(levels)),
            None => Levels::new(sample.caps()?, &targets).map(Arc::new),
        }
    }

    fn start(&self, slot: &mut Slot, square_pixels: bool) {
        // What a shed encoder still holds comes first; the next cut tries again.
        let busy = slot.output.is_live();
        if busy || slot.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let Some(token) = slot.output.renew(slot.token) else { return };
        slot.token = token;
        let run = &self.run;
        let target = &run.targets[slot.index];
        let spec = RungSpec {
            path: &run.path,
            chain: run.encode_chain(target, square_pixels),
            target,
            source: &run.video,
            raw_frames_max: run.config.raw_frames_max,
            contexts: Arc::clone(&self.contexts),
        };
        let reporter = run.reporter.clone();
        let rendition = target.rendition;
        let on_error = move |reason| {
            reporter.report(EventKind::EncoderFailed { rendition, reason });
        };
        match RungEncoder::start(&spec, &slot.output, token, on_error) {
            Ok(encoder) => {
                let mut pipelines = self.pipelines.lock();
                pipelines.retain(|pipeline| !pipeline.is_retired());
                pipelines.push(encoder.running());
                slot.encoder = Some(encoder);
            }
            Err(error) => {
                let reason = error.to_string();
                run.reporter.report(EventKind::EncoderFailed { rendition, reason });
                self.failed(slot);
            }
        }
    }

    /// The slot's encoder is gone. Its event was reported where it failed.
    fn failed(&self, slot: &mut Slot) {
        slot.encoder = None;
        slot.output.ended(slot.token);
        slot.failures += 1;
        let wait = Duration::from_millis(u64::from(self.run.config.restart_ms_min));
        slot.retry_at = Some(Instant::now() + wait);
        self.run.set_idle(slot.index, true);
        if slot.failures >= self.run.config.failures_max {
            slot.gave_up = true;
            self.run.reporter.report(EventKind::GaveUp { rendition: slot.output.rendition });
            slot.output.drain();
        }
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.release();
    }
}

/// Whether the decoder says that pixels are square, or doesn't say.
fn has_square_pixels(sample: &gst::Sample) -> bool {
    let ratio = sample
        .caps()
        .and_then(|caps| caps.structure(0))
        .and_then(|s| s.get::<gst::Fraction>("pixel-aspect-ratio").ok());
    ratio.is_none_or(|ratio| ratio.numer() == ratio.denom())
}
