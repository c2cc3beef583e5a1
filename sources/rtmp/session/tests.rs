//! Conversations as clients hold them, without a socket.

use bytes::Bytes;

use super::*;
use crate::rtmp::amf::{decode, encode, object};

struct Talk {
    session: Session,
    actions: Vec<Action>,
}

impl Talk {
    fn new() -> Self {
        Self { session: Session::new(AmfLimits::default(), 1000), actions: Vec::new() }
    }

    fn receive(
        &mut self,
        type_id: u8,
        time: u32,
        payload: impl Into<Bytes>,
    ) -> Result<(), SessionError> {
        let message = Message {
            chunk_stream: 3,
            stream_id: 1,
            type_id,
            timestamp_ms: time,
            payload: payload.into(),
        };
        self.session.receive(message, &mut self.actions)
    }

    fn command(&mut self, name: &str, args: &[Value]) -> Result<(), SessionError> {
        self.receive(kind::COMMAND, 0, command(name, args))
    }

    fn connect(&mut self, object: Value) {
        self.command("connect", &[object]).unwrap();
        self.actions.clear();
    }

    /// Up to "publishing".
    fn published() -> Self {
        let mut talk = Self::new();
        talk.connect(object([("app", "live".into()), ("capsEx", 1.0.into())]));
        talk.command("publish", &[Value::Null, "KEY".into(), "live".into()]).unwrap();
        talk.session.admitted(&mut talk.actions);
        talk.actions.clear();
        talk
    }

    /// Names and values of the commands said so far; forgets all actions.
    fn said(&mut self) -> Vec<(String, Vec<Value>)> {
        let mut said = Vec::new();
        for action in self.actions.drain(..) {
            if let Action::Send(message) = action
                && message.type_id == kind::COMMAND
            {
                let mut values = decode(&message.payload, &AmfLimits::default()).unwrap();
                let name = values.remove(0);
                said.push((name.as_str().unwrap().into(), values));
            }
        }
        said
    }

    /// The code of the one status said so far.
    fn status(&mut self) -> String {
        let said = self.said();
        let [(name, values)] = &said[..] else { panic!("{said:?}") };
        assert_eq!((name.as_str(), &values[0]), ("onStatus", &Value::Number(0.0)));
        values[2].get("code").and_then(Value::as_str).unwrap().into()
    }

    fn pushed(&mut self) -> Vec<PacketBody> {
        let push = |action| match action {
            Action::Push(body) => Some(body),
            _ => None,
        };
        self.actions.drain(..).filter_map(push).collect()
    }
}

fn command(name: &str, args: &[Value]) -> Vec<u8> {
    let mut payload = Vec::new();
    encode(&name.into(), &mut payload);
    encode(&4.0.into(), &mut payload);
    args.iter().for_each(|value| encode(value, &mut payload));
    payload
}

#[test]
fn a_publisher_gets_in() {
    let mut talk = Talk::new();
    talk.command("connect", &[object([("app", "live".into())])]).unwrap();
    assert!(matches!(talk.actions[2], Action::SetChunkSize(4096)));
    let (name, values) = talk.said().remove(0);
    assert_eq!(name, "_result");
    assert_eq!(values[0], Value::Number(4.0));
    assert_eq!(values[2].get("code").unwrap().as_str(), Some("NetConnection.Connect.Success"));
    // Nothing declared, nothing told.
    assert_eq!(values[2].get("fourCcList"), None);

    talk.command("releaseStream", &[Value::Null, "KEY".into()]).unwrap();
    talk.command("FCPublish", &[Value::Null, "KEY".into()]).unwrap();
    talk.command("createStream", &[Value::Null]).unwrap();
    let said = talk.said();
    let names: Vec<_> = said.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["_result", "_result", "onFCPublish", "_result"]);
    assert_eq!(said[3].1[2], Value::Number(1.0));

    talk.command("publish", &[Value::Null, "KEY".into(), "live".into()]).unwrap();
    let Some(Action::Admit(address)) = talk.actions.pop() else { panic!() };
    assert_eq!((&*address.app, address.key.expose()), ("live", "KEY"));
    talk.session.admitted(&mut talk.actions);
    assert_eq!(talk.status(), "NetStream.Publish.Start");
}

#[test]
fn capabilities_are_answered_under_the_names_used() {
    let mut talk = Talk::new();
    let declared = object([
        ("app", "live".into()),
        ("fourCcList", Value::Array(vec!["hvc1".into()])),
        ("capsEx", 3.0.into()),
    ]);
    talk.command("connect", &[declared]).unwrap();
    let values = talk.said().remove(0).1;
    for place in [&values[1], &values[2]] {
        assert_eq!(place.get("capsEx"), Some(&Value::Number(1.0)));
        let Some(Value::Array(codecs)) = place.get("fourCcList") else { panic!() };
        assert!(codecs.contains(&"av01".into()));
        assert_eq!(place.get("videoFourCcInfoMap"), None);
    }
}

