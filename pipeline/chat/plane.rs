//! The chat dataflow's surroundings: what outlives a generation.
//!
//! ```text
//! what people say ─► intake `said` ─► source ─► moderate ─► chat ─► edge ─► desk
//!                                     (by room)                             │
//!        a room as the log has it ◄──────────── wanted ─────────────────────┘
//! ```
//!
//! - **Enters**: what is said and ordered, and rooms that were read from the log.
//! - **Leaves**: verdicts, one for each, in the room's order.
//! - **Held**: rooms, handed over between generations; what was said, until its
//!   verdict is out.
//! - **Ends**: a room with its broadcast, and one whose records brought generations
//!   down twice within a minute: it is read from the log again.
//! - **Never here**: the log. A generation that died takes its rooms along; the next
//!   one asks for them, and they come as records.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use moderate::{Order, Receipt, Refusal, Room, Rules, Said, ServerLimit, Verdict};
use parking_lot::Mutex;
use records::{ChatAct, ChatMessage, FaultSite, MessageId, StreamId};
use runtime::{
    Credit, Culprit, Edge, Generation, Handover, Inlet, Intake, OfStream, Retained, Waker,
};
use serde::{Deserialize, Serialize};

use crate::dataflow::Strikes;

/// What may wait for a room that is being read from the log; more is refused.
const WAITING_MAX: usize = 10_000;

/// Operators of this dataflow, by which a panic is known to be its own.
const OPERATORS: [&str; 3] = ["said", "moderate", "chat"];

/// Something for a room.
#[derive(Clone, Serialize, Deserialize)]
pub struct Spoken {
    /// Whose room it is.
    pub stream: StreamId,
    /// Its place in the intake; set when it gets there.
    pub offset: u64,
    /// What.
    pub body: SpokenBody,
}

/// See [`Spoken`].
#[derive(Clone, Serialize, Deserialize)]
pub enum SpokenBody {
    /// Somebody would like to say something.
    Said {
        /// What.
        said: Said,
        /// When it came, in microseconds since 1970.
        at_us: u64,
    },
    /// A moderator would like to do something.
    Ordered {
        /// What.
        order: Order,
        /// When it came, in microseconds since 1970.
        at_us: u64,
    },
    /// The room, as the log has it.
    Opened {
        /// [`Room::to_bytes`].
        room: Bytes,
        /// When it was wanted; see [`HeardBody::Wanted`].
        load: u64,
    },
    /// The broadcast is over.
    Closed,
    /// Test only (`debug.faults`): `moderate` panics on this record.
    Fault(FaultSite),
}

impl OfStream for Spoken {
    fn stream(&self) -> StreamId {
        self.stream
    }
}

impl Retained for Spoken {
    fn weight(&self) -> usize {
        let own = match &self.body {
            SpokenBody::Said { said, .. } => said.text.len() + said.from.name.len(),
            SpokenBody::Ordered { .. } | SpokenBody::Closed | SpokenBody::Fault(_) => 0,
            SpokenBody::Opened { room, .. } => room.len(),
        };
        size_of::<Self>() + own
    }

    fn stamp(&mut self, offset: u64) {
        self.offset = offset;
    }
}

/// What a room answers.
#[derive(Clone)]
pub struct Heard {
    /// Which room.
    pub stream: StreamId,
    /// What.
    pub body: HeardBody,
}

/// See [`Heard`].
#[derive(Clone)]
pub enum HeardBody {
    /// In the room's order, to be appended in that order.
    Accepted(ChatMessage),
    /// The same for what a moderator did.
    Done(ChatAct),
    /// It was accepted before.
    Known {
        /// The retry.
        asked: MessageId,
        /// What became of it then.
        receipt: Receipt,
    },
    /// It isn't in the room.
    Refused {
        /// What isn't.
        asked: MessageId,
        /// Why.
        refusal: Refusal,
    },
    /// Too much waits for the room.
    Busy {
        /// What was turned away.
        asked: MessageId,
    },
    /// The room has to be read from the log.
    Wanted {
        /// How often rooms were lost before. What was read for an earlier loss lacks what
        /// got out since, should it be replayed.
        load: u64,
    },
    /// All that was said in time is answered.
    Over,
}

