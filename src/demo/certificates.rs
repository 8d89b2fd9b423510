//! 电子认证: certificates issued for seals and units, and those revoked, as CSV.

use std::io;

use super::file::{Charset, Draft};
use super::flaw::{Fate, Plan, State};
use super::{Writing, e_seal, identifiers};

const ISSUED: Plan = Plan {
    dataset: "certificates.issued",
    period: 60,
    flaws: &[
        ("bad_check_digit", Fate::Quarantined),
        ("unknown_status", Fate::Quarantined),
        ("ends_before_it_starts", Fate::Quarantined),
        ("lower_case_serial", Fate::Outvoted),
        ("lower_case", Fate::Noted),
        ("no_serial", Fate::Quarantined),
    ],
    nightly: None,
};
const REVOKED: Plan = Plan {
    dataset: "certificates.revoked",
    period: 10,
    flaws: &[("no_time", Fate::Quarantined), ("no_serial", Fate::Quarantined)],
    nightly: None,
};

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    issued(writing)?;
    revoked(writing)
}

fn issued(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("ZSQF_{}.csv", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, ISSUED.dataset, &name, Charset::Utf8)?;
    file.layout("证书序列号,单位名称,统一社会信用代码,颁发者,生效日期,失效日期,证书状态,印章标识,更新时间\r\n")?;
    for (index, state, changed) in ISSUED.tonight(city, (300, 3)) {
        ISSUED.count(state, &mut writing.defects);
        let updated = city.updated(ISSUED.dataset, index, changed);
        file.row(&certificate(writing, index, (state, &updated)))?;
    }
    writing.files.push(file.finish()?);
    Ok(())
}

fn certificate(writing: &Writing<'_>, index: u64, (state, updated): (State, &str)) -> String {
    let city = writing.city;
    let enterprise = city.on(0).enterprise(e_seal::holder(city, index));
    let from = city.day(0) - chrono::Days::new(20 + city.dice.below("certified", index, 300));
    let mut until = from + chrono::Days::new(1_095);
    let mut serial = e_seal::certificate(index);
    let mut code = enterprise.uscc;
    let mut status = "有效";
    match state.kind() {
        "bad_check_digit" => code = identifiers::spoil_last(&code),
        "unknown_status" => status = "冻结",
        "ends_before_it_starts" => until = from - chrono::Days::new(1),
        "lower_case_serial" => serial = serial.to_lowercase(),
        "lower_case" => code = code.to_lowercase(),
        "no_serial" => serial.clear(),
        _ => {}
    }
    let seal = e_seal::id(index);
    format!("{serial},{},{code},示例电子认证,{from},{until},{status},{seal},{updated}\r\n", enterprise.name)
}

fn revoked(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("ZSDX_{}.csv", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, REVOKED.dataset, &name, Charset::Utf8)?;
    file.layout("证书序列号,吊销时间,吊销原因,印章标识\r\n")?;
    for (index, state, changed) in REVOKED.tonight(city, (20, 1)) {
        REVOKED.count(state, &mut writing.defects);
        let seal = index * 13 % e_seal::seals(city.on(0));
        let night = changed.unwrap_or(0);
        let mut serial = e_seal::certificate(seal);
        let mut time = format!("{} 00:30:00", city.day(night));
        match state.kind() {
            "no_time" => time.clear(),
            "no_serial" => serial.clear(),
            _ => {}
        }
        file.row(&format!("{serial},{time},密钥更换,{}\r\n", e_seal::id(seal)))?;
    }
    writing.files.push(file.finish()?);
    Ok(())
}
