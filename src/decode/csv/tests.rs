//! Delimited text: dialects, encodings, damage, places, and the real registry files.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::Format;
use crate::decode::Memory;
use crate::decode::records::Decoder;
use crate::decode::testing::{All, drain, gbk, memory, read, resume_everywhere, shared_input, wanted};

fn format() -> Format {
    Format::Csv { encoding: Encoding::Auto, delimiter: b',', quote: Some(b'"'), header: true, skip: 0, ragged: false }
}

fn bars(quote: Option<u8>) -> Format {
    Format::Csv { encoding: Encoding::Auto, delimiter: b'|', quote, header: true, skip: 0, ragged: false }
}

fn small() -> Limits {
    Limits { row_bytes: 64, ..Limits::default() }
}

fn check(bytes: impl AsRef<[u8]>, format: &Format, names: &[&str], expect: &[&str]) -> All {
    let all = read(&memory(&bytes), format, names, Limits::default());
    assert_eq!(all.lines(), expect);
    all
}

#[test]
fn quotes_line_ends_and_blank_lines_are_read_as_people_write_them() {
    let names = ["a", "b"];
    check("a,b\n1,2\n", &format(), &names, &["1|2"]);
    check("a,b\r\n1,2\r\n\r\n3,4\r\n\r\n", &format(), &names, &["1|2", "3|4"]);
    check("b,a\n1,2", &format(), &names, &["2|1"]);
    check("a,b\n\"x,\"\"y\"\"\",\"1\n2\"\r\n", &format(), &names, &["x,\"y\"|1\n2"]);
    check("a,b\n\"x\"tail,\"y\"\r\n", &format(), &names, &["xtail|y"]);
    check("a,b\nx\"y,z\n", &format(), &names, &["x\"y|z"]);
    check("a,b\n,\n", &format(), &names, &["|"]);
    check("a,b\n1,2\n\x1A", &format(), &names, &["1|2"]);
    check(" a ,b\n 1 ,2\n", &format(), &names, &[" 1 |2"]);
    check("a,b\n1,2\n", &format(), &["b", "c"], &["2|␀"]);
    check("a|b\n\"1|2\"\n", &bars(None), &names, &["\"1|2\""]);
}

#[test]
fn the_header_may_come_late_or_not_at_all() {
    let with = |header, skip| Format::Csv {
        encoding: Encoding::Auto,
        delimiter: b',',
        quote: Some(b'"'),
        header,
        skip,
        ragged: false,
    };
    let all = check("导出时间\n制表人\na,b\n1,2\n", &with(true, 2), &["b"], &["2"]);
    assert_eq!(all.places, ["1:4:27"]);
    let all = check("1,2\n3\n", &with(false, 0), &["a", "b"], &["1|2"]);
    assert_eq!(all.aside, ["2:2:4 column_count 1 cells, the contract has 2"]);
    let cannot = |bytes: &str| read(&memory(bytes), &format(), &["a"], Limits::default()).error.unwrap();
    assert_eq!(cannot(""), "HL0311 there is no header line");
    assert_eq!(cannot("\n\n"), "HL0311 there is no header line");
    assert_eq!(cannot("a,\"b\n1,2\n"), "HL0311 a quote in the header line is never closed");
    assert_eq!(cannot("a,b,a\n1,2,3\n"), "HL0312 columns 1 and 3 of the header have the same name");
}

#[test]
fn ragged_rows_are_set_aside_or_accepted_as_defined() {
    let text = "a,b,c\n1,2\n1,2,3,4\n1,2,3\n";
    let all = check(text, &format(), &["a", "c"], &["1|3"]);
    assert_eq!(
        all.aside,
        ["1:2:6 column_count 2 cells, the header has 3", "2:3:10 column_count 4 cells, the header has 3"]
    );
    assert_eq!(all.aside_raw, [b"1,2".to_vec(), b"1,2,3,4".to_vec()]);
    let Format::Csv { encoding, delimiter, quote, header, skip, .. } = format() else { unreachable!() };
    let ragged = Format::Csv { encoding, delimiter, quote, header, skip, ragged: true };
    check(text, &ragged, &["a", "c"], &["1|␀", "1|3", "1|3"]);
}

