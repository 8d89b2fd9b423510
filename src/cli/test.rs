//! `huiliu test`: the examples beside the mappings.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::{Context, Exit, Problems};
use crate::config::{Case, DatasetRef, Workspace, read_cases};
use crate::error::Problem;
use crate::mapping::{CaseOutcome, Difference, MappingSource, Stage, bless, run_cases};

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only mappings whose name contains one of these: `market-regulation`, `enterprise.person`
    #[arg(value_name = "MAPPING")]
    pub only: Vec<String>,
    /// Write what came out into the examples that do not hold, for review
    #[arg(long)]
    pub bless: bool,
}

/// The examples of one mapping and what they came to.
struct Tested<'a> {
    name: String,
    file: &'a str,
    text: &'a str,
    cases: Vec<Case>,
    outcomes: Vec<CaseOutcome>,
}

/// Runs the examples. Done when all hold (or have been rewritten), failed when one does not.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let (workspace, _) = super::workspace::definitions(context)?;
    let tested = test(&workspace, args, context)?;
    if context.json {
        context.print_json(&tested.iter().flat_map(rows).collect::<Vec<_>>())?;
    } else {
        tested.iter().try_for_each(|one| context.print(&told(one)))?;
    }
    let failing = tested.iter().flat_map(|one| &one.outcomes).filter(|outcome| !outcome.holds()).count();
    let all: usize = tested.iter().map(|one| one.outcomes.len()).sum();
    context.note(&format!("{all} examples of {} mappings: {} hold", tested.len(), all - failing))?;
    if all == 0 {
        context.note("nothing was tested: examples stand in ….cases.yaml beside the mapping")?;
        return Ok(if args.only.is_empty() { Exit::Done } else { Exit::Failed });
    }
    if args.bless && failing > 0 {
        tested.iter().try_for_each(|one| rewrite(one, context))?;
        return Ok(Exit::Done);
    }
    Ok(if failing == 0 { Exit::Done } else { Exit::Failed })
}

fn test<'a>(workspace: &'a Workspace, args: &Args, context: &Context) -> Result<Vec<Tested<'a>>, Problems> {
    let (mut tested, mut problems) = (Vec::new(), Vec::new());
    for ((system, dataset, register), file) in &workspace.mappings {
        let name = format!("{system}/{dataset}.{register}");
        let wanted = args.only.is_empty() || args.only.iter().any(|only| name.contains(only.as_str()));
        let Some((path, text)) = file.cases.as_ref().filter(|_| wanted) else { continue };
        let (cases, found) = read_cases(path, text);
        problems.extend(found);
        let from = DatasetRef { system: system.clone(), dataset: dataset.clone() };
        let today = context.clock.today(workspace.installation.zone);
        let Some(source) = MappingSource::find(workspace, &from, register, today) else { continue };
        let beside = workspace.dir.join(path).parent().map(Path::to_path_buf).unwrap_or_default();
        let read = |given: &str| std::fs::read(beside.join(given));
        let stage = Stage { zone: workspace.installation.zone, clock: context.clock, read: &read };
        match run_cases(&source, &cases, &stage) {
            Ok(outcomes) => tested.push(Tested { name, file: path, text, cases, outcomes }),
            Err(found) => problems.extend(found),
        }
    }
    if problems.iter().any(Problem::is_error) { Err(Problems(problems)) } else { Ok(tested) }
}

/// One example for programs.
#[derive(Serialize)]
struct Row<'a> {
    mapping: &'a str,
    case: &'a str,
    file: &'a str,
    line: u32,
    holds: bool,
    differences: &'a [Difference],
}

fn rows<'a>(one: &'a Tested<'a>) -> impl Iterator<Item = Row<'a>> {
    one.outcomes.iter().map(|outcome| Row {
        mapping: &one.name,
        case: &outcome.case,
        file: one.file,
        line: outcome.place.line,
        holds: outcome.holds(),
        differences: &outcome.differences,
    })
}

/// One line per example that holds, and what differs of those that do not.
fn told(one: &Tested<'_>) -> String {
    let mut text = format!("{}\n", one.name);
    for outcome in &one.outcomes {
        let mark = if outcome.holds() { "ok  " } else { "FAIL" };
        let _ = writeln!(text, "  {mark} {}", outcome.case);
        for Difference { place, message } in &outcome.differences {
            let _ = writeln!(text, "       {message}\n         --> {}:{}:{}", place.file, place.line, place.column);
        }
    }
    text
}

/// Puts what came out into the file, by way of a new file beside it.
fn rewrite(one: &Tested<'_>, context: &Context) -> anyhow::Result<()> {
    if one.outcomes.iter().all(CaseOutcome::holds) {
        return Ok(());
    }
    let Some(text) = bless(one.text, &one.cases, &one.outcomes) else {
        let problem = Problem::error("HL0220", format!("the examples of {} cannot be rewritten", one.name));
        let place = crate::error::Place::new(one.file, 1, 1);
        let hint = "write each example as a block: - case: …, then given: and expect: on lines of their own";
        return Err(Problems(vec![problem.at(place).hint(hint)]).into());
    };
    let target = context.dir.join(one.file);
    let beside = target.with_extension("yaml.new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, &target)?;
    context.note(&format!("rewrote {}: review it before you commit it", one.file))?;
    Ok(())
}
