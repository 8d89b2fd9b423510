//! Separators, tolerant ends, declared counts, places, and the real reconciliation messages.

use super::*;
use crate::config::Format;
use crate::decode::testing::{All, gbk, memory, read, resume_everywhere, shared_input};

fn template(text: &str) -> Option<Template> {
    (!text.is_empty()).then(|| Template::parse(text).unwrap())
}

/// Cells by `|||`, rows by `###`.
fn bank(head: &str, tail: &str) -> Format {
    Format::Separated {
        encoding: Encoding::Auto,
        fields: "|||".to_owned(),
        rows: Some("###".to_owned()),
        header: false,
        ragged: false,
        head: template(head),
        tail: template(tail),
    }
}

fn lines(header: bool, tail: &str) -> Format {
    Format::Separated {
        encoding: Encoding::Auto,
        fields: "|!|".to_owned(),
        rows: None,
        header,
        ragged: false,
        head: None,
        tail: template(tail),
    }
}

fn check(bytes: impl AsRef<[u8]>, format: &Format, names: &[&str], expect: &[&str]) -> All {
    let input = memory(bytes);
    let all = read(&input, format, names, Limits::default());
    assert_eq!(all.lines(), expect, "{:?}", all.error);
    if all.error.is_none() {
        resume_everywhere(&input, format, names, Limits::default());
    }
    all
}

const HEAD: &str = "3003{bytes:8}{区划:6}{日期:8}";

#[test]
fn the_end_of_a_file_is_read_as_senders_write_it() {
    let format = bank("", "");
    let expect = ["1|a", "2|b"];
    for end in ["", "\0", "##\0", "###\0", "###", "##", "###\r\n", "\x1A", "#\0", "###\n###"] {
        check(format!("1|||a###2|||b{end}"), &format, &["x", "y"], &expect);
    }
    check("1|||a###\r\n2|||b###\r\n", &format, &["x", "y"], &expect);
    check("", &format, &["x"], &[]);
    check("1|||a|||###2|||b###", &format, &["x", "y"], &["1|a", "2|b"]);
    let all = check("1|||a###2###3|||b|||c|||d", &format, &["x", "y"], &["1|a"]);
    assert_eq!(
        all.aside,
        ["2:1:8 column_count 1 cells, the contract has 2", "3:1:12 column_count 4 cells, the contract has 2"]
    );
}

#[test]
fn hanzi_and_faults_have_their_bytes() {
    let bytes = [gbk("编号|!|名称\r\n1|!|青岛\r\n"), b"2|!|\xFFx\r\n".to_vec(), gbk("3|!|即墨\r\n")].concat();
    let all = check(&bytes, &lines(true, ""), &["名称", "编号"], &["青岛|1", "即墨|3"]);
    assert_eq!(all.places, ["1:2:13", "3:4:31"]);
    assert_eq!(all.aside, ["2:3:23 bad_gb18030 byte 27 of the file is not valid gb18030"]);
    let one_long = format!("1|||{}###2|||b##\0", "长".repeat(200_000));
    let input = memory(one_long.as_bytes());
    let small = Limits { row_bytes: 1000, ..Limits::default() };
    let all = read(&input, &bank("", ""), &["x", "y"], small);
    assert_eq!((all.lines(), all.aside.len()), (vec!["2|b".to_owned()], 1));
    assert!(all.aside[0].contains("row_too_long"), "{:?}", all.aside);
}

#[test]
fn what_the_opening_record_says_is_a_column() {
    let names = ["日期=head.日期", "x", "区划=head.区划", "nothing=head.无"];
    let text = "30030000000537020020130731 1###2##\0";
    let all = check(text, &bank(HEAD, ""), &names, &[]);
    assert_eq!(all.error.unwrap(), "HL0322 the file declares 5 bytes after its opening record and holds 9");
    let text = "30030000000937020020130731 1###2##\0";
    check(text, &bank(HEAD, ""), &names, &["20130731| 1|370200|␀", "20130731|2|370200|␀"]);
    let all = check("3004", &bank(HEAD, ""), &names, &[]);
    assert_eq!(all.error.unwrap(), format!("HL0311 the file does not begin with the opening record {HEAD:?}"));
    let all = check("300300x0000937020020130731", &bank(HEAD, ""), &names, &[]);
    assert_eq!(all.error.unwrap(), "HL0311 \"bytes\" of the opening record is no number");
}

#[test]
fn a_closing_record_must_be_there_and_right() {
    let format = lines(false, "END|{rows}|{sum}");
    let names = ["x", "y"];
    check("1|!|a\n2|!|b\nEND|2|3.00\n", &format, &names, &["1|a", "2|b"]);
    let error = |text: &str| check(text, &format, &names, &[]).error.unwrap();
    assert_eq!(error("1|!|a\nEND|2|3.00\n"), "HL0322 the file declares 2 rows and holds 1");
    assert_eq!(
        error("1|!|a\n2|!|b\n"),
        "HL0317 the file holds 2 rows and ends without its closing record: it is cut off"
    );
}

#[test]
fn a_real_file_that_was_cut_off_is_refused_whole_with_both_numbers() {
    let format = |head: &str| Format::Separated {
        encoding: Encoding::Auto,
        fields: ",".to_owned(),
        rows: Some("|".to_owned()),
        header: false,
        ragged: false,
        head: template(head),
        tail: None,
    };
    let names = ["区划=head.区划", "日期=head.日期", "流水", "金额", "标志"];
    let Some(input) = shared_input("data/nontax/recon_request_20130731.txt") else { return };
    let all = read(&input, &format("{区划}|{日期}|{账号}|{余额}|{rows}|"), &names, Limits::default());
    assert_eq!((all.rows.len(), all.error.as_deref()), (0, Some("HL0322 the file declares 103 rows and holds 57")));
    let all = read(&input, &format("{区划}|{日期}|{账号}|{余额}|{笔数}|"), &names, Limits::default());
    assert_eq!(all.rows.len(), 57);
    assert_eq!(all.lines()[0], "370200|20130731|76021|150660.00      |D");
}

#[test]
fn files_as_the_specification_and_as_the_bank_writes_them_are_the_same() {
    let columns: Vec<String> = (1..=12).map(|i| format!("c{i}")).collect();
    let mut names: Vec<&str> = columns.iter().map(String::as_str).collect();
    names.push("日期=head.日期");
    let mut seen = Vec::new();
    for file in ["qdf_recon_3003_spec.dat", "qdf_recon_3003_as_written_by_bank.dat"] {
        let Some(input) = shared_input(&format!("data/nontax/derived/{file}")) else { return };
        let wide = read(&input, &bank(HEAD, ""), &names, Limits::default());
        assert_eq!((wide.error, wide.rows.len() + wide.aside.len()), (None, 2), "{file}");
        seen.push((wide.rows, wide.aside));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].1, Vec::<String>::new());
}