/// A verdict, and up to where its room has read the intake.
#[derive(Clone)]
pub(crate) struct Step {
    heard: Heard,
    // None: it stays in the intake, since its verdict isn't out.
    next: Option<u64>,
}

/// A room's place in an operator.
pub(crate) enum Seat {
    /// Asked for; this waits.
    Waiting(Vec<Spoken>),
    /// Here.
    Taken(Box<Room>),
}

/// What all rooms go by.
#[derive(Clone)]
pub struct Judging {
    /// What may be said.
    pub rules: Arc<Rules>,
    /// How much of it, in all rooms together.
    pub limit: Arc<ServerLimit>,
}

/// Everything of the chat dataflow that outlives a generation.
pub struct ChatPlane {
    /// What is said.
    pub said: Intake<Spoken>,
    heard: Edge<Heard>,
    seats: Arc<Handover<Seat>>,
    judging: Judging,
    strikes: Strikes,
    // How often rooms were lost.
    losses: AtomicU64,
    lag_epochs_max: u64,
    // Of the running generation, by worker.
    wakers: Mutex<Vec<Arc<Waker>>>,
}

impl ChatPlane {
    /// A plane without rooms.
    #[must_use]
    pub fn new(
        said: Intake<Spoken>,
        heard: Edge<Heard>,
        judging: Judging,
        lag_epochs_max: u64,
    ) -> Self {
        Self {
            said,
            heard,
            seats: Arc::default(),
            judging,
            strikes: Strikes::default(),
            losses: AtomicU64::new(0),
            lag_epochs_max,
            wakers: Mutex::default(),
        }
    }

    /// What is said, for one worker.
    pub(crate) fn inlet(&self, worker: usize) -> Inlet<Spoken> {
        let waker = Arc::clone(&self.wakers.lock()[worker]);
        Inlet { intake: self.said.clone(), waker, credit: self.credit() }
    }

    /// When the source may read.
    #[must_use]
    pub fn credit(&self) -> Credit {
        Credit { edges: vec![self.heard.meter()], lag_epochs_max: self.lag_epochs_max }
    }

    pub(crate) fn seats(&self) -> Arc<Handover<Seat>> {
        Arc::clone(&self.seats)
    }

    /// `moderate`: what is said to verdicts.
    pub(crate) fn moderate(
        &self,
    ) -> impl FnMut(&mut HashMap<StreamId, Seat>, Spoken, &mut Vec<Step>) + 'static {
        let (judging, load) = (self.judging.clone(), self.losses.load(Ordering::Acquire));
        move |seats, spoken, out| take(seats, spoken, &judging, load, out)
    }

    /// `chat`: to the desk. What is there needn't be kept.
    pub(crate) fn deliver(&self) -> impl FnMut(&mut Vec<Step>) + 'static {
        let (edge, said) = (self.heard.clone(), self.said.clone());
        let (mut weighed, mut read) = (Vec::new(), HashMap::new());
        move |batch| {
            for Step { heard, next } in batch.drain(..) {
                if let Some(next) = next {
                    read.insert(heard.stream, next);
                }
                weighed.push((heard.weight(), heard));
            }
            edge.push(&mut weighed);
            for (stream, next) in read.drain() {
                said.ack(stream, next);
            }
        }
    }

    pub(crate) fn begin(&self, generation: &Generation) {
        let wakers = generation.wakers();
        self.wakers.lock().clone_from(&wakers);
        self.said.bind(wakers, &generation.table);
    }

    pub(crate) fn end(&self) {
        self.said.unbind();
    }

    /// After an unplanned end: rooms may be ahead of what got out, so they are read again.
    pub(crate) fn recover(&self, culprit: Option<Culprit>) {
        if let Some(Culprit { stream, operator }) = culprit
            && OPERATORS.contains(&operator)
            && self.strikes.is_second(stream)
        {
            tracing::error!(%stream, operator, "what a chat was told panicked twice and is dropped");
            self.said.discard(stream);
        }
        self.losses.fetch_add(1, Ordering::AcqRel);
        self.seats.clear();
        self.said.rewind(|_| 0);
    }

    /// Whether a panic in this operator is the chat's.
    #[must_use]
    pub fn has(operator: &str) -> bool {
        OPERATORS.contains(&operator)
    }
}

