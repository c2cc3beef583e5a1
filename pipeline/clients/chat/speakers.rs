//! Who speaks: whose turn it is, what is due, what is unanswered.
//!
//! ```text
//! clock ─► due ─► one socket after the other ─► say ─► accepted · refused ─► hear
//! ```
//!
//! - **Enters**: time, answers. **Leaves**: marked texts, on the sockets of the first viewers.
//! - **Held**: the users that share each socket, how many of its messages are unanswered.
//! - **Never here**: waiting; sockets, which are the crowd's.

use std::time::{Duration, Instant};

use crate::findings::{Findings, News};
use crate::marker::{Mark, now_ns};
use crate::options::{Options, People, Publish};
use crate::phase::Clock;
use crate::viewer::{Knock, Stage, Viewer};

/// The longest that a thread waits without looking around.
pub const MOMENT: Duration = Duration::from_millis(50);
/// How long a socket rests whose user isn't let in.
const REST: Duration = Duration::from_secs(1);

/// How fast is spoken.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// So many messages a second, and perhaps no more than so many.
    Rate { per_s: f64, limit: Option<u64> },
    /// So many unanswered on each socket.
    InFlight(usize),
}

/// A socket to speak on.
#[derive(Default)]
struct Speaker {
    /// What its users say first, in turn; none where nobody has to say who they are.
    hellos: Vec<Box<str>>,
    /// Whose turn it is, and how much they said in it.
    turn: usize,
    said: u64,
    in_flight: usize,
    /// Whether the server knows who it is.
    is_known: bool,
    /// Whether it said who it is, and wasn't answered yet.
    is_greeting: bool,
    rests_until: Option<Instant>,
}

/// See the module.
pub struct Speakers {
    run: u64,
    text_bytes: usize,
    /// What is said, where that isn't Millstream's way.
    template: Option<String>,
    each: u64,
    pace: Pace,
    speakers: Vec<Speaker>,
    next: usize,
    /// Of the last mark.
    number: u64,
}

impl Speakers {
    /// None: nobody of these viewers speaks.
    pub fn new(run: u64, options: &Options) -> Option<Self> {
        let (template, people) = match &options.publish {
            Publish::Elsewhere | Publish::Callback(_) => return None,
            Publish::Viewer(template) => (Some(template.clone()), People::default()),
            Publish::People(people) => (None, people.clone()),
        };
        let pace = match people.in_flight {
            Some(in_flight) => Pace::InFlight(in_flight.max(1)),
            None => Pace::Rate { per_s: options.rate, limit: limit(options) },
        };
        let speakers = match &template {
            Some(_) => vec![Speaker { is_known: true, ..Speaker::default() }],
            None => deal(&people, options.viewers),
        };
        let (text_bytes, each) = (options.text_bytes, people.each);
        Some(Self { run, text_bytes, template, each, pace, speakers, next: 0, number: 0 })
    }

    /// How many sockets they speak on.
    pub fn count(&self) -> usize {
        self.speakers.len()
    }

    /// What the viewer of this index shows that it is in the room by; None: it doesn't speak
    /// as a user.
    pub fn knock(&self, index: usize) -> Option<Knock> {
        let speaker = self.speakers.get(index)?;
        speaker.hellos.get(speaker.turn).cloned().map(Knock::Hello)
    }

    /// How many were said.
    pub fn said(&self) -> u64 {
        self.number
    }

    /// How many weren't answered.
    pub fn unanswered(&self) -> u64 {
        self.speakers.iter().map(|speaker| speaker.in_flight as u64).sum()
    }

    /// Whether all that was due by the end is said, and answered.
    pub fn is_settled(&self, clock: &Clock) -> bool {
        self.number >= self.due(clock) && self.unanswered() == 0
    }

    /// How long until something may have to be said.
    pub fn wait(&self, clock: &Clock) -> Duration {
        let Pace::Rate { per_s, limit } = self.pace else { return MOMENT };
        if per_s <= 0.0 || limit.is_some_and(|limit| self.number >= limit) {
            return MOMENT;
        }
        let next_ns = clock.began_ns + (self.number as f64 / per_s * 1e9) as u64;
        match next_ns.saturating_sub(clock.now_ns) {
            // Who should speak can't just now.
            0 if self.number < self.due(clock) => Duration::from_millis(1),
            next => Duration::from_nanos(next).min(MOMENT),
        }
    }

