//! 国资: the monthly report of state-owned enterprises, a workbook made by hand: a title above, a sheet hidden beside it,
//! groups with their "其中", a total at the end, and two units of money.

use std::io;

use super::flaw::{Fate, Plan, State};
use super::xls::{self, Sheet};
use super::{Writing, identifiers};

const MONTHLY: Plan = Plan {
    dataset: "state-assets.monthly",
    period: 20,
    flaws: &[
        ("bad_check_digit", Fate::Quarantined),
        ("formula_error", Fate::Quarantined),
        ("in_yuan", Fate::Outvoted),
        ("no_code", Fate::Quarantined),
    ],
    nightly: None,
};
const COLUMNS: [&str; 8] =
    ["企业名称", "统一社会信用代码", "级次", "出资人", "所属期", "资产总额", "净利润", "金额单位"];
/// A report a month.
const EVERY: u32 = 30;

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    if !writing.city.night.is_multiple_of(EVERY) {
        return Ok(());
    }
    let name = format!("GZYB_{}.xls", writing.city.today().format("%Y%m"));
    let mut hidden = Sheet::new("取数公式");
    hidden.hidden = true;
    hidden.line(["企业名称", "不要手工修改"]);
    let (sheet, rows) = report(writing);
    xls::write(writing, (MONTHLY.dataset, &name), (&[hidden, sheet], rows))
}

/// The report, and how many data rows it has.
fn report(writing: &mut Writing<'_>) -> (Sheet, u64) {
    let city = writing.city;
    let mut sheet = Sheet::new("月报");
    sheet.line(["国有企业月度财务快报"]);
    sheet.line(["除注明者外单位：万元"]);
    sheet.line(COLUMNS);
    let mut rows = 0;
    let base = city.on(0).count(40, 0);
    for index in 0..base {
        let state = MONTHLY.state(city, index, base);
        MONTHLY.count(state, &mut writing.defects);
        sheet.line(enterprise(writing, index, state.kind()));
        rows += 1;
        if index % 8 == 3 {
            MONTHLY.count(State::Flawed("of_which", Fate::Filtered), &mut writing.defects);
            sheet.line(["  其中：境外子公司", "", "二级"]);
            rows += 1;
        }
    }
    MONTHLY.count(State::Flawed("grand_total", Fate::Filtered), &mut writing.defects);
    sheet.line(["合计", "", "一级"]);
    (sheet, rows + 1)
}

fn enterprise(writing: &Writing<'_>, index: u64, flaw: &str) -> Vec<String> {
    let city = writing.city;
    let enterprise = city.on(0).enterprise(index.wrapping_mul(31) % city.on(0).enterprises());
    let assets = 1_000 + city.dice.below("assets", index, 900_000);
    let profit = city.dice.below("profit", index, 8_000) as i64 - 2_000;
    let (whole, mut assets, mut profit, mut unit) = (assets, format!("{assets}.50"), profit.to_string(), "万元");
    let mut code = enterprise.uscc;
    match flaw {
        "bad_check_digit" => code = identifiers::spoil_last(&code),
        "formula_error" => assets = "#REF!".to_owned(),
        "in_yuan" => (assets, profit, unit) = (format!("{whole}0000"), format!("{profit}0000"), "元"),
        "no_code" => code.clear(),
        _ => {}
    }
    let level = ["一级", "二级", "二级企业", "3级"][(index % 4) as usize];
    vec![
        enterprise.name,
        code,
        level.to_owned(),
        "青岛市国资委".to_owned(),
        city.today().format("%Y年%-m月").to_string(),
        assets,
        profit,
        unit.to_owned(),
    ]
}
