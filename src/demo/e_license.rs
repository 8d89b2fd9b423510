//! 电子证照: the certificate directory, which a service gives page by page; after the first night only what is new.

use std::io;

use serde_json::json;

use super::city::City;
use super::file::{Charset, Draft};
use super::flaw::{Fate, Plan, State};
use super::licence::{self, Licence};
use super::{Writing, identifiers};

const CERTIFICATES: Plan = Plan {
    dataset: "e-license.certificate",
    period: 250,
    flaws: &[
        ("bad_certificate_check", Fate::Quarantined),
        ("unquoted_value", Fate::Undecodable),
        ("lower_case", Fate::Noted),
        ("second_version", Fate::Outvoted),
        ("unknown_code", Fate::Quarantined),
        ("legacy_check", Fate::Noted),
    ],
    nightly: None,
};

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("ZZML_{}.rows", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, CERTIFICATES.dataset, &name, Charset::Utf8)?;
    for index in 0..licence::permits(city) {
        // Some permits still exist on paper only.
        if city.dice.below("certificate", index, 20) > 0 {
            write_certificate(writing, &mut file, index, &licence::permit(city, index))?;
        }
    }
    for index in 0..licence::business_licences(city) {
        write_certificate(writing, &mut file, index, &licence::business_licence(city, index))?;
    }
    writing.files.push(file.finish()?);
    Ok(())
}

fn write_certificate(writing: &mut Writing<'_>, file: &mut Draft, index: u64, licence: &Licence) -> io::Result<()> {
    let city = writing.city;
    // Permits only: the flaws of a business licence would show the same.
    let base = if licence.until.is_some() { licence::permits(city.on(0)) } else { 0 };
    let state = if base > 0 { CERTIFICATES.state(city, index, base) } else { State::Sound };
    let changed = state.changed(licence.changed);
    if city.night > 0 && changed != Some(city.night) {
        return Ok(());
    }
    CERTIFICATES.count(state, &mut writing.defects);
    let updated = city.updated("certified", index, changed);
    let at = city.put_out();
    match state.kind() {
        "unquoted_value" => {
            let row = certificate_row(city, (index, 1), licence, ("", &updated));
            let name = licence.kind.name;
            file.entry(&at, &row.replacen(&format!("\"{name}\""), name, 1))
        }
        "second_version" => {
            file.entry(&at, &certificate_row(city, (index, 1), licence, ("", "2026-09-01 08:00:00")))?;
            file.entry(&at, &certificate_row(city, (index, 2), licence, ("", &updated)))
        }
        flaw => file.entry(&at, &certificate_row(city, (index, 1), licence, (flaw, &updated))),
    }
}

/// One object; `which` is serial and version, `how` its flaw and its business time.
fn certificate_row(city: City, which: (u64, u32), licence: &Licence, how: (&str, &str)) -> String {
    let (flaw, updated) = how;
    let (holder, mut code, code_kind) = licence::holder(city, licence);
    let mut id = licence.cert_id(which.0, which.1);
    let mut type_code = licence.type_code();
    match flaw {
        "bad_certificate_check" => id = identifiers::spoil_last(&id),
        "lower_case" => code = code.to_lowercase(),
        "legacy_check" => id = licence.legacy_cert_id(which.0),
        "unknown_code" => "11370200MB9X00007L999".clone_into(&mut type_code),
        _ => {}
    }
    json!({
        "ZZBS": id,
        "ZZMC": licence.kind.name,
        "ZZLXDM": type_code,
        "ZZBH": licence.number,
        "ZZBFJG": licence.kind.issuer,
        "ZZBFJGDM": licence.kind.issuer_code,
        "ZZBFRQ": licence.issued.format("%Y%m%d").to_string(),
        "CZZT": holder,
        "CZZTDM": code,
        "CZZTDMLXDM": code_kind,
        "ZZYXQQSRQ": licence.issued.format("%Y-%m-%d").to_string(),
        "ZZYXQJZRQ": licence.until.map_or_else(|| "长期".to_owned(), |day| day.format("%Y-%m-%d").to_string()),
        "ZZZT": licence.status,
        "GXSJ": updated,
        "CD_TIME": city.put_out(),
    })
    .to_string()
}
