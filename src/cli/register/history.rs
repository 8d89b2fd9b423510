//! `huiliu register history`: what an entity was, version by version, and what changed each time.

use chrono_tz::Tz;
use serde::Serialize;

use super::super::table::{local, number, rfc3339, table, text};
use super::super::{Context, purpose};
use super::{Asked, heading, look_up};
use crate::engine::Engine;
use crate::store::{EntityView, HistoryView};

/// One state of an entity.
#[derive(Debug, Serialize)]
struct Version {
    version: i64,
    since: String,
    /// Absent for the present state.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// The run that replaced it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<i64>,
    /// Against the state before; for the first state kept, everything it had.
    changes: Vec<Change>,
    #[serde(skip)]
    from: i64,
}

/// One field that changed.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    field: String,
    was: Option<String>,
    is: Option<String>,
}

impl Change {
    fn values(&mut self) -> [(&str, &mut Option<String>); 2] {
        [(&self.field, &mut self.was), (&self.field, &mut self.is)]
    }
}

/// Prints the history of one entity.
pub(super) async fn run(engine: &mut Engine, asked: Asked<'_>, context: &Context) -> anyhow::Result<()> {
    let (register, entity) = look_up(engine, "register.history", asked, context).await?;
    let past = engine.store().history(&register.name, entity.id).await?;
    let mut versions = versions(&entity, &past);
    let values = versions.iter_mut().flat_map(|version| &mut version.changes).flat_map(Change::values);
    purpose::hint(purpose::hide(&register, asked.why, values), context)?;
    if context.json {
        let whole = serde_json::json!({ "register": register.name, "entity": entity.id, "versions": versions });
        return Ok(context.print_json(&whole)?);
    }
    let out =
        heading(engine.workspace(), &register, &entity) + &text_of(&versions, engine.workspace().installation.zone);
    Ok(context.print(&out)?)
}

/// Newest first, each with what it changed.
fn versions(now: &EntityView, past: &[HistoryView]) -> Vec<Version> {
    let present: Vec<(String, Option<String>)> =
        now.fields.iter().map(|(name, value, _)| (name.clone(), value.clone())).collect();
    let mut states = vec![(now.version, now.since, None, None, &present)];
    states.extend(past.iter().map(|p| (p.version, p.since, Some(p.until), Some(p.ended_by), &p.fields)));
    let nothing = Vec::new();
    let before = states.iter().skip(1).map(|state| state.4).chain([&nothing]);
    states
        .iter()
        .zip(before)
        .map(|((version, since, until, ended_by, fields), before)| Version {
            version: *version,
            since: rfc3339(*since),
            until: until.map(rfc3339),
            ended_by: *ended_by,
            changes: changes(before, fields),
            from: *since,
        })
        .collect()
}

fn changes(before: &[(String, Option<String>)], after: &[(String, Option<String>)]) -> Vec<Change> {
    let was = |name: &str| before.iter().find(|(field, _)| field == name).and_then(|(_, value)| value.clone());
    after
        .iter()
        .map(|(name, value)| Change { field: name.clone(), was: was(name), is: value.clone() })
        .filter(|change| change.was != change.is)
        .collect()
}

fn text_of(versions: &[Version], zone: Tz) -> String {
    let columns = [number("版本 version"), text("自 since"), text("字段 field"), text("原值 was"), text("现值 is")];
    let nothing = || "∅".to_owned();
    let rows = versions.iter().flat_map(|version| {
        let head = [version.version.to_string(), local(zone, version.from)];
        let only_sources = [head[0].clone(), head[1].clone(), "—".into(), "来源 sources".into(), "来源 sources".into()];
        let changes = version.changes.iter().enumerate().map(move |(i, change)| {
            let [number, since] = if i == 0 { head.clone() } else { Default::default() };
            let was = change.was.clone().unwrap_or_else(nothing);
            [number, since, change.field.clone(), was, change.is.clone().unwrap_or_else(nothing)]
        });
        version.changes.is_empty().then_some(only_sources).into_iter().chain(changes)
    });
    table(&columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(values: [Option<&str>; 2]) -> Vec<(String, Option<String>)> {
        ["name", "status"].iter().zip(values).map(|(n, v)| ((*n).to_owned(), v.map(str::to_owned))).collect()
    }

    #[test]
    fn each_version_shows_only_what_it_changed() {
        let now = EntityView {
            id: 7,
            version: 3,
            since: 30,
            fields: pairs([Some("海蓝"), None]).into_iter().map(|(n, v)| (n, v, Some(1))).collect(),
            merged_from: None,
        };
        let past = |version, since, fields| HistoryView { version, since, until: since + 10, ended_by: 9, fields };
        let past = [past(2, 20, pairs([Some("海蓝"), Some("1")])), past(1, 10, pairs([Some("海兰"), Some("1")]))];
        let all = versions(&now, &past);
        let seen: Vec<(i64, Vec<&str>)> =
            all.iter().map(|v| (v.version, v.changes.iter().map(|c| c.field.as_str()).collect())).collect();
        assert_eq!(seen, [(3, vec!["status"]), (2, vec!["name"]), (1, vec!["name", "status"])]);
        insta::assert_snapshot!(text_of(&all, Tz::Asia__Shanghai), @r#"
        ──────────────────────────────────────────────────────────────────────
         版本 version   自 since              字段 field   原值 was   现值 is
        ══════════════════════════════════════════════════════════════════════
                    3   1970-01-01 08:00:00   status       1          ∅
                    2   1970-01-01 08:00:00   name         海兰       海蓝
                    1   1970-01-01 08:00:00   name         ∅          海兰
                                              status       ∅          1
        ──────────────────────────────────────────────────────────────────────
        "#);
    }
}
