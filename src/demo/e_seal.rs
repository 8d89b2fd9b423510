//! 电子印章: the seal registry, which a service gives page by page; after the first night only what changed. The second
//! night brings two things that must change nothing: an old record that comes late, and a seal that is alive again after its end.

use std::io;

use chrono::NaiveDate;
use serde_json::json;

use super::city::City;
use super::file::{Charset, Draft};
use super::flaw::{Fate, Plan, State};
use super::{Writing, identifiers};
use crate::crypto::{DigestAlgorithm, hex};

const SEALS: Plan = Plan {
    dataset: "e-seal.seal",
    period: 60,
    flaws: &[
        ("bad_check_digit", Fate::Quarantined),
        ("unknown_status", Fate::Quarantined),
        ("ends_before_it_starts", Fate::Quarantined),
        ("unregistered_holder", Fate::Outvoted),
        ("lost_successor", Fate::Outvoted),
        ("second_seal", Fate::Outvoted),
        ("late_filing", Fate::Outvoted),
        ("late_record", Fate::Outvoted),
        ("resurrected", Fate::Outvoted),
    ],
    nightly: None,
};
/// Seals on night 0, and more each night, per unit of scale.
const BASE: (u64, u64) = (300, 3);

/// Serial number of the certificate in seal `index`, as a number and as it is written.
pub(super) fn certificate_number(index: u64) -> u64 {
    0x3A00_0000_0000 + index
}

/// See [`certificate_number`].
pub(super) fn certificate(index: u64) -> String {
    format!("{:X}", certificate_number(index))
}

/// 电子印章标识 of seal `index`.
pub(super) fn id(index: u64) -> String {
    format!("370200{index:08}")
}

/// Picture of seal `index`; what makes it up stands where its pixels would.
pub(super) fn picture(index: u64) -> Vec<u8> {
    [b"\x89PNG\r\n\x1A\n".as_slice(), format!("seal {index}").as_bytes()].concat()
}

/// Day on which seal `index` was made.
pub(super) fn made(city: City, index: u64) -> NaiveDate {
    city.day(0) - chrono::Days::new(10 + city.dice.below("seal made", index, 900))
}

/// How many seals there are.
pub(super) fn seals(city: City) -> u64 {
    city.count(BASE.0, BASE.1)
}

/// Enterprise that holds seal `index`; each holds one at most.
pub(super) fn holder(city: City, index: u64) -> u64 {
    index.wrapping_mul(5) % city.on(0).enterprises()
}

/// One seal as it is tonight.
struct Seal<'a> {
    index: u64,
    id: String,
    flaw: &'a str,
    status: &'static str,
    updated: String,
}

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("YZ_{}.rows", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, SEALS.dataset, &name, Charset::Utf8)?;
    let base = seals(city.on(0));
    for index in 0..seals(city) {
        let state = SEALS.state(city, index, base);
        for seal in tonight(writing, index, state) {
            file.entry(&city.put_out(), &row(city, &seal))?;
        }
    }
    writing.files.push(file.finish()?);
    Ok(())
}

/// What the registry says about seal `index` tonight.
fn tonight(writing: &mut Writing<'_>, index: u64, state: State) -> Vec<Seal<'static>> {
    let city = writing.city;
    let born = city.born_on(index, BASE.0, BASE.1);
    let planned = SEALS.state(city.on(0), index, seals(city.on(0))).kind();
    let (mut status, moved) = status(city, index, born, planned);
    let changed = state.changed(moved.or((born > 0).then_some(born)));
    let mut updated = city.updated(SEALS.dataset, index, changed);
    let dead = matches!(planned, "late_record" | "resurrected");
    if dead && city.night == 1 && state.kind() == planned {
        SEALS.count(state, &mut writing.defects);
        status = "有效";
        if planned == "late_record" {
            "2026-09-01 08:00:00".clone_into(&mut updated);
        } else {
            updated = format!("{} 01:15:00", city.today());
        }
        return vec![Seal { index, id: id(index), flaw: "", status, updated }];
    }
    if dead {
        // Dead from the first night on, and nothing is said again.
        let seal = Seal { index, id: id(index), flaw: "", status: "注销", updated: "2026-10-30 09:00:00".to_owned() };
        return if city.night == 0 { vec![seal] } else { Vec::new() };
    }
    if city.night > 0 && changed != Some(city.night) {
        return Vec::new();
    }
    SEALS.count(state, &mut writing.defects);
    let seal = Seal { index, id: id(index), flaw: state.kind(), status, updated };
    if planned != "second_seal" {
        return vec![seal];
    }
    // The same unit got a second seal with its legal name; once somebody noticed, it was cancelled.
    let second_status = if state.kind() == planned { "有效" } else { "注销" };
    let second =
        Seal { index, id: id(90_000_000 + index), flaw: "", status: second_status, updated: seal.updated.clone() };
    vec![seal, second]
}

/// Status of a seal that is in order, and the night on which it last changed.
fn status(city: City, index: u64, born: u32, planned: &str) -> (&'static str, Option<u32>) {
    if matches!(planned, "second_seal" | "unregistered_holder") {
        return ("有效", None);
    }
    if planned == "lost_successor" {
        return ("注销", None);
    }
    let turns: Vec<u32> = city.nights_of("seal frozen", index, 60).filter(|night| *night > born).collect();
    let status = if turns.len() % 2 == 1 { "冻结" } else { "有效" };
    (status, turns.last().copied())
}

fn row(city: City, seal: &Seal<'_>) -> String {
    let Seal { index, id, flaw, status, updated } = seal;
    let enterprise = city.on(0).enterprise(holder(city, *index));
    let made = made(city, *index);
    let mut code = enterprise.uscc.clone();
    let mut name = enterprise.name.clone();
    let mut status = (*status).to_owned();
    let mut until = made + chrono::Days::new(1_825);
    let mut filed = format!("{made} 16:30:00");
    let mut successor = None;
    let second = id.starts_with("3702009");
    let kind = if second || *flaw == "second_seal" {
        "法定名称章"
    } else {
        ["法定名称章", "1", "财务专用章"][(index % 3) as usize]
    };
    match *flaw {
        "bad_check_digit" => code = identifiers::spoil_last(&code),
        "unknown_status" => status = "借出".to_owned(),
        "ends_before_it_starts" => until = made - chrono::Days::new(1),
        "unregistered_holder" => {
            code = identifiers::uscc("91", "370782", &identifiers::organization_code(24_000_000 + index));
            name = format!("潍坊外来{index}有限公司");
        }
        "lost_successor" => successor = Some(format!("37020099{index:06}")),
        "late_filing" => filed = format!("{} 17:00:00", made + chrono::Days::new(1)),
        _ => {}
    }
    json!({
        "esID": id,
        "yzbm": if second { String::new() } else { format!("370202{index:07}") },
        "yzmc": name,
        "yzlx": kind,
        "ssdwdm": code,
        "ssdwmc": name,
        "zzdw": "青岛示例印章制作中心",
        "zzsj": format!("{made} 10:00:00"),
        "basj": filed,
        "yxqq": made.to_string(),
        "yxqz": until.to_string(),
        "zt": status,
        "ztyy": if successor.is_some() { "换发" } else { "" },
        "zs": { "xlh": certificate(*index), "bfz": "示例电子认证" },
        "tx_sm3": hex(&DigestAlgorithm::Sm3.digest(&[&picture(*index)])),
        "xzbs": successor,
        "gxsj": updated,
        "tssj": city.put_out(),
    })
    .to_string()
}