#[test]
fn a_gbk_second_byte_that_looks_like_a_delimiter_is_none() {
    let hanzi: Vec<char> =
        ('\u{4E00}'..='\u{9FA5}').filter(|c| gbk(&c.to_string()).get(1) == Some(&b'|')).take(50).collect();
    assert_eq!(hanzi.len(), 50);
    for c in hanzi {
        let text = format!("名称|号\n{c}店|1{c}\n");
        let all = check(gbk(&text), &bars(Some(b'"')), &["名称", "号"], &[&format!("{c}店|1{c}")]);
        assert_eq!(all.raw, [gbk(&format!("{c}店|1{c}"))]);
    }
}

#[test]
fn bytes_of_another_encoding_spoil_their_row_only() {
    let mut bytes = "名称\n".to_owned().into_bytes();
    bytes.extend("青岛\n".repeat(20).into_bytes());
    bytes.extend(b"\xC7\xE0\xB5\xBA\n");
    bytes.extend("市北\na\0b\n崂山\n".as_bytes());
    let all = read(&memory(&bytes), &format(), &["名称"], Limits::default());
    assert_eq!(all.rows.len(), 22);
    assert_eq!(
        all.aside,
        [
            "21:22:147 bad_utf8 byte 147 of the file is not valid utf-8",
            "23:24:159 nul_byte byte 160 of the file is NUL"
        ]
    );
    assert_eq!(all.aside_raw, [b"\xC7\xE0\xB5\xBA".to_vec(), b"a\0b".to_vec()]);
    assert_eq!(all.places[20..], ["22:23:152", "24:25:163"]);

    let mut bytes = gbk("名称\n青岛\n");
    bytes.extend(b"\xFF\xFFx\n");
    bytes.extend(gbk("市北|\u{9FA5}\n"));
    let all = read(&memory(&bytes), &bars(None), &["名称"], Limits::default());
    assert_eq!(all.aside[0], "2:3:10 bad_gb18030 byte 10 of the file is not valid gb18030");
    assert_eq!(all.aside[1], "3:4:14 column_count 2 cells, the header has 1");
}

#[test]
fn invalid_utf8_in_a_declared_file_is_set_aside_with_its_byte() {
    let declared = Format::Csv {
        encoding: Encoding::Utf8,
        delimiter: b',',
        quote: Some(b'"'),
        header: true,
        skip: 0,
        ragged: false,
    };
    let all = read(&memory(b"a\n\xC7\xE0\nok\n"), &declared, &["a"], Limits::default());
    assert_eq!(all.lines(), ["ok"]);
    assert_eq!(all.aside, ["1:2:2 bad_utf8 byte 2 of the file is not valid utf-8"]);
}

#[test]
fn private_use_characters_are_repaired_and_noted() {
    let all = check("a,b\n1,刘\u{E863}\n2,\u{E001}\n", &format(), &["a", "b"], &["1|刘䶮", "2|\u{E001}"]);
    assert_eq!(all.notes, ["0 b private_use", "1 b private_use_unresolved"]);
}

#[test]
fn a_quote_that_is_never_closed_spoils_one_line() {
    let all = check("a,b\n1,2\n\"3,4\n5,6\n7,8\n", &format(), &["a", "b"], &["1|2", "5|6", "7|8"]);
    assert_eq!(all.aside, ["2:3:8 unclosed_quote a quote is opened and never closed"]);
    assert_eq!(all.aside_raw, [b"\"3,4".to_vec()]);
    let text = format!("a,b\n\"1,2\n{}9,9\n", "5,6\n".repeat(40));
    let all = read(&memory(&text), &format(), &["a", "b"], small());
    assert_eq!((all.rows.len(), all.aside.len()), (41, 1));
}

#[test]
fn a_row_that_is_too_long_is_cut_and_the_next_one_read() {
    for long in [65, 300_000, 5_000_000] {
        let text = format!("a,b\n1,2\n{}\n3,4\n", "x".repeat(long));
        let all = read(&memory(&text), &format(), &["a", "b"], small());
        assert_eq!(all.lines(), ["1|2", "3|4"]);
        assert_eq!(all.aside, ["2:3:8 row_too_long longer than 64 bytes"]);
        assert_eq!(all.aside_raw[0].len(), long.min(64 << 10));
        assert_eq!(all.places[1], format!("3:4:{}", 9 + long));
    }
    let mut long = gbk(&"青".repeat(400_000));
    long.splice(0..0, *b"a\n");
    long.extend(b"\nx\n");
    let all = read(&memory(&long), &format(), &["a"], small());
    assert_eq!((all.lines(), all.places), (vec!["x".to_owned()], vec!["2:3:800003".to_owned()]));
}

