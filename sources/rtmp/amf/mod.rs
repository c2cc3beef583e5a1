//! AMF0 values: what commands and metadata are written in.
//!
//! Enters: bytes of a peer that may lie about every count and length. Leaves:
//! [`Value`]s. Held: nothing. Never done here: allocating by an announced
//! count, or nesting deeper than [`AmfLimits`]: that, and arrays whose count
//! is wrong (common in `onMetaData`), is why this isn't a general codec.
//!
//! Rule source: Adobe's AMF0 specification.

mod decode;
mod encode;

pub use decode::decode;
pub use encode::encode;

/// The longest message that is read as AMF0; the longest `onMetaData` seen has 2 kB.
pub const AMF_BYTES_MAX: usize = 256 << 10;

/// How complex a peer's values may be.
#[derive(Clone, Copy, Debug)]
pub struct AmfLimits {
    /// Objects and arrays inside each other.
    pub depth_max: usize,
    /// Values in one message, all levels together.
    pub values_max: usize,
}

impl Default for AmfLimits {
    fn default() -> Self {
        Self { depth_max: 16, values_max: 4096 }
    }
}

/// One AMF0 value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// A text; what isn't UTF-8 was replaced.
    String(String),
    /// An object, typed object or ECMA array, in the order written.
    Object(Vec<(String, Value)>),
    /// An array.
    Array(Vec<Value>),
    /// Null, undefined or unsupported.
    Null,
}

impl Value {
    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The object's member of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, v)| v),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// An object of these members.
pub fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.map(|(name, value)| (name.into(), value)).into())
}

/// The peer's AMF0 can't be taken. Its fault; the same bytes will fail again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmfError {
    /// A value ends before its last byte, or announces more than there is.
    #[error("AMF0 value is truncated")]
    Truncated,
    /// Objects and arrays inside each other beyond the cap.
    #[error("AMF0 value is nested too deeply")]
    TooDeep,
    /// A message longer than [`AMF_BYTES_MAX`].
    #[error("AMF0 message is too long")]
    TooLong,
    /// More values than the cap.
    #[error("AMF0 message has too many values")]
    TooMany,
    /// A marker that isn't AMF0.
    #[error("unknown AMF0 marker {0:#04x}")]
    UnknownMarker(u8),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(bytes: &[u8]) -> Result<Vec<Value>, AmfError> {
        decode(bytes, &AmfLimits::default())
    }

    #[test]
    fn bombs_are_refused_cheaply() {
        // Depth: objects in objects.
        let deep: Vec<u8> = [3, 0, 1, b'a'].repeat(50_000);
        assert_eq!(decoded(&deep), Err(AmfError::TooDeep));
        let arrays: Vec<u8> = [10, 0, 0, 0, 1].repeat(50_000);
        assert_eq!(decoded(&arrays), Err(AmfError::TooDeep));
        // Count: an array of four thousand million.
        assert_eq!(decoded(&[10, 0xff, 0xff, 0xff, 0xff, 5]), Err(AmfError::Truncated));
        // Length: a string of four gigabytes.
        assert_eq!(decoded(&[12, 0xff, 0xff, 0xff, 0xff, b'a']), Err(AmfError::Truncated));
        assert_eq!(decoded(&vec![5; AMF_BYTES_MAX + 1]), Err(AmfError::TooLong));
        // Number: many small values.
        assert_eq!(decoded(&[5; 5000]), Err(AmfError::TooMany));
    }

    #[test]
    fn an_ecma_array_ends_at_its_marker_whatever_its_count() {
        for count in [0_u8, 1, 9] {
            let bytes = [8, 0, 0, 0, count, 0, 1, b'a', 5, 0, 0, 9, 1, 1];
            let expected = [Value::Object(vec![("a".into(), Value::Null)]), Value::Boolean(true)];
            assert_eq!(decoded(&bytes).unwrap(), expected);
        }
    }

    #[test]
    fn what_cannot_be_delimited_ends_the_message() {
        // avmplus (AMF3) after a string: its length is unknown to AMF0.
        assert_eq!(decoded(&[2, 0, 1, b'a', 0x11, 1, 2, 3]).unwrap(), [Value::from("a")]);
        assert_eq!(decoded(&[0x42]), Err(AmfError::UnknownMarker(0x42)));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(|n| Value::Number(n.into())),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,12}".prop_map(Value::String),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(("[a-z]{1,6}", inner.clone()), 0..4).prop_map(Value::Object),
                prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            ]
        })
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(values in prop::collection::vec(any_value(), 0..4)) {
            let mut bytes = Vec::new();
            for value in &values {
                encode(value, &mut bytes);
            }
            prop_assert_eq!(decoded(&bytes).unwrap(), values);
        }

        #[test]
        fn garbage_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decoded(&bytes);
        }
    }
}
