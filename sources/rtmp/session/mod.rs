//! One publisher's conversation, without its socket.
//!
//! ```text
//! Message ──receive──► Session ──Action──► connection (writes, asks the gate, pushes)
//!            admitted / refused / order ──►┘
//! ```
//!
//! Enters: whole messages, the gate's answer, its orders. Leaves: [`Action`]s,
//! in the order in which they must happen. Held: where the conversation is,
//! the last timestamp, how much was received. Ends with an error (what was
//! said before it is still to be delivered) or when the connection does.
//! Never done here: waiting, I/O, deciding who may publish.
//!
//! Rule sources: *R* = Adobe's RTMP 1.0, *E* = Enhanced RTMP v2.

mod aggregate;
mod capabilities;
mod command;
mod reply;

#[cfg(test)]
mod tests;

use records::PacketBody;

use self::command::Command;
use self::reply::Level;
use super::amf::{AmfError, AmfLimits, Value};
use super::chunk::{Message, kind};
use super::gate::{Order, Refusal};
use super::key::Address;
use super::timestamp::Unwrap;

/// Size of the chunks that the server sends, in bytes.
const CHUNK_BYTES: u32 = 4096;
/// Message streams a client may create; a publisher needs one.
const STREAMS_MAX: u32 = 16;
/// Messages in one aggregate: bounds what must be held until they are pushed.
const PARTS_MAX: usize = 1024;

/// What the connection has to do.
#[derive(Debug)]
pub enum Action {
    /// Tell the peer.
    Send(Message),
    /// Tell the peer a new chunk size, and use it.
    SetChunkSize(u32),
    /// Ask the gate, then call [`Session::admitted`] or [`Session::refused`]
    /// before the next message.
    Admit(Address),
    /// Hand to the data plane.
    Push(PacketBody),
    /// A data message was left out, since its AMF0 is unusable.
    DataDropped(AmfError),
    /// The publisher ended its broadcast properly.
    Leave,
}

/// The peer broke a rule of the session, or wants what isn't offered. Its
/// fault; the same again won't help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// A command that can't be read.
    #[error("command: {0}")]
    Amf(#[from] AmfError),
    /// A command that doesn't fit where the conversation is.
    #[error("{command} is out of place")]
    OutOfPlace {
        /// Its name.
        command: &'static str,
    },
    /// More message streams than a publisher can need.
    #[error("more than {STREAMS_MAX} message streams")]
    TooManyStreams,
    /// More messages in an aggregate than anybody sends.
    #[error("more than {PARTS_MAX} messages in an aggregate")]
    TooManyParts,
    /// Application or key is longer than any can be.
    #[error("the address is too long")]
    AddressTooLong,
    /// It wants to play.
    #[error("playback over RTMP is not offered")]
    Playback,
}

impl SessionError {
    /// A short name for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Amf(_) => "amf",
            Self::OutOfPlace { .. } | Self::TooManyStreams | Self::AddressTooLong => "command",
            Self::TooManyParts => "aggregate",
            Self::Playback => "playback",
        }
    }
}

enum State {
    /// Before `connect`.
    Fresh,
    /// After `connect`, with its `app`; between broadcasts, too.
    Connected,
    /// The gate was asked.
    Asking { stream_id: u32 },
    /// Media is welcome.
    Publishing { stream_id: u32 },
}

/// One publisher's conversation; see the module.
pub struct Session {
    amf: AmfLimits,
    ack_window_bytes: u32,
    state: State,
    app: String,
    // What the client calls itself, for the log.
    client: String,
    streams: u32,
    can_reconnect: bool,
    unwrap: Unwrap,
    received: u64,
    acknowledged: u64,
}

impl Session {
    /// A conversation that hasn't begun. `ack_window_bytes` is what both
    /// sides may send before they want an acknowledgement.
    #[must_use]
    pub fn new(amf: AmfLimits, ack_window_bytes: u32) -> Self {
        Self {
            amf,
            ack_window_bytes,
            state: State::Fresh,
            app: String::new(),
            client: String::new(),
            streams: 0,
            can_reconnect: false,
            unwrap: Unwrap::default(),
            received: 0,
            acknowledged: 0,
        }
    }

