//! Runs a compiled mapping on a chunk: every row comes out exactly once, as mapped, filtered or refused.
//!
//! Order of judgement: `where` leaves rows out first; then the contract, the conversions, the register's required
//! fields, keys and rules. All reasons of a row are kept, except that a field which already failed is not judged again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, UInt32Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::compile::{CompiledMapping, Output};
use super::contract::{Breach, Typed};
use super::sql::{self, Act, Event, Failed, Mode, ROW};
use super::{Mapped, Note, Reason};

impl CompiledMapping {
    /// Maps one chunk. Columns are found by name; a contracted column that is missing is null throughout, others are
    /// ignored. Splitting a chunk changes nothing but row indices.
    pub fn apply(&self, rows: &RecordBatch) -> Mapped {
        let typed = self.contract.convert(rows);
        let chunk = self.calls.log.open();
        let mut verdict = Verdict { refused: BTreeMap::new(), notes: Vec::new() };
        let batch = self.batch(rows, &typed, chunk);
        let kept = self.filter(&batch, &typed, chunk, &mut verdict);
        let filtered = rows.num_rows() - kept.true_count() - verdict.refused.len();
        let (batch, indices) = surviving(&batch, &kept);

        let claims = self.outputs.iter().map(|o| self.output(o, &batch, &indices, &mut verdict)).collect();
        for breach in typed.mistyped.iter().chain(&self.contract.blanks(rows)) {
            if kept.value(breach.row as usize) {
                verdict.refuse(breach.row, self.breach(*breach));
            }
        }
        self.settle_events(chunk, &mut verdict);
        let claims = self.claims(claims, batch.num_rows());
        self.judge(&claims, &indices, &mut verdict);
        self.finish(&claims, &indices, verdict, filtered as u64)
    }

    /// The columns that expressions read, and the hidden column.
    fn batch(&self, rows: &RecordBatch, typed: &Typed, chunk: u32) -> RecordBatch {
        let column = |name: &str| -> Option<ArrayRef> {
            if name == ROW {
                return Some(Arc::new(sql::row_ids(chunk, rows.num_rows())));
            }
            typed.columns.get(self.contract.position(name)?).cloned()
        };
        let columns = self.schema.fields().iter().filter_map(|f| column(f.name())).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .expect("the schema was made from the contract whose conversion yields these very types")
    }

    /// Which rows `where` keeps. A row whose condition cannot be computed is refused, not left out.
    fn filter(&self, batch: &RecordBatch, typed: &Typed, chunk: u32, verdict: &mut Verdict) -> BooleanArray {
        let Some(filter) = &self.filter else { return vec![true; batch.num_rows()].into() };
        let (answers, failed) = sql::evaluate(&filter.planned, batch);
        for Failed { row, code } in failed {
            verdict.refuse(row as u32, reason("where", code, filter.line));
        }
        for breach in typed.mistyped.iter().filter(|b| filter.columns.contains(&b.column)) {
            verdict.refuse(breach.row, self.breach(*breach));
        }
        self.settle_events(chunk, verdict);
        let answers = answers.as_boolean();
        let refused = &verdict.refused;
        let keep = |row: usize| answers.is_valid(row) && answers.value(row) && !refused.contains_key(&(row as u32));
        let kept: BooleanArray = (0..batch.num_rows()).map(keep).collect::<Vec<bool>>().into();
        verdict.notes.retain(|note| kept.value(note.row));
        kept
    }

    fn output(&self, output: &Output, batch: &RecordBatch, indices: &UInt32Array, verdict: &mut Verdict) -> ArrayRef {
        let (values, failed) = sql::evaluate(&output.planned, batch);
        for Failed { row, code } in failed {
            verdict.refuse(indices.value(row), reason(&output.field, code, output.line));
        }
        without_blanks(values)
    }

    fn breach(&self, breach: Breach) -> Reason {
        reason(self.contract.name(breach.column), breach.code, 0)
    }

    /// Turns what conversions reported into reasons and notes.
    fn settle_events(&self, chunk: u32, verdict: &mut Verdict) {
        for Event { row, site, act } in self.calls.log.take(chunk) {
            let Some(site) = self.calls.sites.get(site as usize) else { continue };
            let code = match (act, site.mode) {
                (Act::Refused(code), Mode::Refuse) => {
                    verdict.refuse(row, reason(&site.column, code, site.line));
                    continue;
                }
                (Act::Refused(code), Mode::Null) => Cow::Owned(format!("or_null:{code}")),
                (Act::Refused(code), Mode::Default) => Cow::Owned(format!("or_default:{code}")),
                (Act::Repaired(code), _) => Cow::Borrowed(code),
            };
            verdict.notes.push(Note { row: row as usize, column: site.column.clone(), code });
        }
    }

