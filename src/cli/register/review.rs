//! `huiliu register review`: what must hold between entities, counted; and what `register get` says about one of them.

use chrono::NaiveDate;
use serde::Serialize;

use super::super::table::{count, number, table, text};
use super::super::{Context, audit, named};
use super::Row;
use crate::config::Register;
use crate::engine::{ClockState, Clocked, Engine, Linked, ReviewLine};

/// Prints what was counted.
pub(super) async fn run(
    engine: &mut Engine,
    register: Option<&str>,
    limit: i64,
    context: &Context,
) -> anyhow::Result<()> {
    if let Some(name) = register {
        named::register(engine.workspace(), name)?;
    }
    audit::note(engine, "register.review", register.unwrap_or("all"), context).await?;
    let lines = engine.review(register, limit).await?;
    if context.json {
        return Ok(context.print_json(&lines)?);
    }
    Ok(context.print(&lines_text(&lines))?)
}

/// One line for each thing that must hold.
pub(in crate::cli) fn lines_text(lines: &[ReviewLine]) -> String {
    let columns = [
        text("基础库 register"),
        text("核查 review"),
        text("名称 title"),
        number("数量 count"),
        number("不符 broken"),
        text("实体 entities"),
    ];
    let rows = lines.iter().map(|line| {
        let mut examples: Vec<String> = line.examples.iter().map(|id| format!("#{id}")).collect();
        if line.overdue > 0 {
            examples.push(format!("(超期未办 {} overdue)", count(line.overdue)));
        }
        if line.unpublished > 0 {
            examples.push(format!("({} 待日历公布 HL0517)", count(line.unpublished)));
        }
        [
            line.register.clone(),
            format!("{}.{}", line.kind, line.name),
            line.title.clone(),
            count(line.looked),
            count(line.broken),
            examples.join(" "),
        ]
    });
    table(&columns, rows)
}

/// A status that a date has overtaken: field, stored state, state by the calendar.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Expiry {
    field: String,
    stored: String,
    now: String,
}

/// One entity with what is not in its row.
#[derive(Debug, Serialize)]
pub(super) struct Related<'a> {
    #[serde(flatten)]
    pub(super) row: Row<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) links: Vec<Linked>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) expired: Vec<Expiry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) deadlines: Vec<Clocked>,
}

/// Status fields whose state has expired on this day. 暂扣, 吊销, 撤销 and 注销 do not expire.
pub(super) fn expired(register: &Register, value: impl Fn(&str) -> Option<String>, today: NaiveDate) -> Vec<Expiry> {
    let of = |field: &crate::config::Field| {
        let rule = field.states.as_ref()?.expired.as_ref()?;
        let (stored, last) = (value(&field.name)?, value(&rule.after.value)?);
        let over = last.parse::<NaiveDate>().ok()? < today && rule.from.iter().any(|state| state.value == stored);
        over.then(|| Expiry { field: field.name.clone(), stored, now: rule.to.value.clone() })
    };
    register.fields.iter().filter_map(of).collect()
}

/// Links, expiry and deadlines, a line each.
pub(super) fn related(links: &[Linked], expired: &[Expiry], deadlines: &[Clocked]) -> String {
    let mut out = String::new();
    for link in links {
        let to = match &link.to {
            Some((register, entity)) => format!("{register} #{entity}"),
            None => "未到 dangles: nothing with this key has arrived".to_owned(),
        };
        out += &format!("  关联 {} {} → {to}\n", link.title, link.link);
    }
    for expiry in expired {
        out += &format!("  过期 {}: {} → {} by date 按日期推算\n", expiry.field, expiry.stored, expiry.now);
    }
    for clock in deadlines {
        let state = match clock.state {
            ClockState::Open => "未到期 open",
            ClockState::Overdue => "超期 overdue",
            ClockState::Kept => "按期 kept",
            ClockState::Late => "逾期办结 late",
            ClockState::Unpublished => "待日历公布 HL0517",
        };
        let due = clock.due.as_ref().map_or_else(String::new, |due| format!(" until {due}"));
        let done = clock.done.as_ref().map_or_else(String::new, |done| format!(", done {done}"));
        out += &format!("  期限 {} {}{due}{done}: {state}\n", clock.title, clock.deadline);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Workspace;

    #[test]
    fn what_is_valid_expires_and_what_is_suspended_or_revoked_stands() {
        let workspace = Workspace::load(std::path::Path::new(".")).expect("the project's own definitions");
        let register = &workspace.registers["license"];
        let today: NaiveDate = "2026-11-22".parse().expect("a date");
        let check = |state: &str, until: Option<&str>, now: Option<&str>| {
            let value = |field: &str| match field {
                "status_code" => Some(state.to_owned()),
                "valid_until" => until.map(str::to_owned),
                _ => None,
            };
            let found = expired(register, value, today);
            assert_eq!(found.first().map(|expiry| expiry.now.as_str()), now, "{state} {until:?}");
        };
        check("01", Some("2026-11-21"), Some("05"));
        check("01", Some("2026-11-22"), None);
        check("01", None, None); // 长期
        for stands in ["02", "03", "04", "07"] {
            check(stands, Some("2020-01-01"), None);
        }
    }

    #[test]
    fn links_expiry_and_deadlines_are_a_line_each() {
        let to = |to| Linked { link: "holder".into(), title: "持证主体".into(), to };
        let expiry = Expiry { field: "status_code".into(), stored: "01".into(), now: "05".into() };
        let clock = Clocked {
            deadline: "filing".into(),
            title: "公安备案".into(),
            basis: None,
            due: Some("2026-03-02T23:59:59+08:00".into()),
            done: None,
            state: ClockState::Overdue,
        };
        let text = related(&[to(Some(("person".into(), 7))), to(None)], &[expiry], &[clock]);
        assert_eq!(text.lines().count(), 4);
        assert!(text.contains("filing until 2026-03-02T23:59:59+08:00: 超期"), "{text}");
        assert!(text.contains("→ person #7\n") && text.contains("未到 dangles") && text.contains("01 → 05"), "{text}");
    }
}