    /// What the client calls itself (`flashVer`), cut to 64 characters.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Counts bytes that arrived, and acknowledges them once a window is full.
    pub fn count(&mut self, bytes: usize, actions: &mut Vec<Action>) {
        self.received += bytes as u64;
        if self.received - self.acknowledged >= u64::from(self.ack_window_bytes) {
            self.acknowledged = self.received;
            actions.push(Action::Send(reply::acknowledgement(self.received as u32)));
        }
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// A [`SessionError`]: the actions so far (they explain it to the peer)
    /// are still to be done, then the connection is to be closed.
    pub fn receive(
        &mut self,
        message: Message,
        actions: &mut Vec<Action>,
    ) -> Result<(), SessionError> {
        match message.type_id {
            kind::AUDIO | kind::VIDEO | kind::DATA | kind::DATA_AMF3 => {
                self.media(message, actions);
            }
            kind::AGGREGATE => {
                let mut parts = aggregate::split(&message);
                parts.by_ref().take(PARTS_MAX).for_each(|part| self.media(part, actions));
                if parts.next().is_some() {
                    return Err(SessionError::TooManyParts);
                }
            }
            kind::COMMAND | kind::COMMAND_AMF3 => {
                if let Some(command) = Command::parse(&message, &self.amf)? {
                    return self.command(command, message.stream_id, actions);
                }
            }
            kind::WINDOW_ACK_SIZE => {
                // Never 0; a tiny one costs at most one acknowledgement per read.
                if let Some(bytes) = message.payload.first_chunk() {
                    self.ack_window_bytes = u32::from_be_bytes(*bytes).max(1);
                }
            }
            kind::PEER_BANDWIDTH => {
                if let Some(bytes) = message.payload.first_chunk() {
                    let window = u32::from_be_bytes(*bytes);
                    actions.push(Action::Send(reply::window_ack_size(window)));
                }
            }
            kind::USER_CONTROL => {
                const PING_REQUEST: [u8; 2] = [0, 6];
                if let Some((&PING_REQUEST, echo)) = message.payload.split_first_chunk() {
                    let echo = &echo[..echo.len().min(8)];
                    actions.push(Action::Send(reply::ping_response(echo)));
                }
            }
            // Acknowledgements, shared objects and what nobody has heard of.
            _ => {}
        }
        Ok(())
    }

    /// Picture, sound or data: passed on while publishing, else ignored.
    fn media(&mut self, message: Message, actions: &mut Vec<Action>) {
        if !matches!(self.state, State::Publishing { .. }) || message.payload.is_empty() {
            return;
        }
        let action = match message.type_id {
            kind::AUDIO => {
                let timestamp_ms = self.unwrap.media(message.timestamp_ms);
                Action::Push(PacketBody::Audio { timestamp_ms, data: message.payload })
            }
            kind::VIDEO => {
                let timestamp_ms = self.unwrap.media(message.timestamp_ms);
                Action::Push(PacketBody::Video { timestamp_ms, data: message.payload })
            }
            kind::DATA | kind::DATA_AMF3 => match command::data(&message, &self.amf) {
                Ok(Some(data)) => {
                    let timestamp_ms = self.unwrap.peek(message.timestamp_ms);
                    Action::Push(PacketBody::Data { timestamp_ms, data })
                }
                Ok(None) => return,
                Err(error) => Action::DataDropped(error),
            },
            _ => return,
        };
        actions.push(action);
    }

    fn command(
        &mut self,
        command: Command,
        stream_id: u32,
        actions: &mut Vec<Action>,
    ) -> Result<(), SessionError> {
        let transaction = command.transaction;
        let mut result = |values: [Value; 2]| {
            if transaction != 0.0 {
                actions.push(Action::Send(reply::command(0, "_result", transaction, values)));
            }
        };
        match command.name.as_str() {
            "connect" => self.connect(&command, actions)?,
            "createStream" => {
                self.expect_connected("createStream")?;
                if self.streams == STREAMS_MAX {
                    return Err(SessionError::TooManyStreams);
                }
                self.streams += 1;
                result([Value::Null, f64::from(self.streams).into()]);
                actions.push(Action::Send(reply::stream_begin(self.streams)));
            }
            "publish" => self.publish(&command, stream_id, actions)?,
            "play" | "play2" => {
                let text = "playback over RTMP is not offered here: watch over HLS";
                let code = "NetStream.Play.Failed";
                actions.push(Action::Send(reply::status(stream_id, Level::Error, code, text)));
                return Err(SessionError::Playback);
            }
            "FCUnpublish" | "deleteStream" | "closeStream" => self.unpublish(actions),
            "releaseStream" | "_checkbw" => result([Value::Null, Value::Null]),
            "FCPublish" => {
                result([Value::Null, Value::Null]);
                // Old Flash encoders wait for it.
                let info = reply::info(Level::Status, "NetStream.Publish.Start", "go ahead");
                let values = [Value::Null, info];
                actions.push(Action::Send(reply::command(0, "onFCPublish", 0.0, values)));
            }
            "getStreamLength" => result([Value::Null, 0.0.into()]),
            _ => {}
        }
        Ok(())
    }

    fn expect_connected(&self, command: &'static str) -> Result<(), SessionError> {
        match self.state {
            State::Fresh => Err(SessionError::OutOfPlace { command }),
            _ => Ok(()),
        }
    }

    fn connect(
        &mut self,
        command: &Command,
        actions: &mut Vec<Action>,
    ) -> Result<(), SessionError> {
        if !matches!(self.state, State::Fresh) {
            return Err(SessionError::OutOfPlace { command: "connect" });
        }
        let text = |name| command.object.get(name).and_then(Value::as_str).unwrap_or_default();
        self.state = State::Connected;
        self.app = text("app").into();
        self.client = text("flashVer").chars().filter(|c| !c.is_control()).take(64).collect();
        self.can_reconnect = capabilities::can_reconnect(&command.object);
        let result = capabilities::connect_result(&command.object);
        actions.extend([
            Action::Send(reply::window_ack_size(self.ack_window_bytes)),
            Action::Send(reply::peer_bandwidth(self.ack_window_bytes)),
            Action::SetChunkSize(CHUNK_BYTES),
            Action::Send(reply::stream_begin(0)),
            Action::Send(reply::command(0, "_result", command.transaction, result)),
        ]);
        Ok(())
    }

    fn publish(
        &mut self,
        command: &Command,
        stream_id: u32,
        actions: &mut Vec<Action>,
    ) -> Result<(), SessionError> {
        let out_of_place = SessionError::OutOfPlace { command: "publish" };
        match self.state {
            State::Fresh => return Err(out_of_place),
            State::Connected => {}
            State::Asking { .. } | State::Publishing { .. } => {
                let text = "this connection publishes already";
                let code = Refusal::InUse.status_code();
                actions.push(Action::Send(reply::status(stream_id, Level::Error, code, text)));
                return Err(out_of_place);
            }
        }
        let Some(address) = Address::parse(&self.app, command.text()) else {
            let refusal = Refusal::BadKey;
            let (code, text) = (refusal.status_code(), refusal.to_string());
            actions.push(Action::Send(reply::status(stream_id, Level::Error, code, &text)));
            return Err(SessionError::AddressTooLong);
        };
        self.state = State::Asking { stream_id };
        actions.push(Action::Admit(address));
        Ok(())
    }

    /// The gate admitted the publisher.
    pub fn admitted(&mut self, actions: &mut Vec<Action>) {
        if let State::Asking { stream_id } = self.state {
            self.state = State::Publishing { stream_id };
            self.unwrap = Unwrap::default();
            let (code, text) = ("NetStream.Publish.Start", "publishing");
            actions.push(Action::Send(reply::status(stream_id, Level::Status, code, text)));
        }
    }

    /// The gate refused; the connection is to be closed once this is delivered.
    pub fn refused(&mut self, refusal: &Refusal, actions: &mut Vec<Action>) {
        if let State::Asking { stream_id } = self.state {
            self.state = State::Connected;
            let (code, text) = (refusal.status_code(), refusal.to_string());
            actions.push(Action::Send(reply::status(stream_id, Level::Error, code, &text)));
        }
    }

    /// The gate wants something. After [`Order::Close`] the connection is to
    /// be closed once this is delivered.
    pub fn order(&mut self, order: &Order, actions: &mut Vec<Action>) {
        let State::Publishing { stream_id } = self.state else {
            return;
        };
        let message = match order {
            Order::Serve => return,
            Order::Reconnect { tc_url, reason } => {
                if !self.can_reconnect {
                    return;
                }
                let code = "NetConnection.Connect.ReconnectRequest";
                let mut info = reply::info(Level::Status, code, reason);
                if let (Some(url), Value::Object(members)) = (tc_url, &mut info) {
                    members.push(("tcUrl".into(), (**url).into()));
                }
                reply::command(0, "onStatus", 0.0, [Value::Null, info])
            }
            // Encoders take an error of the stream as final.
            Order::Close { reason, may_return: false } => {
                reply::status(stream_id, Level::Error, "NetStream.Publish.Denied", reason)
            }
            Order::Close { reason, may_return: true } => {
                reply::status(0, Level::Status, "NetConnection.Connect.Closed", reason)
            }
        };
        actions.push(Action::Send(message));
    }

    fn unpublish(&mut self, actions: &mut Vec<Action>) {
        if let State::Publishing { stream_id } = self.state {
            self.state = State::Connected;
            let (code, text) = ("NetStream.Unpublish.Success", "the broadcast has ended");
            actions.push(Action::Leave);
            actions.push(Action::Send(reply::status(stream_id, Level::Status, code, text)));
        }
    }
}
