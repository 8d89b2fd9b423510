//! 税务: taxpayer registrations as GBK XML. A night behind the market register, and with an address of its own.

use std::io;

use super::city::{City, Enterprise};
use super::file::{Charset, Draft};
use super::flaw::{Fate, Plan};
use super::{Writing, identifiers};

const TAXPAYERS: Plan = Plan {
    dataset: "tax.taxpayer",
    period: 500,
    flaws: &[
        ("old_tax_number", Fate::Outvoted),
        ("bad_check_digit", Fate::Quarantined),
        ("unknown_status", Fate::Quarantined),
        ("unknown_industry", Fate::Quarantined),
        ("second_registration", Fate::Outvoted),
        ("bad_phone", Fate::Noted),
        ("other_address", Fate::Outvoted),
        ("other_address", Fate::Outvoted),
        ("other_address", Fate::Outvoted),
        ("other_address", Fate::Outvoted),
        ("other_address", Fate::Outvoted),
        ("other_name", Fate::Outvoted),
        ("other_name", Fate::Outvoted),
    ],
    nightly: None,
};

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("SWDJ_{}.xml", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, TAXPAYERS.dataset, &name, Charset::Gb18030)?;
    file.layout("<?xml version=\"1.0\" encoding=\"GBK\"?>\n<ExchangeMessage>\n")?;
    file.layout(&format!("<Header><sender>SW</sender><date>{}</date></Header>\n<Body>\n", city.today()))?;
    // What the market register changed tonight reaches the tax office tomorrow.
    let seen = city.on(city.night.saturating_sub(1));
    let base = city.on(0).enterprises();
    for index in 0..seen.enterprises() {
        let state = TAXPAYERS.state(city, index, base);
        TAXPAYERS.count(state, &mut writing.defects);
        let enterprise = seen.enterprise(index);
        let arrived = enterprise.changed.map(|night| night + 1);
        let updated = city.updated("tax registered", index, state.changed(arrived));
        file.row(&taxpayer(seen, index, 1, (&enterprise, state.kind(), &updated)))?;
        if state.kind() == "second_registration" {
            file.row(&taxpayer(seen, index, 2, (&enterprise, "", "2026-08-15 10:00:00")))?;
        }
    }
    file.layout("</Body>\n</ExchangeMessage>\n")?;
    writing.files.push(file.finish()?);
    Ok(())
}

/// One record element; `row` is the enterprise, its flaw and its business time.
fn taxpayer(city: City, index: u64, registration: u64, row: (&Enterprise, &str, &str)) -> String {
    let (enterprise, flaw, updated) = row;
    let mut taxpayer_no = enterprise.uscc.clone();
    let mut code = enterprise.uscc.clone();
    let mut name = enterprise.name.clone();
    let mut address = enterprise.address.clone();
    let mut industry = enterprise.trade.section;
    let mut status = if enterprise.status == "注销" {
        "07"
    } else {
        city.dice.pick("taxpayer", index, &["03", "03", "03", "正常", "05"])
    };
    let representative = city.person(enterprise.representative);
    let mut phone = representative.phone.clone();
    let mut organization = enterprise.organization_code.clone();
    match flaw {
        "old_tax_number" => {
            taxpayer_no = format!("{}{organization}", enterprise.district.code);
            (code, organization) = (String::new(), String::new());
        }
        "bad_check_digit" => code = identifiers::spoil_last(&code),
        "unknown_status" => status = "Z9",
        "unknown_industry" => industry = "其他未列明行业",
        "bad_phone" => phone = "0532-".to_owned(),
        "other_address" => address = format!("青岛市{}工业园{}号", enterprise.district.name, 1 + index % 60),
        "other_name" => name = name.replacen("青岛", "山东", 1),
        _ => {}
    }
    let account = format!("6222{:012}", city.dice.below("account", index, 1_000_000_000_000));
    format!(
        "<NSR><DJXH>10137{registration:02}{index:013}</DJXH><NSRSBH>{taxpayer_no}</NSRSBH><SHXYDM>{code}</SHXYDM>\
         <ZZJG_DM>{organization}</ZZJG_DM><NSRMC>{}</NSRMC><FDDBR><XM>{}</XM><SFZJHM>{}</SFZJHM></FDDBR>\
         <ZCDZ>{}</ZCDZ><LXDH>{phone}</LXDH><HYMC>{industry}</HYMC><NSRZT_DM>{status}</NSRZT_DM>\
         <ZGSWJ_MC>国家税务总局青岛市{}税务局</ZGSWJ_MC><YHZH>{account}</YHZH><XGRQ>{updated}</XGRQ></NSR>\n",
        escape(&name),
        representative.name,
        representative.id,
        escape(&address),
        enterprise.district.name,
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
