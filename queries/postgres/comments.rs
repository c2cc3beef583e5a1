//! `col_description` and `obj_description`, by which psql's `\d+` and others ask
//! for the comments of columns and tables.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use records::schema::{TABLES, TableSchema};

/// Our tables by the numbers that the system catalog gave them.
type Numbered = Arc<HashMap<i64, &'static TableSchema>>;

/// The functions, for the numbers of this context's system catalog.
pub(super) async fn functions(context: &SessionContext) -> Result<Vec<ScalarUDF>> {
    let tables = context.sql("SELECT oid, relname FROM pg_catalog.pg_class").await?;
    let mut numbered = HashMap::new();
    for batch in tables.collect().await? {
        let (numbers, names) = (batch.column(0), batch.column(1));
        let numbers = numbers.as_primitive::<Int32Type>();
        for (number, name) in numbers.iter().zip(names.as_string::<i32>()) {
            let table = TABLES.into_iter().find(|table| Some(table.name) == name);
            if let (Some(number), Some(table)) = (number, table) {
                numbered.insert(i64::from(number), table);
            }
        }
    }
    let numbered = Arc::new(numbered);
    let function = |name, of| Description {
        name,
        of,
        tables: Arc::clone(&numbered),
        signature: Signature::user_defined(Volatility::Immutable),
    };
    let both = [function("col_description", Of::Column), function("obj_description", Of::Table)];
    Ok(both.into_iter().map(ScalarUDF::new_from_impl).collect())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Of {
    Column,
    Table,
}

struct Description {
    name: &'static str,
    of: Of,
    tables: Numbered,
    signature: Signature,
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Description").field("name", &self.name).finish_non_exhaustive()
    }
}

// There is one of each in a context.
impl PartialEq for Description {
    fn eq(&self, other: &Self) -> bool {
        self.of == other.of && Arc::ptr_eq(&self.tables, &other.tables)
    }
}

impl Eq for Description {}

impl Hash for Description {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.of.hash(state);
    }
}

impl ScalarUDFImpl for Description {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match (self.of, given.len()) {
            (Of::Column, 2) => Ok(vec![DataType::Int64; 2]),
            (Of::Table, 1) => Ok(vec![DataType::Int64]),
            (Of::Table, 2) => Ok(vec![DataType::Int64, DataType::Utf8]),
            _ => plan_err!("{} takes a table's number and then a column's or a catalog", self.name),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let numbers = |at: usize| arrays.get(at).map(|array| array.as_primitive::<Int64Type>());
        let Some(tables) = numbers(0) else {
            return plan_err!("{} takes a table's number", self.name);
        };
        let columns = if self.of == Of::Column { numbers(1) } else { None };
        let comments: StringArray = (0..tables.len())
            .map(|row| {
                let table = tables.is_valid(row).then(|| self.tables.get(&tables.value(row)));
                let table = table.flatten()?;
                let Some(columns) = columns else { return Some(table.comment) };
                // Counted from 1.
                let at = usize::try_from(columns.value(row)).ok()?.checked_sub(1)?;
                table.columns.get(at).map(|column| column.comment)
            })
            .collect();
        let comments: ArrayRef = Arc::new(comments);
        Ok(ColumnarValue::Array(comments))
    }
}
