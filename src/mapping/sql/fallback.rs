//! `or_default(conversion, value)`: the value where, and only where, the conversion failed.
//!
//! A blank cell is not a failure and stays null; `coalesce` is for that. Which rows failed stands in the log: the
//! conversions inside have run before this function is called.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, UInt64Type};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::sites::{Log, SiteId, chunk_of, row_of};

/// One call.
#[derive(Debug)]
pub(crate) struct Fallback {
    name: String,
    sites: Vec<SiteId>,
    signature: Signature,
    log: Arc<Log>,
}

impl Fallback {
    /// A call over the conversions at these sites; arguments are the converted value, the default and the row column.
    pub(crate) fn over(name: &str, sites: Vec<SiteId>, log: &Arc<Log>) -> ScalarUDF {
        let signature = Signature::user_defined(Volatility::Volatile);
        Self { name: name.to_owned(), sites, signature, log: Arc::clone(log) }.into()
    }
}

impl PartialEq for Fallback {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Fallback {}

impl Hash for Fallback {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Fallback {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        Ok(given.first().cloned().unwrap_or(DataType::Null))
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let kind = given.first().cloned().unwrap_or(DataType::Null);
        Ok(vec![kind.clone(), kind, DataType::UInt64])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let columns = args.args.into_iter().map(|a| a.into_array(rows)).collect::<Result<Vec<_>>>()?;
        let [value, default, ids] = columns.as_slice() else {
            return exec_err!("or_default takes a conversion and a value");
        };
        let ids = ids.as_primitive::<UInt64Type>();
        let Some(first) = ids.values().first() else {
            return Ok(ColumnarValue::Array(Arc::clone(value)));
        };
        let failed = self.log.refused(chunk_of(*first), &self.sites);
        if failed.is_empty() {
            return Ok(ColumnarValue::Array(Arc::clone(value)));
        }
        let mask: BooleanArray = ids.values().iter().map(|id| Some(failed.contains(&row_of(*id)))).collect();
        Ok(ColumnarValue::Array(zip(&mask, default, value)?))
    }
}
