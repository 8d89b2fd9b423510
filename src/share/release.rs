//! A grant, compiled against its register: rows of the register in, rows of the subscriber out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, StringBuilder, new_null_array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field as ArrowField, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use chrono::NaiveDate;

use super::decision::{FieldDecision, Withheld, catalogue, decide};
use super::expiry::{self, Expiry};
use super::{free_text, masks};
use crate::config::{CodeTable, Feed, Field, FreeText, MaskRule, PseudonymBy, Register, ShareClass};
use crate::crypto::DigestAlgorithm;
use crate::error::{Place, Problem};
use crate::mapping::sql::{self, Origin, Scope, Single, Wanted};
use crate::record::FieldType;

/// From this level on, a field is about persons: whoever is granted it unmasked is granted the number that it holds.
const PERSONAL: u8 = 3;

/// What leaves of a batch of register rows.
#[derive(Debug, Clone)]
pub struct Released {
    /// The granted columns in the grant's order, masked; kept rows only, in order.
    pub rows: RecordBatch,
    /// For each of them, its index in the batch that came in.
    pub kept: Vec<u32>,
    /// Rows for which the row filter is false or null.
    pub withheld_by_filter: Vec<u32>,
    /// Rows for which the filter or a mask could not be computed. They stay inside.
    pub withheld_by_error: Vec<u32>,
    /// Numbers of persons that the grant does not cover, found in free text: by row among `rows`, ascending.
    pub found: Vec<RowFound>,
}

/// Numbers of persons found in one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowFound {
    /// Row among those released.
    pub row: usize,
    /// Column among those released.
    pub column: usize,
    /// 公民身份号码.
    pub citizen_ids: u64,
    /// 手机号.
    pub mobiles: u64,
}

/// A compiled grant. Keeps no state between batches and may be used from several threads.
#[derive(Debug)]
pub struct Release {
    decisions: Vec<(String, FieldDecision)>,
    columns: Vec<Column>,
    filter: Option<Single>,
    key: Option<Vec<u8>>,
    free_text: FreeText,
    expiries: Vec<Expiry>,
}

#[derive(Debug)]
struct Column {
    field: String,
    kind: FieldType,
    look: Look,
    /// Whether its text is looked through for numbers of persons.
    scanned: bool,
    /// Whether a cell that is nothing but such a number is what the grant is about.
    covers: bool,
}

/// How a column looks outside.
#[derive(Debug)]
enum Look {
    Plain,
    Null,
    Text(fn(&str) -> String),
    Pseudonym(DigestAlgorithm),
    Sql(Single),
}

