//! `time_bucket(width, at [, origin])`, as TimescaleDB has it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility, cast,
};

/// Monday, 3 January 2000: weeks begin on Mondays.
const MONDAY_NS: i64 = 946_857_600_000_000_000;
/// 1 January 2000: months begin on the first.
const NEW_YEAR_NS: i64 = 946_684_800_000_000_000;

/// The start of the span of `width` that `at` lies in: `date_bin` with an origin
/// that makes weeks begin on Mondays and months on the first.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeBucket {
    signature: Signature,
}

impl TimeBucket {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// Where spans of this width begin.
fn origin_for(width: &ScalarValue) -> ScalarValue {
    let months = match width {
        ScalarValue::IntervalMonthDayNano(Some(width)) => width.months,
        _ => 0,
    };
    let origin = if months == 0 { MONDAY_NS } else { NEW_YEAR_NS };
    ScalarValue::TimestampNanosecond(Some(origin), Some("UTC".into()))
}

fn utc(unit: TimeUnit) -> DataType {
    DataType::Timestamp(unit, Some("UTC".into()))
}

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &str {
        "time_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let mut wanted =
            vec![DataType::Interval(IntervalUnit::MonthDayNano), utc(TimeUnit::Microsecond)];
        match given.len() {
            2 => {}
            3 => wanted.push(utc(TimeUnit::Nanosecond)),
            _ => {
                return plan_err!(
                    "time_bucket takes a width, a time and perhaps an origin: \
                     time_bucket(INTERVAL '1 minute', at)"
                );
            }
        }
        Ok(wanted)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(utc(TimeUnit::Microsecond))
    }

    fn simplify(&self, mut args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if args.len() == 2 {
            // A width that isn't constant is refused by date_bin.
            let width = match &args[0] {
                Expr::Literal(width, _) => width,
                _ => &ScalarValue::Null,
            };
            args.push(Expr::Literal(origin_for(width), None));
        }
        // Said once more: date_bin's own type is found by its first signature, nanoseconds.
        let bucket = cast(date_bin().call(args), utc(TimeUnit::Microsecond));
        Ok(ExprSimplifyResult::Simplified(bucket))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // Only for constants, which are computed before anything is rewritten.
        if let [ColumnarValue::Scalar(width), _] = args.args.as_slice() {
            let origin = origin_for(width);
            args.arg_fields.push(Arc::new(Field::new("origin", origin.data_type(), true)));
            args.args.push(ColumnarValue::Scalar(origin));
        }
        date_bin().inner().invoke_with_args(args)
    }
}
