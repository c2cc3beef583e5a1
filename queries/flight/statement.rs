//! A statement as clients hold it: all of it, so that nothing is kept here
//! between their calls.
//!
//! ```text
//! length of the text, 4 bytes │ text │ values: an Arrow stream of one row, if any
//! ```

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use datafusion::common::ParamValues;
use datafusion::scalar::ScalarValue;
use tonic::Status;

use super::status::status;
use crate::Error;
use crate::limits::TEXT_BYTES_MAX;

/// A question, and what its parameters stand for.
#[derive(Debug, PartialEq)]
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) values: Option<RecordBatch>,
}

impl Statement {
    /// One without parameters.
    pub(super) fn plain(text: String) -> Self {
        Self { text, values: None }
    }

    /// As clients hold it.
    pub(super) fn encode(&self) -> Result<Bytes, Status> {
        let length = u32::try_from(self.text.len()).ok();
        let length =
            length.filter(|length| *length as usize <= TEXT_BYTES_MAX).ok_or_else(|| {
                status(&Error::TooLong { bytes: self.text.len(), bytes_max: TEXT_BYTES_MAX })
            })?;
        let mut handle = BytesMut::new();
        handle.put_u32(length);
        handle.put(self.text.as_bytes());
        if let Some(values) = &self.values {
            let mut writer = StreamWriter::try_new((&mut handle).writer(), values.schema_ref())
                .map_err(|error| unusable(&error))?;
            writer
                .write(values)
                .and_then(|()| writer.finish())
                .map_err(|error| unusable(&error))?;
        }
        Ok(handle.freeze())
    }

    /// As a client gave it back.
    pub(super) fn decode(mut handle: &[u8]) -> Result<Self, Status> {
        let foreign = || Status::invalid_argument("this is no handle or ticket of this server's");
        let length = handle.try_get_u32().map_err(|_| foreign())?;
        let text = usize::try_from(length).ok().and_then(|length| handle.split_at_checked(length));
        let (text, values) = text.ok_or_else(foreign)?;
        let text = String::from_utf8(text.to_vec()).map_err(|_| foreign())?;
        if values.is_empty() {
            return Ok(Self::plain(text));
        }
        let values =
            StreamReader::try_new(values, None).and_then(|mut batches| batches.next().transpose());
        let values = values.map_err(|error| unusable(&error))?.ok_or_else(foreign)?;
        Ok(Self { text, values: Some(values) })
    }

    /// What each parameter stands for, by its number.
    pub(super) fn parameters(&self) -> Result<Option<ParamValues>, Status> {
        let Some(values) = &self.values else { return Ok(None) };
        if values.num_rows() != 1 {
            let rows = values.num_rows();
            return Err(Status::invalid_argument(format!(
                "one row of values is taken, not {rows}"
            )));
        }
        let columns = values.columns().iter();
        let scalars = columns.map(|column| ScalarValue::try_from_array(column, 0));
        let scalars: Vec<_> =
            scalars.collect::<Result<_, _>>().map_err(|error| unusable(&error))?;
        Ok(Some(ParamValues::from(scalars)))
    }
}

fn unusable(error: &dyn std::error::Error) -> Status {
    Status::invalid_argument(format!("the values can't be used: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn values() -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        RecordBatch::try_from_iter([("1", numbers), ("2", texts)]).unwrap()
    }

    #[test]
    fn handles_come_back_as_they_were() {
        for values in [None, Some(values())] {
            let statement = Statement { text: "SELECT $1, $2".into(), values };
            assert_eq!(Statement::decode(&statement.encode().unwrap()).unwrap(), statement);
        }
    }

    #[test]
    fn values_stand_for_parameters_in_order() {
        let statement = Statement { text: String::new(), values: Some(values()) };
        let Some(ParamValues::List(list)) = statement.parameters().unwrap() else { panic!() };
        let scalars: Vec<_> = list.into_iter().map(|value| value.value).collect();
        assert_eq!(scalars, [ScalarValue::Int64(Some(7)), ScalarValue::Utf8(None)]);
        let none = Statement { values: Some(values().slice(0, 0)), ..statement };
        assert!(none.parameters().is_err());
    }

    #[test]
    fn foreign_handles_are_refused() {
        let handle =
            Statement { text: "SELECT 1".into(), values: Some(values()) }.encode().unwrap();
        for cut in [0, 3, 8, 20, handle.len() / 2] {
            assert!(Statement::decode(&handle[..cut]).is_err(), "{cut}");
        }
        assert!(Statement::decode(&[0xff; 64]).is_err());
        assert!(Statement::decode(&[0, 0, 0, 2, 0xc3, 0x28]).is_err());
    }
}
