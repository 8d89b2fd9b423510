//! A domain function as DataFusion calls it: whole columns in, whole columns out, every failure told to the log.
//!
//! Each call in the SQL is its own instance with its own name (`uscc#3`), because it carries its site. A value that
//! cannot be converted becomes null here; what that means for the row is decided from the log afterwards.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, StringArray, StringBuilder};
use arrow::array::{TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{DataType, UInt64Type};
use datafusion_common::{Result, internal_datafusion_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::domain::Run;
use super::sites::{Act, Event, Log, SiteId, chunk_of, row_of};
use crate::mapping::values::Outcome;
use crate::record::{DECIMAL_PRECISION, DECIMAL_SCALE};

/// One call.
#[derive(Debug)]
pub(crate) struct Conversion {
    name: String,
    run: Run,
    signature: Signature,
    site: Option<(SiteId, Arc<Log>)>,
}

impl Conversion {
    /// A call that reports to a log; its last argument is the hidden row column.
    pub(crate) fn sited(name: &str, run: Run, site: SiteId, log: &Arc<Log>) -> ScalarUDF {
        let site = Some((site, Arc::clone(log)));
        // Volatile: evaluating it has an effect, so it must not be folded, merged or moved.
        Self { name: name.to_owned(), run, signature: Signature::user_defined(Volatility::Volatile), site }.into()
    }

    /// A call that cannot fail.
    pub(crate) fn plain(name: &str, run: Run) -> ScalarUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { name: name.to_owned(), run, signature, site: None }.into()
    }
}

impl PartialEq for Conversion {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Conversion {}

impl Hash for Conversion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Conversion {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.run.returns().arrow())
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        given.iter().map(|kind| if *kind == DataType::UInt64 { Ok(DataType::UInt64) } else { as_text(kind) }).collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let columns = args.args.into_iter().map(|a| a.into_array(rows)).collect::<Result<Vec<_>>>()?;
        let mut report = Report { site: self.site.as_ref().map_or(0, |(id, _)| *id), events: Vec::new(), ids: None };
        let texts = match (&self.site, columns.split_last()) {
            (Some(_), Some((ids, texts))) => {
                report.ids = Some(ids.as_primitive::<UInt64Type>());
                texts
            }
            _ => columns.as_slice(),
        };
        let result = run(&self.run, texts, &mut report)?;
        if let (Some((_, log)), Some(ids)) = (&self.site, report.ids)
            && !ids.is_empty()
        {
            log.record(chunk_of(ids.value(0)), std::mem::take(&mut report.events));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// Text stays text, everything that has an obvious text becomes it.
fn as_text(kind: &DataType) -> Result<DataType> {
    if matches!(kind, DataType::Null | DataType::Date32 | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        || kind.is_numeric()
    {
        Ok(DataType::Utf8)
    } else {
        plan_err!("it takes text, and was given {kind}")
    }
}

/// Gathers what one evaluation of one call does.
struct Report<'a> {
    site: SiteId,
    events: Vec<Event>,
    ids: Option<&'a UInt64Array>,
}

impl Report<'_> {
    /// The value of an outcome; its notes or refusal are remembered for the row.
    fn value<T>(&mut self, index: usize, outcome: Outcome<T>) -> Option<T> {
        match outcome {
            Ok(converted) => {
                for note in converted.notes {
                    self.push(index, Act::Repaired(note));
                }
                converted.value
            }
            Err(refusal) => {
                self.push(index, Act::Refused(refusal.code));
                None
            }
        }
    }

    fn push(&mut self, index: usize, act: Act) {
        if let Some(ids) = self.ids {
            self.events.push(Event { row: row_of(ids.value(index)), site: self.site, act });
        }
    }
}

fn run(run: &Run, texts: &[ArrayRef], report: &mut Report<'_>) -> Result<ArrayRef> {
    let first = text_at(texts, 0)?;
    let cells = || first.iter().enumerate();
    Ok(match run {
        Run::Text(convert) => build_text(first, |i, cell| report.value(i, convert(cell))),
        Run::OnDay(convert, day) => build_text(first, |i, cell| report.value(i, convert(cell, *day))),
        Run::Code(Some(table)) => build_text(first, |i, cell| report.value(i, table.code(cell))),
        Run::Code(None) => return Err(internal_datafusion_err!("a code lookup without its table")),
        Run::Pair(convert) => match texts.get(1) {
            None => build_text(first, |i, cell| report.value(i, convert(cell, None))),
            Some(_) => {
                let second = text_at(texts, 1)?;
                build_pair(first, second, |i, a, b| report.value(i, convert(a, b)))
            }
        },
        Run::Date(convert) => {
            let days = cells().map(|(i, c)| c.and_then(|c| report.value(i, convert(c))).map(|d| d.to_epoch_days()));
            Arc::new(days.collect::<Date32Array>())
        }
        Run::Timestamp(convert) => {
            let micros = cells().map(|(i, c)| c.and_then(|c| report.value(i, convert(c))));
            Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("+00:00"))
        }
        Run::Amount(convert, unit) => {
            let yuan = cells().map(|(i, c)| c.and_then(|c| report.value(i, convert(c, *unit))));
            let yuan = yuan.collect::<Decimal128Array>();
            Arc::new(yuan.with_precision_and_scale(DECIMAL_PRECISION, DECIMAL_SCALE)?)
        }
        Run::Truth(ask) => Arc::new(first.iter().map(ask).collect::<BooleanArray>()),
    })
}

fn text_at(columns: &[ArrayRef], at: usize) -> Result<&StringArray> {
    columns
        .get(at)
        .and_then(|c| c.as_string_opt::<i32>())
        .ok_or_else(|| internal_datafusion_err!("argument {} of a conversion is not text", at + 1))
}

fn build_text<'a>(cells: &'a StringArray, mut convert: impl FnMut(usize, &'a str) -> Option<Cow<'a, str>>) -> ArrayRef {
    let mut out = StringBuilder::with_capacity(cells.len(), cells.value_data().len());
    for (i, cell) in cells.iter().enumerate() {
        out.append_option(cell.and_then(|c| convert(i, c)));
    }
    Arc::new(out.finish())
}

/// The second text may be null; without a first there is no result.
fn build_pair<'a>(
    first: &'a StringArray,
    second: &'a StringArray,
    mut convert: impl FnMut(usize, &'a str, Option<&'a str>) -> Option<Cow<'a, str>>,
) -> ArrayRef {
    let mut out = StringBuilder::with_capacity(first.len(), first.len() * 8);
    for (i, (a, b)) in first.iter().zip(second).enumerate() {
        out.append_option(a.or(b.map(|_| "")).and_then(|a| convert(i, a, b)));
    }
    Arc::new(out.finish())
}