/// Megabytes that are nowhere: a header, one endless line, one row.
struct Endless;

impl crate::decode::Input for Endless {
    fn name(&self) -> &str {
        "endless.csv"
    }
    fn len(&self) -> u64 {
        1 << 25
    }
    fn read_from(&self, from: u64) -> std::io::Result<Box<dyn std::io::Read + Send>> {
        use std::io::Read;
        assert_eq!(from, 0);
        let line = std::io::repeat(b'x').take(1 << 25);
        Ok(Box::new(std::io::Cursor::new(b"a\n").chain(line).chain(std::io::Cursor::new(b"\n1\n"))))
    }
    fn local_path(&self) -> Option<&std::path::Path> {
        None
    }
}

#[test]
fn an_endless_line_takes_no_more_memory_than_the_limit() {
    let declared = Format::Csv {
        encoding: Encoding::Utf8,
        delimiter: b',',
        quote: Some(b'"'),
        header: true,
        skip: 0,
        ragged: false,
    };
    let input: Arc<dyn crate::decode::Input> = Arc::new(Endless);
    let limits = Limits { row_bytes: 1 << 20, ..Limits::default() };
    let all = read(&input, &declared, &["a"], limits);
    assert_eq!((all.lines(), all.aside.len()), (vec!["1".to_owned()], 1));
    assert_eq!(all.places, [format!("2:3:{}", (1u64 << 25) + 3)]);
}

#[test]
fn a_stopped_file_goes_on_where_it_stopped() {
    let text = "a,b\r\n1,青岛\r\n\r\n\"x\r\ny\",2\r\n3\r\n4,\"5\"\r\n\"6,7\r\n8,\u{E863}\r\n";
    resume_everywhere(&memory(text), &format(), &["b", "a"], Limits::default());
    resume_everywhere(&memory(gbk(text)), &format(), &["b", "a"], Limits::default());
    let mut damaged = text.as_bytes().repeat(4);
    damaged.extend(b"\xFFa,1\n2,3\n\0,1\n");
    resume_everywhere(&memory(&damaged), &format(), &["b", "a"], Limits::default());
}

/// Reads with a window of another block size.
fn in_blocks(bytes: &[u8], block: usize, limits: Limits) -> All {
    let input: Arc<dyn crate::decode::Input> = Arc::new(Memory::new("a", bytes.to_vec()));
    let job = Job { input: input.clone(), wanted: wanted(&["a", "b"]), limits, resume: None };
    let decided = decide(input.as_ref(), Encoding::Auto, None).unwrap();
    let window = Window::with_block(input, &decided, None, block).unwrap();
    let dialect = Dialect { delimiter: b'|', quote: Some(b'"') };
    let layout = Layout { header: true, skip: 0, ragged: true };
    match Csv::start(job, decided, window, (dialect, layout)) {
        Ok(csv) => drain(&mut Decoder::new(csv), 3),
        Err(e) => All { error: Some(e.to_string()), ..All::default() },
    }
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"|".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just("青岛".as_bytes().to_vec()),
        Just(gbk("餦海")),
        Just(gbk("\u{20087}")),
        Just(b"\xFF".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"\x1A".to_vec()),
        "[a-z0-9]{0,20}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|p| [b"a|b\n".to_vec(), p.concat()].concat())
}

