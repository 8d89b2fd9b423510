//! Workbooks: sheets, headers, typed cells, hostile files, and the real ones.

#![expect(clippy::string_slice, reason = "fixtures are cut where they are ASCII")]

use std::io::{Cursor, Write};

use rust_xlsxwriter::{ExcelDateTime, Format as Style, Workbook};
use zip::write::SimpleFileOptions;

use crate::config::{Format, Report};
use crate::decode::Limits;
use crate::decode::testing::{All, memory, read, resume_everywhere, shared_input};

fn sheet(name: Option<&str>, header_row: u32) -> Format {
    Format::Excel {
        sheet: name.map(str::to_owned),
        header_row,
        repeated_header: true,
        max_cells: 1_000_000,
        report: Report::default(),
    }
}

fn get(bytes: &[u8], format: &Format, names: &[&str]) -> All {
    read(&memory(bytes), format, names, Limits::default())
}

fn city() -> Vec<u8> {
    let mut book = Workbook::new();
    let hidden = book.add_worksheet().set_name("隐藏").unwrap();
    hidden.write(0, 0, "x").unwrap();
    hidden.set_hidden(true);
    let sheet = book.add_worksheet().set_name("企业").unwrap();
    sheet.set_active(true);
    let date = Style::new().set_num_format("yyyy-mm-dd");
    sheet.write(0, 0, "青岛市高新技术企业名单").unwrap();
    for (column, name) in ["名称", "金额", "日期", "有效"].iter().enumerate() {
        sheet.write(2, column as u16, *name).unwrap();
        sheet.write(6, column as u16, *name).unwrap();
    }
    sheet.write(3, 0, "海蓝 & 科技").unwrap();
    sheet.write(3, 1, 640.0).unwrap();
    sheet.write_with_format(3, 2, ExcelDateTime::from_ymd(2020, 7, 31).unwrap(), &date).unwrap();
    sheet.write(3, 3, true).unwrap();
    sheet.write(5, 1, 12.5).unwrap();
    sheet.write(5, 4, "无名列").unwrap();
    sheet.write(7, 0, "末\u{E863}").unwrap();
    book.save_to_buffer().unwrap()
}

#[test]
fn a_sheet_becomes_text_rows_with_places() {
    let all = get(&city(), &sheet(None, 3), &["名称", "金额", "日期", "有效", "没有"]);
    assert_eq!(all.lines(), ["海蓝 & 科技|640|2020-07-31|true|␀", "␀|12.5|␀|␀|␀", "末䶮|␀|␀|␀|␀"]);
    assert_eq!((all.places, all.dropped), (vec!["1:4:0".into(), "2:6:0".into(), "4:8:0".into()], 1));
    assert_eq!(all.raw[1], "[null,\"12.5\",null,null,\"无名列\"]".as_bytes());
    assert_eq!(all.notes, ["2 名称 private_use"]);
    resume_everywhere(&memory(city()), &sheet(None, 3), &["名称", "金额"], Limits::default());
}

#[test]
fn sheets_and_headers_that_are_not_there_are_said() {
    let error = |format: &Format| get(&city(), format, &["名称"]).error.unwrap();
    assert_eq!(error(&sheet(Some("个体"), 1)), "HL0316 there is no sheet 个体; the workbook has 隐藏, 企业");
    assert_eq!(error(&sheet(None, 2)), "HL0311 row 2 should name the columns, but it is blank");
    assert_eq!(error(&sheet(None, 99)), "HL0311 the sheet has no rows");
    assert_eq!(get(&city(), &sheet(Some("隐藏"), 1), &["x"]), All::default());
    let few =
        Format::Excel { sheet: None, header_row: 3, repeated_header: false, max_cells: 10, report: Report::default() };
    assert!(error(&few).starts_with("HL0315 the sheet declares"));
}

