//! 统一网上审批: exchange tables as approval systems fill them: a 增删改标志 and a batch on every row, deletions that arrive
//! before what they delete, batches that are sent again, and special procedures that stop the clock.

use std::io;

use super::city::City;
use super::exchange::{Exchange, delivered};
use super::flaw::{Fate, Plan, State};
use super::licence::{self, Holder, Licence};
use super::{Writing, identifiers};

const PERMITS: Plan = Plan {
    dataset: "approval.permit",
    period: 200,
    flaws: &[
        ("bad_check_digit", Fate::Quarantined),
        ("withdrawn", Fate::Filtered),
        ("impossible_date", Fate::Quarantined),
        ("unknown_code", Fate::Quarantined),
        ("ends_before_it_starts", Fate::Quarantined),
        ("batch_replayed", Fate::Outvoted),
        ("unknown_operation", Fate::Undecodable),
        ("deleted_and_inserted", Fate::Outvoted),
        ("deleted_before_inserted", Fate::Filtered),
    ],
    nightly: None,
};
/// What the insert of a case that was deleted before is, when it comes a night later.
const LATE_INSERT: State = State::Flawed("late_insert", Fate::Outvoted);

const ACCEPTANCES: Plan = Plan {
    dataset: "approval.acceptance",
    period: 160,
    flaws: &[
        ("decided_late", Fate::Outvoted),
        ("special_procedure", Fate::Outvoted),
        ("several_procedures", Fate::Outvoted),
        ("impossible_date", Fate::Quarantined),
        ("promised_before_accepted", Fate::Quarantined),
    ],
    nightly: None,
};

/// One row of `up_pro_result` to be.
struct Event<'a> {
    operation: &'a str,
    batch: &'a str,
    at: &'a str,
}

pub(super) async fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let batch = format!("{}01", city.today().format("%Y%m%d"));
    let mut exchange = Exchange::begin(writing.dir, PERMITS.dataset, &batch).await?;
    let (mut results, mut accepted) = (0, 0);
    let base = licence::permits(city.on(0));
    for index in 0..licence::permits(city) {
        let permit = licence::permit(city, index);
        let state = PERMITS.state(city, index, base);
        results += put_permit(writing, &mut exchange, (index, &permit, state, &batch)).await?;
        accepted += put_acceptance(writing, &mut exchange, (index, &permit, state, &batch)).await?;
    }
    let path = exchange.commit().await?;
    writing.files.push(delivered(PERMITS.dataset, &path, results, true)?);
    writing.files.push(delivered(ACCEPTANCES.dataset, &path, accepted, false)?);
    Ok(())
}

/// Writes what tonight's batch says about one permit; how many rows that is.
async fn put_permit(
    writing: &mut Writing<'_>,
    exchange: &mut Exchange,
    (index, permit, state, batch): (u64, &Licence, State, &str),
) -> io::Result<u64> {
    let city = writing.city;
    if state.kind() == "deleted_before_inserted" {
        // The deletion is all that the first night says; its insert is a batch late, and must not bring the case back.
        let (operation, at, said) = match city.night {
            0 => ("D", "2026-10-30 09:00:00", state),
            1 => ("I", "2026-09-01 08:00:00", LATE_INSERT),
            _ => return Ok(0),
        };
        PERMITS.count(said, &mut writing.defects);
        return put(exchange, result(city, (index, permit), ("", Event { operation, batch, at }))).await;
    }
    let changed = state.changed(permit.changed);
    if city.night > 0 && changed != Some(city.night) {
        return Ok(0);
    }
    PERMITS.count(state, &mut writing.defects);
    let flaw = state.kind();
    let updated = city.updated("decided", index, changed);
    let usual = if permit.changed.is_some_and(|night| night > 0) { "U" } else { "I" };
    let later = later(&updated);
    let replay = format!("{batch}R");
    let events: Vec<Event<'_>> = match flaw {
        // The table has the deletion first; its time says that it came last.
        "withdrawn" => {
            vec![Event { operation: "D", batch, at: &later }, Event { operation: "I", batch, at: &updated }]
        }
        // A correction as deletion and insert within one second: the case stands.
        "deleted_and_inserted" => {
            vec![Event { operation: "I", batch, at: &updated }, Event { operation: "D", batch, at: &updated }]
        }
        "batch_replayed" => {
            vec![
                Event { operation: usual, batch, at: &updated },
                Event { operation: usual, batch: &replay, at: &updated },
            ]
        }
        "unknown_operation" => vec![Event { operation: "X", batch, at: &updated }],
        _ => vec![Event { operation: usual, batch, at: &updated }],
    };
    let mut rows = 0;
    for event in events {
        rows += put(exchange, result(city, (index, permit), (flaw, event))).await?;
    }
    Ok(rows)
}

async fn put(exchange: &mut Exchange, cells: Vec<String>) -> io::Result<u64> {
    let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
    exchange.put("up_pro_result", &cells).await?;
    Ok(1)
}

