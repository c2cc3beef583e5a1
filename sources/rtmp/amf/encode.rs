//! Values to bytes.

use super::Value;

/// Appends one value. Names and texts beyond 65535 bytes are cut: what this
/// program says is shorter.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Number(number) => {
            out.push(0);
            out.extend(number.to_be_bytes());
        }
        Value::Boolean(flag) => out.extend([1, u8::from(*flag)]),
        Value::String(text) => {
            out.push(2);
            short_text(text, out);
        }
        Value::Object(members) => {
            out.push(3);
            for (name, value) in members {
                short_text(name, out);
                encode(value, out);
            }
            out.extend([0, 0, 9]);
        }
        Value::Null => out.push(5),
        Value::Array(values) => {
            out.push(10);
            out.extend((values.len() as u32).to_be_bytes());
            for value in values {
                encode(value, out);
            }
        }
    }
}

fn short_text(text: &str, out: &mut Vec<u8>) {
    let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}
