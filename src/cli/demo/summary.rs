//! The demo's last page: what flowed, what did not and why, one record explained, where to look next.

use std::collections::BTreeMap;

use super::super::quarantine::chinese_meaning;
use super::super::run::{feeds_text, ledger_text};
use super::super::table::{count, number, table, text};
use super::super::{Context, register};
use super::{Night, Nights, RECEIVED, written};
use crate::demo::{Outbox, Services};
use crate::engine::Engine;
use crate::share::{FieldDecision, Release};
use crate::store::EntityView;

/// Quarantine reasons shown; the rest are counted together.
const REASONS: usize = 12;
/// Entities looked through for one that several departments describe.
const LOOKED_THROUGH: i64 = 400;

/// What is about to happen.
pub(super) fn opening(
    context: &Context,
    nights: &Nights,
    outbox: &Outbox,
    services: Option<&Services>,
) -> anyhow::Result<()> {
    let (files, rows, bytes) = written(outbox);
    let when = match nights.next {
        0 => "首次全量 first delivery".to_owned(),
        n => format!("第 {n} 夜 night {n}"),
    };
    context.note(&format!(
        "汇流 demo · 一座虚构的小城 a small fictional city · {when}\n\
         部门交来 the departments put out {files} 个数据集 datasets, {} 行 rows, {:.1} MB → {}\n\
         审批 approval: 前置库交换表，SQLite 文件代替 Oracle SQLite stands in for the approval system's Oracle",
        count(rows),
        bytes as f64 / 1e6,
        context.dir.join("outbox").display()
    ))?;
    match services {
        Some(services) => context.note(&format!(
            "证照、印章、不动产 e-license, e-seal, real-estate: 演示期间本机应答 answered here while the demo runs, http://{}",
            services.address()
        ))?,
        None => context.note(
            "证照、印章、不动产 e-license, e-seal, real-estate: 由 connectors 中的地址应答 answered where the connectors say",
        )?,
    }
    Ok(())
}

/// The page.
pub(super) async fn show(engine: &mut Engine, night: &Night, context: &Context) -> anyhow::Result<()> {
    let print = |text: &str| context.print(text);
    print(&heading("一、入库 from files to registers"))?;
    print(&ledger_text(&night.pass.runs))?;
    let balanced = night.pass.runs.iter().all(|run| run.registers.iter().all(|line| line.balanced));
    print(if balanced {
        "对账平衡 the ledger balances: 读入 = 坏行 + 筛去 + 问题 + 映射; 映射 = 新增 + 变更 + 未变 + 落选\n"
    } else {
        "对账不平 the ledger does not balance\n"
    })?;
    print(&heading("二、问题数据 what was set aside, and why"))?;
    print(&reasons(night))?;
    print(&heading("三、共享 what went out, under which grant"))?;
    print(&feeds_text(&night.pass.feeds))?;
    print(&received(night, context))?;
    print(&heading("四、一条记录 one record, explained"))?;
    let key = match several_sources(engine).await? {
        Some(entity) => {
            let key = format!("#{}", entity.id);
            let asked = register::Asked { register: "enterprise", key: &key, why: Some("演示 demo") };
            register::explain(engine, asked, Some(disputed(&entity)), context).await?;
            entity.fields.first().and_then(|(_, value, _)| value.clone()).unwrap_or(key)
        }
        None => "#1".to_owned(),
    };
    print(&heading("五、一个字段 one field withheld, and why"))?;
    print(&withheld(engine, context)?)?;
    print(&heading("六、接下来 where to look next"))?;
    let waiting = engine.store().quarantine_backlog().await?;
    let most = waiting.into_iter().max_by_key(|backlog| backlog.open).map(|backlog| backlog.dataset);
    print(&next_steps(&context.dir.display().to_string(), &key, most.as_deref()))?;
    Ok(())
}

fn heading(title: &str) -> String {
    format!("\n{title}\n")
}

/// Quarantined rows by reason, most first, with what the reason means.
fn reasons(night: &Night) -> String {
    let mut by_code: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for run in &night.pass.runs {
        for (code, n) in run.registers.iter().flat_map(|line| &line.quarantined_by) {
            *by_code.entry((&run.pipeline, code)).or_default() += n;
        }
    }
    let mut sorted: Vec<_> = by_code.into_iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let rest: u64 = sorted.iter().skip(REASONS).map(|(_, n)| n).sum();
    let columns = [text("流程 pipeline"), text("原因 reason"), number("行数 rows"), text("说明 what it means")];
    let rows = sorted.into_iter().take(REASONS).map(|((pipeline, code), n)| {
        let word = code.rsplit(':').next().unwrap_or(code);
        [pipeline.to_owned(), code.to_owned(), count(n), chinese_meaning(word).to_owned()]
    });
    let mut out = table(&columns, rows);
    if rest > 0 {
        out.push_str(&format!("… 另有 {} 行 rows for other reasons\n", count(rest)));
    }
    out
}