    fn claims(&self, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
        let fields = self.fields().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect::<Vec<_>>();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .expect("evaluation yields one value of the field's type per row")
    }

    /// Required fields, keys and rules of the register.
    fn judge(&self, claims: &RecordBatch, indices: &UInt32Array, verdict: &mut Verdict) {
        for (output, values) in self.outputs.iter().zip(claims.columns()) {
            if output.required && values.null_count() > 0 {
                for row in (0..values.len()).filter(|row| values.is_null(*row)) {
                    verdict.refuse_once(
                        indices.value(row),
                        &output.field,
                        reason(&output.field, "required", output.line),
                    );
                }
            }
        }
        let keys: Vec<&ArrayRef> = self.keys.iter().filter_map(|k| claims.column_by_name(k)).collect();
        if keys.iter().all(|k| k.null_count() > 0) {
            for row in (0..claims.num_rows()).filter(|row| keys.iter().all(|k| k.is_null(*row))) {
                let row = indices.value(row);
                if !self.keys.iter().any(|key| verdict.has_failed(row, key)) {
                    verdict.refuse(row, reason(&self.keys.join(", "), "no_key", 0));
                }
            }
        }
        for (row, broken) in self.rules.broken(claims) {
            let field = broken.column.clone();
            verdict.refuse_once(indices.value(row), &field, broken);
        }
    }

    fn finish(&self, claims: &RecordBatch, indices: &UInt32Array, verdict: Verdict, filtered: u64) -> Mapped {
        let Verdict { refused, mut notes } = verdict;
        let good = indices.values().iter().map(|row| !refused.contains_key(row)).collect::<Vec<bool>>();
        let rows = indices.values().iter().zip(&good).filter(|(_, good)| **good).map(|(row, _)| *row).collect();
        let claims = if good.iter().all(|g| *g) {
            claims.clone()
        } else {
            filter_record_batch(claims, &good.into()).expect("the mask has one bit per claim")
        };
        notes.retain(|note| !refused.contains_key(&(note.row as u32)));
        notes.sort_by_key(|note| note.row);
        Mapped { claims, rows, refused: refused.into_iter().collect(), filtered, notes }
    }
}

fn reason(column: &str, code: &str, line: u32) -> Reason {
    Reason { column: column.to_owned(), code: code.to_owned(), line }
}

/// Reasons and notes gathered for a chunk, by row of the chunk.
struct Verdict {
    refused: BTreeMap<u32, Vec<Reason>>,
    notes: Vec<Note>,
}

impl Verdict {
    fn refuse(&mut self, row: u32, reason: Reason) {
        let reasons = self.refused.entry(row).or_default();
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }

    /// Refuses unless something was already wrong with this column.
    fn refuse_once(&mut self, row: u32, column: &str, reason: Reason) {
        if !self.has_failed(row, column) {
            self.refuse(row, reason);
        }
    }

    fn has_failed(&self, row: u32, column: &str) -> bool {
        self.refused.get(&row).is_some_and(|reasons| reasons.iter().any(|r| r.column == column))
    }
}

/// Rows that were kept, and where they were.
fn surviving(batch: &RecordBatch, kept: &BooleanArray) -> (RecordBatch, UInt32Array) {
    let all = 0..batch.num_rows() as u32;
    if kept.true_count() == kept.len() {
        return (batch.clone(), all.collect::<Vec<u32>>().into());
    }
    let indices = all.filter(|row| kept.value(*row as usize)).collect::<Vec<u32>>();
    let batch = filter_record_batch(batch, kept).expect("the mask has one bit per row");
    (batch, indices.into())
}

/// Text that is empty or only white space says nothing: it is null in a claim.
fn without_blanks(values: ArrayRef) -> ArrayRef {
    if *values.data_type() != DataType::Utf8 {
        return values;
    }
    let texts: &StringArray = values.as_string();
    let blank = |text: &str| text.chars().next().is_none_or(|c| c.is_whitespace() && text.trim().is_empty());
    if !texts.iter().flatten().any(blank) {
        return values;
    }
    Arc::new(texts.iter().map(|text| text.filter(|t| !blank(t))).collect::<StringArray>())
}
