//! 税款征收: taxes, fees and insurance contributions as GBK CSV, one row a detail of a receipt; the same shape from the
//! tax core (税务) and, for the years before the merger of 2018, from the local tax office's own system (地税).

use std::io;

use chrono::{Datelike, NaiveDate};

use super::file::{Charset, Draft};
use super::flaw::{Fate, Plan};
use super::{Writing, identifiers};

const FLAWS: &[(&str, Fate)] = &[
    ("correction", Fate::Outvoted),
    ("bad_check_digit", Fate::Quarantined),
    ("unknown_item", Fate::Quarantined),
    ("reversed_period", Fate::Quarantined),
    ("lost_detail", Fate::Outvoted),
    ("unregistered_payer", Fate::Outvoted),
    ("unreadable_amount", Fate::Quarantined),
];
const CORE: Plan = Plan { dataset: "tax.levy", period: 150, flaws: FLAWS, nightly: None };
const LOCAL: Plan = Plan { dataset: "tax-local.levy", period: 100, flaws: FLAWS, nightly: None };
const HEADER: &str =
    "YZPZXH,YZPZMXXH,DJXH,NSRSBH,TYSHXYDM,NSRMC,ZSXM_DM,SKSSQQ,SKSSQZ,SE,PZHJ,RKRQ,YSJC,SWJGMC,SJTB_SJ\r\n";

/// Writes the tax core's receipts.
pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    levies(writing, (&CORE, "ZSXX", 900, 12))
}

/// Writes the receipts that the local tax office's system still had; nothing is added to them.
pub(super) fn write_local(writing: &mut Writing<'_>) -> io::Result<()> {
    levies(writing, (&LOCAL, "DSZS", 300, 0))
}

fn levies(writing: &mut Writing<'_>, (plan, prefix, base, nightly): (&Plan, &str, u64, u64)) -> io::Result<()> {
    let city = writing.city;
    let rows = plan.tonight(city, (base, nightly));
    if rows.is_empty() {
        return Ok(());
    }
    let name = format!("{prefix}_{}.csv", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, plan.dataset, &name, Charset::Gb18030)?;
    file.layout(HEADER)?;
    for (index, state, changed) in rows {
        plan.count(state, &mut writing.defects);
        let updated = city.updated(plan.dataset, index, changed);
        for row in receipt(writing, (plan.dataset, index), state.kind(), &updated) {
            file.row(&row)?;
        }
    }
    writing.files.push(file.finish()?);
    Ok(())
}

/// The details of one receipt. A flaw sits in the first of them.
fn receipt(writing: &Writing<'_>, (dataset, index): (&'static str, u64), flaw: &str, updated: &str) -> Vec<String> {
    let city = writing.city;
    let dice = city.dice;
    let local = dataset == LOCAL.dataset;
    let payer = dice.below("payer", index + u64::from(local), city.on(0).enterprises());
    let enterprise = city.on(0).enterprise(payer);
    let items: &[&str] = if local {
        &["营业税", "10109", "城镇土地使用税", "房产税"]
    } else {
        &["10101", "10104", "10106", "印花税", "10210", "基本医疗保险费"]
    };
    // What makes a row wrong stands alone on its receipt, so that rows and flaws are the same number.
    let alone = !matches!(flaw, "" | "correction" | "lost_detail");
    let details = if alone { 1 } else { 1 + dice.below("details", index, 3) };
    let day = if local { city.day(0) - chrono::Days::new(4_000) } else { city.day(0) };
    let day = day - chrono::Days::new(dice.below("received", index, 300));
    let (from, to) = period(day);
    let mut code = enterprise.uscc.clone();
    let mut payer_name = enterprise.name.clone();
    if flaw == "bad_check_digit" {
        code = identifiers::spoil_last(&code);
    }
    if flaw == "unregistered_payer" {
        // A body that registered elsewhere, in a series of its own.
        code = identifiers::uscc(
            "91",
            "371302",
            &identifiers::organization_code(20_000_000 + 2 * index + u64::from(local)),
        );
        payer_name = format!("临沂外来{index}有限公司");
    }
    let cents: Vec<u64> = (0..details).map(|n| 1_000 + dice.below("tax", index * 4 + n, 9_000_000)).collect();
    let mut total: u64 = cents.iter().sum();
    if flaw == "lost_detail" {
        total += 123_456;
    }
    let row = |n: u64| {
        let mut amount = money(cents[n as usize]);
        let mut receipt_total = money(total);
        let mut item = items[(index + n) as usize % items.len()].to_owned();
        let (mut first, mut last) = (from, to);
        if n == 0 {
            match flaw {
                "unknown_item" => item = "税".to_owned(),
                "reversed_period" => (first, last) = (to, from),
                "unreadable_amount" => amount = "见附件".to_owned(),
                _ => {}
            }
        }
        if flaw == "correction" {
            (amount, receipt_total) = (format!("-{amount}"), format!("-{receipt_total}"));
        }
        format!(
            "{:010},{},10137{:02}{payer:013},{code},{code},{payer_name},{item},{first},{last},{amount},{receipt_total},{day},{},国家税务总局青岛市{}税务局,{updated}\r\n",
            index + 1,
            n + 1,
            1,
            ["中央", "市级", "区县级", "共享"][(index % 4) as usize],
            enterprise.district.name,
        )
    };
    (0..details).map(row).collect()
}

/// The month before a day.
fn period(day: NaiveDate) -> (NaiveDate, NaiveDate) {
    let first = day.with_day(1).unwrap_or(day);
    let last = first - chrono::Days::new(1);
    (last.with_day(1).unwrap_or(last), last)
}

/// 分 as 元.
fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
