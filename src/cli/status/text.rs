//! The status for people: one table a subject.

use chrono_tz::Tz;

use super::super::table::{count, local, number, table, text as left};
use crate::engine::ReviewLine;
use crate::store::{Found, Side, Suspension};

use super::{CertificateStatus, DriftStatus, FeedStatus, PipelineStatus, QuarantineStatus, RegisterStatus, Status};

/// All tables; subjects that have nothing are left out.
pub(super) fn text(status: &Status, zone: Tz) -> String {
    let mut parts = vec![registers(&status.registers) + &dangling(&status.dangling)];
    parts.push(pipelines(&status.pipelines, zone));
    if !status.feeds.is_empty() {
        parts.push(feeds(&status.feeds));
    }
    if status.quarantine.is_empty() {
        parts.push("没有待处理的问题数据 nothing is set aside\n".to_owned());
    } else {
        parts.push(quarantine(&status.quarantine));
    }
    if !status.drift.is_empty() {
        parts.push(drift(&status.drift, zone));
    }
    parts.push(daemons(status));
    parts.extend(certificates(status));
    parts.push(super::super::check::at_rest(status.at_rest).to_owned() + "\n");
    parts.join("\n")
}

/// Sources that are not what their contracts say.
fn drift(drift: &[DriftStatus], zone: Tz) -> String {
    let columns = [left("结构变化 drift"), left("起始 since"), left("状态 state"), left("差异 difference")];
    let rows = drift.iter().map(|d| {
        let (state, differs) = (super::super::drift::state(d.state), super::super::drift::differs(&d.difference));
        [d.dataset.clone(), local(zone, d.since_micros), state.to_owned(), differs]
    });
    table(&columns, rows)
}

/// Certificates that somebody must do something about.
fn certificates(status: &Status) -> Option<String> {
    let urgent: Vec<String> = status
        .certificates
        .iter()
        .filter(|certificate| certificate.urgency > 0)
        .map(|certificate| {
            let CertificateStatus { purpose, subject, until, days_left, problem, .. } = certificate;
            let said = problem.clone().unwrap_or_else(|| format!("{subject}: {days_left} days, until {until}"));
            format!("证书到期 certificate for {purpose}: {}\n", super::super::table::shown(&said))
        })
        .collect();
    (!urgent.is_empty()).then(|| urgent.concat())
}

/// Who works, and on what.
fn daemons(status: &Status) -> String {
    let mut out = String::new();
    if status.daemons.is_empty() {
        out += "没有守护进程在运行 no daemon runs\n";
    }
    for daemon in &status.daemons {
        let works = if daemon.works_on.is_empty() { "空闲 idle".to_owned() } else { daemon.works_on.join(", ") };
        out += &format!("守护进程 daemon {}: {works}\n", daemon.daemon);
    }
    for b in &status.backfills {
        let chunks = b.pending + b.done + b.failed;
        out += &format!("补数 backfill {} of {}: {}, {}/{chunks} chunks\n", b.id, b.target, b.state.name(), b.done);
    }
    out
}

fn registers(registers: &[RegisterStatus]) -> String {
    let columns = [left("基础库 register"), left("名称 title"), number("行数 rows")];
    table(&columns, registers.iter().map(|r| [r.register.clone(), r.title.clone(), count(r.rows)]))
}

fn pipelines(pipelines: &[PipelineStatus], zone: Tz) -> String {
    let columns = [
        left("流程 pipeline"),
        left("名称 title"),
        left("上次 last run"),
        left("结果 status"),
        number("读入 rows"),
        number("问题 set aside"),
        left("下次 next"),
        left("时限 freshness"),
    ];
    let rows = pipelines.iter().map(|p| {
        let last = p.last.as_ref();
        [
            p.pipeline.clone(),
            p.title.clone().unwrap_or_default(),
            last.map_or_else(|| "从未 never".to_owned(), |run| local(zone, run.started_micros)),
            last.map(|run| run.status.clone()).unwrap_or_default(),
            last.map(|run| count(run.rows.unsigned_abs())).unwrap_or_default(),
            last.map(|run| count(run.set_aside)).unwrap_or_default(),
            p.next_micros.map_or_else(|| "—".to_owned(), |at| local(zone, at)),
            if p.late { "逾期 LATE" } else { "" }.to_owned(),
        ]
    });
    let mut out = table(&columns, rows);
    for p in pipelines {
        if let Some(why) = p.last.as_ref().and_then(|run| run.why.as_ref()) {
            out += &format!("  {}: {}\n", p.pipeline, super::super::table::shown(why));
        }
        if let Some(lag) = p.lag {
            let (seconds, bytes) = (count(lag.seconds), count(lag.bytes));
            let beyond = if p.behind { "，超限 HL0391 beyond its limit" } else { "" };
            out +=
                &format!("  {}: 变更滞后 behind its source by {seconds} s, {bytes} bytes of log{beyond}\n", p.pipeline);
        }
    }
    out
}