fn received(night: &Night, context: &Context) -> String {
    let got = &night.received;
    match &got.stopped {
        Some(problem) => format!("接收端停下 the receiver stopped\n{problem}\n"),
        None => format!(
            "接收端 {RECEIVED}: 验签、摘要、链、逐条摘要全部通过 signature, digests and chain hold · {} 批 batches, {} 条 records → {}\n",
            got.batches,
            count(got.records),
            context.dir.join("housing.db").display()
        ),
    }
}

/// An enterprise whose row several departments made together.
async fn several_sources(engine: &mut Engine) -> anyhow::Result<Option<EntityView>> {
    let page = engine.store().entities_after("enterprise", &[], 0, LOOKED_THROUGH).await?;
    let mut best: Option<(usize, EntityView)> = None;
    for id in page.ids {
        let Some(entity) = engine.store().entity("enterprise", &format!("#{id}")).await? else { continue };
        let mut claims: Vec<i64> = entity.fields.iter().filter_map(|(_, _, claim)| *claim).collect();
        claims.sort_unstable();
        claims.dedup();
        if best.as_ref().is_none_or(|(most, _)| claims.len() > *most) {
            best = Some((claims.len(), entity));
        }
    }
    Ok(best.map(|(_, entity)| entity))
}

/// The field worth looking at: one that departments usually disagree about.
fn disputed(entity: &EntityView) -> &'static str {
    let has = |field: &str| entity.fields.iter().any(|(name, value, _)| name == field && value.is_some());
    ["address", "name", "status_code"].into_iter().find(|field| has(field)).unwrap_or("name")
}

/// Everything the received feed does not carry, with the reason.
fn withheld(engine: &Engine, context: &Context) -> anyhow::Result<String> {
    let workspace = engine.workspace();
    let (Some(feed), Some(register)) = (workspace.feeds.get(RECEIVED), workspace.registers.get("enterprise")) else {
        return Ok(String::new());
    };
    let today = context.clock.today(workspace.installation.zone);
    let release =
        Release::compile(feed, register, &workspace.codes, today).map_err(crate::engine::EngineError::Definitions)?;
    let mut out = String::new();
    for (field, decision) in release.decisions() {
        let title = register.field(field).map_or("", |f| f.title.as_str());
        match decision {
            FieldDecision::Withheld(why) if register.field(field).is_some_and(|f| f.level >= 3) => {
                out.push_str(&format!("{RECEIVED}: {title} {field} 不发送 withheld: {why}\n"));
            }
            FieldDecision::Masked(how) => out.push_str(&format!("{RECEIVED}: {title} {field} 脱敏 masked: {how}\n")),
            FieldDecision::Released | FieldDecision::Withheld(_) => {}
        }
    }
    Ok(out)
}

/// Commands to go on with; of the datasets with rows set aside, `waiting` is one, because a file for a department has the
/// columns of one.
fn next_steps(dir: &str, key: &str, waiting: Option<&str>) -> String {
    let one = waiting.map_or_else(String::new, |dataset| format!(" --dataset {dataset}"));
    [
        format!("huiliu --dir {dir} register explain enterprise {key}      每个值的来历 where every value comes from"),
        format!(
            "huiliu --dir {dir} register review                        关联、一证、总分 what dangles or does not add up"
        ),
        format!("huiliu --dir {dir} quarantine list                        问题数据 what was set aside"),
        format!("huiliu --dir {dir} quarantine export 待更正.xlsx{one}   交部门更正 for the department to correct"),
        format!("huiliu --dir {dir} scope explain                          共享范围 what each grant releases"),
        format!("huiliu --dir {dir} status                                 全局状态 where everything stands"),
        format!("huiliu verify --trust {dir}/.huiliu/dev-ca.pem {dir}/.huiliu/spool/{RECEIVED}/*.manifest.json"),
        "再运行一次 huiliu demo,看下一夜 run it again for the next night".to_owned(),
        "演示一结束接口就不应答了 the services answer while the demo runs; huiliu run says HL0340 afterwards"
            .to_owned(),
    ]
    .join("\n")
        + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_export_that_is_proposed_is_of_one_dataset() {
        assert!(next_steps("d", "#1", Some("tax.taxpayer")).contains("export 待更正.xlsx --dataset tax.taxpayer "));
        assert!(!next_steps("d", "#1", None).contains("--dataset"));
    }
}
