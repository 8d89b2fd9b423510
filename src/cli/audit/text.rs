//! The audit log for people.

use chrono_tz::Tz;

use super::super::table::{count, local, number, table, text};
use crate::audit::{Entry, Exported, SegmentReport};
use crate::engine::AuditReport;

pub(super) fn entries(entries: &[Entry], zone: Tz) -> String {
    if entries.is_empty() {
        return "没有符合条件的记录 no entry matches\n".to_owned();
    }
    let columns = [number("序号 no"), text("时间 when"), text("事项 what"), text("内容 detail")];
    let row = |entry: &Entry| [entry.id.to_string(), local(zone, entry.at), entry.action.clone(), entry.detail.clone()];
    table(&columns, entries.iter().map(row))
}

pub(super) fn report(report: &AuditReport) -> String {
    let AuditReport { entries, last, checkpoints, unsealed, signed_by, faults } = report;
    let (entries, unsealed) = (count(*entries), count(*unsealed));
    let mut out = format!("审计日志 audit log: {entries} 条 entries, 末条 last {last}\n");
    out += &format!("检查点 checkpoints: {checkpoints}, 之后 entries behind the last: {unsealed}\n");
    match signed_by {
        Some(by) => out += &format!("签名者 signed by: {by}\n"),
        None if *checkpoints > 0 => out += "检查点签名未验证 signatures were not checked: give --trust FILE\n",
        None => {}
    }
    if faults.is_empty() {
        out += "完整 nothing was altered, removed, slipped in or reordered\n";
    }
    for fault in faults {
        out += &format!("✗ {fault}\n");
    }
    out
}

pub(super) fn exported(written: &[Exported]) -> String {
    if written.is_empty() {
        return "归档已是最新 the archive has everything\n".to_owned();
    }
    let columns = [text("归档段 segment"), number("条数 entries"), text("验证 verify with")];
    let row = |one: &Exported| {
        let path = one.path.display();
        [path.to_string(), count(one.segment.entries), format!("huiliu audit verify {path} --trust CA.pem")]
    };
    table(&columns, written.iter().map(row))
}

pub(super) fn segments(reports: &[SegmentReport]) -> String {
    let columns = [text("归档段 segment"), number("条数 entries"), text("签名者 signed by"), text("结果 outcome")];
    let row = |report: &SegmentReport| {
        let outcome = match (&report.why, report.faults.first()) {
            (Some(why), _) => format!("✗ {why}"),
            (None, Some(fault)) if report.faults.len() == 1 => format!("✗ {fault}"),
            (None, Some(fault)) => format!("✗ {fault} (+{})", report.faults.len() - 1),
            (None, None) => "完整 holds".to_owned(),
        };
        let by = report.signed_by.clone().unwrap_or_else(|| "—".to_owned());
        [report.name.clone(), count(report.entries), by, outcome]
    };
    table(&columns, reports.iter().map(row))
}
