//! Bytes to values, within limits.

use super::{AMF_BYTES_MAX, AmfError, AmfLimits, Value};

/// All values of a message, one after the other. An AMF3 value inside ends the
/// list, since AMF0 can't tell where it ends.
///
/// # Errors
/// An [`AmfError`], after work and memory proportional to `bytes`.
pub fn decode(bytes: &[u8], limits: &AmfLimits) -> Result<Vec<Value>, AmfError> {
    if bytes.len() > AMF_BYTES_MAX {
        return Err(AmfError::TooLong);
    }
    let mut decoder = Decoder { rest: bytes, values_left: limits.values_max };
    let mut values = Vec::new();
    while let Some(marker) = decoder.rest.first() {
        if *marker == marker::AVMPLUS {
            break;
        }
        values.push(decoder.value(limits.depth_max)?);
    }
    Ok(values)
}

mod marker {
    pub const NUMBER: u8 = 0;
    pub const BOOLEAN: u8 = 1;
    pub const STRING: u8 = 2;
    pub const OBJECT: u8 = 3;
    pub const NULL: u8 = 5;
    pub const UNDEFINED: u8 = 6;
    pub const REFERENCE: u8 = 7;
    pub const ECMA_ARRAY: u8 = 8;
    pub const OBJECT_END: u8 = 9;
    pub const STRICT_ARRAY: u8 = 10;
    pub const DATE: u8 = 11;
    pub const LONG_STRING: u8 = 12;
    pub const UNSUPPORTED: u8 = 13;
    pub const XML: u8 = 15;
    pub const TYPED_OBJECT: u8 = 16;
    pub const AVMPLUS: u8 = 17;
}

struct Decoder<'a> {
    rest: &'a [u8],
    values_left: usize,
}

impl<'a> Decoder<'a> {
    fn value(&mut self, depth_left: usize) -> Result<Value, AmfError> {
        self.values_left = self.values_left.checked_sub(1).ok_or(AmfError::TooMany)?;
        let [marker] = self.take()?;
        Ok(match marker {
            marker::NUMBER => Value::Number(f64::from_be_bytes(self.take()?)),
            marker::BOOLEAN => Value::Boolean(self.take::<1>()? != [0]),
            marker::STRING => Value::String(self.short_text()?),
            marker::LONG_STRING | marker::XML => {
                let length = u32::from_be_bytes(self.take()?);
                Value::String(text(self.slice(length as usize)?))
            }
            marker::NULL | marker::UNDEFINED | marker::UNSUPPORTED => Value::Null,
            marker::REFERENCE => {
                self.take::<2>()?;
                Value::Null
            }
            // Milliseconds since 1970, then a time zone that is always 0.
            marker::DATE => {
                let number = f64::from_be_bytes(self.take()?);
                self.take::<2>()?;
                Value::Number(number)
            }
            marker::OBJECT => self.members(depth_left)?,
            marker::TYPED_OBJECT => {
                self.short_text()?;
                self.members(depth_left)?
            }
            // Its count is a hint and often wrong; the end marker tells.
            marker::ECMA_ARRAY => {
                self.take::<4>()?;
                self.members(depth_left)?
            }
            marker::STRICT_ARRAY => {
                let count = u32::from_be_bytes(self.take()?) as usize;
                if count > self.rest.len() {
                    return Err(AmfError::Truncated);
                }
                let depth_left = depth_left.checked_sub(1).ok_or(AmfError::TooDeep)?;
                (0..count)
                    .map(|_| self.value(depth_left))
                    .collect::<Result<_, _>>()
                    .map(Value::Array)?
            }
            other => return Err(AmfError::UnknownMarker(other)),
        })
    }

    fn members(&mut self, depth_left: usize) -> Result<Value, AmfError> {
        let depth_left = depth_left.checked_sub(1).ok_or(AmfError::TooDeep)?;
        let mut members = Vec::new();
        loop {
            // Some encoders leave the end marker out after the last value of a message.
            if self.rest.is_empty() {
                break;
            }
            if let [0, 0, marker::OBJECT_END, rest @ ..] = self.rest {
                self.rest = rest;
                break;
            }
            let name = self.short_text()?;
            members.push((name, self.value(depth_left)?));
        }
        Ok(Value::Object(members))
    }

    fn short_text(&mut self) -> Result<String, AmfError> {
        let length = u16::from_be_bytes(self.take()?);
        Ok(text(self.slice(length.into())?))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(AmfError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], AmfError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(AmfError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
