//! JSON documents: where the array is, what cells become, damage, places.

use proptest::prelude::*;

use crate::config::Format;
use crate::decode::Limits;
use crate::decode::testing::{All, gbk, memory, read, resume_everywhere};

fn at(records: &str) -> Format {
    Format::Json { records: Some(records.into()).filter(|r: &String| !r.is_empty()) }
}

fn get(text: &str, records: &str, names: &[&str]) -> All {
    read(&memory(text), &at(records), names, Limits::default())
}

#[test]
fn cells_are_as_written() {
    let text =
        r#"[{"n":12345678901234567890, "f":1.10, "b":true, "z":null, "s":"a\"\u9752\n", "o":{ "x" : [1, " 2 "] }}]"#;
    let all = get(text, "", &["n", "f", "b", "z", "s", "o", "missing", "x=o.x"]);
    assert_eq!(
        all.rows,
        [["12345678901234567890", "1.10", "true", "␀", "a\"青\n", r#"{"x":[1," 2 "]}"#, "␀", r#"[1," 2 "]"#]]
    );
    assert_eq!(all.error, None);
}

#[test]
fn the_array_is_found_along_its_path() {
    let text =
        r#" {"code":0,"list":[9],"data":{"total":2,"list":[{"a.b":1},{"a.b":2,"a":{"b":3}}],"more":"]"},"x":[]} "#;
    let all = get(text, "data.list", &["a.b", "deep=a.b"]);
    assert_eq!((all.lines(), all.error), (vec!["1|␀".to_owned(), "2|3".to_owned()], None));
    let error = |text: &str, records: &str| get(text, records, &["a"]).error.unwrap();
    assert_eq!(error(text, "data.rows"), "HL0319 the array of records was not found: there is no rows");
    assert_eq!(error(text, "code"), "HL0319 the array of records was not found: code is not an array");
    assert_eq!(error("[]", "a"), "HL0319 the array of records was not found: what should contain a is not an object");
    assert_eq!(get("[]", "", &["a"]), All::default());
    assert_eq!(error("", ""), "HL0317 the document ends at byte 0 in the middle of a value");
}

#[test]
fn a_bad_record_is_set_aside_and_a_broken_document_ends_with_an_error() {
    let all = get(r#"[{"a":1},{"a":x},7,{"a":2}]"#, "", &["a"]);
    assert_eq!(all.lines(), ["1", "2"]);
    assert_eq!(all.aside[1], "3:1:17 bad_json the record is not an object");
    assert_eq!(all.error, None);
    let all = get(r#"[{"a":1},{"a":2},{"a""#, "", &["a"]);
    assert_eq!(all.lines(), ["1", "2"]);
    assert!(all.error.unwrap().starts_with("HL0317 the document ends"));
    let all = get(r#"{"d":[{"a":1}]"#, "d", &["a"]);
    assert_eq!((all.rows.len(), all.error.is_some()), (1, true));
    assert!(get("[{\"a\":1} {\"a\":2}]", "", &["a"]).error.unwrap().contains("a comma"));
    assert!(get("[{\"a\":1}] x", "", &["a"]).error.unwrap().contains("something follows"));
    let deep = format!("[{{\"a\":{}1{}}},{{\"a\":1}}]", "[".repeat(100), "]".repeat(100));
    let all = get(&deep, "", &["a"]);
    assert_eq!(
        (all.lines(), all.aside),
        (vec!["1".to_owned()], vec!["1:1:1 too_deep nested deeper than 64".to_owned()])
    );
}

#[test]
fn a_record_that_is_too_long_is_cut_and_the_next_one_read() {
    let limits = Limits { row_bytes: 1000, ..Limits::default() };
    for long in [2000, 700_000] {
        let text = format!("[{{\"a\":\"{}\"}},{{\"a\":\"青\"}}]", "长\\\"".repeat(long));
        for bytes in [text.clone().into_bytes(), gbk(&text)] {
            let all = read(&memory(&bytes), &at(""), &["a"], limits);
            assert_eq!((all.lines(), all.error), (vec!["青".to_owned()], None));
            assert_eq!(all.aside, ["1:1:1 row_too_long longer than 1000 bytes"]);
        }
    }
}

#[test]
fn places_and_raw_bytes_are_those_of_the_file_in_either_encoding() {
    let text = "{\"数据\":[\n {\"名称\":\"青岛\"},\n {\"名称\":\"餦|{\"} , {\"名称\":\"\u{20087}\"}]}";
    for bytes in [text.as_bytes().to_vec(), gbk(text)] {
        let all = read(&memory(&bytes), &at("数据"), &["名称"], Limits::default());
        assert_eq!(all.lines(), ["青岛", "餦|{", "\u{20087}"]);
        for (place, raw) in all.places.iter().zip(&all.raw) {
            let byte: usize = place.rsplit(':').next().unwrap().parse().unwrap();
            assert_eq!(&bytes[byte..byte + raw.len()], raw);
            assert!(raw.starts_with(b"{") && raw.ends_with(b"}"));
        }
        resume_everywhere(&memory(&bytes), &at("数据"), &["名称"], Limits::default());
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_or_run_for_ever(text in "[\\[\\]{}\":,a1 \\\\青]{0,60}") {
        let _ = get(&text, "", &["a"]);
        let _ = get(&format!("{{\"a\":{text}"), "a", &["a"]);
        let _ = read(&memory(&text), &Format::Ndjson, &["a"], Limits::default());
    }
}
