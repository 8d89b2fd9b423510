//! One object per line: good lines, bad lines, places.

use crate::config::Format;
use crate::decode::Limits;
use crate::decode::testing::{gbk, memory, read, resume_everywhere};

#[test]
fn a_bad_line_is_set_aside_and_the_next_one_read() {
    let text = "{\"a\":1}\n\n{\"a\":\n[1]\n{\"a\":\"x\",\"a\":\"Q\"}\n{\"a\":\"\\u0000\"}\r\n  {\"a\":2} \n{\"a\":3}";
    let all = read(&memory(text), &Format::Ndjson, &["a"], Limits::default());
    assert_eq!(all.lines(), ["1", "2", "3"]);
    assert_eq!(all.places, ["1:1:0", "6:7:53", "7:8:64"]);
    let codes: Vec<&str> = all.aside.iter().map(|a| a.split(' ').nth(1).unwrap()).collect();
    assert_eq!(codes, ["bad_json", "bad_json", "bad_json", "nul_byte"]);
    assert_eq!(all.aside[0], "2:3:9 bad_json ends too early, at character 5 of the record's line 1");
    assert_eq!(all.aside_raw[1], b"[1]");
    assert!(!all.aside.iter().any(|a| a.contains('Q')), "no values in {:?}", all.aside);
}

#[test]
fn lines_may_be_gb18030_and_too_long() {
    let text = format!("{{\"名称\":\"青岛\"}}\n{{\"名称\":\"{}\"}}\n{{\"名称\":\"市北\"}}\n", "长".repeat(100));
    let limits = Limits { row_bytes: 100, ..Limits::default() };
    for bytes in [text.clone().into_bytes(), gbk(&text)] {
        let all = read(&memory(&bytes), &Format::Ndjson, &["名称"], limits);
        assert_eq!(all.lines(), ["青岛", "市北"]);
        assert!(all.aside[0].ends_with("row_too_long longer than 100 bytes"));
    }
}

#[test]
fn a_stopped_file_goes_on_where_it_stopped() {
    let text = "{\"a\":\"青岛\"}\n\n{bad\n{\"a\":null}\n{\"a\":\"\u{E863}\"}";
    resume_everywhere(&memory(text), &Format::Ndjson, &["a"], Limits::default());
    resume_everywhere(&memory(gbk(text)), &Format::Ndjson, &["a"], Limits::default());
}
