//! `huiliu run --dry-run`: what a pass would do with the files that wait, and nothing written.

use crate::cli::table::{count, number, shown, table, text};
use crate::cli::workspace::ask;
use crate::cli::{Context, Exit};
use crate::engine::{EngineError, RegisterRehearsal, RunRehearsal, Sample};

/// Rehearses these pipelines, all when none is named. 3 when something would be held, fail or be set aside.
pub(super) async fn run(names: &[String], diff: bool, context: &Context) -> anyhow::Result<Exit> {
    let mut engine = ask(context).await?;
    super::stop_on_interrupt(&engine);
    let all: Vec<String> = engine.workspace().pipelines.keys().cloned().collect();
    let chosen = if names.is_empty() { &all } else { names };
    for name in chosen {
        engine.pipeline(name)?;
    }
    let mut rehearsals = Vec::new();
    for name in chosen {
        rehearsals.push(match engine.rehearse_run(name, diff).await {
            Ok(rehearsal) => rehearsal,
            Err(EngineError::Stopped) => return Err(EngineError::Stopped.into()),
            Err(error) => RunRehearsal::failed(name, &error),
        });
    }
    if context.json {
        context.print_json(&rehearsals)?;
    } else {
        context.print(&counts_text(&rehearsals))?;
        context.print(&details_text(&rehearsals))?;
        context.note("nothing was written 未写入任何数据")?;
    }
    Ok(if rehearsals.iter().any(RunRehearsal::needs_a_person) { Exit::Held } else { Exit::Done })
}

fn counts_text(rehearsals: &[RunRehearsal]) -> String {
    let columns = [
        text("流程 pipeline"),
        text("基础库 register"),
        number("读入 read"),
        number("坏行 undecodable"),
        number("筛去 filtered"),
        number("问题 quarantined"),
        number("新增 new"),
        number("变更 changed"),
        number("未变 unchanged"),
        number("落选 superseded"),
        number("撤销 retracted"),
    ];
    let lines = rehearsals.iter().flat_map(|run| run.registers.iter().map(move |line| (run, line)));
    let rows = lines.map(|(run, line)| {
        let c = &line.counts;
        let numbers = [
            c.read,
            c.undecodable,
            c.filtered,
            c.quarantined,
            c.new,
            c.changed,
            c.unchanged,
            c.superseded,
            c.retracted,
        ];
        [run.pipeline.clone(), line.register.clone()].into_iter().chain(numbers.map(count)).collect::<Vec<_>>()
    });
    table(&columns, rows)
}

fn details_text(rehearsals: &[RunRehearsal]) -> String {
    let mut out = String::new();
    for run in rehearsals {
        for file in run.files.iter().filter(|file| file.outcome != "unchanged") {
            let why = file.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            out +=
                &format!("{}: {} {}, {} rows{why}\n", run.pipeline, shown(&file.name), file.outcome, count(file.rows));
        }
        if let Some(why) = run.why.as_deref().filter(|_| run.files.iter().all(|file| file.why.is_none())) {
            out += &format!("{}: {why}\n", run.pipeline);
        }
        for register in &run.registers {
            out += &register_text(&run.pipeline, register);
        }
        for feed in &run.affected {
            let records = count(feed.records);
            out += &format!(
                "{}: 订阅 {} ({}) holds 持有 {records} of what changes\n",
                run.pipeline, feed.feed, feed.subscriber
            );
        }
    }
    out
}

fn register_text(pipeline: &str, register: &RegisterRehearsal) -> String {
    let mut out = String::new();
    for (code, n) in &register.quarantined_by {
        out +=
            &format!("{pipeline}: {} rows 问题 quarantined by {} in {}\n", count(*n), shown(code), register.register);
    }
    for sample in &register.samples {
        out += &sample_text(&register.register, sample);
    }
    out
}

/// One row, field by field; values are masked already.
fn sample_text(register: &str, sample: &Sample) -> String {
    let sign = match sample.change {
        "added" => "+ 新增 added",
        "changed" => "~ 变更 changed",
        _ => "- 撤销 removed",
    };
    let entity = sample.entity.map(|id| format!(" #{id}")).unwrap_or_default();
    let mut out = format!("{sign} {register}{entity}\n");
    for field in &sample.fields {
        let value = |value: &Option<String>| value.as_deref().map_or_else(|| "—".to_owned(), shown);
        out += &format!("    {}: {} → {}\n", field.field, value(&field.before), value(&field.after));
    }
    out
}
