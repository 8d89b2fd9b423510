//! 财政非税: receipts of fees and fines as GBK CSV, one row a detail, amounts padded with blanks as the banks send them.

use std::io;

use super::file::{Charset, Draft};
use super::flaw::{Fate, Plan};
use super::words::DISTRICTS;
use super::{Writing, identifiers};

const RECEIPTS: Plan = Plan {
    dataset: "finance.nontax",
    period: 80,
    flaws: &[
        ("lost_detail", Fate::Outvoted),
        ("account_as_name", Fate::Quarantined),
        ("bad_check_digit", Fate::Quarantined),
        ("no_amount", Fate::Quarantined),
        ("reversal", Fate::Outvoted),
    ],
    nightly: None,
};

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("FSJK_{}.csv", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, RECEIPTS.dataset, &name, Charset::Gb18030)?;
    file.layout("PJZL,JKSBH,XMSX,ZSDWMC,FKRMC,FKRDM,SRXMMC,JE,ZJE,JKRQ,YSJC,XZQH,GXSJ\r\n")?;
    for (index, state, changed) in RECEIPTS.tonight(city, (240, 4)) {
        RECEIPTS.count(state, &mut writing.defects);
        let updated = city.updated(RECEIPTS.dataset, index, changed);
        for row in receipt(writing, index, (state.kind(), &updated)) {
            file.row(&row)?;
        }
    }
    writing.files.push(file.finish()?);
    Ok(())
}

/// The details of one receipt; what makes a row wrong stands alone on it.
fn receipt(writing: &Writing<'_>, index: u64, (flaw, updated): (&str, &str)) -> Vec<String> {
    let city = writing.city;
    let dice = city.dice;
    let payer = city.on(0).enterprise(dice.below("fee payer", index, city.on(0).enterprises()));
    let alone = matches!(flaw, "account_as_name" | "bad_check_digit" | "no_amount");
    let details = if alone { 1 } else { 1 + dice.below("fees", index, 3) };
    let yuan: Vec<u64> = (0..details).map(|n| 20 + dice.below("fee", index * 4 + n, 30_000)).collect();
    // The message was cut off: what it declares is more than what it holds.
    let total = yuan.iter().sum::<u64>() + if flaw == "lost_detail" { 1_379 } else { 0 };
    let day = city.day(0) - chrono::Days::new(1 + dice.below("fee paid", index, 200));
    let district = &DISTRICTS[(index % DISTRICTS.len() as u64) as usize];
    let (mut name, mut code) = (payer.name, payer.uscc);
    match flaw {
        "account_as_name" => name = format!("380302{:013}", index),
        "bad_check_digit" => code = identifiers::spoil_last(&code),
        _ => {}
    }
    let sign = if flaw == "reversal" { "-" } else { "" };
    let row = |n: u64| {
        let amount = if flaw == "no_amount" {
            String::new()
        } else {
            format!("{:<20}", format!("{sign}{}.00", yuan[n as usize]))
        };
        format!(
            "{},3702{index:010},{},青岛市{}城市管理局,{name},{code},{},{amount},{:<20},{},{},{},{updated}\r\n",
            ["01", "02", "03"][(index % 3) as usize],
            n + 1,
            district.name,
            ["道路占用费", "罚没收入", "城市基础设施配套费"][((index + n) % 3) as usize],
            format!("{sign}{total}.00"),
            day.format("%Y%m%d"),
            ["市级", "区县级"][(index % 2) as usize],
            district.code,
        )
    };
    (0..details).map(row).collect()
}