    /// Says what is due; `viewers` are those who speak.
    pub fn speak(&mut self, clock: &Clock, viewers: &mut [Viewer], findings: &mut Findings) {
        self.greet_again(viewers);
        match self.pace {
            Pace::Rate { .. } => {
                while self.number < self.due(clock)
                    && let Some(index) = self.whose_turn(viewers)
                {
                    self.say(index, &mut viewers[index]);
                }
            }
            Pace::InFlight(_) if clock.now_ns > clock.until_ns => {}
            Pace::InFlight(max) => {
                for (index, viewer) in viewers.iter_mut().enumerate() {
                    while self.speakers[index].in_flight < max && self.is_ready(index, viewer) {
                        self.say(index, viewer);
                    }
                }
            }
        }
        for viewer in viewers.iter_mut().filter(|viewer| viewer.stage == Stage::Open) {
            viewer.flush(findings);
        }
    }

    /// What a socket was answered.
    pub fn hear(&mut self, index: usize, news: News) {
        let is_flood = matches!(self.pace, Pace::InFlight(_));
        let Some(speaker) = self.speakers.get_mut(index) else { return };
        match news {
            News::Known => (speaker.is_known, speaker.is_greeting) = (true, false),
            News::Unknown => {
                (speaker.is_known, speaker.is_greeting) = (false, false);
                speaker.rests_until = Some(Instant::now() + REST);
            }
            News::Accepted => speaker.in_flight = speaker.in_flight.saturating_sub(1),
            News::Refused { retry_after_s } => {
                speaker.in_flight = speaker.in_flight.saturating_sub(1);
                // Whoever speaks as fast as is answered would only be refused faster; a rate
                // is kept, whatever becomes of it.
                if is_flood {
                    let rest = Duration::from_secs(retry_after_s.min(3600));
                    speaker.rests_until = Some(Instant::now() + rest);
                }
            }
        }
    }

    /// How many should have been said by now.
    fn due(&self, clock: &Clock) -> u64 {
        let Pace::Rate { per_s, limit } = self.pace else { return 0 };
        if per_s <= 0.0 || clock.began_ns == 0 {
            return 0;
        }
        let elapsed_ns = clock.now_ns.min(clock.until_ns).saturating_sub(clock.began_ns);
        // The first at once.
        let due = (elapsed_ns as f64 / 1e9 * per_s) as u64 + 1;
        limit.map_or(due, |limit| due.min(limit))
    }

    fn is_ready(&self, index: usize, viewer: &Viewer) -> bool {
        let speaker = &self.speakers[index];
        speaker.is_known
            && viewer.stage == Stage::Open
            && !viewer.is_stuck()
            && speaker.rests_until.is_none_or(|until| Instant::now() >= until)
    }

    fn whose_turn(&mut self, viewers: &[Viewer]) -> Option<usize> {
        let count = self.speakers.len();
        let mut turns = (self.next..count).chain(0..self.next);
        let index = turns.find(|index| {
            viewers.get(*index).is_some_and(|viewer| self.is_ready(*index, viewer))
        })?;
        self.next = (index + 1) % count;
        Some(index)
    }

    fn say(&mut self, index: usize, viewer: &mut Viewer) {
        self.number += 1;
        let mark = Mark { run: self.run, number: self.number, sent_ns: now_ns() };
        let text = mark.filled(self.text_bytes);
        let speaker = &mut self.speakers[index];
        if let Some(template) = &self.template {
            viewer.say(&template.replace("{}", &text));
            return;
        }
        // By its own name the answer tells when the message was sent.
        let name = mark.text();
        viewer
            .say(&format!("{{\"type\":\"say\",\"message\":\"{text}\",\"client_id\":\"{name}\"}}"));
        speaker.in_flight += 1;
        speaker.said += 1;
        if self.each > 0 && speaker.said >= self.each && speaker.hellos.len() > 1 {
            speaker.greet(viewer);
        }
    }

    /// Those whose user wasn't let in try the next.
    fn greet_again(&mut self, viewers: &mut [Viewer]) {
        for (speaker, viewer) in self.speakers.iter_mut().zip(viewers) {
            let is_lost = !speaker.is_known && !speaker.is_greeting;
            if is_lost && speaker.rests_until.is_some_and(|until| Instant::now() >= until) {
                speaker.greet(viewer);
            }
        }
    }
}

impl Speaker {
    /// The next user has their turn.
    fn greet(&mut self, viewer: &mut Viewer) {
        (self.said, self.turn) = (0, (self.turn + 1) % self.hellos.len().max(1));
        (self.is_known, self.is_greeting) = (false, true);
        if let Some(hello) = self.hellos.get(self.turn) {
            viewer.say(hello);
        }
    }
}

