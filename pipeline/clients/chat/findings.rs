//! What viewers find, each thread for its own, added up in the end.

use std::collections::BTreeMap;

use crate::histogram::Histogram;
use crate::marker::Mark;
use crate::viewer::Around;

/// Part of the findings: while viewers joined.
pub const JOINING: usize = 0;
/// Part of the findings: once all were there.
pub const MEASURED: usize = 1;
/// Part of the findings: from the cut until all were back.
pub const BACK: usize = 2;
/// Part of the findings: what was still on its way when the measuring ended.
pub const AFTER: usize = 3;

/// What the viewers of a thread found, or all of them.
#[derive(Debug, Default)]
pub struct Findings {
    /// Send to receive: while viewers joined, of what was sent once all were there (whenever
    /// it came), while they came back.
    pub latency: [Histogram; 3],
    /// Messages with a mark of the run, by the part in which they came.
    pub deliveries: [u64; 4],
    /// Bytes read.
    pub bytes: u64,
    /// Reads that gave something.
    pub reads: u64,
    /// Numbers that were left out.
    pub gaps: u64,
    /// Numbers that came again, or after a greater one.
    pub repeated: u64,
    /// Those who came back and were told that not all they missed is there any more.
    pub unrecovered: u64,
    /// Connections that ended, by close code; 1006 without one (RFC 6455, 7.1.5).
    pub closed: BTreeMap<u16, u64>,
    /// Handshakes that were refused or broke.
    pub turned_away: u64,
    /// What the first of these was told.
    pub told: Option<String>,
    /// Messages said here.
    pub said: u64,
    /// Of these, those that the server accepted, by the part in which it said so.
    pub accepted: [u64; 4],
    /// Send to accepted.
    pub answers: Histogram,
    /// Of these, those that the server refused, by status and code.
    pub refused: BTreeMap<String, u64>,
    /// Of these, those to which the server said nothing.
    pub unanswered: u64,
    /// What the server did wrong, in words.
    pub faults: BTreeMap<&'static str, u64>,
    /// The greatest number that any viewer knows of, and of what was said here and accepted.
    pub(crate) greatest: u64,
    pub(crate) accepted_last: u64,
    /// What was answered to those who speak, until their thread looks at it.
    pub(crate) news: Vec<News>,
}

/// An answer to one who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// To a hello.
    Known,
    /// To a hello: no.
    Unknown,
    /// To a message.
    Accepted,
    /// To a message: no; when another may be tried.
    Refused { retry_after_s: u64 },
}

impl Findings {
    /// A marked message came.
    pub(crate) fn deliver(&mut self, mark: &Mark, now_ns: u64, around: &Around<'_>) {
        self.deliveries[around.part] += 1;
        // What others send after the end is no longer measured, though it is looked at.
        if around.run.is_some() || mark.sent_ns <= around.until_ns {
            let row = if around.part == AFTER { around.row } else { around.part };
            self.latency[row].record(now_ns.saturating_sub(mark.sent_ns) / 1000);
        }
    }

    /// A message of ours was accepted.
    pub(crate) fn accept(&mut self, mark: &Mark, seq: u64, now_ns: u64, part: usize) {
        self.accepted[part] += 1;
        self.answers.record(now_ns.saturating_sub(mark.sent_ns) / 1000);
        self.accepted_last = self.accepted_last.max(seq);
        self.news.push(News::Accepted);
    }

    /// The server said no to something that was said.
    pub(crate) fn refuse(&mut self, status: u64, code: &str) {
        *self.refused.entry(format!("{status} {code}")).or_default() += 1;
    }

    /// A viewer wasn't let in.
    pub(crate) fn turn_away(&mut self, told: &[u8]) {
        self.turned_away += 1;
        if self.told.is_none() && !told.is_empty() {
            let told = String::from_utf8_lossy(&told[..told.len().min(500)]);
            // Of an HTTP answer the status, and the reason that its body gives.
            let first = told.lines().next().unwrap_or_default();
            let reason =
                told.split_once("\"detail\":\"").and_then(|(_, rest)| rest.split_once('"'));
            self.told = Some(match reason {
                Some((reason, _)) if first.starts_with("HTTP/") => format!("{first}: {reason}"),
                _ => first.to_owned(),
            });
        }
    }

    /// Something that a server may not do.
    pub(crate) fn fault(&mut self, what: &'static str) {
        *self.faults.entry(what).or_default() += 1;
    }

    /// Adds another thread's.
    pub(crate) fn add(&mut self, other: Self) {
        for (all, more) in self.latency.iter_mut().zip(&other.latency) {
            all.merge(more);
        }
        for part in 0..self.deliveries.len() {
            self.deliveries[part] += other.deliveries[part];
            self.accepted[part] += other.accepted[part];
        }
        self.answers.merge(&other.answers);
        self.bytes += other.bytes;
        self.reads += other.reads;
        self.gaps += other.gaps;
        self.repeated += other.repeated;
        self.unrecovered += other.unrecovered;
        self.turned_away += other.turned_away;
        self.said += other.said;
        self.unanswered += other.unanswered;
        self.told = self.told.take().or(other.told);
        for (code, count) in other.closed {
            *self.closed.entry(code).or_default() += count;
        }
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use crate::marker::Marks;
    use crate::options::Dialect;

    #[test]
    fn what_others_send_after_the_end_is_not_measured() {
        let (marks, epoch) = (Marks::default(), OnceLock::new());
        let around = Around {
            marks: &marks,
            run: None,
            dialect: Dialect::Millstream,
            part: AFTER,
            row: MEASURED,
            until_ns: 50,
            epoch: &epoch,
        };
        let mut findings = Findings::default();
        for sent_ns in [10, 50, 51] {
            findings.deliver(&Mark { run: 1, number: 1, sent_ns }, 2_000_000, &around);
        }
        assert_eq!((findings.deliveries[AFTER], findings.latency[MEASURED].total()), (3, 2));
    }

    #[test]
    fn who_is_turned_away_knows_why() {
        let mut findings = Findings::default();
        findings.turn_away(b"");
        findings.turn_away(
            b"HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\n{\"detail\":\"poll instead\"}",
        );
        findings.turn_away(b"HTTP/1.1 404 Not Found\r\n\r\n");
        let told = findings.told.as_deref();
        assert_eq!(told, Some("HTTP/1.1 503 Service Unavailable: poll instead"));
        assert_eq!(findings.turned_away, 3);
    }
}
