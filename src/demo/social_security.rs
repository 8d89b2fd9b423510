//! 人社: employers and insured persons as GBK text with `|` between fields, old numbers and columns that slipped.

use std::io;

use super::city::{City, Person};
use super::file::{Charset, Draft};
use super::flaw::{Fate, Plan};
use super::words::ETHNIC;
use super::{Writing, identifiers};

const EMPLOYERS: Plan = Plan {
    dataset: "social-security.employer",
    period: 400,
    flaws: &[
        ("organization_code_only", Fate::Outvoted),
        ("swapped_columns", Fate::Quarantined),
        ("not_a_number", Fate::Quarantined),
        ("ragged_row", Fate::Undecodable),
        ("bad_check_digit", Fate::Quarantined),
    ],
    nightly: None,
};

const INSURED: Plan = Plan {
    dataset: "social-security.insured",
    period: 500,
    flaws: &[
        ("fifteen_digits", Fate::Noted),
        ("fifteen_digits", Fate::Noted),
        ("bad_check_digit", Fate::Quarantined),
        ("swapped_columns", Fate::Quarantined),
        ("impossible_date", Fate::Quarantined),
        ("unknown_code", Fate::Quarantined),
        ("full_width", Fate::Noted),
        ("ragged_row", Fate::Undecodable),
        ("bad_phone", Fate::Noted),
        ("duplicate_row", Fate::Outvoted),
    ],
    nightly: None,
};

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    write_employers(writing)?;
    write_insured(writing)
}

fn write_employers(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("CBDW_{}.txt", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, EMPLOYERS.dataset, &name, Charset::Gb18030)?;
    file.layout("AAB001|AAB004|AAB998|AAB003|AAB301|YLBXRS|YILBXRS|SYBXRS|GSBXRS|AAE036\n")?;
    let base = city.on(0).enterprises();
    for index in (0..city.enterprises()).filter(|index| city.dice.below("employs", *index, 10) < 8) {
        let state = EMPLOYERS.state(city, index, base);
        EMPLOYERS.count(state, &mut writing.defects);
        let enterprise = city.enterprise(index);
        let (mut name, mut code) = (enterprise.name, enterprise.uscc);
        let staff = 1 + city.dice.below("staff", index, 120);
        let mut injury = (staff + city.dice.below("injury", index, 3)).to_string();
        match state.kind() {
            "organization_code_only" => code.clear(),
            "swapped_columns" => std::mem::swap(&mut name, &mut code),
            "not_a_number" => "约三十人".clone_into(&mut injury),
            "ragged_row" => name.push_str("|分公司"),
            "bad_check_digit" => code = identifiers::spoil_last(&code),
            _ => {}
        }
        let updated = city.updated("employer updated", index, state.changed(enterprise.changed));
        file.row(&format!(
            "{}|{name}|{code}|{}|{}|{staff}|{staff}|{staff}|{injury}|{updated}\n",
            370_200_000_000 + index,
            hyphenated(&enterprise.organization_code),
            enterprise.district.code,
        ))?;
    }
    writing.files.push(file.finish()?);
    Ok(())
}

/// An organisation code the way it was printed: D2143569-X.
fn hyphenated(code: &str) -> String {
    code.char_indices().flat_map(|(at, c)| (at == 8).then_some('-').into_iter().chain([c])).collect()
}

fn write_insured(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("CBRY_{}.txt", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, INSURED.dataset, &name, Charset::Gb18030)?;
    file.layout("AAC001|AAE135|AAC003|AAC004|AAC005|AAC006|AAC301|AAE006|AAE005|AAB998|AAB004|AAC031|AAE180|AAE036\n")?;
    let base = city.on(0).persons();
    for index in 0..city.persons() {
        let state = INSURED.state(city, index, base);
        INSURED.count(state, &mut writing.defects);
        let born = city.born_on(index, 3_000, 10);
        let changed = city.nights_of("work", index, 200).filter(|night| *night > born).last();
        let changed = changed.or((born > 0).then_some(born));
        let updated = city.updated("insured updated", index, state.changed(changed));
        let row = insured_row(city, index, changed.is_some() && born == 0, state.kind());
        if state.kind() == "duplicate_row" {
            file.row(&format!("{row}|2026-09-30 09:00:00\n"))?;
        }
        file.row(&format!("{row}|{updated}\n"))?;
    }
    writing.files.push(file.finish()?);
    Ok(())
}

/// A row without its last column.
fn insured_row(city: City, index: u64, left: bool, flaw: &str) -> String {
    let Person { mut id, mut name, male, born, region, mut address, mut phone } = city.person(index);
    let mut ethnic = city.dice.pick("ethnic", index, ETHNIC);
    let mut birthday = born.format(city.dice.pick("birthday form", index, &["%Y%m%d", "%Y-%m-%d"])).to_string();
    match flaw {
        "fifteen_digits" => id = identifiers::short_citizen_id(&id),
        "bad_check_digit" => id = identifiers::spoil_last(&id),
        "swapped_columns" => std::mem::swap(&mut id, &mut name),
        "impossible_date" => birthday = born.format("%Y0230").to_string(),
        "unknown_code" => ethnic = "未识别",
        "full_width" => id = identifiers::full_width(&id),
        "ragged_row" => address.push_str("|东户"),
        "bad_phone" => "1380000".clone_into(&mut phone),
        _ => {}
    }
    let gender = city.dice.pick("gender form", index, if male { &["1", "男"] } else { &["2", "女"] });
    let employer = if left { None } else { city.employer_of(index) };
    let (employer_code, employer_name, status, salary) = match employer {
        Some(employer) => {
            let employer = city.enterprise(employer);
            let base = 4_242 + city.dice.below("salary", index, 9_000);
            (employer.uscc, employer.name, "参保缴费", format!("{base}.00"))
        }
        None => {
            (String::new(), String::new(), city.dice.pick("out", index, &["暂停缴费", "2", "终止缴费"]), String::new())
        }
    };
    format!(
        "{:010}|{id}|{name}|{gender}|{ethnic}|{birthday}|{region}|{address}|{phone}|{employer_code}|{employer_name}|\
         {status}|{salary}",
        1_000_000_000 + index
    )
}
