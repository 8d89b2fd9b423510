//! Tables: encodings and their evidence, deleted rows, types, damage, places, and real files.

use std::sync::Arc;

use super::*;
use crate::config::Format;
use crate::decode::testing::{All, gbk, read, resume_everywhere, shared_input};
use crate::decode::{Limits, Memory, open};

/// A table of (name, type, length) with these rows; each row begins with its mark.
fn table(version: u8, driver: u8, fields: &[(&[u8], u8, u8)], rows: &[Vec<u8>]) -> Vec<u8> {
    let width = 1 + fields.iter().map(|(_, _, len)| u16::from(*len)).sum::<u16>();
    let header = 33 + 32 * u16::try_from(fields.len()).unwrap();
    let mut bytes = vec![version, 124, 2, 6];
    bytes.extend(u32::try_from(rows.len()).unwrap().to_le_bytes());
    bytes.extend(header.to_le_bytes());
    bytes.extend(width.to_le_bytes());
    bytes.resize(32, 0);
    bytes[29] = driver;
    for (name, kind, len) in fields {
        let mut block = name.to_vec();
        block.resize(11, 0);
        block.push(*kind);
        block.resize(16, 0);
        block.push(*len);
        block.resize(32, 0);
        bytes.extend(block);
    }
    bytes.push(0x0D);
    for row in rows {
        assert_eq!(row.len(), usize::from(width));
        bytes.extend(row);
    }
    bytes.push(0x1A);
    bytes
}

fn row(mark: u8, cells: &[(&[u8], usize)]) -> Vec<u8> {
    let mut row = vec![mark];
    for (cell, len) in cells {
        let mut cell = cell.to_vec();
        cell.resize(*len, b' ');
        row.extend(cell);
    }
    row
}

/// `代码 C 6`, `名称 C 8`, named in this encoding, with these rows.
fn named(driver: u8, encode: fn(&str) -> Vec<u8>, rows: &[(&str, &str)]) -> Vec<u8> {
    let rows: Vec<Vec<u8>> =
        rows.iter().map(|(code, name)| row(b' ', &[(code.as_bytes(), 6), (&encode(name), 9)])).collect();
    table(3, driver, &[(&encode("代码"), b'C', 6), (&encode("名称"), b'C', 9)], &rows)
}

