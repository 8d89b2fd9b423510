//! Archives, encodings, envelopes: what is inside is what the decoder sees; bombs and damage are refused.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use zip::write::{SimpleFileOptions, ZipWriter};

use super::*;
use crate::decode::testing::{All, gbk, memory, read, resume_everywhere, shared_input};

fn csv() -> Format {
    Format::Csv { encoding: Encoding::Auto, delimiter: b',', quote: Some(b'"'), header: true, skip: 0, ragged: false }
}

fn packed(layers: &[Layer], inner: Format) -> Format {
    Format::Packed { layers: layers.to_vec(), inner: Box::new(inner) }
}

pub(in crate::decode) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut out = ZlibEncoder::new(Vec::new(), Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

pub(in crate::decode) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    text.as_bytes().chunks(76).collect::<Vec<_>>().join(&b"\r\n"[..])
}

fn check(bytes: &[u8], format: &Format, names: &[&str], expect: &[&str]) -> All {
    let input = memory(bytes);
    let all = read(&input, format, names, Limits::default());
    assert_eq!(all.lines(), expect, "{:?}", all.error);
    if all.error.is_none() {
        resume_everywhere(&input, format, names, Limits::default());
    }
    all
}

fn error(bytes: &[u8], format: &Format) -> String {
    read(&memory(bytes), format, &["a"], Limits::default()).error.unwrap()
}

#[test]
fn gzip_and_zip_archives_of_one_file_are_recognised() {
    let text = gbk("a,名称\n1,青岛\n2,即墨\n");
    let expect = ["1|青岛", "2|即墨"];
    let names = ["a", "名称"];
    check(&gz(&text), &csv(), &names, &expect);
    check(&[gz(&text[..9]), gz(&text[9..])].concat(), &csv(), &names, &expect);
    check(&zip(&[("QY_1.csv", &text)]), &csv(), &names, &expect);
    check(&zip(&[("dir/QY_1.csv", &text), ("__MACOSX/x", b"x")]), &csv(), &names, &expect);
    let all = check(&gz(&text), &csv(), &names, &expect);
    assert_eq!(all.places, ["1:2:7", "2:3:14"], "places are those of the text");
}

#[test]
fn of_several_files_the_pattern_says_which() {
    let archive = zip(&[("QY_1.csv", b"a\n1\n"), ("QY_1.chk", b"1"), ("说明.txt", b"x")]);
    let pattern = |p: &str| packed(&[Layer::Zip(Some(p.to_owned()))], csv());
    check(&archive, &pattern("QY_*.csv"), &["a"], &["1"]);
    assert_eq!(error(&archive, &csv()), "HL0323 the archive holds 3 files, it should be one");
    let none = "HL0323 the archive holds 0 files that match \"*.xml\", it should be one";
    assert_eq!(error(&archive, &pattern("*.xml")), none);
    check(&archive, &pattern("说明.*"), &["x"], &[]);
}

#[test]
fn layers_are_taken_off_from_the_outside_in() {
    let xml =
        gbk("<?xml version=\"1.0\" encoding=\"GBK\"?><ROOT><DATA><A>青岛</A></DATA><DATA><A>即墨</A></DATA></ROOT>");
    let inner = || Format::Xml { record: "ROOT/DATA".to_owned(), each: None, encoding: Encoding::Auto };
    let bytes = zip(&[("data", &base64(&xml))]);
    check(&bytes, &packed(&[Layer::Zip(None), Layer::Base64], inner()), &["A"], &["青岛", "即墨"]);
    let content = String::from_utf8(base64(&zlib("{\"list\":[{\"a\":\"青岛\"}]}".as_bytes()))).unwrap();
    let envelope = format!("<tiripPackage><subPackage><content>{content}</content></subPackage></tiripPackage>");
    let layers = [Layer::Element("tiripPackage/subPackage/content".to_owned()), Layer::Base64, Layer::Zlib];
    let json = || Format::Json { records: Some("list".to_owned()) };
    check(envelope.as_bytes(), &packed(&layers, json()), &["a"], &["青岛"]);
    let twice = envelope.replace("</tiripPackage>", "<subPackage><content>x</content></subPackage></tiripPackage>");
    let error = error(twice.as_bytes(), &packed(&layers, json()));
    assert_eq!(error, "HL0323 there is more than one element tiripPackage/subPackage/content");
}