#[test]
fn refusals_carry_code_and_description() {
    for (refusal, code) in [
        (Refusal::InUse, "NetStream.Publish.BadName"),
        (Refusal::BadKey, "NetStream.Publish.Denied"),
        (Refusal::Ended("deleted".into()), "NetStream.Publish.Denied"),
    ] {
        let mut talk = Talk::new();
        talk.connect(object([("app", "live".into())]));
        talk.command("publish", &[Value::Null, "KEY".into()]).unwrap();
        talk.actions.clear();
        talk.session.refused(&refusal, &mut talk.actions);
        let values = talk.said().remove(0).1;
        assert_eq!(values[2].get("code").unwrap().as_str(), Some(code));
        assert_eq!(values[2].get("level").unwrap().as_str(), Some("error"));
        let description = values[2].get("description").unwrap().as_str().unwrap();
        assert_eq!(description, refusal.to_string());
    }
}

#[test]
fn nothing_is_pushed_before_admission_or_after_the_end() {
    let mut talk = Talk::new();
    talk.connect(object([("app", "live".into())]));
    talk.receive(kind::VIDEO, 0, vec![1]).unwrap();
    talk.command("publish", &[Value::Null, "KEY".into()]).unwrap();
    talk.receive(kind::VIDEO, 0, vec![2]).unwrap();
    assert!(talk.pushed().is_empty());
    talk.session.admitted(&mut talk.actions);
    talk.receive(kind::VIDEO, 0, vec![3]).unwrap();
    assert_eq!(talk.pushed().len(), 1);
    talk.command("FCUnpublish", &[Value::Null, "KEY".into()]).unwrap();
    assert!(matches!(talk.actions[0], Action::Leave));
    talk.command("deleteStream", &[Value::Null, 1.0.into()]).unwrap();
    assert_eq!(talk.status(), "NetStream.Unpublish.Success");
    talk.receive(kind::VIDEO, 0, vec![4]).unwrap();
    assert!(talk.pushed().is_empty());
    // The same connection may publish again, with timestamps from anywhere.
    talk.command("publish", &[Value::Null, "KEY".into()]).unwrap();
    assert!(matches!(talk.actions.pop(), Some(Action::Admit(_))));
}

#[test]
fn media_arrives_unwrapped_and_unchanged() {
    let mut talk = Talk::published();
    talk.receive(kind::VIDEO, u32::MAX, vec![0x17, 1]).unwrap();
    talk.receive(kind::AUDIO, 19, vec![0xaf, 1]).unwrap();
    talk.receive(kind::AUDIO, 40, vec![]).unwrap();
    let [
        PacketBody::Video { timestamp_ms: first, data },
        PacketBody::Audio { timestamp_ms: second, .. },
    ] = &talk.pushed()[..]
    else {
        panic!()
    };
    assert_eq!((*first, *second), ((1 << 32) - 1, (1 << 32) + 19));
    assert_eq!(data[..], [0x17, 1]);
}

#[test]
fn metadata_loses_its_wrapping() {
    let mut plain = Vec::new();
    encode(&"onMetaData".into(), &mut plain);
    encode(&object([("width", 1280.0.into())]), &mut plain);
    let mut wrapped = Vec::new();
    encode(&"@setDataFrame".into(), &mut wrapped);
    wrapped.extend(&plain);
    let amf3 = [&[0], &wrapped[..]].concat();

    let mut talk = Talk::published();
    for (type_id, payload) in [
        (kind::DATA, plain.clone()),
        (kind::DATA, wrapped.clone()),
        (kind::DATA_AMF3, amf3),
        (kind::DATA_AMF3, wrapped),
    ] {
        talk.receive(type_id, 0, payload).unwrap();
    }
    for body in talk.pushed() {
        let PacketBody::Data { data, .. } = body else { panic!() };
        assert_eq!(data, plain);
    }
    let mut clear = Vec::new();
    encode(&"@clearDataFrame".into(), &mut clear);
    talk.receive(kind::DATA, 0, clear).unwrap();
    assert!(talk.pushed().is_empty());
}

#[test]
fn bombs_in_metadata_are_left_out_and_in_commands_refused() {
    let bomb: Vec<u8> = [3, 0, 1, b'a'].repeat(1000);
    let mut talk = Talk::published();
    talk.receive(kind::DATA, 0, bomb.clone()).unwrap();
    assert!(matches!(talk.actions[..], [Action::DataDropped(AmfError::TooDeep)]));
    let error = talk.receive(kind::COMMAND, 0, bomb).unwrap_err();
    assert_eq!(error.label(), "amf");
}

#[test]
fn aggregates_are_split() {
    let mut payload = Vec::new();
    for (type_id, time, data) in [(kind::AUDIO, 100_u8, 1_u8), (kind::VIDEO, 120, 2)] {
        payload.extend([type_id, 0, 0, 1, 0, 0, time, 0, 0, 0, 0, data, 0, 0, 0, 12]);
    }
    // Truncated: claims more than there is.
    payload.extend([kind::VIDEO, 0, 9, 9, 0, 0, 0, 0, 0, 0, 0, 1]);
    let mut talk = Talk::published();
    talk.receive(kind::AGGREGATE, 5000, payload).unwrap();
    let pushed = talk.pushed();
    assert!(matches!(
        &pushed[..],
        [
            PacketBody::Audio { timestamp_ms: 5000, .. },
            PacketBody::Video { timestamp_ms: 5020, .. }
        ]
    ));
}

