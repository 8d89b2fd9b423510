//! XML: paths, text, damage, encodings, places.

#![expect(clippy::string_slice, reason = "fixtures are cut where they are ASCII")]

use proptest::prelude::*;

use crate::config::{Encoding, Format};
use crate::decode::Limits;
use crate::decode::testing::{All, gbk, memory, read, resume_everywhere, shared_input};

fn at(record: &str) -> Format {
    Format::Xml { record: record.into(), each: None, encoding: Encoding::Auto }
}

fn get(text: impl AsRef<[u8]>, record: &str, names: &[&str]) -> All {
    read(&memory(text), &at(record), names, Limits::default())
}

#[test]
fn fields_are_found_by_local_names_attributes_and_paths() {
    let text = "<?xml version=\"1.0\"?>\n<e:Msg xmlns:e='u'><Head><row>no</row></Head><e:Body>\n\
        <row id='7' e:kind=\"x&amp;y\"><名称>青岛 &lt;海蓝&gt;&#x26;</名称><a><b>1</b><b>2</b></a><c><![CDATA[<raw>&amp;]]></c><d/><n xsi:nil='true'/></row>\n\
        <row/>\n<!-- <row>no</row> --></e:Body></e:Msg>";
    let all = get(text, "Msg/Body/row", &["名称", "b=a/b", "c", "d", "n", "gone", "id=@id", "kind=@kind"]);
    assert_eq!(all.rows[0], ["青岛 <海蓝>&", "1;2", "<raw>&amp;", "", "␀", "␀", "7", "x&y"]);
    assert_eq!(all.rows[1], ["␀"; 8]);
    assert_eq!((all.rows.len(), all.error), (2, None));
    assert_eq!(all.raw[1], b"<row/>");
    let whole = get("<r><w x='1'>a<i>b</i> c</w></r>", "r/w", &["t=.", "x=@x", "i"]);
    assert_eq!(whole.lines(), ["ab c|1|b"]);
}

fn parts(text: impl AsRef<[u8]>, names: &[&str]) -> All {
    let format = Format::Xml { record: "r/bill".into(), each: Some("items/item".into()), encoding: Encoding::Auto };
    read(&memory(text), &format, names, Limits::default())
}

#[test]
fn details_have_a_row_each_with_the_rest_of_the_record_beside_them() {
    let text = "<?xml version='1.0' encoding='GBK'?><r><bill no='1'><payer>青岛</payer><items><item k='a'><je>1</je><je>2</je></item>\n\
        <item k='乙'/><other/><item><je>&lt;三</je></item></items><total>青6</total></bill><bill no='2'><items/></bill>\n\
        <bill no='3'><items><item k='c'>x<je>7</je></item></items></bill></r>";
    let names = ["no=@no", "payer", "total", "k=items/item/@k", "je=items/item/je", "text=items/item", "all=items"];
    let utf8: fn(&str) -> Vec<u8> = |text| text.replace("GBK", "UTF-8").into_bytes();
    for raw in [utf8, gbk] {
        let bytes = raw(text);
        let all = parts(&bytes, &names);
        let rows = [
            "1|青岛|青6|a|1;2|12|12\n<三",
            "1|青岛|青6|乙|␀||12\n<三",
            "1|青岛|青6|␀|<三|<三|12\n<三",
            "2|␀|␀|␀|␀|␀|",
            "3|␀|␀|c|7|x7|x7",
        ];
        assert_eq!((all.lines(), all.error), (rows.map(str::to_owned).to_vec(), None));
        assert_eq!(all.raw[0], raw("<item k='a'><je>1</je><je>2</je></item>"));
        assert_eq!(all.raw[1], raw("<item k='乙'/>"));
        assert_eq!(all.raw[2], raw("<item><je>&lt;三</je></item>"));
        assert_eq!(all.raw[3], b"<bill no='2'><items/></bill>");
        let numbers: Vec<_> = all.places.iter().map(|place| place.split(':').next().unwrap().to_owned()).collect();
        assert_eq!(numbers, ["1", "2", "3", "4", "5"]);
        let format = Format::Xml { record: "r/bill".into(), each: Some("items/item".into()), encoding: Encoding::Auto };
        resume_everywhere(&memory(&bytes), &format, &names, Limits::default());
    }
}

#[test]
fn a_record_of_too_many_details_is_set_aside() {
    let all =
        parts(format!("<r><bill><items>{}</items></bill><bill/></r>", "<item/>".repeat(10_001)), &["i=items/item"]);
    assert_eq!((all.rows.len(), all.aside.len(), all.error), (1, 1, None));
    assert!(all.aside[0].contains("too_many_parts"), "{}", all.aside[0]);
}

