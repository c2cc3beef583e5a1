//! `chat_spike(messages, usual)`: how unusual it is that so much was said.

use std::sync::Arc;

use arrow::array::{AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// By how many standard deviations `messages` are above `usual`, both of spans of one
/// length: people talk like a Poisson process, whose deviation is the root of its mean. One
/// is added to it, so that the first words in a silent room aren't an explosion.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ChatSpike {
    signature: Signature,
}

impl ChatSpike {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ChatSpike {
    fn name(&self) -> &str {
        "chat_spike"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        if given.len() != 2 {
            return plan_err!(
                "chat_spike takes how much was said and how much is usual: chat_spike(messages, usual)"
            );
        }
        Ok(vec![DataType::Float64, DataType::Float64])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [messages, usual] = arrays.as_slice() else {
            return plan_err!("chat_spike takes two numbers");
        };
        let (messages, usual) =
            (messages.as_primitive::<Float64Type>(), usual.as_primitive::<Float64Type>());
        let scores: Float64Array = messages
            .iter()
            .zip(usual)
            .map(|(messages, usual)| {
                let usual = usual?.max(0.0);
                Some((messages? - usual) / (usual + 1.0).sqrt())
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(scores)))
    }
}
