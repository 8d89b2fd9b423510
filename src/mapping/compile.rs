//! A mapping file → a [`CompiledMapping`], or every problem it has.
//!
//! Decides whether the SQL fits the dataset's contract and the register. Planning happens here, once; [`super::apply`]
//! only evaluates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use super::contract::Contract;
use super::rules::Rules;
use super::sql::{self, Calls, Origin, Planned, Resolved, Scope, Wanted};
use crate::config::{CodeTable, Dataset, DatasetRef, MappingFile, Register, Workspace};
use crate::error::{Place, Problem};
use crate::record::FieldType;

/// What a mapping is compiled from.
#[derive(Debug, Clone, Copy)]
pub struct MappingSource<'a> {
    /// System of the dataset.
    pub system: &'a str,
    /// The dataset whose contract the mapping reads.
    pub dataset: &'a Dataset,
    /// The register whose fields it sets.
    pub register: &'a Register,
    /// The SQL.
    pub file: &'a MappingFile,
    /// Code tables for `code('table', …)`.
    pub codes: &'a BTreeMap<String, CodeTable>,
    /// What `current_date` means: the day of the run, one for the whole run.
    pub today: NaiveDate,
}

impl<'a> MappingSource<'a> {
    /// The mapping of a dataset onto a register; `None` when the workspace lacks one of the three.
    pub fn find(workspace: &'a Workspace, from: &DatasetRef, into: &str, today: NaiveDate) -> Option<Self> {
        let dataset = workspace.connectors.get(&from.system)?.datasets.get(&from.dataset)?;
        let key = (from.system.clone(), from.dataset.clone(), into.to_owned());
        let ((system, ..), file) = workspace.mappings.get_key_value(&key)?;
        let register = workspace.registers.get(into)?;
        Some(Self { system, dataset, register, file, codes: &workspace.codes, today })
    }

    fn subject(&self) -> String {
        format!("mapping \"{}/{}.{}\"", self.system, self.dataset.name, self.register.name)
    }

    fn scope(&self) -> Scope<'a> {
        Scope {
            subject: self.subject(),
            columns_of: format!("the contract of \"{}.{}\"", self.system, self.dataset.name),
            table: "source",
            columns: self.dataset.columns.iter().map(|c| (c.name.as_str(), c.kind)).collect(),
            codes: self.codes,
            today: self.today,
            may_refuse: true,
            origin: Origin::file(&self.file.file),
        }
    }
}

/// Where one register field comes from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Lineage {
    /// Register field.
    pub field: String,
    /// Line in the mapping file, from 1.
    pub line: u32,
    /// The expression as written: `uscc(统一社会信用代码)`.
    pub expression: String,
    /// Contract columns it reads, sorted.
    pub columns: Vec<String>,
}

/// A mapping that is ready to run. It keeps no state between chunks and may be used from several threads.
#[derive(Debug)]
pub struct CompiledMapping {
    pub(super) contract: Contract,
    pub(super) outputs: Vec<Output>,
    pub(super) filter: Option<Filter>,
    pub(super) schema: SchemaRef,
    pub(super) calls: Calls,
    pub(super) rules: Arc<Rules>,
    pub(super) keys: Vec<String>,
    used: BTreeSet<String>,
    lineage: Vec<Lineage>,
}

#[derive(Debug)]
pub(super) struct Output {
    pub(super) field: String,
    pub(super) required: bool,
    pub(super) line: u32,
    pub(super) planned: Planned,
}

#[derive(Debug)]
pub(super) struct Filter {
    pub(super) planned: Planned,
    pub(super) line: u32,
    /// Contract positions of the columns it reads.
    pub(super) columns: Vec<usize>,
}

impl CompiledMapping {
    /// Compiles a mapping against contract, register, rules and code tables.
    ///
    /// # Errors
    /// Every problem (HL0201–HL0219), each at its place in the `.sql` file or, for rules, in the register's file.
    pub fn compile(source: &MappingSource<'_>) -> Result<Self, Vec<Problem>> {
        sql::with_room(|| Self::compile_here(source)).unwrap_or_else(|| {
            let why = "the planner broke down; please report this";
            Err(vec![Problem::error("HL0212", why).at(source.scope().origin.place_of_start())])
        })
    }

    fn compile_here(source: &MappingSource<'_>) -> Result<Self, Vec<Problem>> {
        let scope = source.scope();
        let select = sql::select(&source.file.sql, scope.table, &scope.subject, &scope.origin)?;
        let (mut calls, mut problems) = (Calls::default(), Vec::new());
        let mut resolved = Vec::new();
        let mut seen = BTreeSet::new();
        for output in select.outputs {
            let name = output.field.value.clone();
            let place = scope.origin.place(output.field.span.start);
            problems.extend(alias_problem(source, &name, place.clone(), !seen.insert(name.clone())));
            let expr = sql::resolve(&scope, &mut calls, &name, output.expr, &mut problems);
            resolved.push((name, expr, output.place));
        }
        problems.extend(missing_fields(source, &seen));
        let filter = select.filter.map(|f| sql::resolve(&scope, &mut calls, "where", f, &mut problems));
        let rules = Rules::compile(source.register, source.codes, source.today);
        if !problems.is_empty() {
            return Err(problems);
        }
        let used = resolved.iter().map(|(_, e, _)| e).chain(&filter).flat_map(|e| e.columns.iter().cloned()).collect();
        let mut build = Build { source, scope, calls, used, problems };
        let (outputs, lineage) = build.outputs(&resolved);
        let filter = filter.and_then(|f| build.filter(&f));
        build.finish(outputs, filter, rules, lineage)
    }