#[test]
fn what_a_service_encrypts_to_us_opens_in_every_form() {
    use crate::config::Password;
    use crate::crypto::{hex, tests};
    let json = || Format::Json { records: Some("items".to_owned()) };
    let layers = |path: &str, key: &str| {
        packed(&[Layer::Member(path.to_owned()), Layer::Sm2(Password::new(key.to_owned()))], json())
    };
    let envelope = |sealed: &str| format!(r#"{{"head":{{"status":0}},"data":{{"certData":"{sealed}"}}}}"#).into_bytes();
    for sealed in tests::sm2_sealed("{\"items\":[{\"a\":\"青岛\"}]}".as_bytes()) {
        for text in [hex(&sealed), hex(&sealed).to_uppercase()] {
            check(&envelope(&text), &layers("data.certData", tests::SM2_KEY), &["a"], &["青岛"]);
        }
        let bytes = packed(&[Layer::Sm2(Password::new(tests::SM2_KEY.to_owned()))], json());
        check(&sealed, &bytes, &["a"], &["青岛"]);
    }
    let sealed = envelope(&hex(&tests::sm2_sealed(b"{}")[2]));
    let refused = |bytes: &[u8], path: &str, key: &str| error(bytes, &layers(path, key));
    let other = "11".repeat(32);
    assert_eq!(
        refused(&sealed, "data.certData", &other),
        "HL0324 it does not open with the private key that `sm2` names"
    );
    assert_eq!(refused(&sealed, "data.certData", "11"), "HL0324 what `sm2` names is no private key of SM2");
    assert_eq!(refused(&sealed, "data.other", tests::SM2_KEY), "HL0319 there is no text at data.other");
    assert_eq!(refused(&sealed, "data", tests::SM2_KEY), "HL0319 there is no text at data");
    assert_eq!(
        refused(&envelope("0"), "data.certData", tests::SM2_KEY),
        "HL0324 it does not open with the private key that `sm2` names"
    );
    assert_eq!(
        refused(&sealed[..9], "data.certData", tests::SM2_KEY),
        "HL0317 the envelope is not JSON: line 1, column 9"
    );
}

#[test]
fn damage_is_told_before_the_first_row() {
    let rows: String = (0..20_000).map(|i| format!("{i},{}\n", i * 7919 % 104_729)).collect();
    let text = format!("a,b\n{rows}");
    let whole = gz(text.as_bytes());
    assert_eq!(error(&whole[..whole.len() - 9], &csv()), "HL0317 the gzip file is damaged or cut off");
    let mut flipped = whole.clone();
    let at = whole.len() - 6;
    flipped[at] ^= 1;
    assert_eq!(error(&flipped, &csv()), "HL0317 the gzip file is damaged or cut off");
    let archive = zip(&[("a.csv", text.as_bytes())]);
    let cut = packed(&[Layer::Zip(None)], csv());
    assert_eq!(
        error(&archive[..archive.len() - 30], &cut),
        "HL0317 this is no zip archive, or it is damaged or cut off"
    );
    let mut flipped = archive;
    flipped[5000] ^= 1;
    assert!(error(&flipped, &csv()).starts_with("HL0317 "), "{}", error(&flipped, &csv()));
    let base = packed(&[Layer::Base64], csv());
    assert_eq!(error(b"YSxi*", &base), "HL0317 the Base64 text is damaged or cut off");
    assert_eq!(error(b"a,b\n", &packed(&[Layer::Gzip], csv())), "HL0310 this is not gzip, as its definition says");
}

#[test]
fn bombs_are_refused() {
    let zeros = vec![b' '; 1 << 20];
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..4 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    let said = error(&bomb, &csv());
    assert!(said.starts_with("HL0314 ") && said.contains("would unpack to far more"), "{said}");
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("a.csv", SimpleFileOptions::default()).unwrap();
    for _ in 0..4 {
        archive.write_all(&zeros).unwrap();
    }
    let archive = archive.finish().unwrap().into_inner();
    let said = error(&archive, &csv());
    assert!(said.starts_with("HL0314 "), "{said}");
    // One that lies about its size is stopped where it begins to lie.
    let mut liar = archive.clone();
    let size = (4u32 << 20).to_le_bytes();
    while let Some(at) = liar.windows(4).position(|w| w == size) {
        liar[at..at + 4].copy_from_slice(&100u32.to_le_bytes());
    }
    let said = error(&liar, &csv());
    assert_eq!(said, "HL0317 a file in the archive is longer than the archive says");
}

#[test]
fn the_real_payload_of_the_treasury_is_zip_of_base64_of_gbk_xml() {
    let Some(input) = shared_input("data/nontax/derived/qdf_toa3001.zip_b64_gbkxml.bin") else { return };
    let inner = Format::Xml { record: "ROOT/BODY/DATA".to_owned(), each: None, encoding: Encoding::Auto };
    let format = packed(&[Layer::Zip(None), Layer::Base64], inner);
    let all = read(&input, &format, &["JKSBH"], Limits::default());
    assert_eq!((all.error, all.rows.len() + all.aside.len()), (None, 1));
}
