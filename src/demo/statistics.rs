//! 统计: unit-level reports as a dBASE table whose columns are numbers of indicators, and a bulletin of totals as a workbook
//! with merged headers.

use std::io;

use super::city::City;
use super::dbf::{Column, Table, gbk};
use super::flaw::{Fate, Plan, State};
use super::words::DISTRICTS;
use super::xls::{self, Sheet};
use super::{Writing, identifiers};

const UNITS: Plan = Plan {
    dataset: "statistics.unit",
    period: 20,
    flaws: &[
        ("bad_check_digit", Fate::Quarantined),
        ("deleted_row", Fate::Filtered),
        ("cut_in_a_character", Fate::Undecodable),
        ("unknown_size", Fate::Quarantined),
        ("number_too_wide", Fate::Quarantined),
    ],
    nightly: None,
};
const OUTPUT: Plan = Plan {
    dataset: "statistics.output",
    period: 12,
    flaws: &[
        ("too_few_units", Fate::Filtered),
        ("unknown_industry", Fate::Quarantined),
        ("unreadable_amount", Fate::Quarantined),
        ("thousand_yuan", Fate::Outvoted),
    ],
    nightly: None,
};
/// Reports a month.
const EVERY: u32 = 30;
/// Indicators of 101-1, B202, B203 and B204.
const COLUMNS: &[Column] = &[
    Column("QY101", b'C', 18),
    Column("QY102", b'C', 80),
    Column("QY103", b'C', 4),
    Column("QY105", b'C', 6),
    Column("QY191", b'C', 2),
    Column("SSQ", b'C', 6),
    Column("B202_01", b'N', 8),
    Column("B203_25", b'N', 14),
    Column("B204_01", b'N', 14),
];
/// Divisions of GB/T 4754-2017 in the bulletin.
const DIVISIONS: [(&str, &str); 5] = [
    ("农副食品加工业", "13"),
    ("化学原料和化学制品制造业", "26"),
    ("通用设备制造业", "34"),
    ("汽车制造业", "36"),
    ("电力、热力生产和供应业", "44"),
];

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    if !writing.city.night.is_multiple_of(EVERY) {
        return Ok(());
    }
    units(writing)?;
    let name = format!("GYZCZ_{}.xls", writing.city.today().format("%Y%m"));
    let (sheet, rows) = bulletin(writing);
    xls::write(writing, (OUTPUT.dataset, &name), (&[sheet], rows))
}

fn units(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let day = city.today();
    let mut table = Table::create(writing, (UNITS.dataset, &format!("YTB_{}.dbf", day.format("%Y%m"))), COLUMNS, day)?;
    let base = city.on(0).count(60, 0);
    for index in 0..base {
        let state = UNITS.state(city, index, base);
        UNITS.count(state, &mut writing.defects);
        table.row(state.kind() == "deleted_row", &unit(city, index, state.kind()))?;
    }
    writing.files.push(table.finish()?);
    Ok(())
}

fn unit(city: City, index: u64, flaw: &str) -> Vec<Vec<u8>> {
    let enterprise = city.on(0).enterprise(index.wrapping_mul(13) % city.on(0).enterprises());
    let revenue = 20_000 + city.dice.below("revenue", index, 9_000_000);
    let output = revenue + city.dice.below("output", index, 90_000);
    let mut code = enterprise.uscc;
    let mut name = gbk(&enterprise.name);
    let mut size = ["1", "2", "3", "4"][(index % 4) as usize];
    let mut output = output.to_string();
    match flaw {
        "bad_check_digit" => code = identifiers::spoil_last(&code),
        "cut_in_a_character" => name.truncate(name.len() - 1),
        "unknown_size" => size = "7",
        "number_too_wide" => output = "*".repeat(14),
        _ => {}
    }
    let division = DIVISIONS[(index % 5) as usize].1;
    vec![
        code.into_bytes(),
        name,
        format!("{division}10").into_bytes(),
        enterprise.district.code.into(),
        size.into(),
        city.today().format("%Y%m").to_string().into_bytes(),
        (20 + city.dice.below("employees", index, 3_000)).to_string().into_bytes(),
        revenue.to_string().into_bytes(),
        output.into_bytes(),
    ]
}

/// The bulletin, and how many data rows it has, subtotals and total included.
fn bulletin(writing: &mut Writing<'_>) -> (Sheet, u64) {
    let city = writing.city;
    let period = city.today().format("%Y年%-m月").to_string();
    let mut sheet = header(&period);
    let above = sheet.lines.len();
    let base = (DISTRICTS.len() * DIVISIONS.len()) as u64;
    for (district, nth) in DISTRICTS.iter().zip(0..) {
        for (division, at) in DIVISIONS.iter().zip(0..) {
            let index = nth * DIVISIONS.len() as u64 + at;
            let state = OUTPUT.state(city, index, base);
            OUTPUT.count(state, &mut writing.defects);
            sheet.line(total(city, index, (division, district.name, &period), state.kind()));
        }
        OUTPUT.count(State::Flawed("subtotal", Fate::Filtered), &mut writing.defects);
        sheet.line([format!("小计（{}）", district.name)]);
    }
    OUTPUT.count(State::Flawed("grand_total", Fate::Filtered), &mut writing.defects);
    sheet.line(["合  计"]);
    let rows = (sheet.lines.len() - above) as u64;
    (sheet, rows)
}

/// A title, the unit, and a header of two rows with merged cells.
fn header(period: &str) -> Sheet {
    let mut sheet = Sheet::new("工业总产值");
    sheet.line([format!("{period}规模以上工业总产值（分区市分行业）")]);
    sheet.line(["单位：万元"]);
    sheet.line(["行业", "行业代码", "所在区市", "所属期", "单位数", "工业总产值", ""]);
    sheet.line(["", "", "", "", "", "本月", "本月止累计"]);
    sheet.merged.push([0, 0, 0, 6]);
    sheet.merged.extend((0..5).map(|column| [2, 3, column, column]));
    sheet.merged.push([2, 2, 5, 6]);
    sheet
}

fn total(city: City, index: u64, (division, district, period): (&(&str, &str), &str, &str), flaw: &str) -> Vec<String> {
    let amount = 1_000 + city.dice.below("industrial output", index, 800_000);
    let mut units = 3 + city.dice.below("units", index, 60);
    let (mut code, mut output) = (division.1, format!("{amount}.5"));
    match flaw {
        "too_few_units" => units = 1 + index % 2,
        "unknown_industry" => code = "00",
        "unreadable_amount" => output = "见附件".to_owned(),
        "thousand_yuan" => output = format!("{amount}5千元"),
        _ => {}
    }
    vec![
        division.0.to_owned(),
        code.to_owned(),
        district.to_owned(),
        period.to_owned(),
        units.to_string(),
        output,
        format!("{}.5", amount * 10),
    ]
}
