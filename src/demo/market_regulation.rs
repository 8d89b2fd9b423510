//! 市场监管: two full extracts a night, GBK CSV with CRLF, by different clerks.

use std::io;

use super::city::{City, Enterprise};
use super::file::{Charset, Draft};
use super::flaw::{Fate, Plan};
use super::{Writing, identifiers};

const ENTERPRISES: Plan = Plan {
    dataset: "market-regulation.enterprise",
    period: 500,
    flaws: &[
        ("bad_check_digit", Fate::Quarantined),
        ("lower_case", Fate::Noted),
        ("full_width", Fate::Noted),
        ("impossible_date", Fate::Quarantined),
        ("ragged_row", Fate::Undecodable),
        ("unknown_code", Fate::Quarantined),
        ("private_use_character", Fate::Noted),
        ("html_entity", Fate::Noted),
        ("duplicate_row", Fate::Outvoted),
        ("registration_number_as_code", Fate::Quarantined),
        ("stray_blanks", Fate::Noted),
        ("unit_missing", Fate::Quarantined),
    ],
    nightly: Some(("impossible_date", Fate::Quarantined)),
};

const REPRESENTATIVES: Plan = Plan {
    dataset: "market-regulation.legal_representative",
    period: 500,
    flaws: &[
        ("fifteen_digits", Fate::Noted),
        ("bad_check_digit", Fate::Quarantined),
        ("passport", Fate::Filtered),
        ("bad_phone", Fate::Noted),
    ],
    nightly: None,
};

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    write_enterprises(writing)?;
    write_representatives(writing)
}

/// Whether the register lost the enterprise on some night; other departments may still know it.
pub(super) fn vanished(city: City, index: u64) -> bool {
    city.nights_of("vanish", index, 700).next().is_some()
}

fn write_enterprises(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("QYDJ_{}.csv", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, ENTERPRISES.dataset, &name, Charset::Gb18030)?;
    file.layout(
        "统一社会信用代码,企业名称,法定代表人,企业类型,注册资本,成立日期,经营范围,登记机关,住所,登记状态,更新时间\r\n",
    )?;
    let base = city.on(0).enterprises();
    for index in (0..city.enterprises()).filter(|index| !vanished(city, *index)) {
        let state = ENTERPRISES.state(city, index, base);
        ENTERPRISES.count(state, &mut writing.defects);
        let enterprise = city.enterprise(index);
        let updated = city.updated("registered", index, state.changed(enterprise.changed));
        let row = enterprise_row(city, index, &enterprise, state.kind());
        if state.kind() == "duplicate_row" {
            file.row(&format!("{row},2026-09-30 09:00:00\r\n"))?;
        }
        file.row(&format!("{row},{updated}\r\n"))?;
    }
    writing.files.push(file.finish()?);
    Ok(())
}

/// A row without its last column.
fn enterprise_row(city: City, index: u64, enterprise: &Enterprise, flaw: &str) -> String {
    let mut code = enterprise.uscc.clone();
    let mut name = enterprise.name.clone();
    let mut kind = enterprise.kind.title;
    let mut capital = capital_text(city, index, enterprise.capital);
    let mut established = date_text(city, index, enterprise.established);
    let mut address = enterprise.address.clone();
    match flaw {
        "bad_check_digit" => code = identifiers::spoil_last(&code),
        "lower_case" => code = code.to_lowercase(),
        "full_width" => code = identifiers::full_width(&code),
        "impossible_date" => established = enterprise.established.format("%Y年13月%-d日").to_string(),
        "ragged_row" => address.push_str(",一层"),
        "unknown_code" => kind = "有限责任公司（待核定）",
        "private_use_character" => name = name.replacen("青岛", "青岛\u{e863}", 1),
        "html_entity" => name = name.replacen("青岛", "青岛A&amp;B", 1),
        "registration_number_as_code" => code = identifiers::registration_no(enterprise.district.code, index),
        "stray_blanks" => name = format!(" {name}\u{3000}"),
        "unit_missing" => capital = format!("{}()", enterprise.capital),
        _ => {}
    }
    let representative = city.person(enterprise.representative).name;
    let district = enterprise.district;
    format!(
        "{code},{name},{representative},{kind},{capital},{established},{},青岛市{}市场监督管理局,{address},{}",
        enterprise.trade.scope, district.name, enterprise.status
    )
}

/// Registered capital as different clerks write it.
fn capital_text(city: City, index: u64, capital: u64) -> String {
    match city.dice.below("capital form", index, 10) {
        0..=4 => format!("{capital}万元人民币"),
        5 | 6 => format!("{capital}(万元)"),
        7 if capital >= 1_000 => format!("\"{},{:03}.0000(万)\"", capital / 1_000, capital % 1_000),
        7 | 8 => format!("{capital}万元"),
        _ => String::new(),
    }
}

/// A date as different clerks write it.
fn date_text(city: City, index: u64, date: chrono::NaiveDate) -> String {
    let form = match city.dice.below("date form", index, 10) {
        0..=3 => "%Y年%-m月%-d日",
        4..=6 => "%Y-%m-%d",
        7 | 8 => "%Y/%-m/%-d",
        _ => "%Y%m%d",
    };
    date.format(form).to_string()
}

fn write_representatives(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("FDDBR_{}.csv", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, REPRESENTATIVES.dataset, &name, Charset::Gb18030)?;
    file.layout("统一社会信用代码,企业名称,法定代表人,证件类型,证件号码,联系电话,更新时间\r\n")?;
    let base = city.on(0).enterprises();
    for index in (0..city.enterprises()).filter(|index| !vanished(city, *index)) {
        let state = REPRESENTATIVES.state(city, index, base);
        REPRESENTATIVES.count(state, &mut writing.defects);
        let enterprise = city.enterprise(index);
        let person = city.person(enterprise.representative);
        let (mut kind, mut id, mut phone) = ("居民身份证", person.id, person.phone);
        match state.kind() {
            "fifteen_digits" => id = identifiers::short_citizen_id(&id),
            "bad_check_digit" => id = identifiers::spoil_last(&id),
            "passport" => (kind, id) = ("护照", format!("E{:08}", index % 100_000_000)),
            "bad_phone" => phone = "无号码".to_owned(),
            _ => {}
        }
        let updated = city.updated("registered", index, state.changed(enterprise.changed));
        file.row(&format!(
            "{},{},{},{kind},{id},{phone},{updated}\r\n",
            enterprise.uscc, enterprise.name, person.name
        ))?;
    }
    writing.files.push(file.finish()?);
    Ok(())
}
