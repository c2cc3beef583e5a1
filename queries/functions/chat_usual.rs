//! `chat_usual(messages, at) OVER (…)`: how much was said before, for `chat_spike` to compare.
//!
//! A function and not a frame, `RANGE BETWEEN INTERVAL …`: DataFusion looks for such a
//! frame's ends value by value, which takes longer than to count the messages.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, Volatility, WindowUDFImpl};

/// What rows are about, each: ten seconds.
const SPAN_US: i64 = 10_000_000;

/// The spans before that count: five minutes.
const SPANS: i64 = 30;

/// Messages per ten seconds in the five minutes before a row's; of a room that is younger,
/// since its first row. Rows are spans of ten seconds in the order of time; those without a
/// word may be left out.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ChatUsual {
    signature: Signature,
}

impl ChatUsual {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl WindowUDFImpl for ChatUsual {
    fn name(&self) -> &str {
        "chat_usual"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        if given.len() != 2 {
            return plan_err!(
                "chat_usual takes how much was said in ten seconds, and which: \
                 chat_usual(messages, at) OVER (PARTITION BY stream_id ORDER BY at)"
            );
        }
        let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Ok(vec![DataType::Int64, at])
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Float64, true)))
    }

    fn partition_evaluator(
        &self,
        _: PartitionEvaluatorArgs<'_>,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Usual))
    }
}

#[derive(Debug)]
struct Usual;

impl PartitionEvaluator for Usual {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let [messages, at] = values else {
            return exec_err!("chat_usual takes two columns");
        };
        let (messages, at) =
            (messages.as_primitive::<Int64Type>(), at.as_primitive::<TimestampMicrosecondType>());
        // Those without a time are last, if they are in order.
        let timed = rows - at.null_count();
        let spans: Vec<_> =
            at.iter().take(timed).flatten().map(|at| at.div_euclid(SPAN_US)).collect();
        if spans.len() != timed || !spans.is_sorted() {
            return exec_err!("chat_usual needs rows in the order of time: OVER (… ORDER BY at)");
        }
        let said = |row: usize| if messages.is_valid(row) { messages.value(row) } else { 0 };
        let begin = spans.first().copied().unwrap_or_default();
        // What is added up is from `first` up to before `next`.
        let (mut first, mut next, mut sum) = (0, 0, 0_i64);
        let usual = spans.iter().map(|span| {
            while spans.get(next).is_some_and(|earlier| earlier < span) {
                sum += said(next);
                next += 1;
            }
            while spans.get(first).is_some_and(|earlier| *earlier < span - SPANS) {
                sum -= said(first);
                first += 1;
            }
            Some(sum as f64 / (span - begin).clamp(1, SPANS) as f64)
        });
        let untimed = std::iter::repeat_n(None, rows - timed);
        Ok(Arc::new(usual.chain(untimed).collect::<Float64Array>()))
    }
}
