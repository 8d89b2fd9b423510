//! 财政: procurement intentions as the public site exports them: a workbook, page by page, the header again on each.

use std::io;

use rust_xlsxwriter::{Worksheet, XlsxError};

use super::flaw::{Fate, Plan, State};
use super::words::DISTRICTS;
use super::{Writing, workbook};

const INTENTIONS: Plan = Plan {
    dataset: "finance.intention",
    period: 45,
    flaws: &[
        ("shifted_columns", Fate::Quarantined),
        ("amount_in_words", Fate::Quarantined),
        ("unit_in_cell", Fate::Outvoted),
        ("no_project_name", Fate::Quarantined),
        ("no_budget", Fate::Outvoted),
    ],
    nightly: None,
};
const COLUMNS: [&str; 11] = [
    "序号",
    "地区",
    "标题",
    "采购方式",
    "项目类型",
    "发布时间",
    "子序号",
    "采购项目名称",
    "预算金额(万元)",
    "预计采购时间",
    "链接",
];
const PAGE: u32 = 25;
const BASE: (u64, u64) = (90, 3);

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    let rows = INTENTIONS.tonight(writing.city, BASE);
    let name = format!("CGYX_{}.xlsx", writing.city.today().format("%Y%m%d"));
    workbook::write(writing, (INTENTIONS.dataset, &name), |writing, workbook| {
        fill(writing, workbook.add_worksheet(), rows)
    })
}

fn fill(
    writing: &mut Writing<'_>,
    sheet: &mut Worksheet,
    rows: Vec<(u64, State, Option<u32>)>,
) -> Result<u64, XlsxError> {
    let header = COLUMNS.map(str::to_owned);
    workbook::line(sheet, 0, &header)?;
    let mut line = 1;
    for (nth, (index, state, changed)) in (0_u32..).zip(rows) {
        if nth > 0 && nth % PAGE == 0 {
            INTENTIONS.count(State::Flawed("repeated_header", Fate::Filtered), &mut writing.defects);
            workbook::line(sheet, line, &header)?;
            line += 1;
        }
        INTENTIONS.count(state, &mut writing.defects);
        workbook::line(sheet, line, &intention(writing, index, (state.kind(), changed)))?;
        line += 1;
    }
    Ok(u64::from(line) - 1)
}

fn intention(writing: &Writing<'_>, index: u64, (flaw, changed): (&str, Option<u32>)) -> Vec<String> {
    let city = writing.city;
    let dice = city.dice;
    let (page, item) = (index / 3, index % 3 + 1);
    let district = &DISTRICTS[dice.below("procuring district", page, DISTRICTS.len() as u64) as usize];
    let office = ["教育局", "卫生健康局", "城市管理局", "文化和旅游局"][(page % 4) as usize];
    let mut project =
        ["校园网络设备", "医疗设备", "道路保洁服务", "图书采购", "信息化运维"][(index % 5) as usize].to_owned();
    let mut budget = format!("{}.{}", 5 + dice.below("budget", index, 900), dice.below("budget cents", index, 10));
    match flaw {
        "amount_in_words" => budget = "以批复为准".to_owned(),
        "unit_in_cell" => budget = format!("{budget}万元"),
        "no_project_name" => project.clear(),
        "no_budget" => budget = "/".to_owned(),
        _ => {}
    }
    let published = city.updated(INTENTIONS.dataset, page, changed);
    let mut cells = vec![
        (page + 1).to_string(),
        format!("青岛市{}", district.name),
        format!("青岛市{}{office}2026年11月政府采购意向", district.name),
        ["公开招标", "竞争性磋商", "询价"][(index % 3) as usize].to_owned(),
        ["货物类", "服务类"][(index % 2) as usize].to_owned(),
        published,
        item.to_string(),
        project,
        budget,
        "2026-12".to_owned(),
        format!("cgyx/{:06}", page + 1),
    ];
    if flaw == "shifted_columns" {
        // A clerk deleted a cell, and everything moved one to the left.
        cells.remove(1);
        cells.push(String::new());
    }
    cells
}
