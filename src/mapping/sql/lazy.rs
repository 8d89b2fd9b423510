//! `and` / `or` that look at their right side only where the left side leaves the answer open.
//!
//! DataFusion decides per chunk whether to evaluate the right side for all rows, some or none. With conversions that
//! refuse rows on the right, the same row would then be refused or not depending on its neighbours. [`LazyLogic`]
//! decides per row, so that chunk borders change nothing.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::{and_kleene, is_null, not, or, or_kleene};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::BinaryExpr;
use datafusion_physical_expr::utils::collect_columns;

use super::sites::ROW;

/// `left and right`, `left or right`, row by row.
#[derive(Debug)]
struct LazyLogic {
    left: Arc<dyn PhysicalExpr>,
    right: Arc<dyn PhysicalExpr>,
    or: bool,
}

// Written out because deriving them on trait objects does not compile.
impl PartialEq for LazyLogic {
    fn eq(&self, other: &Self) -> bool {
        self.or == other.or && self.left.eq(&other.left) && self.right.eq(&other.right)
    }
}

impl Eq for LazyLogic {}

impl Hash for LazyLogic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.left.hash(state);
        self.right.hash(state);
        self.or.hash(state);
    }
}

/// Replaces every `and` / `or` whose right side contains a sited call.
pub(crate) fn make_lazy(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|node| {
        let Some(binary) = node.downcast_ref::<BinaryExpr>() else {
            return Ok(Transformed::no(node));
        };
        let or = match binary.op() {
            Operator::And => false,
            Operator::Or => true,
            _ => return Ok(Transformed::no(node)),
        };
        if !collect_columns(binary.right()).iter().any(|c| c.name() == ROW) {
            return Ok(Transformed::no(node));
        }
        let lazy = LazyLogic { left: Arc::clone(binary.left()), right: Arc::clone(binary.right()), or };
        Ok(Transformed::yes(Arc::new(lazy) as Arc<dyn PhysicalExpr>))
    })
    .map(|t| t.data)
}

impl fmt::Display for LazyLogic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, if self.or { "OR" } else { "AND" }, self.right)
    }
}

impl PhysicalExpr for LazyLogic {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let left = self.left.evaluate(batch)?.into_array(batch.num_rows())?;
        let left = left.as_boolean();
        let open = undecided(left, self.or)?;
        let right = self.right.evaluate_selection(batch, &open)?.into_array(batch.num_rows())?;
        let right = right.as_boolean();
        let both = if self.or { or_kleene(left, right)? } else { and_kleene(left, right)? };
        Ok(ColumnarValue::Array(Arc::new(both)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match <[_; 2]>::try_from(children) {
            Ok([left, right]) => Ok(Arc::new(Self { left, right, or: self.or })),
            Err(_) => datafusion_common::internal_err!("logic has two sides"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Rows whose answer the left side alone does not give: null, or true under `and`, or false under `or`.
fn undecided(left: &BooleanArray, or_operator: bool) -> Result<BooleanArray> {
    let values = BooleanArray::new(left.values().clone(), None);
    let open = if or_operator { not(&values)? } else { values };
    Ok(if left.null_count() == 0 { open } else { or(&open, &is_null(left)?)? })
}