proptest! {
    #[test]
    fn the_rows_do_not_depend_on_the_blocks(bytes in pieces(), block in 1usize..40) {
        let limits = small();
        prop_assert_eq!(in_blocks(&bytes, block, limits), in_blocks(&bytes, 1 << 20, limits));
    }

    #[test]
    fn every_byte_of_the_file_is_in_a_row_or_is_layout(bytes in pieces()) {
        let all = in_blocks(&bytes, 16, Limits::default());
        let kept: usize = all.raw.iter().chain(&all.aside_raw).map(Vec::len).sum();
        let layout = bytes.iter().filter(|b| matches!(b, b'\n' | b'\r' | 0x1A)).count();
        prop_assert!(kept + layout + 3 >= bytes.len(), "{} kept, {} layout of {}", kept, layout, bytes.len());
    }

    #[test]
    fn rows_are_split_as_csv_core_splits_them(
        rows in prop::collection::vec(prop::collection::vec("[a-z\"|\n青\r ]{0,8}", 2..4), 1..8)
    ) {
        // Cells are written properly quoted, so that both must give back exactly what was written.
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row.iter().map(|c| format!("\"{}\"", c.replace('"', "\"\""))).collect();
            cells.join("|") + "\n"
        };
        let text: String = rows.iter().map(line).collect();
        let mut at = 0;
        let mut cells = Vec::new();
        for row in &rows {
            let dialect = Dialect { delimiter: b'|', quote: Some(b'"') };
            let rest = &text.as_bytes()[at..];
            let Found::Row { len, .. } = split(rest, true, dialect, &mut cells) else { panic!("no row") };
            let got: Vec<String> = cells
                .iter()
                .map(|c| {
                    let text = std::str::from_utf8(&rest[c.start..c.end]).unwrap();
                    if c.quoted { unquote(text, '"') } else { text.to_owned() }
                })
                .collect();
            prop_assert_eq!(&got, row);
            prop_assert_eq!(&got, &by_csv_core(rest, row.len()));
            at += len;
        }
        prop_assert_eq!(at, text.len());
    }
}

fn by_csv_core(text: &[u8], cells: usize) -> Vec<String> {
    let mut reader =
        csv_core::ReaderBuilder::new().delimiter(b'|').terminator(csv_core::Terminator::Any(b'\n')).build();
    let (mut out, mut ends) = (vec![0; 4096], vec![0; 64]);
    let (_, _, _, count) = reader.read_record(text, &mut out, &mut ends);
    assert_eq!(count, cells);
    let mut start = 0;
    ends[..count]
        .iter()
        .map(|end| String::from_utf8(out[std::mem::replace(&mut start, *end)..*end].to_vec()).unwrap())
        .collect()
}

const REGISTRY: [&str; 10] = [
    "企业名称",
    "统一社会信用代码",
    "注册日期",
    "企业类型",
    "法人代表",
    "注册资金",
    "经营范围",
    "所在省份",
    "地区",
    "注册地址",
];

#[test]
fn the_real_registry_file_and_its_gb18030_twin_give_equal_cells() {
    let Some(utf8) = shared_input("data/registry/qingdao_2019.csv") else { return };
    let Some(twin) = shared_input("data/registry/qingdao_2019.gb18030.csv") else { return };
    let utf8 = read(&utf8, &format(), &REGISTRY, Limits::default());
    let twin = read(&twin, &format(), &REGISTRY, Limits::default());
    assert_eq!((utf8.rows.len(), utf8.aside.len(), utf8.error.as_deref()), (13_642, 0, None));
    assert_eq!(utf8.rows, twin.rows);
    assert_eq!(utf8.rows[0][1], "913702001635621638");
    assert_eq!(twin.raw[0], gbk(std::str::from_utf8(&utf8.raw[0]).unwrap()));
}

#[test]
fn the_real_anomalies_with_a_wrong_number_of_cells_are_set_aside() {
    let Some(input) = shared_input("data/registry/anomalies.csv") else { return };
    let all = read(&input, &format(), &["anomaly", "统一社会信用代码"], Limits::default());
    assert_eq!((all.rows.len(), all.aside.len()), (1443, 5));
    assert!(all.rows.iter().all(|r| !r[0].starts_with("COLUMN_COUNT")));
    let counts = |cells: &str| all.aside.iter().filter(|a| a.contains(cells)).count();
    assert_eq!(counts("column_count 15 cells, the header has 12"), 4);
    assert_eq!(counts("column_count 11 cells, the header has 12"), 1);
    assert!(all.notes.iter().any(|n| n.ends_with("private_use_unresolved")) || all.notes.is_empty());
}
