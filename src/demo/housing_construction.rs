//! 城乡建设: construction permits as XML, awards of tenders as JSON.

use std::io;

use serde_json::json;

use super::Writing;
use super::file::{Charset, Draft};
use super::flaw::{Fate, Plan};
use super::words::DISTRICTS;

const PERMITS: Plan = Plan {
    dataset: "housing-construction.construction_permit",
    period: 40,
    flaws: &[
        ("joint_builders", Fate::Quarantined),
        ("nine_digit_code", Fate::Quarantined),
        ("impossible_date", Fate::Quarantined),
        ("unknown_status", Fate::Quarantined),
    ],
    nightly: None,
};
const AWARDS: Plan = Plan {
    dataset: "housing-construction.award",
    period: 30,
    flaws: &[
        ("rate_as_price", Fate::Quarantined),
        ("rate", Fate::Outvoted),
        ("consortium", Fate::Outvoted),
        ("nine_digit_code", Fate::Outvoted),
        ("no_date_yet", Fate::Quarantined),
    ],
    nightly: None,
};

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    permits(writing)?;
    awards(writing)
}

fn permits(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("SGXK_{}.xml", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, PERMITS.dataset, &name, Charset::Utf8)?;
    file.layout("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ExchangeMessage>\n<Body>\n")?;
    for (index, state, changed) in PERMITS.tonight(city, (80, 2)) {
        PERMITS.count(state, &mut writing.defects);
        let updated = city.updated(PERMITS.dataset, index, changed);
        file.row(&permit(writing, index, (state.kind(), &updated)))?;
    }
    file.layout("</Body>\n</ExchangeMessage>\n")?;
    writing.files.push(file.finish()?);
    Ok(())
}

fn permit(writing: &Writing<'_>, index: u64, (flaw, updated): (&str, &str)) -> String {
    let city = writing.city;
    let builder = city.on(0).enterprise(city.dice.below("builder", index, city.on(0).enterprises()));
    let other = city.on(0).enterprise(city.dice.below("other builder", index, city.on(0).enterprises()));
    let mut issued = (city.day(0) - chrono::Days::new(5 + city.dice.below("built", index, 700))).to_string();
    let (mut name, mut code, mut status) = (builder.name, builder.uscc, "有效");
    match flaw {
        "joint_builders" => (name, code) = (format!("{name}、{}", other.name), format!("{code}、{}", other.uscc)),
        "nine_digit_code" => code = builder.organization_code,
        "impossible_date" => issued.replace_range(5..7, "13"),
        "unknown_status" => status = "停工",
        _ => {}
    }
    format!(
        "<SGXK><SGXKZBH>{}202611{index:08}</SGXKZBH><XMBH>2026-{}-47-03-{index:06}</XMBH><JSDW><MC>{name}</MC><DM>{code}</DM></JSDW>\
         <FZJG>住房和城乡建设局</FZJG><FZJGDM>11370200MB9X00023A</FZJGDM><FZRQ>{issued}</FZRQ><ZT>{status}</ZT>\
         <DATA_TIMESTAMP>{updated}</DATA_TIMESTAMP></SGXK>\n",
        builder.district.code, builder.district.code,
    )
}

fn awards(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("ZBJG_{}.json", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, AWARDS.dataset, &name, Charset::Utf8)?;
    file.layout("{\"platform\":\"示例交易平台\",\"data\":{\"list\":[")?;
    let mut comma = "\n";
    for (index, state, changed) in AWARDS.tonight(city, (60, 2)) {
        AWARDS.count(state, &mut writing.defects);
        let updated = city.updated(AWARDS.dataset, index, changed);
        file.layout(comma)?;
        file.row(&award(writing, index, (state.kind(), &updated)))?;
        comma = ",\n";
    }
    file.layout("\n]}}\n")?;
    writing.files.push(file.finish()?);
    Ok(())
}

fn award(writing: &Writing<'_>, index: u64, (flaw, updated): (&str, &str)) -> String {
    let city = writing.city;
    let winner = city.on(0).enterprise(city.dice.below("winner", index, city.on(0).enterprises()));
    let partner = city.on(0).enterprise(city.dice.below("partner", index, city.on(0).enterprises()));
    let district = &DISTRICTS[(index % DISTRICTS.len() as u64) as usize];
    let mut price = format!("{}.5", 50 + city.dice.below("bid", index, 20_000));
    let (mut name, mut code, mut unit) = (winner.name, winner.uscc, "万元");
    let mut day = (city.day(0) - chrono::Days::new(3 + city.dice.below("awarded", index, 400))).to_string();
    match flaw {
        "rate_as_price" => (price, unit) = ("95.5%".to_owned(), "元"),
        "rate" => (price, unit) = ("95.5%".to_owned(), "费率"),
        "consortium" => (name, code) = (format!("{name}/{}", partner.name), format!("{code}/{}", partner.uscc)),
        "nine_digit_code" => code = winner.organization_code,
        "no_date_yet" => day = "待定".to_owned(),
        _ => {}
    }
    json!({
        "BID_SECTION_CODE": format!("A{}{index:06}", district.code),
        "TENDER_PROJECT_NAME": format!("{}示范工程{}标段", district.name, index + 1),
        "TENDERER_NAME": format!("青岛市{}城市建设中心", district.name),
        "WINNINGBIDDER_NAME": name,
        "BIDDER_ORG_CODE": code,
        "WIN_BID_PRICE": price,
        "PRICE_UNIT": unit,
        "REGION": district.code,
        "AWARD_DATE": day,
        "DATA_TIMESTAMP": updated,
    })
    .to_string()
}
