//! `play_url(stream_id, at)`: from a row back to the picture.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringBuilder};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::temporal_conversions::timestamp_us_to_datetime;
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// Gives `{base}/watch/{stream_id}?at={time}`, the page that plays the broadcast
/// from that moment on, live or not; the time in UTC to the millisecond.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PlayUrl {
    base_url: String,
    signature: Signature,
}

impl PlayUrl {
    pub(super) fn new(base_url: &str) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { base_url: base_url.into(), signature }
    }
}

impl ScalarUDFImpl for PlayUrl {
    fn name(&self) -> &str {
        "play_url"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        if given.len() != 2 {
            return plan_err!("play_url takes a stream_id and a time: play_url(stream_id, at)");
        }
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Ok(vec![DataType::Utf8, time])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [streams, times] = arrays.as_slice() else {
            return plan_err!("play_url takes a stream_id and a time");
        };
        let (streams, times) =
            (streams.as_string::<i32>(), times.as_primitive::<TimestampMicrosecondType>());
        let mut urls = StringBuilder::with_capacity(streams.len(), streams.len() * 96);
        for (stream, time) in streams.iter().zip(times) {
            let moment = time.and_then(timestamp_us_to_datetime);
            match (stream, moment) {
                (Some(stream), Some(moment)) => {
                    let at = moment.format("%Y-%m-%dT%H:%M:%S%.3fZ");
                    urls.append_value(format!("{}/watch/{stream}?at={at}", self.base_url));
                }
                _ => urls.append_null(),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(urls.finish())))
    }
}