#[test]
fn what_is_no_workbook_is_refused() {
    let error = |bytes: &[u8]| get(bytes, &sheet(None, 1), &["a"]).error.unwrap();
    assert_eq!(error(b""), "HL0310 the file is empty");
    assert_eq!(error(b"a,b\n1,2\n"), "HL0310 this is not a workbook (.xlsx, .xls, .ods)");
    assert_eq!(error(b"<html><table>"), "HL0310 this is HTML or XML, whatever its name says, not a workbook");
    assert_eq!(error(&archive(&[("readme.txt", b"x")])), "HL0310 this is an archive, not a workbook");
    let whole = city();
    for cut in [100, whole.len() / 2, whole.len() - 30] {
        assert_eq!(&error(&whole[..cut])[..6], "HL0317", "cut at {cut}");
    }
    assert_eq!(&error(b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1 and nothing more")[..6], "HL0317");
}

fn archive(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_zip_bomb_is_refused_before_it_is_unpacked() {
    let error = |parts: &[(&str, &[u8])]| get(&archive(parts), &sheet(None, 1), &["a"]).error.unwrap();
    let zeros = vec![b' '; 80 << 20];
    let types: (&str, &[u8]) = ("[Content_Types].xml", b"<Types/>");
    assert_eq!(
        error(&[types, ("xl/worksheets/sheet1.xml", &zeros)]),
        "HL0314 the workbook would unpack to far more than a workbook holds (one part shrinks more than 400 times)"
    );
    let strings = b"<sst count=\"1\" uniqueCount=\"99999999999999\"><si><t>a</t></si></sst>";
    assert_eq!(
        error(&[types, ("xl/sharedStrings.xml", strings)]),
        "HL0314 the workbook would unpack to far more than a workbook holds (more strings announced than there is room for)"
    );
    let long = vec![b' '; 20 << 20];
    assert_eq!(
        error(&[types, ("xl/worksheets/sheet1.xml", &long)]),
        "HL0314 the workbook would unpack to far more than a workbook holds (one text is larger than a row may be)"
    );
}

const ODS: &str = r#"<office:document-content xmlns:office="o" xmlns:table="t" xmlns:text="x" xmlns:style="s" xmlns:calcext="c">
<style:style style:name="h"><style:table-properties table:display="false"/></style:style>
<table:table table:name="隐藏" table:style-name="h"><table:table-row><table:table-cell><text:p>no</text:p></table:table-cell></table:table-row></table:table>
<table:table table:name="企业">
<table:table-row><table:table-cell><text:p>名称</text:p></table:table-cell><table:table-cell><text:p>金额</text:p></table:table-cell><table:table-cell><text:p>日期</text:p></table:table-cell></table:table-row>
<table:table-row table:number-rows-repeated="3"><table:table-cell table:number-columns-repeated="1024"/></table:table-row>
<table:table-row table:number-rows-repeated="2"><table:table-cell><text:p>海&amp;蓝<text:s text:c="2"/>x</text:p><text:p>二</text:p><office:annotation><text:p>批注</text:p></office:annotation></table:table-cell><table:table-cell office:value-type="float" office:value="640.0"><text:p>640.00</text:p></table:table-cell><table:table-cell office:value-type="date" office:date-value="2020-07-31"><text:p>2020年7月31日</text:p></table:table-cell></table:table-row>
<table:table-row><table:table-cell office:value-type="string" calcext:value-type="error"><text:p>#N/A</text:p></table:table-cell><table:table-cell table:number-columns-repeated="2"><text:p>同</text:p></table:table-cell></table:table-row>
<table:table-row table:number-rows-repeated="1048000"><table:table-cell table:number-columns-repeated="16384"/></table:table-row>
</table:table></office:document-content>"#;

fn ods(content: &str) -> Vec<u8> {
    archive(&[("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"), ("content.xml", content.as_bytes())])
}

#[test]
fn an_open_document_sheet_is_read_row_by_row() {
    let all = get(&ods(ODS), &sheet(None, 1), &["名称", "金额", "日期"]);
    assert_eq!(all.lines(), ["海&蓝  x\n二|640|2020-07-31", "海&蓝  x\n二|640|2020-07-31", "␀|同|同"]);
    assert_eq!((all.places, all.error), (vec!["1:5:0".into(), "2:6:0".into(), "3:7:0".into()], None));
    assert_eq!(get(&ods(ODS), &sheet(Some("隐藏"), 1), &["no"]).error, None);
    assert!(get(&ods(ODS), &sheet(Some("x"), 1), &["no"]).error.unwrap().ends_with("the workbook has 隐藏, 企业"));
    let repeated = ODS.replace("table:number-columns-repeated=\"2\"", "table:number-columns-repeated=\"999999999\"");
    let all = get(&ods(&repeated), &sheet(None, 1), &["名称"]);
    assert_eq!((all.rows.len(), &all.error.unwrap()[..6]), (2, "HL0315"));
    let entities = ODS.replacen("<office", "<!DOCTYPE x [<!ENTITY a \"b\">]><office", 1);
    assert_eq!(&get(&ods(&entities), &sheet(None, 1), &["名称"]).error.unwrap()[..6], "HL0318");
    let cut = ODS.split_at(ODS.find("同").unwrap()).0;
    assert_eq!(get(&ods(cut), &sheet(None, 1), &["名称"]).rows.len(), 2);
}

#[test]
fn the_real_old_workbook_loads() {
    let Some(input) = shared_input("data/registry/shandong_1983.xls") else { return };
    let names = ["企业名称", "统一社会信用代码", "注册日期", "法人代表", "注册资金"];
    let all = read(&input, &sheet(None, 1), &names, Limits::default());
    assert_eq!(all.error, None);
    assert!(all.rows.len() > 10, "{} rows", all.rows.len());
    assert!(all.rows.iter().all(|r| r[0] != "␀" && r[1].len() >= 13), "{:?}", all.rows[0]);
}

#[test]
fn the_real_procurement_workbooks_load_in_both_layouts() {
    let one = ["序号", "地市", "项目名称", "金额"];
    let other = ["序号", "地区", "采购项目名称", "采购方式"];
    let files = [
        ("0d25576b-be0c-4dea-8c7f-f43c36981c8b", one, 63),
        ("4ef25c0a-7b4a-44fd-ad4c-71cb237ac07d", other, 44),
        ("64fb32ff-2923-4ca1-bd54-7380223f9efd", one, 67),
        ("a", one, 79),
    ];
    for (file, names, rows) in files {
        let Some(input) = shared_input(&format!("data/procurement/{file}.xlsx")) else { return };
        let all = read(&input, &sheet(None, 1), &names, Limits::default());
        assert_eq!((all.rows.len(), all.error.as_deref(), all.aside.len()), (rows, None, 0), "{file}");
        assert!(all.rows.iter().all(|r| r[0] != "␀" && r[1] == "山东省本级"), "{file}");
    }
    // Inner headers and shifted cells stand in the rows as they were published: text, for the mapping to judge.
    let Some(input) = shared_input("data/procurement/a.xlsx") else { return };
    let all = read(&input, &sheet(None, 1), &one, Limits::default());
    assert!(all.rows.iter().any(|r| r[3] == "拟面向中小企业预留"));
}
