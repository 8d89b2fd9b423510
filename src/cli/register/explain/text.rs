//! An explanation for people: a paragraph a field.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono_tz::Tz;

use super::super::super::table::{local, shown};
use super::{Carried, Explained, Explanation, Mapped, Said, Shared};

/// The whole explanation, fields that nobody claims in one line.
pub(super) fn text(explanation: &Explanation, zone: Tz) -> String {
    let (told, silent): (Vec<&Explained>, Vec<&Explained>) =
        explanation.fields.iter().partition(|field| field.value.is_some() || explanation.fields.len() == 1);
    let mut out = String::new();
    for field in told {
        out.push('\n');
        paragraph(field, zone, &mut out);
    }
    if !silent.is_empty() {
        let names: Vec<String> = silent.iter().map(|field| shown(&field.title)).collect();
        line(&mut out, &format!("\n无来源 nobody claims: {}", names.join("、")));
    }
    let mappings = explanation.fields.iter().filter_map(|field| field.winner.as_ref()?.mapping.as_ref());
    if mappings.into_iter().any(|mapping| mapping.changed_since) {
        let note = "\n* 此后定义有变 definitions have changed since the claim was made: line and version are today's";
        line(&mut out, note);
    }
    if !explanation.feeds.is_empty() {
        line(&mut out, "\n持有 who holds it");
        explanation.feeds.iter().for_each(|feed| line(&mut out, &format!("  {}", holding(feed))));
    }
    out
}

fn paragraph(field: &Explained, zone: Tz, out: &mut String) {
    line(out, &format!("{} {} = {}", shown(&field.title), field.field, value(field.value.as_deref())));
    if let Some(winner) = &field.winner {
        line(out, &format!("  ✓ {}", origin(winner, zone)));
        if let Some(mapping) = &winner.mapping {
            line(out, &format!("    {}", site(mapping)));
        }
    }
    for lost in &field.losers {
        line(out, &format!("  ✗ {} ← {}", value(Some(&lost.said.value)), origin(&lost.said, zone)));
        line(out, &format!("    {}", lost.why));
    }
    let mut by_decision: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for shared in &field.feeds {
        by_decision.entry(decision(shared)).or_default().push(&shared.feed);
    }
    for (decision, feeds) in by_decision {
        line(out, &format!("  → {decision}: {}", feeds.join(", ")));
    }
}

fn origin(said: &Said, zone: Tz) -> String {
    let Said { by, department, file, row, run, micros, .. } = said;
    let read = if file.is_empty() { format!("run {run}") } else { format!("{} row {row}, run {run}", shown(file)) };
    format!("{by} {} · {} · {read}", shown(department), local(zone, *micros))
}

fn site(mapping: &Mapped) -> String {
    let Mapped { file, line, expression, version, changed_since, .. } = mapping;
    let later = if *changed_since { " *" } else { "" };
    format!("{file}:{line}  {}  version {version}{later}", shown(expression))
}

fn decision(shared: &Shared) -> String {
    let word = match shared.decision {
        "released" => "提供 released",
        "masked" => "脱敏 masked",
        _ => "不予 withheld",
    };
    shared.how.as_ref().map_or_else(|| word.to_owned(), |how| format!("{word} ({})", shown(how)))
}

fn holding(feed: &Carried) -> String {
    let held = match &feed.holds {
        Some(held) => format!("version {} since batch {}", held.version, held.batch),
        None => "nothing of this entity 未持有".to_owned(),
    };
    let refused = feed.refused.as_ref().map(|why| format!(" · {why}")).unwrap_or_default();
    format!("{} {}: {held}{refused}", feed.feed, shown(&feed.subscriber))
}

fn value(value: Option<&str>) -> String {
    value.map_or_else(|| "∅".to_owned(), shown)
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::super::{Held, Lost};
    use super::*;

    fn said(by: &str, department: &str, value: &str) -> Said {
        Said {
            claim: 1,
            by: by.into(),
            department: department.into(),
            value: value.into(),
            updated: String::new(),
            file: "QYDJ_20261121.csv".into(),
            row: 12,
            run: 3,
            mapping: None,
            micros: 1_772_294_400_000_000,
        }
    }

    fn share(feed: &str, decision: &'static str, how: Option<&str>) -> Shared {
        Shared { feed: feed.into(), decision, how: how.map(str::to_owned) }
    }

    #[test]
    fn an_explanation_reads_from_the_value_back_to_the_row_and_forward_to_the_holders() {
        let mapping = Mapped {
            file: "mappings/market-regulation/enterprise.enterprise.sql".into(),
            line: 4,
            expression: "org_name(企业名称)".into(),
            columns: vec!["企业名称".into()],
            version: "0123456789abcdef".into(),
            changed_since: false,
        };
        let winner =
            Said { mapping: Some(mapping), ..said("market-regulation.enterprise", "市场监督管理局", "海蓝") };
        let name = Explained {
            field: "name".into(),
            title: "企业名称".into(),
            value: Some("海蓝".into()),
            winner: Some(winner),
            losers: vec![Lost { said: said("tax.taxpayer", "税务局", "海\u{1b}兰"), why: "较旧 older".into() }],
            feeds: vec![
                share("housing.enterprise", "released", None),
                share("civil-affairs.enterprise", "masked", Some("name")),
                share("audit.enterprise", "released", None),
            ],
        };
        let silent = Explained {
            field: "phone".into(),
            title: "电话".into(),
            value: None,
            winner: None,
            losers: vec![],
            feeds: vec![],
        };
        let carried =
            |feed: &str, holds| Carried { feed: feed.into(), subscriber: "住建局".into(), refused: None, holds };
        let explanation = Explanation {
            register: "enterprise".into(),
            entity: 7,
            version: 2,
            since: String::new(),
            merged_from: None,
            fields: vec![name, silent],
            feeds: vec![
                carried("housing.enterprise", Some(Held { version: 2, batch: 5 })),
                carried("audit.enterprise", None),
            ],
        };
        insta::assert_snapshot!(text(&explanation, Tz::Asia__Shanghai), @r#"
        企业名称 name = 海蓝
          ✓ market-regulation.enterprise 市场监督管理局 · 2026-03-01 00:00:00 · QYDJ_20261121.csv row 12, run 3
            mappings/market-regulation/enterprise.enterprise.sql:4  org_name(企业名称)  version 0123456789abcdef
          ✗ 海\u{1b}兰 ← tax.taxpayer 税务局 · 2026-03-01 00:00:00 · QYDJ_20261121.csv row 12, run 3
            较旧 older
          → 提供 released: housing.enterprise, audit.enterprise
          → 脱敏 masked (name): civil-affairs.enterprise

        无来源 nobody claims: 电话

        持有 who holds it
          housing.enterprise 住建局: version 2 since batch 5
          audit.enterprise 住建局: nothing of this entity 未持有
        "#);
    }
}
