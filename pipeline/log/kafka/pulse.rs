//! What is known about the brokers: whether appends get through, and if not, why.
//!
//! ```text
//! librdkafka's error events ──► said ─┐
//! acknowledgements ──► progress ──────┼──► thread log-health, every second ──► health
//! a metadata request, when idle ──────┘
//! ```
//!
//! Held: the last complaint, and since when nothing was acknowledged. Never
//! done here: deciding what becomes of an append.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::watch;

use crate::Error;

/// Appends that wait this long without any acknowledgement are trouble, even
/// if a broker answers: its partition may have no leader or too few copies.
const STALLED: Duration = Duration::from_secs(5);

/// A complaint counts this long: librdkafka doesn't repeat it while it stays the same.
const REMEMBERED: Duration = Duration::from_secs(40);

/// What librdkafka complained about last.
struct Said {
    code: RDKafkaErrorCode,
    reason: String,
    at: Instant,
}

/// Shared by all clients of a log.
pub(super) struct Pulse {
    brokers: Arc<str>,
    said: Mutex<Option<Said>>,
    acknowledged: AtomicU64,
    waiting: AtomicUsize,
    // Since when something waits and nothing was acknowledged.
    quiet_since: Mutex<Option<Instant>>,
    trouble: watch::Sender<Option<Error>>,
}

impl Pulse {
    pub fn new(brokers: Arc<str>) -> Self {
        Self {
            brokers,
            said: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            quiet_since: Mutex::default(),
            trouble: watch::Sender::new(None),
        }
    }

    /// A record waits from now on.
    pub fn waits(&self) {
        if self.waiting.fetch_add(1, Ordering::AcqRel) == 0 {
            self.quiet_since.lock().get_or_insert_with(Instant::now);
        }
    }

    /// A record waits no longer.
    pub fn answered(&self, acknowledged: bool) {
        let left = self.waiting.fetch_sub(1, Ordering::AcqRel) - 1;
        *self.quiet_since.lock() = (left > 0).then(Instant::now);
        if acknowledged {
            self.acknowledged.fetch_add(1, Ordering::Release);
        }
    }

    /// Records acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// Records that wait.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Why appends can't be expected to be answered now, if so.
    pub fn trouble(&self) -> Option<Error> {
        self.trouble.borrow().clone()
    }

    pub fn subscribe(&self) -> watch::Receiver<Option<Error>> {
        self.trouble.subscribe()
    }

    /// What the health thread found. Logs when it changes.
    pub fn set(&self, found: Result<(), Error>) {
        let before = self.trouble.borrow().is_some();
        match found {
            Ok(()) => {
                self.said.lock().take_if(|said| said.at.elapsed() > REMEMBERED);
                if before {
                    tracing::info!(brokers = %self.brokers, "the log's brokers answer again");
                    self.trouble.send_replace(None);
                }
            }
            Err(error) => {
                if !before {
                    tracing::warn!(%error, "appends to the log wait");
                }
                self.trouble.send_replace(Some(error));
            }
        }
    }

    /// Trouble if something has waited too long.
    pub fn stalled(&self) -> Option<Error> {
        let since = (*self.quiet_since.lock())?;
        let quiet = since.elapsed();
        (quiet > STALLED).then(|| {
            let reason = format!("no append was acknowledged for {} s", quiet.as_secs());
            let remedy = "check that every partition has a leader and min.insync.replicas copies";
            self.broker("append", reason, remedy)
        })
    }

    /// An error of these brokers, with what they said last as the reason if
    /// `error` only tells that time ran out.
    pub fn explain(&self, action: impl Into<String>, error: &KafkaError) -> Error {
        use RDKafkaErrorCode as E;
        let code = match error {
            KafkaError::AdminOp(code) => Some(*code),
            error => error.rdkafka_error_code(),
        };
        let vague = matches!(
            code,
            None | Some(
                E::BrokerTransportFailure
                    | E::AllBrokersDown
                    | E::OperationTimedOut
                    | E::MessageTimedOut
                    | E::TimedOutQueue
            )
        );
        match (&*self.said.lock(), code) {
            (Some(said), _) if vague => {
                self.broker(action.into(), said.reason.clone(), remedy(said.code))
            }
            (_, Some(code)) => self.broker(action.into(), code.to_string(), remedy(code)),
            (_, None) => {
                self.broker(action.into(), error.to_string(), remedy(E::BrokerTransportFailure))
            }
        }
    }

    pub fn broker(&self, action: impl Into<String>, reason: String, remedy: &'static str) -> Error {
        Error::Broker { action: action.into(), brokers: Arc::clone(&self.brokers), reason, remedy }
    }

    /// Whether waiting can't help: somebody must change something first.
    pub fn hopeless(&self) -> Option<KafkaError> {
        use RDKafkaErrorCode as E;
        let code = self.said.lock().as_ref().map(|said| said.code)?;
        let hopeless = matches!(
            code,
            E::Authentication | E::SaslAuthenticationFailed | E::SSL | E::UnsupportedSASLMechanism
        );
        hopeless.then_some(KafkaError::Global(E::AllBrokersDown))
    }
}

/// What an operator can do about it.
fn remedy(code: RDKafkaErrorCode) -> &'static str {
    use RDKafkaErrorCode as E;
    match code {
        E::Authentication | E::SaslAuthenticationFailed | E::UnsupportedSASLMechanism => {
            "check security.protocol and the sasl.* properties in the log's options"
        }
        E::SSL => "check security.protocol and the ssl.* properties in the log's options",
        E::Resolve => "check the host names in the log's URL",
        E::TopicAuthorizationFailed | E::ClusterAuthorizationFailed => {
            "allow this user to create, describe, read, write and trim topics with the log's prefix"
        }
        E::InvalidReplicationFactor => "set the log's replication to at most the number of brokers",
        E::MessageSizeTooLarge => "set max.message.bytes of the log's topics to 2097152 or more",
        E::PolicyViolation => "make the topics by hand as the cluster's policy wants them",
        _ => {
            "check that the brokers run and that the log's URL and security.protocol name them right"
        }
    }
}

/// The callbacks of one client.
#[derive(Clone)]
pub(super) struct Listener(pub Arc<Pulse>);

impl ClientContext for Listener {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Whatever matters comes as an error too, and a lost broker says so many times a second.
        tracing::debug!(target: "log::kafka", facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        // The end of a partition comes this way too, and is no complaint.
        if code == RDKafkaErrorCode::PartitionEOF {
            return;
        }
        // "1/1 brokers are down" hides the reason that came before it.
        let mut said = self.0.said.lock();
        if code == RDKafkaErrorCode::AllBrokersDown && said.is_some() {
            return;
        }
        *said = Some(Said { code, reason: reason.to_owned(), at: Instant::now() });
    }
}
