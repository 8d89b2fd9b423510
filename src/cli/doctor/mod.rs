//! `huiliu doctor`: is what is stored what it was derived from, and is what was sent what was sealed?

mod spool;

use serde::Serialize;

use super::table::{count, number, table, text};
use super::workspace::{Access, open};
use super::{Context, Exit};
use crate::config::OutletKind;
use crate::engine::{DoctorReport, Engine, Finding, Outlined, ReviewLine, spool_dir};

/// Said while lookups do without indexes.
const FIRST_LOAD: &str = "首次装载未完成，查询暂时较慢；正在进行的装载结束时（中断后则为下一次 run）补建索引 \
                          first load not ended: lookups are slow until it ends, or the next run after a crash, \
                          makes the indexes";

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// What was examined and found.
#[derive(Debug, Serialize)]
struct Examined {
    #[serde(flatten)]
    store: DoctorReport,
    /// Batches compared with their files; `None` where there is no spool.
    spooled: Option<u64>,
    /// What must hold between entities: a matter of the data, and no disagreement.
    review: Vec<ReviewLine>,
    /// Whether sensitive values are stored encrypted.
    at_rest: bool,
}

/// Examines the workspace; fails when anything disagrees.
pub async fn run(_args: Args, context: &Context) -> anyhow::Result<Exit> {
    let mut engine = open(context, Access::Read).await?.engine;
    let mut store = engine.doctor().await?;
    let spooled = compare_spool(&mut engine, &mut store).await?;
    let sound = store.disagreements == 0;
    let review = engine.review(None, 3).await?;
    let at_rest = engine.workspace().installation.at_rest.is_some();
    let examined = Examined { store, spooled, review, at_rest };
    if context.json {
        context.print_json(&examined)?;
    } else {
        context.print(&text_of(&examined))?;
        context.note(super::check::at_rest(at_rest))?;
        if examined.store.lacks_indexes {
            context.note(FIRST_LOAD)?;
        }
    }
    Ok(if sound { Exit::Done } else { Exit::Failed })
}

async fn compare_spool(engine: &mut Engine, report: &mut DoctorReport) -> anyhow::Result<Option<u64>> {
    let dir = spool_dir(engine.workspace());
    if !dir.is_dir() {
        return Ok(None);
    }
    let mut compared = 0;
    let defined = engine.workspace().feeds.values();
    let queued: Vec<String> =
        defined.filter(|f| f.delivery.outlet.value == OutletKind::Rabbitmq).map(|f| f.name.clone()).collect();
    let mut feeds: Vec<String> = engine.store().feeds().await?.into_iter().map(|feed| feed.feed).collect();
    feeds.retain(|feed| !queued.contains(feed));
    for feed in feeds {
        let own = dir.join(&feed);
        // Before the store is asked: what lies there then was sealed, whatever leaves meanwhile.
        let lying = spool::numbers(&own)?;
        let links = engine.store().batch_links(&feed).await?;
        // Batches leave in order: behind the first that waits all others do, and their bodies need not be read.
        let first = engine.store().undelivered(&feed, 1).await?.first().map_or(i64::MAX, |row| row.seq);
        let waiting = links.iter().map(|link| link.seq).filter(|seq| *seq >= first).collect();
        let found =
            tokio::task::spawn_blocking(move || spool::compare((&own, &feed), &links, &waiting, &lying)).await??;
        compared += found.compared;
        report.disagreements += found.disagreements;
        report.findings.extend(found.findings);
    }
    Ok(Some(compared))
}

fn text_of(examined: &Examined) -> String {
    let Examined { store, spooled, review, .. } = examined;
    let columns = [text("检查 examined"), number("数量 count")];
    let mut rows = vec![
        ("实体 entities, re-derived from claims", store.entities),
        ("来源断言 claims", store.claims),
        ("数据批 batches, chain walked", store.batches),
        ("持有 holdings, compared with what was sent", store.holdings),
        ("订阅 feeds, holdings re-derived from batches", store.feeds_in_full),
        ("对账 ledger lines", store.ledger_lines),
        ("审计 audit entries, chain walked", store.audit_entries),
    ];
    if let Some(spooled) = spooled {
        rows.push(("出口文件 batches compared with the spool", *spooled));
    }
    let mut out = table(&columns, rows.into_iter().map(|(what, n)| [what.to_owned(), count(n)]));
    for Outlined { feed, batch, why } in &store.feeds_in_outline {
        out += &format!(
            "仅核对持有概数 holdings compared in outline only: {feed}, records of batch {batch} cannot be read: {why}\n"
        );
    }
    if !review.is_empty() {
        out += &super::register::review_text(review);
    }
    if store.disagreements == 0 {
        return out + "一致 everything agrees\n";
    }
    out += &format!("不一致 {} disagreements\n", count(store.disagreements));
    let columns = [text("类别 kind"), text("对象 subject"), number("编号 number"), text("问题 what")];
    let rows = store.findings.iter().map(|finding| {
        let Finding { kind, subject, number, what } = finding;
        [(*kind).to_owned(), subject.clone(), number.to_string(), what.clone()]
    });
    out += &table(&columns, rows);
    if store.disagreements > store.findings.len() as u64 {
        out += "  … at most 20 of a kind are shown\n";
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_named_and_soundness_is_said() {
        let sound = Examined {
            store: DoctorReport { entities: 13_642, ..DoctorReport::default() },
            spooled: Some(3),
            review: Vec::new(),
            at_rest: true,
        };
        assert!(text_of(&sound).ends_with("一致 everything agrees\n"));
        let finding =
            Finding { kind: "spool", subject: "housing.enterprise".into(), number: 3, what: "no body".into() };
        let outlined = Outlined { feed: "tax.person".into(), batch: 1, why: "they are encrypted to the subscriber" };
        let store = DoctorReport {
            findings: vec![finding],
            disagreements: 1,
            feeds_in_outline: vec![outlined],
            ..DoctorReport::default()
        };
        insta::assert_snapshot!(text_of(&Examined { store, spooled: None, review: Vec::new(), at_rest: false }), @r#"
        ───────────────────────────────────────────────────────────
         检查 examined                                  数量 count
        ═══════════════════════════════════════════════════════════
         实体 entities, re-derived from claims                   0
         来源断言 claims                                         0
         数据批 batches, chain walked                            0
         持有 holdings, compared with what was sent              0
         订阅 feeds, holdings re-derived from batches            0
         对账 ledger lines                                       0
         审计 audit entries, chain walked                        0
        ───────────────────────────────────────────────────────────
        仅核对持有概数 holdings compared in outline only: tax.person, records of batch 1 cannot be read: they are encrypted to the subscriber
        不一致 1 disagreements
        ──────────────────────────────────────────────────────────
         类别 kind   对象 subject         编号 number   问题 what
        ══════════════════════════════════════════════════════════
         spool       housing.enterprise             3   no body
        ──────────────────────────────────────────────────────────
        "#);
    }
}