/// An hour after a time written as `2026-10-07 14:05:00`.
fn later(at: &str) -> String {
    let read = chrono::NaiveDateTime::parse_from_str(at, "%Y-%m-%d %H:%M:%S").unwrap_or_default();
    (read + chrono::TimeDelta::hours(1)).format("%Y-%m-%d %H:%M:%S").to_string()
}

fn project_no(index: u64, permit: &Licence) -> String {
    format!("3702{}{index:08}", permit.issued.format("%Y%m"))
}

/// Cells of `up_pro_result`.
fn result(city: City, (index, permit): (u64, &Licence), (flaw, event): (&str, Event<'_>)) -> Vec<String> {
    let (name, mut code, _) = licence::holder(city, permit);
    let mut kind = permit.kind.name;
    let mut issued = permit.issued.format("%Y-%m-%d").to_string();
    let mut until = permit.until.map_or_else(|| "长期".to_owned(), |day| day.format("%Y年%-m月%-d日").to_string());
    match flaw {
        "bad_check_digit" => code = identifiers::spoil_last(&code),
        "impossible_date" => issued = permit.issued.format("%Y-02-30").to_string(),
        "unknown_code" => kind = "临时经营许可（试点）",
        "ends_before_it_starts" => "2001年1月1日".clone_into(&mut until),
        _ => {}
    }
    let (applicant, legal, mobile, address) = match permit.holder {
        Holder::Enterprise(holder) => {
            let enterprise = city.on(0).enterprise(holder);
            let person = city.person(enterprise.representative);
            ("2", person.name, person.phone, enterprise.address)
        }
        Holder::Person(holder) => ("1", String::new(), city.person(holder).phone, city.person(holder).address),
    };
    vec![
        project_no(index, permit),
        format!("{}核发", permit.kind.name),
        "行政许可".to_owned(),
        applicant.to_owned(),
        name,
        code,
        legal,
        mobile,
        address,
        kind.to_owned(),
        permit.number.clone(),
        issued,
        permit.issued.format("%Y-%m-%d 15:30:00").to_string(),
        permit.issued.format("%Y-%m-%d").to_string(),
        until,
        permit.status.to_owned(),
        permit.kind.issuer.to_owned(),
        permit.kind.issuer_code.to_owned(),
        event.batch.to_owned(),
        event.operation.to_owned(),
        event.at.to_owned(),
        "0".to_owned(),
    ]
}

/// Writes when the case was accepted and what decision was promised for when; how many rows the dataset has of it.
async fn put_acceptance(
    writing: &mut Writing<'_>,
    exchange: &mut Exchange,
    (index, permit, decided, batch): (u64, &Licence, State, &str),
) -> io::Result<u64> {
    let city = writing.city;
    let base = licence::permits(city.on(0));
    // A case has one flaw: where its result is wrong, its acceptance is right.
    let planned = ACCEPTANCES.state(city, index, base);
    let state = if PERMITS.state(city.on(0), index, base) == State::Sound { planned } else { State::Sound };
    let born = city.born_on(index, 800, 6);
    let changed = state.changed(decided.changed((born > 0).then_some(born)));
    if city.night > 0 && changed != Some(city.night) {
        return Ok(0);
    }
    ACCEPTANCES.count(state, &mut writing.defects);
    let flaw = state.kind();
    let project = project_no(index, permit);
    let task = format!("{}核发", permit.kind.name);
    let at = city.updated("accepted", index, changed);
    let accepted = permit.issued - chrono::Days::new(6);
    let mut promised = accepted + chrono::Days::new(20);
    let mut begun = accepted.format("%Y-%m-%d 09:00:00").to_string();
    let procedures: &[(&str, &str)] = match flaw {
        "special_procedure" => &[("现场勘验", "15")],
        "several_procedures" => &[("专家评审", "10"), ("补正材料", "5")],
        _ => &[],
    };
    match flaw {
        "decided_late" => promised = permit.issued - chrono::Days::new(2),
        "special_procedure" | "several_procedures" => promised = permit.issued - chrono::Days::new(1),
        "impossible_date" => begun = accepted.format("%Y-02-30 09:00:00").to_string(),
        "promised_before_accepted" => promised = accepted - chrono::Days::new(30),
        _ => {}
    }
    let promise = |days: u64| (promised + chrono::Days::new(days)).format("%Y-%m-%d 17:00:00").to_string();
    let (first, restated) = (promise(0), promise(15));
    let gone = matches!(decided.kind(), "withdrawn" | "deleted_before_inserted");
    let operation = if gone { "D" } else { "I" };
    exchange.put("up_pro_accept", &[&project, &task, &begun, &first, batch, operation, &at]).await?;
    if procedures.is_empty() {
        return Ok(1);
    }
    for (name, days) in procedures {
        exchange.put("up_pro_special_procedure", &[&project, name, days, batch, "I", &at]).await?;
    }
    // The clock stood still: the department restates its promise.
    let later = later(&at);
    exchange.put("up_pro_accept", &[&project, &task, &begun, &restated, batch, "U", &later]).await?;
    Ok(2)
}