impl Release {
    /// Compiles a grant; `today` is what `current_date` means in its SQL. Fields that the catalogue does not allow are
    /// left out here, not reported: reporting them is the business of `huiliu check`.
    ///
    /// # Errors
    /// Every problem of the row filter and of SQL masks, at their places in the feed's file, and a grant of a field
    /// that the register does not have.
    pub fn compile(
        feed: &Feed,
        register: &Register,
        codes: &BTreeMap<String, CodeTable>,
        today: NaiveDate,
    ) -> Result<Self, Vec<Problem>> {
        let compile = Compile { feed, register, codes, today };
        let mut problems = Vec::new();
        let filter = feed.rows.as_ref().and_then(|rows| {
            let scope = compile.scope(format!("the row filter of feed \"{}\"", feed.name), &rows.place);
            sql::condition(&scope, &rows.value).map_err(|found| problems.extend(found)).ok()
        });
        let decisions: Vec<_> = register.fields.iter().map(|f| (f.name.clone(), decide(feed, f))).collect();
        let mut columns: Vec<Column> = Vec::new();
        for granted in &feed.fields {
            let Some(field) = register.field(&granted.value) else {
                problems.push(compile.unknown_field(granted));
                continue;
            };
            let leaves = !matches!(decide(feed, field), FieldDecision::Withheld(_));
            if leaves && !columns.iter().any(|c| c.field == field.name) {
                match compile.column(field) {
                    Ok(column) => columns.push(column),
                    Err(found) => problems.extend(found),
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut release =
            Self { decisions, columns, filter, key: None, free_text: feed.free_text, expiries: Vec::new() };
        release.expiries = expiry::of(register, &release.reads(), today);
        Ok(release)
    }

    /// With the secret key of this feed's pseudonyms (at least 16 bytes, the same in every run, so that a pseudonym
    /// stays the same). Without one, a field masked as pseudonym leaves as null.
    #[must_use]
    pub fn with_pseudonym_key(mut self, key: &[u8]) -> Self {
        self.key = Some(key.to_vec());
        self
    }

    /// What happens to every field of the register, in the register's order.
    pub fn decisions(&self) -> &[(String, FieldDecision)] {
        &self.decisions
    }

    /// The columns that leave and their types, in the grant's order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, FieldType)> {
        self.columns.iter().map(|c| (c.field.as_str(), c.kind))
    }

    /// The register fields that it reads: those that leave, and those that its filter and masks look at.
    pub fn reads(&self) -> BTreeSet<&str> {
        let looks = self.columns.iter().filter_map(|column| match &column.look {
            Look::Sql(expression) => Some(&expression.reads),
            _ => None,
        });
        let looked_at = self.filter.iter().map(|filter| &filter.reads).chain(looks).flatten().map(String::as_str);
        let ends = self.expiries.iter().map(|expiry| expiry.after.as_str());
        self.columns.iter().map(|column| column.field.as_str()).chain(looked_at).chain(ends).collect()
    }

    /// The fields whose text is looked through for numbers of persons (自由文本).
    pub fn scanned(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter(|column| column.scanned).map(|column| column.field.as_str())
    }

    /// What becomes of such numbers.
    pub const fn free_text(&self) -> FreeText {
        self.free_text
    }

    /// Whether what leaves depends on the day, without anything in the register changing (过期).
    pub fn depends_on_day(&self) -> bool {
        !self.expiries.is_empty()
    }

    /// The same as a list.
    pub fn schema(&self) -> Vec<(String, FieldType)> {
        self.fields().map(|(name, kind)| (name.to_owned(), kind)).collect()
    }

    /// Releases a batch of register rows. Columns are found by name and must have the register's types; a column that
    /// is missing is null, others are ignored.
    pub fn apply(&self, rows: &RecordBatch) -> Released {
        let rows = &expiry::apply(&self.expiries, rows);
        let mut verdict = vec![Verdict::Kept; rows.num_rows()];
        if let Some(filter) = &self.filter {
            let (answers, failed) = filter.evaluate(rows);
            let answers = answers.as_boolean();
            for (row, verdict) in verdict.iter_mut().enumerate() {
                if answers.is_null(row) || !answers.value(row) {
                    *verdict = Verdict::Filtered;
                }
            }
            failed.iter().for_each(|f| verdict[f.row] = Verdict::Failed);
        }
        // Masks see only rows that pass the filter.
        let passing: BooleanArray = verdict.iter().map(|v| Some(*v == Verdict::Kept)).collect();
        let passed: Vec<u32> = with(&verdict, Verdict::Kept);
        let inside = filter_record_batch(rows, &passing).expect("the mask has one bit per row");
        let columns = self.columns.iter().map(|column| {
            let (values, failed) = self.look(column, &inside);
            failed.into_iter().for_each(|row| verdict[passed[row] as usize] = Verdict::Failed);
            values
        });
        let columns = columns.collect();
        let fields: Vec<_> = self.fields().map(|(name, kind)| ArrowField::new(name, kind.arrow(), true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(inside.num_rows()));
        let outside = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .expect("each column was brought to its declared type");
        let computed: BooleanArray = passed.iter().map(|row| Some(verdict[*row as usize] == Verdict::Kept)).collect();
        let rows = filter_record_batch(&outside, &computed).expect("the mask has one bit per row");
        let (rows, found) = self.look_through(rows);
        Released {
            rows,
            found,
            kept: with(&verdict, Verdict::Kept),
            withheld_by_filter: with(&verdict, Verdict::Filtered),
            withheld_by_error: with(&verdict, Verdict::Failed),
        }
    }

    /// Looks through free text, and does with what is found what the grant says.
    fn look_through(&self, rows: RecordBatch) -> (RecordBatch, Vec<RowFound>) {
        let mut found = Vec::new();
        let mut columns = rows.columns().to_vec();
        let scanned = self.columns.iter().enumerate().filter(|(_, column)| column.scanned);
        for (n, _) in scanned {
            let Some(texts) = rows.column(n).as_string_opt::<i32>() else { continue };
            let mut altered: Vec<(usize, Option<String>)> = Vec::new();
            for row in (0..texts.len()).filter(|row| texts.is_valid(*row)) {
                let text = texts.value(row);
                let mut hits = free_text::find(text);
                if !hits.is_empty() {
                    let covered = self.covered(&rows, row);
                    hits.retain(|hit| !covered.contains(&hit.number));
                }
                if hits.is_empty() {
                    continue;
                }
                let ids = hits.iter().filter(|hit| hit.kind == free_text::Kind::CitizenId).count();
                let (citizen_ids, mobiles) = (ids as u64, (hits.len() - ids) as u64);
                found.push(RowFound { row, column: n, citizen_ids, mobiles });
                match self.free_text {
                    FreeText::Mask => altered.push((row, Some(free_text::hidden(text, &hits)))),
                    FreeText::Withhold => altered.push((row, None)),
                    FreeText::Flag => {}
                }
            }
            if !altered.is_empty()
                && let Some(place) = columns.get_mut(n)
            {
                *place = with_texts(texts, altered);
            }
        }
        found.sort_unstable_by_key(|found| (found.row, found.column));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(rows.schema(), columns, &options)
            .expect("only texts were put in the place of texts");
        (rows, found)
    }

    /// The numbers of persons that the grant covers in this row: cells that are nothing else, of fields that are shared for it.
    fn covered(&self, rows: &RecordBatch, row: usize) -> BTreeSet<String> {
        let columns = self.columns.iter().enumerate().filter(|(_, column)| column.covers);
        let texts = columns.filter_map(|(n, _)| rows.column(n).as_string_opt::<i32>());
        let cells = texts.filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row));
        let numbers = cells.filter_map(|text| {
            let hit = free_text::find(text).into_iter().next()?;
            free_text::is_all_of(text, &hit).then_some(hit.number)
        });
        numbers.collect()
    }

    /// One column as it looks outside, and the rows for which that could not be computed.
    fn look(&self, column: &Column, rows: &RecordBatch) -> (ArrayRef, Vec<usize>) {
        let kind = column.kind.arrow();
        let null = || new_null_array(&kind, rows.num_rows());
        let inside = || rows.column_by_name(&column.field).cloned();
        let masked = |mask: &dyn Fn(&str) -> String| inside().map_or_else(null, |values| masked(&values, mask));
        match (&column.look, &self.key) {
            (Look::Plain, _) => match inside() {
                Some(values) if *values.data_type() == kind => (values, vec![]),
                Some(_) => (null(), (0..rows.num_rows()).collect()),
                None => (null(), vec![]),
            },
            (Look::Null, _) | (Look::Pseudonym(_), None) => (null(), vec![]),
            (Look::Text(mask), _) => (masked(mask), vec![]),
            (Look::Pseudonym(by), Some(key)) => (masked(&|text| masks::pseudonym(*by, key, text)), vec![]),
            (Look::Sql(expression), _) => {
                let (values, failed) = expression.evaluate(rows);
                (values, failed.into_iter().map(|f| f.row).collect())
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Kept,
    Filtered,
    Failed,
}

fn with(verdicts: &[Verdict], wanted: Verdict) -> Vec<u32> {
    (0u32..).zip(verdicts).filter(|(_, verdict)| **verdict == wanted).map(|(row, _)| row).collect()
}

/// Text through a mask; null stays null, and a mask that leaves nothing yields null.
fn masked(values: &ArrayRef, mask: &dyn Fn(&str) -> String) -> ArrayRef {
    // Dates and instants become their canonical text first; what has none becomes null, never itself.
    let Ok(texts) = cast(values, &DataType::Utf8) else { return new_null_array(&DataType::Utf8, values.len()) };
    let texts: &StringArray = texts.as_string();
    let mut out = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    for text in texts {
        out.append_option(text.map(mask).filter(|masked| !masked.is_empty()));
    }
    Arc::new(out.finish())
}

/// The same texts, but for these.
fn with_texts(texts: &StringArray, altered: Vec<(usize, Option<String>)>) -> ArrayRef {
    let mut out = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    let mut altered = altered.into_iter().peekable();
    for (row, text) in texts.iter().enumerate() {
        match altered.next_if(|(at, _)| *at == row) {
            Some((_, instead)) => out.append_option(instead),
            None => out.append_option(text),
        }
    }
    Arc::new(out.finish())
}

struct Compile<'a> {
    feed: &'a Feed,
    register: &'a Register,
    codes: &'a BTreeMap<String, CodeTable>,
    today: NaiveDate,
}

impl<'a> Compile<'a> {
    fn scope(&self, subject: String, place: &Place) -> Scope<'a> {
        Scope {
            subject,
            columns_of: format!("register \"{}\"", self.register.name),
            table: "register",
            columns: self.register.fields.iter().map(|f| (f.name.as_str(), f.kind)).collect(),
            codes: self.codes,
            today: self.today,
            may_refuse: false,
            origin: Origin::inside(place),
        }
    }

    fn column(&self, field: &Field) -> Result<Column, Vec<Problem>> {
        let mask = self.feed.mask.get(&field.name);
        let (kind, look) = match mask.map(|mask| (&mask.value, &mask.place)) {
            None => (field.kind, Look::Plain),
            Some((MaskRule::Null, _)) => (field.kind, Look::Null),
            Some((MaskRule::Name, _)) => (FieldType::Text, Look::Text(masks::name)),
            Some((MaskRule::IdNumber, _)) => (FieldType::Text, Look::Text(masks::id_number)),
            Some((MaskRule::Phone, _)) => (FieldType::Text, Look::Text(masks::phone)),
            Some((MaskRule::Address, _)) => (FieldType::Text, Look::Text(masks::address)),
            Some((MaskRule::Year, _)) => (FieldType::Text, Look::Text(masks::year)),
            Some((MaskRule::Pseudonym(by), _)) => {
                let by = match by {
                    PseudonymBy::Sha256 => DigestAlgorithm::Sha256,
                    PseudonymBy::Sm3 => DigestAlgorithm::Sm3,
                };
                (FieldType::Text, Look::Pseudonym(by))
            }
            Some((MaskRule::Sql(sql), place)) => {
                let subject = format!("the mask of \"{}\" in feed \"{}\"", field.name, self.feed.name);
                let expression = sql::single(&self.scope(subject, place), sql, Wanted::Any)?;
                self.reads_only_what_may_leave(field, &expression, place)?;
                (expression.planned.kind, Look::Sql(expression))
            }
        };
        let text = kind == FieldType::Text && matches!(look, Look::Plain | Look::Sql(_));
        let key = self.register.keys.iter().any(|key| key.value == field.name);
        let link = self.register.bonds.links.iter().any(|link| link.field.value == field.name);
        let shared_for_it = field.level >= PERSONAL || field.share == ShareClass::Conditional;
        let covers = text && matches!(look, Look::Plain) && (key || link || shared_for_it);
        Ok(Column { field: field.name.clone(), kind, look, scanned: text && !key, covers })
    }

    /// A mask must not carry out what the grant keeps in. Its result is made of its own field and of fields that leave
    /// unmasked; to choose between results (`case when …`) it may also look at fields that the catalogue shares.
    fn reads_only_what_may_leave(&self, own: &Field, mask: &Single, place: &Place) -> Result<(), Vec<Problem>> {
        let decision = |name: &str| self.register.field(name).map(|field| decide(self.feed, field));
        let may_read = |name: &str| match decision(name) {
            _ if name == own.name => true,
            Some(FieldDecision::Released) => true,
            Some(FieldDecision::Masked(_) | FieldDecision::Withheld(Withheld::NotGranted)) => {
                !mask.carries.contains(name) && self.shareable(name)
            }
            Some(FieldDecision::Withheld(Withheld::NotShared | Withheld::NoBasis)) | None => false,
        };
        let leaks = mask.reads.iter().filter(|name| !may_read(name)).map(|name| {
            let message = format!("the mask of \"{}\" reads \"{name}\", which does not leave as it is", own.name);
            let problem = Problem::error("HL0620", message).at(place.clone());
            problem.detail(format!("feed \"{}\" would carry it out under another name", self.feed.name))
        });
        let leaks: Vec<Problem> = leaks.collect();
        if leaks.is_empty() { Ok(()) } else { Err(leaks) }
    }

    /// Whether the catalogue would let this feed have the field if the grant named it.
    fn shareable(&self, name: &str) -> bool {
        self.register.field(name).is_some_and(|field| catalogue(self.feed, field).is_none())
    }

    fn unknown_field(&self, granted: &crate::config::At<String>) -> Problem {
        let names = || self.register.fields.iter().map(|f| f.name.as_str());
        let message = format!("\"{}\" is not a field of register \"{}\"", granted.value, self.register.name);
        Problem::error("HL0651", message).at(granted.place.clone()).did_you_mean(&granted.value, names())
    }
}
