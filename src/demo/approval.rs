//! 审批: decided permits, one JSON document with an array inside; after the first night only what is new.

use std::io;

use serde_json::json;

use super::city::City;
use super::file::{Charset, Draft};
use super::flaw::{Fate, Plan};
use super::licence::{self, Holder, Licence};
use super::{Writing, identifiers};

const PERMITS: Plan = Plan {
    dataset: "approval.permit",
    period: 250,
    flaws: &[
        ("bad_check_digit", Fate::Quarantined),
        ("withdrawn", Fate::Filtered),
        ("impossible_date", Fate::Quarantined),
        ("unknown_code", Fate::Quarantined),
        ("ends_before_it_starts", Fate::Quarantined),
        ("replayed", Fate::Outvoted),
    ],
    nightly: None,
};

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let today = city.today().format("%Y%m%d");
    let mut file = Draft::create(writing.dir, PERMITS.dataset, &format!("XK_{today}.json"), Charset::Utf8)?;
    file.layout(&format!("{{\"batch\":\"{today}01\",\"data\":{{\"list\":["))?;
    let base = licence::permits(city.on(0));
    let mut comma = "\n";
    for index in 0..licence::permits(city) {
        let state = PERMITS.state(city, index, base);
        let permit = licence::permit(city, index);
        let changed = state.changed(permit.changed);
        if city.night > 0 && changed != Some(city.night) {
            continue;
        }
        PERMITS.count(state, &mut writing.defects);
        let row = permit_row(city, index, &permit, (state.kind(), &city.updated("decided", index, changed)));
        for _ in 0..if state.kind() == "replayed" { 2 } else { 1 } {
            file.layout(comma)?;
            file.row(&row)?;
            comma = ",\n";
        }
    }
    file.layout("\n]}}\n")?;
    writing.files.push(file.finish()?);
    Ok(())
}

/// One object; `how` is its flaw and its business time.
fn permit_row(city: City, index: u64, permit: &Licence, how: (&str, &str)) -> String {
    let (flaw, updated) = how;
    let (name, mut code, _) = licence::holder(city, permit);
    let mut kind = permit.kind.name;
    let mut issued = permit.issued.format("%Y-%m-%d").to_string();
    let mut until = permit.until.map_or_else(|| "长期".to_owned(), |day| day.format("%Y年%-m月%-d日").to_string());
    let mut operation = if permit.changed.is_some_and(|night| night > 0) { "U" } else { "I" };
    match flaw {
        "bad_check_digit" => code = identifiers::spoil_last(&code),
        "withdrawn" => operation = "D",
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
    json!({
        "project_no": format!("3702{}{index:08}", permit.issued.format("%Y%m")),
        "task_name": format!("{}核发", permit.kind.name),
        "project_type": "行政许可",
        "applyer_type": applicant,
        "applyer_name": name,
        "applyer_page_code": code,
        "contact": { "legal": legal, "mobile": mobile },
        "address": address,
        "result_cetr_name": kind,
        "result_cetr_no": permit.number,
        "result_date": issued,
        "valid_from": permit.issued.format("%Y-%m-%d").to_string(),
        "valid_to": until,
        "status": permit.status,
        "org_name": permit.kind.issuer,
        "org_code": permit.kind.issuer_code,
        "cd_operation": operation,
        "cd_time": updated,
    })
    .to_string()
}