fn utf8(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

const AUTO: Format = Format::Dbf { encoding: Encoding::Auto };

fn input(bytes: &[u8], cpg: Option<&str>) -> Arc<dyn Input> {
    let file = Memory::new("a.dbf", bytes.to_vec());
    Arc::new(match cpg {
        Some(page) => file.with("cpg", page.as_bytes().to_vec()),
        None => file,
    })
}

fn check(input: &Arc<dyn Input>, names: &[&str], expect: &[&str]) -> All {
    let all = read(input, &AUTO, names, Limits::default());
    assert_eq!(all.lines(), expect, "{:?}", all.error);
    resume_everywhere(input, &AUTO, names, Limits::default());
    all
}

fn evidence(input: &Arc<dyn Input>) -> String {
    match open(input.clone(), &AUTO, &[], Limits::default(), None) {
        Ok(decoder) => decoder.header().encoding.clone(),
        Err(e) => e.to_string(),
    }
}

#[test]
fn the_encoding_follows_cpg_then_language_driver_then_the_bytes() {
    let rows = [("370202", "市南区"), ("370203", "市北区")];
    let (gb, utf) = (named(0, gbk, &rows), named(0, utf8, &rows));
    let columns = ["代码", "名称"];
    let expect = ["370202|市南区", "370203|市北区"];
    for (bytes, cpg, says) in [
        (&utf, Some("UTF-8"), "utf-8 (.cpg)"),
        (&gb, Some("936\r\n"), "gb18030 (.cpg)"),
        (&utf, None, "utf-8 (10 multi-byte characters, none invalid)"),
        (&gb, None, "gb18030 (not valid utf-8 at byte 0)"),
        (&named(0x4D, gbk, &rows), None, "gb18030 (language driver 4D)"),
        (&named(0x7A, gbk, &rows), None, "gb18030 (language driver 7A)"),
        // The label lies, the .cpg does not.
        (&named(0x4D, utf8, &rows), Some("UTF-8"), "utf-8 (.cpg)"),
    ] {
        let input = input(bytes, cpg);
        assert_eq!(evidence(&input), says);
        check(&input, &columns, &expect);
    }
    let big5 = "HL0313 a.dbf: the language driver 78 says Big5; export the table as GBK or UTF-8";
    assert_eq!(evidence(&input(&named(0x78, gbk, &rows), None)), big5);
    assert!(evidence(&input(&gb, Some("BIG5"))).starts_with("HL0313 "));
}

#[test]
fn gbk_bytes_in_a_utf8_table_set_their_rows_aside() {
    let mut bytes = named(0, utf8, &[("370202", "市南区"), ("370203", "市北区"), ("370212", "崂山区")]);
    let at = bytes.windows(9).position(|w| w == "市北区".as_bytes()).unwrap();
    bytes.splice(at..at + 9, [gbk("市北区"), b"   ".to_vec()].concat());
    let all = check(&input(&bytes, Some("UTF-8")), &["代码", "名称"], &["370202|市南区", "370212|崂山区"]);
    assert_eq!(all.aside, [format!("2:2:113 bad_utf8 byte {} of the file is not valid utf-8", at)]);
}

#[test]
fn deleted_rows_are_dropped_and_counted() {
    let fields: [(&[u8], u8, u8); 2] = [(b"ID", b'N', 4), (b"OK", b'L', 1)];
    let rows = [
        row(b' ', &[(b"  12", 4), (b"T", 1)]),
        row(b'*', &[(b"  13", 4), (b"F", 1)]),
        row(b' ', &[(b"****", 4), (b"?", 1)]),
        row(b'x', &[(b"   1", 4), (b"T", 1)]),
    ];
    let all = check(&input(&table(3, 0, &fields, &rows), None), &["ID", "OK", "NEW"], &["12|T|␀", "****|␀|␀"]);
    assert_eq!((all.dropped, all.places.as_slice()), (1, &["1:1:97".to_owned(), "3:3:109".to_owned()][..]));
    assert_eq!(all.aside, ["4:4:115 bad_record the byte before a row is neither blank nor an asterisk"]);
}

#[test]
fn foxpro_types_become_text_and_memos_are_null() {
    let fields: [(&[u8], u8, u8); 7] = [
        (b"I", b'I', 4),
        (b"B", b'B', 8),
        (b"Y", b'Y', 8),
        (b"T", b'T', 8),
        (b"D", b'D', 8),
        (b"M", b'M', 4),
        (b"F", b'F', 6),
    ];
    let mut cells = vec![b' '];
    cells.extend((-7i32).to_le_bytes());
    cells.extend(2.5f64.to_le_bytes());
    cells.extend((-12_345i64).to_le_bytes());
    cells.extend(2_459_062i32.to_le_bytes());
    cells.extend((8 * 3_600_000i32 + 29_999).to_le_bytes());
    cells.extend(b"20200731");
    cells.extend(7i32.to_le_bytes());
    cells.extend(b"  1.50");
    let names = ["I", "B", "Y", "T", "D", "M", "F"];
    let input = input(&table(0x30, 0, &fields, &[cells]), None);
    check(&input, &names, &["-7|2.5|-1.2345|2020-07-31T08:00:30|20200731|␀|1.50"]);
}

#[test]
fn null_flags_of_foxpro_are_believed() {
    let fields: [(&[u8], u8, u8); 3] = [(b"A", b'C', 2), (b"V", b'V', 5), (b"_NullFlags", b'0', 1)];
    let rows = [[b" ab".as_slice(), b"xy  \x02", &[0b010]].concat(), [b" cd".as_slice(), b"abcde", &[0b001]].concat()];
    let mut bytes = table(0x32, 0, &fields, &rows);
    bytes[32 + 18] = 2; // A may be null
    bytes[32 + 64 + 18] = 1; // a system field
    let all = check(&input(&bytes, None), &["A", "V", "_NullFlags"], &["ab|xy|␀", "␀|abcde|␀"]);
    assert_eq!(all.aside.len(), 0);
}

#[test]
fn damage_is_told_before_the_first_row() {
    let whole = named(0, gbk, &[("370202", "市南区"), ("370203", "市北区"), ("370212", "崂山区")]);
    let error = |bytes: &[u8]| read(&input(bytes, None), &AUTO, &[], Limits::default()).error.unwrap();
    let cut = "HL0317 the header declares 3 rows, the file holds 1: it is cut off";
    assert_eq!(error(&whole[..whole.len() - 20]), cut);
    assert_eq!(error(&whole[..60]), "HL0317 the file ends inside its header");
    assert_eq!(error(b""), "HL0310 this is not a .dbf table");
    assert_eq!(error(b"a,b\n1,2\n"), "HL0310 this is not a .dbf table");
    let mut wrong = whole.clone();
    wrong[10] = 99;
    assert_eq!(error(&wrong), "HL0317 the header's fields do not make up a row");
    let mut seven = whole.clone();
    seven[0] = 4;
    assert_eq!(error(&seven), "HL0310 this is a table of dBASE 7; export it as dBASE IV");
    for end in 0..whole.len() {
        let all = read(&input(&whole[..end], None), &AUTO, &["代码"], Limits::default());
        assert!(all.error.is_some() || all.rows.len() == 3, "{end}");
    }
}

#[test]
fn real_tables_are_read_with_the_encoding_beside_them() {
    for (name, rows, first) in [("city", 372, "110100|北京城区|110000|北京市"), ("province", 0, "110000|北京市")]
    {
        let Some(input) = shared_input(&format!("data/dbf/china_admin_shp/{name}.dbf")) else { return };
        assert_eq!(evidence(&input), "utf-8 (.cpg)");
        let names: &[&str] =
            if name == "city" { &["ct_adcode", "ct_name", "pr_adcode", "pr_name"] } else { &["pr_adcode", "pr_name"] };
        let all = read(&input, &AUTO, names, Limits::default());
        assert!(all.lines().iter().any(|line| line == first), "{:?}", all.lines().first());
        assert!(rows == 0 || all.rows.len() == rows, "{}", all.rows.len());
        assert_eq!((all.aside.len(), all.error), (0, None));
    }
}
