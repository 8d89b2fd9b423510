//! 社会保障卡: cards and their holders, as GBK text with bars; after the first night only what is new.

use std::io;

use super::file::{Charset, Draft};
use super::flaw::{Fate, Plan};
use super::{Writing, identifiers};

const CARDS: Plan = Plan {
    dataset: "citizen-card.card",
    period: 100,
    flaws: &[
        ("swapped_columns", Fate::Quarantined),
        ("fifteen_digits", Fate::Noted),
        ("bad_check_digit", Fate::Quarantined),
        ("unknown_status", Fate::Quarantined),
        ("impossible_date", Fate::Quarantined),
        ("replaced_card", Fate::Outvoted),
        ("bad_phone", Fate::Noted),
    ],
    nightly: None,
};

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("SBK_{}.txt", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, CARDS.dataset, &name, Charset::Gb18030)?;
    file.layout("AAZ500|AAC002|AAC003|AAZ503|AAZ502|AAE008|AAE005|AAE036\r\n")?;
    for (index, state, changed) in CARDS.tonight(city, (1_000, 5)) {
        CARDS.count(state, &mut writing.defects);
        let updated = city.updated(CARDS.dataset, index, changed);
        if state.kind() == "replaced_card" {
            file.row(&card(writing, (index, 'A'), ("cancelled", "2026-09-01 09:00:00")))?;
            file.row(&card(writing, (index, 'B'), ("", &updated)))?;
        } else {
            file.row(&card(writing, (index, 'A'), (state.kind(), &updated)))?;
        }
    }
    writing.files.push(file.finish()?);
    Ok(())
}

fn card(writing: &Writing<'_>, (index, series): (u64, char), (flaw, updated): (&str, &str)) -> String {
    let city = writing.city;
    let person = city.person(index);
    let issued = city.day(0) - chrono::Days::new(30 + city.dice.below("card issued", index, 2_000));
    let mut number = format!("{series}{index:08}");
    let mut id = person.id;
    let mut day = issued.format("%Y%m%d").to_string();
    let mut phone = person.phone;
    let mut status = city.dice.pick("card status", index, &["正常", "正常", "正常", "1", "口头挂失"]);
    match flaw {
        "swapped_columns" => std::mem::swap(&mut number, &mut id),
        "fifteen_digits" => id = identifiers::short_citizen_id(&id),
        "bad_check_digit" => id = identifiers::spoil_last(&id),
        "unknown_status" => status = "借出",
        "impossible_date" => day = issued.format("%Y0230").to_string(),
        "bad_phone" => phone = "1380000".to_owned(),
        "cancelled" => status = "注销",
        _ => {}
    }
    let bank = ["示例银行青岛分行", "示范农商银行"][(index % 2) as usize];
    format!("{number}|{id}|{}|{day}|{status}|{bank}|{phone}|{updated}\r\n", person.name)
}