impl Heard {
    fn weight(&self) -> usize {
        let own = match &self.body {
            HeardBody::Accepted(message) => message.text.len() + message.name.len(),
            _ => 0,
        };
        size_of::<Self>() + own
    }
}

/// One record for a room.
fn take(
    seats: &mut HashMap<StreamId, Seat>,
    spoken: Spoken,
    judging: &Judging,
    load: u64,
    out: &mut Vec<Step>,
) {
    let (stream, offset) = (spoken.stream, spoken.offset);
    let step = |body, next| Step { heard: Heard { stream, body }, next };
    match (seats.get_mut(&stream), spoken.body) {
        (_, SpokenBody::Fault(site)) => site.trip("moderate"),
        (seat, SpokenBody::Closed) => {
            for body in seat.into_iter().flat_map(Seat::turn_away) {
                out.push(step(body, None));
            }
            seats.remove(&stream);
            out.push(step(HeardBody::Over, Some(offset + 1)));
        }
        // Replayed: another was asked for since.
        (_, SpokenBody::Opened { load: wanted, .. }) if wanted != load => {}
        (Some(Seat::Taken(_)), SpokenBody::Opened { .. }) => {}
        (seat, SpokenBody::Opened { room, .. }) => {
            let waiting = match seat {
                Some(Seat::Waiting(waiting)) => std::mem::take(waiting),
                _ => Vec::new(),
            };
            let mut room = match Room::from_bytes(&room, Arc::clone(&judging.rules)) {
                Ok(room) => Box::new(room),
                // Ours. Whoever says something next asks for it again.
                Err(error) => {
                    tracing::error!(%stream, %error, "a chat's room isn't one");
                    for body in Seat::Waiting(waiting).turn_away() {
                        out.push(step(body, None));
                    }
                    seats.remove(&stream);
                    return;
                }
            };
            for waited in waiting {
                let next = Some(waited.offset + 1);
                out.extend(
                    decide(&mut room, waited.body, &judging.limit).map(|body| step(body, next)),
                );
            }
            seats.insert(stream, Seat::Taken(room));
        }
        (Some(Seat::Taken(room)), body) => {
            let verdict = decide(room, body, &judging.limit);
            out.extend(verdict.map(|body| step(body, Some(offset + 1))));
        }
        (Some(Seat::Waiting(waiting)), body) if waiting.len() >= WAITING_MAX => {
            out.extend(asked(&body).map(|asked| step(HeardBody::Busy { asked }, None)));
        }
        (Some(Seat::Waiting(waiting)), body) => waiting.push(Spoken { stream, offset, body }),
        (None, body) => {
            seats.insert(stream, Seat::Waiting(vec![Spoken { stream, offset, body }]));
            out.push(step(HeardBody::Wanted { load }, None));
        }
    }
}

impl Seat {
    /// What becomes of those that wait for a room that doesn't come.
    fn turn_away(&mut self) -> Vec<HeardBody> {
        let waiting = match self {
            Self::Waiting(waiting) => std::mem::take(waiting),
            Self::Taken(_) => Vec::new(),
        };
        let asked = waiting.iter().filter_map(|spoken| asked(&spoken.body));
        asked.map(|asked| HeardBody::Busy { asked }).collect()
    }
}

fn decide(room: &mut Room, body: SpokenBody, limit: &ServerLimit) -> Option<HeardBody> {
    let asked = asked(&body)?;
    match body {
        SpokenBody::Said { said, at_us } => Some(match room.push(said, at_us, limit) {
            Verdict::Accepted(message) => HeardBody::Accepted(message),
            Verdict::Known(receipt) => HeardBody::Known { asked, receipt },
            Verdict::Refused(refusal) => HeardBody::Refused { asked, refusal },
        }),
        SpokenBody::Ordered { order, at_us } => Some(match room.act(order, at_us) {
            Ok(act) => HeardBody::Done(act),
            Err(refusal) => HeardBody::Refused { asked, refusal },
        }),
        SpokenBody::Opened { .. } | SpokenBody::Closed | SpokenBody::Fault(_) => None,
    }
}