/// How many are said in all. With a cut there is no telling: it goes on until all are back.
fn limit(options: &Options) -> Option<u64> {
    let all = options.rate * options.duration.as_secs_f64();
    // Less what a product of two fractions may be off by.
    options.path_back.is_none().then_some((all - 1e-6).ceil() as u64)
}

/// Users to sockets, like cards.
fn deal(people: &People, viewers: usize) -> Vec<Speaker> {
    let count = people.sockets.min(people.tokens.len()).min(viewers).max(1);
    let mut speakers: Vec<_> =
        (0..count).map(|_| Speaker { is_greeting: true, ..Speaker::default() }).collect();
    for (index, token) in people.tokens.iter().enumerate() {
        let hello = format!("{{\"type\":\"hello\",\"token\":\"{token}\"}}");
        speakers[index % count].hellos.push(hello.into());
    }
    speakers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(publish: Publish, rate: f64, duration: Duration) -> Options {
        Options {
            publish,
            rate,
            duration,
            viewers: 10,
            ..Options::new("127.0.0.1:80".parse().unwrap())
        }
    }

    fn people(count: usize, sockets: usize) -> People {
        let tokens = (0..count).map(|n| format!("t{n}")).collect();
        People { tokens, sockets, ..People::default() }
    }

    fn at(ms: u64) -> Clock {
        Clock {
            began_ns: 1_000_000_000,
            until_ns: u64::MAX,
            now_ns: 1_000_000_000 + ms * 1_000_000,
        }
    }

    #[test]
    fn a_rate_is_kept_to_the_message() {
        let publish = Publish::Viewer("{}".into());
        let options = options(publish, 200.0, Duration::from_millis(500));
        let mut speakers = Speakers::new(1, &options).unwrap();
        for (ms, due) in [(0, 1), (4, 1), (5, 2), (494, 99), (495, 100), (500, 100), (9000, 100)] {
            assert_eq!(speakers.due(&at(ms)), due, "{ms}");
        }
        // Stopped early: what was due by then, and no more.
        assert_eq!(speakers.due(&Clock { until_ns: at(10).now_ns, ..at(400) }), 3);
        assert_eq!(speakers.wait(&at(0)), Duration::from_millis(1), "overdue");
        speakers.number = 2;
        assert_eq!(speakers.wait(&at(6)), Duration::from_millis(4));
        assert!(!speakers.is_settled(&at(500)));
        speakers.number = 100;
        assert!(speakers.is_settled(&at(500)));
        assert_eq!(speakers.wait(&at(500)), MOMENT);
    }

    #[test]
    fn products_of_fractions_are_whole() {
        for (rate, ms, all) in [(100.0, 300, 30), (0.1, 10_000, 1), (7.0, 70, 1), (3.0, 1100, 4)] {
            let options = options(Publish::Elsewhere, rate, Duration::from_millis(ms));
            assert_eq!(limit(&options), Some(all), "{rate} × {ms}");
        }
    }

    #[test]
    fn users_are_dealt_to_sockets() {
        let hellos = |people: &People, viewers| -> Vec<usize> {
            deal(people, viewers).iter().map(|speaker| speaker.hellos.len()).collect()
        };
        assert_eq!(hellos(&people(5, 2), 10), [3, 2]);
        assert_eq!(hellos(&people(2, 9), 10), [1, 1]);
        assert_eq!(hellos(&people(4, 4), 1), [4]);
        let options = options(Publish::People(people(5, 2)), 1.0, Duration::from_secs(1));
        let speakers = Speakers::new(1, &options).unwrap();
        let hello = |token: &str| {
            Some(Knock::Hello(format!("{{\"type\":\"hello\",\"token\":\"{token}\"}}").into()))
        };
        assert_eq!((speakers.knock(0), speakers.knock(1)), (hello("t0"), hello("t1")));
        assert_eq!(speakers.knock(2), None);
    }

    #[test]
    fn who_floods_rests_when_refused() {
        let flood = People { in_flight: Some(2), ..people(1, 1) };
        let options = options(Publish::People(flood), 0.0, Duration::from_secs(1));
        let mut speakers = Speakers::new(1, &options).unwrap();
        speakers.speakers[0].in_flight = 2;
        speakers.hear(0, News::Known);
        speakers.hear(0, News::Accepted);
        assert!(speakers.speakers[0].rests_until.is_none());
        assert_eq!(speakers.unanswered(), 1);
        speakers.hear(0, News::Refused { retry_after_s: 5 });
        assert!(speakers.speakers[0].rests_until.is_some() && speakers.is_settled(&at(0)));
    }
}