fn feeds(feeds: &[FeedStatus]) -> String {
    let columns = [
        left("订阅 feed"),
        left("部门 subscriber"),
        number("待发变更 behind"),
        number("末批 last batch"),
        number("未送达 undelivered"),
        number("持有 holding"),
    ];
    let number = |n: i64| count(n.unsigned_abs());
    let rows = feeds.iter().map(|f| {
        [
            f.feed.clone(),
            f.subscriber.clone(),
            f.behind.map_or_else(|| "从未 never".to_owned(), number),
            number(f.last_batch),
            number(f.undelivered),
            number(f.holding),
        ]
    });
    let mut out = table(&columns, rows);
    for f in feeds {
        if let Some(since) = &f.unstamped_late {
            let FeedStatus { feed, unstamped, .. } = f;
            out += &format!("  {feed}: 时间戳逾期 HL0778 {unstamped} batches wait for a time stamp since {since}\n");
        }
        out += &suspended_text(&f.feed, f.suspended.as_ref());
        if let Some(why) = f.refused.as_ref().filter(|_| f.suspended.is_none()) {
            out += &format!("  {}: 不予提供 refused: {}\n", f.feed, super::super::table::shown(why));
        }
        if let Some(minutes) = f.unanswered_minutes.filter(|minutes| *minutes > 0) {
            out += &format!("  {}: 回执未到 no receipt for {}\n", f.feed, age(minutes));
        }
        if let (Some(open), Some(minutes)) = (&f.unsettled, f.unsettled_minutes) {
            out += &format!("  {}: 更正撤回未结 {} unsettled, oldest {}\n", f.feed, open.open, age(minutes));
        }
        out += &found_text(&f.feed, &f.found);
    }
    out
}

/// Minutes in words.
fn age(minutes: i64) -> String {
    match minutes {
        ..=119 => format!("{minutes} min"),
        120..=2879 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1440),
    }
}

/// That a grant is suspended, why, and what goes out all the same.
pub(in crate::cli) fn suspended_text(feed: &str, suspended: Option<&Suspension>) -> String {
    let Some(Suspension { why, side, .. }) = suspended else { return String::new() };
    let still = match side {
        Side::Office => "撤回照发 by the office, recalls go out",
        Side::Subscriber => "需求方提出，一律不发 by the subscriber, nothing goes out",
    };
    format!("  {feed}: 已中止 suspended ({still}): {}\n", super::super::table::shown(why))
}

/// What was found in the free text that a feed released, a line a field.
pub(in crate::cli) fn found_text(feed: &str, found: &[Found]) -> String {
    let line = |found: &Found| {
        let Found { field, policy, citizen_ids, mobiles } = found;
        let done = match policy.as_str() {
            "mask" => "已遮盖 masked",
            "withhold" => "未提供 withheld",
            _ => "仅标记 flagged",
        };
        format!("  {feed}: 自由文本 {field}: {citizen_ids} 身份证号 citizen IDs, {mobiles} 手机号 mobiles, {done}\n")
    };
    found.iter().map(line).collect()
}

/// Links that lead to nothing, a line each.
fn dangling(lines: &[ReviewLine]) -> String {
    let line = |line: &ReviewLine| {
        let (broken, looked) = (count(line.broken), count(line.looked));
        format!("未到关联 dangling {}.{} {}: {broken} of {looked}\n", line.register, line.name, line.title)
    };
    lines.iter().map(line).collect()
}

fn quarantine(waiting: &[QuarantineStatus]) -> String {
    let columns = [left("问题数据 quarantine"), left("部门 department"), number("待处理 open")];
    table(&columns, waiting.iter().map(|q| [q.dataset.clone(), q.department.clone(), count(q.open)]))
}

#[cfg(test)]
mod tests {
    use super::super::{DaemonStatus, LastRun};
    use super::*;
    use crate::engine::Open;
    use crate::source::Lag;

