//! Rows of the days that are asked for, by their business time.

use arrow::array::{Array as _, AsArray as _};

use super::Spec;
use crate::decode::Decoded;
use crate::engine::EngineError;
use crate::engine::flow::Flow;
use crate::engine::take::business_time;

/// What is asked for: a column, and the half-open span of times in it; everything when `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inside(Option<(usize, i64, i64)>);

impl Inside {
    pub(super) fn of(flow: &Flow, spec: &Spec) -> Self {
        Self(spec.updated.zip(flow.updated).map(|((from, to), column)| (column, from, to)))
    }

    /// Only rows whose business time is asked for; the others count as dropped.
    pub(super) fn keep(self, decoded: Decoded) -> Result<Decoded, EngineError> {
        let Some((column, from, to)) = self.0 else { return Ok(decoded) };
        let cells = decoded.rows.column(column).as_string::<i32>();
        let wanted = |i: &usize| {
            let at = (!cells.is_null(*i)).then(|| business_time(cells.value(*i))).flatten();
            at.is_some_and(|at| at >= from && at < to)
        };
        let kept: Vec<usize> = (0..decoded.rows.num_rows()).filter(wanted).collect();
        let left_out = (decoded.rows.num_rows() - kept.len()) as u64;
        let mut inside = decoded.keep(&kept).map_err(|error| EngineError::Internal(error.to_string()))?;
        inside.dropped += left_out;
        Ok(inside)
    }
}