#[test]
fn an_aggregate_is_no_bomb() {
    let part = [kind::AUDIO, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 12];
    let mut talk = Talk::published();
    talk.receive(kind::AGGREGATE, 0, part.repeat(1024)).unwrap();
    let error = talk.receive(kind::AGGREGATE, 0, part.repeat(100_000)).unwrap_err();
    assert_eq!(error, SessionError::TooManyParts);
    assert_eq!(talk.pushed().len(), 2048);
}

#[test]
fn amf3_commands_are_understood() {
    let mut talk = Talk::new();
    talk.connect(object([("app", "live".into())]));
    let payload = [&[0], &command("createStream", &[Value::Null])[..]].concat();
    talk.receive(kind::COMMAND_AMF3, 0, payload).unwrap();
    assert_eq!(talk.said()[0].0, "_result");
}

#[test]
fn curious_commands_are_answered_or_ignored() {
    let mut talk = Talk::new();
    talk.connect(object([("app", "live".into())]));
    talk.command("_checkbw", &[Value::Null]).unwrap();
    talk.command("getStreamLength", &[Value::Null, "KEY".into()]).unwrap();
    talk.command("setPeerInfo", &[Value::Null]).unwrap();
    talk.receive(kind::COMMAND, 0, vec![5]).unwrap();
    talk.receive(99, 0, vec![1, 2, 3]).unwrap();
    assert_eq!(talk.said().len(), 2);
}

#[test]
fn playback_is_refused_in_words() {
    let mut talk = Talk::new();
    talk.connect(object([("app", "live".into())]));
    let error = talk.command("play", &[Value::Null, "KEY".into()]).unwrap_err();
    assert_eq!(error, SessionError::Playback);
    assert_eq!(talk.status(), "NetStream.Play.Failed");
}

#[test]
fn what_is_out_of_place_ends_the_conversation() {
    assert_eq!(Talk::new().command("publish", &[]).unwrap_err().label(), "command");
    assert_eq!(Talk::new().command("createStream", &[]).unwrap_err().label(), "command");
    let mut talk = Talk::published();
    assert!(talk.command("connect", &[]).is_err());
    // The second broadcast is refused; the first isn't told that it ended.
    assert!(talk.command("publish", &[Value::Null, "OTHER".into()]).is_err());
    assert_eq!(talk.status(), "NetStream.Publish.BadName");

    let mut talk = Talk::new();
    talk.connect(object([("app", "live".into())]));
    let outcomes: Vec<_> = (0..17).map(|_| talk.command("createStream", &[Value::Null])).collect();
    assert_eq!(outcomes[16], Err(SessionError::TooManyStreams));
    let long = "k".repeat(1000);
    let error = talk.command("publish", &[Value::Null, long.as_str().into()]).unwrap_err();
    assert_eq!(error, SessionError::AddressTooLong);
}

#[test]
fn orders_reach_the_encoder() {
    let close = |may_return| Order::Close { reason: "deleted".into(), may_return };
    for (order, code) in [
        (close(false), "NetStream.Publish.Denied"),
        (close(true), "NetConnection.Connect.Closed"),
        (
            Order::Reconnect { tc_url: None, reason: "update".into() },
            "NetConnection.Connect.ReconnectRequest",
        ),
    ] {
        let mut talk = Talk::published();
        talk.session.order(&order, &mut talk.actions);
        assert_eq!(talk.status(), code);
    }
    // Only who can is asked to reconnect.
    let mut talk = Talk::new();
    talk.connect(object([("app", "live".into())]));
    talk.command("publish", &[Value::Null, "KEY".into()]).unwrap();
    talk.session.admitted(&mut talk.actions);
    talk.actions.clear();
    let order = Order::Reconnect { tc_url: None, reason: "update".into() };
    talk.session.order(&order, &mut talk.actions);
    assert!(talk.actions.is_empty());
}

#[test]
fn acknowledges_every_window_and_wraps() {
    let mut talk = Talk::new();
    talk.session.count(999, &mut talk.actions);
    assert!(talk.actions.is_empty());
    talk.session.count(1, &mut talk.actions);
    talk.session.count(u32::MAX as usize, &mut talk.actions);
    let acknowledged = talk.actions.iter().map(|action| match action {
        Action::Send(m) if m.type_id == kind::ACKNOWLEDGEMENT => {
            u32::from_be_bytes(m.payload[..].try_into().unwrap())
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(acknowledged.collect::<Vec<_>>(), [1000, 999]);
}

#[test]
fn pings_are_answered() {
    let mut talk = Talk::new();
    talk.receive(kind::USER_CONTROL, 0, vec![0, 6, 1, 2, 3, 4]).unwrap();
    let [Action::Send(pong)] = &talk.actions[..] else { panic!() };
    assert_eq!(pong.payload[..], [0, 7, 1, 2, 3, 4]);
}
