//! 科技: the list of high-tech enterprises, a workbook made for people: a title, a note, and the header once a page.

use std::io;

use rust_xlsxwriter::{Worksheet, XlsxError};

use super::city::City;
use super::flaw::{Fate, Plan, State};
use super::{Writing, identifiers, workbook};

const HIGH_TECH: Plan = Plan {
    dataset: "science.high_tech",
    period: 50,
    flaws: &[
        ("bad_check_digit", Fate::Quarantined),
        ("shifted_columns", Fate::Quarantined),
        ("impossible_date", Fate::Quarantined),
        ("renamed_company", Fate::Outvoted),
    ],
    nightly: None,
};
const COLUMNS: [&str; 8] =
    ["序号", "企业名称", "统一社会信用代码", "证书编号", "发证日期", "有效期至", "批准机关", "所属区市"];
const PAGE: u64 = 40;

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("GQ_{}.xlsx", city.today().format("%Y%m%d"));
    workbook::write(writing, (HIGH_TECH.dataset, &name), |writing, workbook| fill(writing, workbook.add_worksheet()))
}

/// Fills the sheet; answers the number of data rows, repeated headers included.
fn fill(writing: &mut Writing<'_>, sheet: &mut Worksheet) -> Result<u64, XlsxError> {
    let city = writing.city;
    sheet.set_name("高企名单")?;
    sheet.write(0, 0, "高新技术企业名单")?;
    sheet.write(1, 0, "演示数据，企业均为虚构")?;
    workbook::line(sheet, 2, &COLUMNS.map(str::to_owned))?;
    let (mut line, mut rows) = (3, 0);
    let base = city.on(0).count(60, 1);
    for index in 0..city.count(60, 1) {
        if index > 0 && index % PAGE == 0 {
            HIGH_TECH.count(State::Flawed("repeated_header", Fate::Filtered), &mut writing.defects);
            workbook::line(sheet, line, &COLUMNS.map(str::to_owned))?;
            (line, rows) = (line + 1, rows + 1);
        }
        let state = HIGH_TECH.state(city, index, base);
        HIGH_TECH.count(state, &mut writing.defects);
        workbook::line(sheet, line, &high_tech_row(city, index, state.kind()))?;
        if city.dice.one_in("serial date", index, 5)
            && state.kind() != "shifted_columns"
            && state.kind() != "impossible_date"
        {
            sheet.write(line, 4, excel_serial(issued(city, index)))?;
        }
        (line, rows) = (line + 1, rows + 1);
    }
    Ok(rows)
}

fn issued(city: City, index: u64) -> chrono::NaiveDate {
    city.day(0) - chrono::Days::new(30 + city.dice.below("certified high-tech", index, 900))
}

/// Days since 1899-12-30, as Excel counts them.
fn excel_serial(day: chrono::NaiveDate) -> u32 {
    u32::try_from(day.to_epoch_days() + 25_569).unwrap_or_default()
}

fn high_tech_row(city: City, index: u64, flaw: &str) -> Vec<String> {
    // Every seventh enterprise or so; multiplication spreads them over the register.
    let enterprise = city.on(0).enterprise(index.wrapping_mul(7) % city.on(0).enterprises());
    let day = issued(city, index);
    let mut name = enterprise.name;
    let mut code = enterprise.uscc;
    let mut granted = day.format("%Y年%-m月%-d日").to_string();
    match flaw {
        "bad_check_digit" => code = identifiers::spoil_last(&code),
        "impossible_date" => granted = day.format("%Y年%-m月32日").to_string(),
        "renamed_company" => name = name.replacen("青岛", "青岛市", 1),
        _ => {}
    }
    let until = (day + chrono::Days::new(1_095)).format("%Y-%m-%d").to_string();
    let mut row = vec![
        (index + 1).to_string(),
        name,
        code,
        format!("GR{}371{:05}", day.format("%Y"), index + 1),
        granted,
        until,
        "科学技术局、财政局、税务局".to_owned(),
        enterprise.district.name.to_owned(),
    ];
    if flaw == "shifted_columns" {
        // The clerk left out the running number, and everything moved one to the left.
        row.remove(0);
        row.push(String::new());
    }
    row
}
