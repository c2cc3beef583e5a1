//! What both sides say they can do beyond RTMP 1.0 (E, "Enhancing
//! NetConnection connect Command").
//!
//! What a client doesn't declare is accepted all the same (seen: OBS 30 sends
//! no `fourCcList`), and a client that declares nothing is told nothing.

use crate::rtmp::amf::{Value, object};

/// `CapsExMask.Reconnect`.
const RECONNECT: u32 = 0x01;
/// `FourCcInfoMask.CanForward`.
const CAN_FORWARD: f64 = 4.0;

const VIDEO: [&str; 3] = ["avc1", "hvc1", "av01"];
const AUDIO: [&str; 2] = ["mp4a", "Opus"];

/// Whether the client can be asked to connect again.
pub(super) fn can_reconnect(connect: &Value) -> bool {
    let declared = connect.get("capsEx").and_then(Value::as_number).unwrap_or(0.0);
    declared as u32 & RECONNECT != 0
}

/// The server's capabilities under the names that the client used.
pub(super) fn answer(connect: &Value) -> Vec<(String, Value)> {
    let map = |codecs: &[&str]| {
        Value::Object(codecs.iter().map(|c| ((*c).into(), CAN_FORWARD.into())).collect())
    };
    let list = || Value::Array(VIDEO.iter().chain(&AUDIO).map(|c| (*c).into()).collect());
    let mut answer = Vec::new();
    let mut offer = |name: &str, value: Value| {
        if connect.get(name).is_some() {
            answer.push((name.into(), value));
        }
    };
    offer("fourCcList", list());
    offer("videoFourCcInfoMap", map(&VIDEO));
    offer("audioFourCcInfoMap", map(&AUDIO));
    offer("capsEx", f64::from(RECONNECT).into());
    answer
}

/// The two objects of the `_result` to `connect`. E doesn't say which of them
/// carries the capabilities, and clients look in either: so both do.
pub(super) fn connect_result(connect: &Value) -> [Value; 2] {
    let mut properties =
        object([("fmsVer", "FMS/3,5,7,7009".into()), ("capabilities", 31.0.into())]);
    let mut information = object([
        ("level", "status".into()),
        ("code", "NetConnection.Connect.Success".into()),
        ("description", "connected".into()),
        // AMF0, whatever was asked for: AMF3 is read, not spoken.
        ("objectEncoding", 0.0.into()),
    ]);
    for value in [&mut properties, &mut information] {
        if let Value::Object(members) = value {
            members.extend(answer(connect));
        }
    }
    [properties, information]
}