/// Who waits for a verdict.
fn asked(body: &SpokenBody) -> Option<MessageId> {
    match body {
        SpokenBody::Said { said, .. } => Some(said.message_id),
        SpokenBody::Ordered { order, .. } => Some(order.act_id),
        SpokenBody::Opened { .. } | SpokenBody::Closed | SpokenBody::Fault(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use moderate::{Person, Relation, RulesConfig, Standing};
    use records::UserId;

    use super::*;

    fn said(stream: StreamId, n: u64) -> Spoken {
        let from = Person {
            user_id: UserId::at(7),
            name: "ann".into(),
            standing: Standing::Admin,
            relation: Relation::default(),
        };
        let message_id = MessageId(uuid::Uuid::from_u128(u128::from(n)));
        let said = Said { message_id, from, text: format!("text {n}"), client_id: None };
        Spoken { stream, offset: n, body: SpokenBody::Said { said, at_us: 1_000_000 * n } }
    }

    fn judging() -> Judging {
        let rules = Arc::new(Rules::compile(RulesConfig::default()).unwrap());
        Judging { rules, limit: Arc::new(ServerLimit::new(1000)) }
    }

    /// How often rooms were lost before these tests.
    const LOAD: u64 = 3;

    fn opened(stream: StreamId, offset: u64, load: u64) -> Spoken {
        let room = Room::new(stream, judging().rules).to_bytes().unwrap().into();
        Spoken { stream, offset, body: SpokenBody::Opened { room, load } }
    }

    fn feed(
        seats: &mut HashMap<StreamId, Seat>,
        records: Vec<Spoken>,
    ) -> Vec<(String, Option<u64>)> {
        let (judging, mut out) = (judging(), Vec::new());
        records.into_iter().for_each(|spoken| take(seats, spoken, &judging, LOAD, &mut out));
        let name = |body: &HeardBody| match body {
            HeardBody::Accepted(message) => format!("{} {}", message.seq, message.text),
            HeardBody::Busy { asked } => format!("busy {}", asked.0.as_u128()),
            HeardBody::Wanted { load } => format!("wanted {load}"),
            HeardBody::Over => "over".into(),
            _ => "other".into(),
        };
        out.iter().map(|step| (name(&step.heard.body), step.next)).collect()
    }

    #[test]
    fn what_comes_before_its_room_waits_and_keeps_its_order() {
        let (mut seats, stream) = (HashMap::new(), StreamId::generate());
        let heard = feed(&mut seats, vec![said(stream, 0), said(stream, 1)]);
        assert_eq!(heard, [("wanted 3".to_owned(), None)], "asked for once");
        let old = feed(&mut seats, vec![opened(stream, 2, LOAD - 1)]);
        assert!(old.is_empty(), "what was read before the last loss may lack what got out since");
        let heard = feed(&mut seats, vec![opened(stream, 3, LOAD), said(stream, 4)]);
        let texts = |n: u64, offset: u64| (format!("{n} text {offset}"), Some(offset + 1));
        assert_eq!(heard, [texts(1, 0), texts(2, 1), texts(3, 4)]);
        let again = feed(&mut seats, vec![opened(stream, 5, LOAD), said(stream, 6)]);
        assert_eq!(again, [texts(4, 6)], "a room that is here isn't replaced");
    }

    #[test]
    fn a_room_that_ends_answers_everybody() {
        let (mut seats, stream) = (HashMap::new(), StreamId::generate());
        let closed = Spoken { stream, offset: 2, body: SpokenBody::Closed };
        let heard = feed(&mut seats, vec![said(stream, 0), said(stream, 1), closed]);
        let expected = [("wanted 3", None), ("busy 0", None), ("busy 1", None), ("over", Some(3))];
        assert_eq!(heard, expected.map(|(what, next)| (what.to_owned(), next)));
        assert!(seats.is_empty());
    }

    #[test]
    fn not_everything_waits_for_a_room() {
        let (mut seats, stream) = (HashMap::new(), StreamId::generate());
        let many = (0..WAITING_MAX as u64).map(|n| said(stream, n)).collect();
        assert_eq!(feed(&mut seats, many).len(), 1);
        let heard = feed(&mut seats, vec![said(stream, 10_000)]);
        assert_eq!(heard, [("busy 10000".to_owned(), None)]);
    }
}
