//! 国土房管: titles of the real-estate register and grants of land, which a SOAP service gives in GBK; several owners in one
//! cell.

use std::io;

use super::file::{Charset, Draft};
use super::flaw::{Fate, Plan};
use super::{Writing, identifiers};

const TITLES: Plan = Plan {
    dataset: "real-estate.title",
    period: 60,
    flaws: &[
        ("several_owners", Fate::Outvoted),
        ("several_owners_comma", Fate::Outvoted),
        ("short_unit_number", Fate::Quarantined),
        ("bad_check_digit", Fate::Quarantined),
        ("unknown_status", Fate::Quarantined),
        ("no_owner", Fate::Quarantined),
    ],
    nightly: None,
};

const LAND: Plan = Plan {
    dataset: "real-estate.land",
    period: 20,
    flaws: &[
        ("price_in_words", Fate::Quarantined),
        ("joint_bidders", Fate::Outvoted),
        ("bad_check_digit", Fate::Quarantined),
        ("price_in_hundred_millions", Fate::Outvoted),
    ],
    nightly: None,
};

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    titles(writing)?;
    land(writing)
}

fn land(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("TDGY_{}.rows", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, LAND.dataset, &name, Charset::Gb18030)?;
    for (index, state, changed) in LAND.tonight(city, (40, 1)) {
        LAND.count(state, &mut writing.defects);
        let updated = city.updated(LAND.dataset, index, changed);
        let one = city.on(0).enterprise(city.dice.below("bidder", index, city.on(0).enterprises()));
        let other = city.on(0).enterprise(city.dice.below("second bidder", index, city.on(0).enterprises()));
        let (mut name, mut code) = (one.name, one.uscc);
        let mut price = (1_000 + city.dice.below("land price", index, 90_000)).to_string();
        match state.kind() {
            "price_in_words" => price = "底价成交".to_owned(),
            "joint_bidders" => (name, code) = (format!("{name}、{}", other.name), format!("{code}、{}", other.uscc)),
            "bad_check_digit" => code = identifiers::spoil_last(&code),
            "price_in_hundred_millions" => price = "1.28亿元".to_owned(),
            _ => {}
        }
        let day = city.day(0) - chrono::Days::new(5 + city.dice.below("land granted", index, 700));
        let district = one.district.name;
        let at = city.put_out();
        file.entry(
            &at,
            &format!(
                "<TDGY><HTBH>青土出2026-{index:04}</HTBH><JDR>{name}</JDR><JDRDM>{code}</JDRDM><ZDMC>{district}{}号地块</ZDMC>\
                 <CJJ>{price}</CJJ><CJRQ>{day}</CJRQ><CRR>青岛市自然资源和规划局</CRR><SSQS>{district}</SSQS>\
                 <GXSJ>{updated}</GXSJ><TSSJ>{at}</TSSJ></TDGY>",
                index + 1,
            ),
        )?;
    }
    writing.files.push(file.finish()?);
    Ok(())
}

fn titles(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("BDCQ_{}.rows", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, TITLES.dataset, &name, Charset::Gb18030)?;
    for (index, state, changed) in TITLES.tonight(city, (200, 3)) {
        TITLES.count(state, &mut writing.defects);
        let updated = city.updated(TITLES.dataset, index, changed);
        file.entry(&city.put_out(), &title(writing, index, (state.kind(), &updated)))?;
    }
    writing.files.push(file.finish()?);
    Ok(())
}

fn title(writing: &Writing<'_>, index: u64, (flaw, updated): (&str, &str)) -> String {
    let city = writing.city;
    let dice = city.dice;
    let enterprise = city.on(0).enterprise(dice.below("owner", index, city.on(0).enterprises()));
    let (one, other) = (
        city.person(dice.below("owner", index, city.on(0).persons())),
        city.person(dice.below("second owner", index, city.on(0).persons())),
    );
    let owned_by_person = !flaw.is_empty() || !index.is_multiple_of(4);
    let (mut owner, mut number) = if owned_by_person { (one.name, one.id) } else { (enterprise.name, enterprise.uscc) };
    let day = city.day(0) - chrono::Days::new(5 + dice.below("titled", index, 3_000));
    let mut unit = format!("{}001001GB{:05}F{:08}", enterprise.district.code, index % 90_000, index + 1);
    let (mut status, mut shared) = ("有效", "单独所有");
    match flaw {
        "several_owners" => {
            (owner, number, shared) =
                (format!("{owner}、{}", other.name), format!("{number}、{}", other.id), "共同共有");
        }
        "several_owners_comma" => {
            (owner, number, shared) =
                (format!("{owner}，{}", other.name), format!("{number}，{}", other.id), "按份共有");
        }
        "short_unit_number" => unit.truncate(27),
        "bad_check_digit" => number = identifiers::spoil_last(&number),
        "unknown_status" => status = "在建",
        "no_owner" => owner.clear(),
        _ => {}
    }
    format!(
        "<BDCQ><BDCQZH>鲁（{}）青岛市不动产权第{:07}号</BDCQZH><BDCDYH>{unit}</BDCDYH><QLR>{owner}</QLR><ZJH>{number}</ZJH>\
         <GYQK>{shared}</GYQK><DJJG>青岛市不动产登记中心</DJJG><SZRQ>{}</SZRQ><SYQX>{}</SYQX><QLZT>{status}</QLZT>\
         <DJSJ>{updated}</DJSJ><TSSJ>{}</TSSJ></BDCQ>",
        day.format("%Y"),
        index + 1,
        day.format("%Y年%-m月%-d日"),
        day + chrono::Days::new(25_567),
        city.put_out(),
    )
}