#[test]
fn a_document_type_is_refused() {
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE r [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><r><w>&b;</w></r>";
    let all = get(bomb, "r/w", &["t=."]);
    assert_eq!(
        (all.rows.len(), all.error.unwrap()),
        (0, "HL0318 line 1: a document type declaration, which is refused".into())
    );
    let inside = get("<r><w>1</w><w><!DOCTYPE x></w></r>", "r/w", &["t=."]);
    assert_eq!((inside.rows.len(), &inside.error.unwrap()[..6]), (1, "HL0318"));
}

#[test]
fn a_record_that_is_not_well_formed_is_set_aside() {
    let text = "<r><w>1</w><w>&eacute;</w><w><a>2</b></w><w a=1/><w x='&no;'>3</w><w>4</w></r>";
    let all = get(text, "r/w", &["t=.", "x=@x"]);
    assert_eq!(all.lines(), ["1|␀", "4|␀"]);
    let codes: Vec<&str> = all.aside.iter().map(|a| a.split(' ').nth(1).unwrap()).collect();
    assert_eq!(codes, ["bad_xml"; 4]);
    let deep = format!("<r><w>{}{}</w><w>5</w></r>", "<a>".repeat(100), "</a>".repeat(100));
    let all = get(deep, "r/w", &["t=."]);
    assert_eq!((all.lines(), &all.aside[0][..]), (vec!["5".to_owned()], "1:1:3 too_deep nested deeper than 64"));
}

#[test]
fn a_file_that_ends_early_gives_its_rows_and_then_an_error() {
    let all = get("<r>\n<w>1</w>\n<w>2</w>\n<w>3", "r/w", &["t=."]);
    assert_eq!(all.lines(), ["1", "2"]);
    assert_eq!(all.error.unwrap(), "HL0317 the file ends before r does; the last whole record ends on line 4");
    let error = |text: &str, record: &str| get(text, record, &["t=."]).error;
    assert_eq!(error("<r><w>1</w>", "r/w").map(|e| e[..6].to_owned()).as_deref(), Some("HL0317"));
    assert_eq!(error("<r></s>", "r/w").as_deref(), Some("HL0317 line 1: an end tag that does not match its start tag"));
    assert_eq!(error("<r><x/></r>", "r/y/w").as_deref(), Some("HL0319 there is no element r/y/w"));
    assert_eq!(error("<r></r>", "r/w"), None);
    assert_eq!(error("", "r/w").as_deref(), Some("HL0319 there is no element r/w"));
    let deep = "<r>".repeat(100);
    assert_eq!(error(&deep, "r/w").as_deref(), Some("HL0320 elements nest deeper than 64"));
}

#[test]
fn a_record_that_is_too_long_is_cut_and_the_next_one_read() {
    let limits = Limits { row_bytes: 1000, ..Limits::default() };
    for long in [400, 300_000] {
        let text = format!("<r><w>{}</w><w>青</w></r>", "<a>长</a>".repeat(long));
        for bytes in [text.clone().into_bytes(), gbk(&text)] {
            let all = read(&memory(&bytes), &at("r/w"), &["t=."], limits);
            assert_eq!((all.lines(), all.error), (vec!["青".to_owned()], None));
            assert_eq!(all.aside, ["1:1:3 row_too_long longer than 1000 bytes"]);
        }
    }
    let comment = format!("<r><w>1</w><!--{}--></r>", "x".repeat(1_000_000));
    let all = read(&memory(comment), &at("r/w"), &["t=."], limits);
    assert_eq!((all.rows.len(), &all.error.unwrap()[..6]), (1, "HL0320"));
}

#[test]
fn declarations_are_followed_where_bytes_do_not_say_otherwise() {
    let document = |label: &str| format!("<?xml version='1.0' encoding='{label}'?><r><w>青岛</w></r>");
    let all = get(gbk(&document("GBK")), "r/w", &["t=."]);
    assert_eq!(all.lines(), ["青岛"]);
    assert_eq!(get(gbk(&document("utf-8")), "r/w", &["t=."]).lines(), ["青岛"]);
    assert_eq!(get(document("UTF-8"), "r/w", &["t=."]).lines(), ["青岛"]);
    let many = document("GB2312").replace("青岛", &"青岛".repeat(20));
    assert_eq!(get(many, "r/w", &["t=."]).lines(), ["青岛".repeat(20)]);
    let error = get(document("Shift_JIS"), "r/w", &["t=."]).error.unwrap();
    assert_eq!(error, "HL0313 the declared encoding \"Shift_JIS\" is neither UTF-8 nor GB 18030");
}

#[test]
fn places_and_raw_bytes_are_those_of_the_file_in_either_encoding() {
    let text = "<根>\n 头<记 名='餦'>青|岛</记>尾\n\n<记>\u{20087}</记>\n<记>&bad;</记></根>";
    for bytes in [text.as_bytes().to_vec(), gbk(text)] {
        let input = memory(&bytes);
        let all = read(&input, &at("根/记"), &["t=.", "n=@名"], Limits::default());
        assert_eq!(all.lines(), ["青|岛|餦", "\u{20087}|␀"]);
        for (place, raw) in all.places.iter().zip(&all.raw) {
            let byte: usize = place.rsplit(':').next().unwrap().parse().unwrap();
            assert_eq!(&bytes[byte..byte + raw.len()], raw);
        }
        assert!(all.places[1].starts_with("2:4:"));
        resume_everywhere(&input, &at("根/记"), &["t=.", "n=@名"], Limits::default());
    }
}

#[test]
fn the_derived_fiscal_message_loads() {
    let Some(input) = shared_input("data/nontax/derived/qdf_toa3001.xml") else { return };
    let all = read(&input, &at("ROOT/BODY/DATA"), &["XMMX"], Limits::default());
    assert_eq!(all.error, None);
    assert!(!all.rows.is_empty());
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_or_run_for_ever(text in "(<r>|</r>|<w>|</w>|<w/>|<!|--|>|&|;|\"|'|=|青|[a \\]\\[]){0,30}") {
        let _ = get(&text, "r/w", &["t=.", "a=@a"]);
        let _ = get(format!("<r>{text}</r>"), "r/w", &["t=.", "a=@a"]);
    }
}