    /// Contract columns that the mapping reads.
    pub fn used_columns(&self) -> &BTreeSet<String> {
        &self.used
    }

    /// Where each field it sets comes from, in the order of the file.
    pub fn lineage(&self) -> &[Lineage] {
        &self.lineage
    }

    /// The fields it sets, in the order of the file: the columns of its claims.
    pub fn fields(&self) -> impl Iterator<Item = (&str, FieldType)> {
        self.outputs.iter().map(|o| (o.field.as_str(), o.planned.kind))
    }
}

struct Build<'a, 's> {
    source: &'a MappingSource<'s>,
    scope: Scope<'s>,
    calls: Calls,
    used: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Build<'_, '_> {
    fn schema(&self) -> SchemaRef {
        sql::schema(self.scope.columns.iter().filter(|(name, _)| self.used.contains(*name)).copied())
    }

    fn outputs(&mut self, resolved: &[(String, Resolved, Place)]) -> (Vec<Output>, Vec<Lineage>) {
        let schema = self.schema();
        let mut all = (Vec::new(), Vec::new());
        for (name, expr, place) in resolved {
            let Some(field) = self.source.register.field(name) else { continue };
            let wanted = Wanted::Field(name, field.kind);
            match sql::plan(&self.scope, &self.calls, &schema, expr, wanted) {
                Ok(planned) => {
                    let line = place.line;
                    all.0.push(Output { field: name.clone(), required: field.required, line, planned });
                    let columns = expr.columns.iter().cloned().collect();
                    all.1.push(Lineage { field: name.clone(), line, expression: expr.text.clone(), columns });
                }
                Err(problem) => self.problems.push(*problem),
            }
        }
        all
    }

    fn filter(&mut self, resolved: &Resolved) -> Option<Filter> {
        let scope = Scope { subject: format!("where of {}", self.scope.subject), ..self.source.scope() };
        match sql::plan(&scope, &self.calls, &self.schema(), resolved, Wanted::Truth) {
            Ok(planned) => {
                let contract = Contract::of(self.source.dataset);
                let columns = resolved.columns.iter().filter_map(|c| contract.position(c)).collect();
                Some(Filter { planned, line: resolved.place.line, columns })
            }
            Err(problem) => {
                self.problems.push(*problem);
                None
            }
        }
    }

    fn finish(
        mut self,
        outputs: Vec<Output>,
        filter: Option<Filter>,
        rules: Result<Rules, Vec<Problem>>,
        lineage: Vec<Lineage>,
    ) -> Result<CompiledMapping, Vec<Problem>> {
        let schema = self.schema();
        let rules = match rules {
            Ok(rules) if self.problems.is_empty() => Arc::new(rules),
            Ok(_) => return Err(self.problems),
            Err(found) => {
                self.problems.extend(found);
                return Err(self.problems);
            }
        };
        let set = |key: &String| outputs.iter().any(|o| o.field == *key);
        let keys = self.source.register.keys.iter().map(|k| k.value.clone()).filter(set).collect();
        let contract = Contract::of(self.source.dataset);
        Ok(CompiledMapping {
            contract,
            outputs,
            filter,
            schema,
            calls: self.calls,
            rules,
            keys,
            used: self.used,
            lineage,
        })
    }
}

fn alias_problem(source: &MappingSource<'_>, name: &str, place: Place, repeated: bool) -> Option<Problem> {
    let register = source.register;
    if register.field(name).is_none() {
        let names = || register.fields.iter().map(|f| f.name.as_str());
        let message =
            format!("{} sets \"{name}\", which register \"{}\" does not have", source.subject(), register.name);
        let problem = Problem::error("HL0206", message).at(place);
        let problem = problem.detail(format!("its fields are {}", sql::listed(names())));
        return Some(problem.did_you_mean(name, names()));
    }
    let problem = Problem::error("HL0207", format!("{} sets \"{name}\" twice", source.subject())).at(place);
    repeated.then_some(problem)
}

/// Required fields that are not set, and no key at all.
fn missing_fields(source: &MappingSource<'_>, set: &BTreeSet<String>) -> Vec<Problem> {
    let register = source.register;
    let start = Place::new(&source.file.file, 1, 1);
    let missing = register.fields.iter().filter(|f| f.required && !set.contains(&f.name));
    let mut problems: Vec<Problem> = missing
        .map(|f| {
            let message = format!("{} does not set \"{}\" ({})", source.subject(), f.name, f.title);
            let detail = format!("register \"{}\" requires it of every claim", register.name);
            Problem::error("HL0218", message).at(start.clone()).detail(detail)
        })
        .collect();
    if !register.keys.iter().any(|k| set.contains(&k.value)) {
        let keys = sql::listed(register.keys.iter().map(|k| k.value.as_str()));
        let message = format!("{} sets no key of register \"{}\"", source.subject(), register.name);
        problems.push(Problem::error("HL0219", message).at(start).detail(format!("its keys are {keys}")));
    }
    problems
}
