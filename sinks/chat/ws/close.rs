//! Why a connection ends: codes and texts of close frames (RFC 6455, 5.5.1 and 7.4).

/// A close frame's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// All is said.
    pub const NORMAL: Self = Self(1000);
    /// The server stops, or the stream is over.
    pub const GOING_AWAY: Self = Self(1001);
    /// The viewer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// The viewer sent bytes where only text is taken.
    pub const UNSUPPORTED: Self = Self(1003);
    /// The viewer's text isn't UTF-8.
    pub const NOT_TEXT: Self = Self(1007);
    /// The viewer isn't welcome (banned, say).
    pub const POLICY: Self = Self(1008);
    /// The viewer's message is too long.
    pub const TOO_BIG: Self = Self(1009);
    /// The server's code failed.
    pub const MISTAKE: Self = Self(1011);
    /// Ours: the viewer read too slowly and fell off the ring. The text is JSON: `epoch`
    /// and `seq` to come back with.
    pub const BEHIND: Self = Self(4008);

    /// Whether a peer may send it (7.4.1, 7.4.2, and IANA's registry for 1012 to 1014).
    pub fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// What a close frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// The code.
    pub code: CloseCode,
    /// At most 123 bytes are sent.
    pub text: String,
}

impl CloseReason {
    /// The code with a text, cut at a character's end to the 123 bytes there is room for.
    pub fn new(code: CloseCode, text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(123));
        Self { code, text }
    }

    /// A close frame's payload.
    pub fn payload(&self) -> Vec<u8> {
        let mut payload = self.code.0.to_be_bytes().to_vec();
        payload.extend_from_slice(self.text.as_bytes());
        payload
    }
}