    fn sample() -> Status {
        let last = LastRun {
            run: 4,
            kind: "run".into(),
            status: "held".into(),
            why: Some("HL0503 check \"drop_guard\" is false".into()),
            started: String::new(),
            ended: None,
            rows: 13_642,
            set_aside: 5,
            lag: None,
            started_micros: 1_772_294_400_000_000,
        };
        let pipeline = |name: &str, last, late: bool| PipelineStatus {
            pipeline: name.into(),
            title: Some("市场主体登记".into()),
            from: "market-regulation.enterprise".into(),
            last,
            next: None,
            late,
            lag: late.then_some(Lag { bytes: 3_000_000_000, seconds: 5400 }),
            behind: late,
            next_micros: Some(1_772_303_400_000_000),
        };
        Status {
            at: String::new(),
            registers: vec![RegisterStatus {
                register: "enterprise".into(),
                title: "法人基础信息库".into(),
                rows: 13_637,
            }],
            pipelines: vec![pipeline("enterprise-registration", Some(last), true), pipeline("permits", None, false)],
            feeds: vec![FeedStatus {
                feed: "housing.enterprise".into(),
                subscriber: "住房和城乡建设局".into(),
                register: "enterprise".into(),
                behind: Some(12),
                last_batch: 3,
                undelivered: 0,
                holding: 9_800,
                suspended: None,
                unstamped: 2,
                unstamped_late: Some("2026-02-27T16:00:00Z".into()),
                refused: Some("HL0610 the day's quota is used up".into()),
                found: vec![Found { field: "address".into(), policy: "mask".into(), citizen_ids: 2, mobiles: 31 }],
                unanswered_since: None,
                unanswered_minutes: Some(200),
                unsettled_minutes: Some(4320),
                unsettled: Some(Open { feed: "housing.enterprise".into(), open: 2, since: 0 }),
            }],
            dangling: vec![ReviewLine {
                register: "license".into(),
                kind: "link",
                name: "holder".into(),
                title: "持证主体".into(),
                looked: 900,
                broken: 7,
                overdue: 0,
                unpublished: 0,
                examples: Vec::new(),
            }],
            quarantine: vec![QuarantineStatus {
                dataset: "market-regulation.enterprise".into(),
                department: "市场监督管理局".into(),
                open: 5,
            }],
            daemons: vec![DaemonStatus { daemon: "host:1:0".into(), works_on: vec!["pipeline/permits".into()] }],
            drift: Vec::new(),
            certificates: Vec::new(),
            backfills: Vec::new(),
            at_rest: false,
        }
    }

    #[test]
    fn a_glance_shows_what_stands_and_what_is_late() {
        insta::assert_snapshot!(text(&sample(), Tz::Asia__Shanghai), @r#"
        ──────────────────────────────────────────────
         基础库 register   名称 title       行数 rows
        ══════════════════════════════════════════════
         enterprise        法人基础信息库      13 637
        ──────────────────────────────────────────────
        未到关联 dangling license.holder 持证主体: 7 of 900

        ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
         流程 pipeline             名称 title     上次 last run         结果 status   读入 rows   问题 set aside   下次 next             时限 freshness
        ════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════
         enterprise-registration   市场主体登记   2026-03-01 00:00:00   held             13 642                5   2026-03-01 02:30:00   逾期 LATE
         permits                   市场主体登记   从未 never                                                       2026-03-01 02:30:00
        ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
          enterprise-registration: HL0503 check "drop_guard" is false
          enterprise-registration: 变更滞后 behind its source by 5 400 s, 3 000 000 000 bytes of log，超限 HL0391 beyond its limit

        ───────────────────────────────────────────────────────────────────────────────────────────────────────────────
         订阅 feed            部门 subscriber    待发变更 behind   末批 last batch   未送达 undelivered   持有 holding
        ═══════════════════════════════════════════════════════════════════════════════════════════════════════════════
         housing.enterprise   住房和城乡建设局                12                 3                    0          9 800
        ───────────────────────────────────────────────────────────────────────────────────────────────────────────────
          housing.enterprise: 时间戳逾期 HL0778 2 batches wait for a time stamp since 2026-02-27T16:00:00Z
          housing.enterprise: 不予提供 refused: HL0610 the day's quota is used up
          housing.enterprise: 回执未到 no receipt for 3 h
          housing.enterprise: 更正撤回未结 2 unsettled, oldest 3 d
          housing.enterprise: 自由文本 address: 2 身份证号 citizen IDs, 31 手机号 mobiles, 已遮盖 masked

        ──────────────────────────────────────────────────────────────
         问题数据 quarantine            部门 department   待处理 open
        ══════════════════════════════════════════════════════════════
         market-regulation.enterprise   市场监督管理局              5
        ──────────────────────────────────────────────────────────────

        守护进程 daemon host:1:0: pipeline/permits

        落盘加密 at rest: off, every field is stored in plain (at_rest: in huiliu.yaml)
        "#);
    }
}
