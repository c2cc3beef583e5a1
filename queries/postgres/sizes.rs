//! `pg_table_size`, `pg_database_size` and `pg_size_pretty`, by which psql's `\dt+`
//! and `\l+` ask how large things are. Here that isn't known without reading the
//! lake: null.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray, new_null_array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

/// The functions.
pub(super) fn functions() -> [ScalarUDF; 3] {
    let unknown = |name, of| {
        create_udf(name, vec![of], DataType::Int64, Volatility::Stable, Arc::new(unknown))
    };
    [
        unknown("pg_table_size", DataType::Int32),
        unknown("pg_database_size", DataType::Int32),
        create_udf(
            "pg_size_pretty",
            vec![DataType::Int64],
            DataType::Utf8,
            Volatility::Immutable,
            Arc::new(pretty),
        ),
    ]
}

fn unknown(args: &[ColumnarValue]) -> Result<ColumnarValue> {
    let rows = ColumnarValue::values_to_arrays(args)?.first().map_or(1, |given| given.len());
    Ok(ColumnarValue::Array(new_null_array(&DataType::Int64, rows)))
}

fn pretty(args: &[ColumnarValue]) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(args)?;
    let texts: StringArray = arrays
        .iter()
        .flat_map(|given| given.as_primitive::<Int64Type>().iter())
        .map(|bytes| bytes.map(in_words))
        .collect();
    let texts: ArrayRef = Arc::new(texts);
    Ok(ColumnarValue::Array(texts))
}

/// As PostgreSQL writes it: the next unit from ten of them on, rounded half away from zero.
fn in_words(bytes: i64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    // In halves of a unit, so that they can be rounded.
    let (mut halves, mut unit) = (i128::from(bytes) * 2, 0);
    while halves.abs() >= 2 * 10 * 1024 - 1 && unit + 1 < units.len() {
        halves /= 1024;
        unit += 1;
    }
    let whole = (halves + halves.signum()) / 2;
    format!("{whole} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_postgresql_does() {
        for (bytes, said) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (15_872, "16 kB"),
            (-10_240, "-10 kB"),
            (10_485_247, "10239 kB"),
            (10_485_248, "10 MB"),
            (5 << 40, "5120 GB"),
            (i64::MAX, "8192 PB"),
        ] {
            assert_eq!(in_words(bytes), said, "{bytes}");
        }
    }
}
