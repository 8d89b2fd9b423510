//! What every decoder promises, whatever the bytes: no panic, rows that add up, and the same rows when resumed.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::testing::{gbk, wanted};
use super::{Decoded, Limits, Memory, Resume, Wanted, open};
use crate::config::{Encoding, Format, Layer, Password, Template};
use crate::crypto::SealForm;
use crate::crypto::tests::made_seal;

const COLUMNS: [&str; 3] = ["a", "名称", "factor"];

static SEAL: LazyLock<Vec<u8>> = LazyLock::new(|| made_seal(SealForm::Gbt38540));

fn formats() -> Vec<(Format, Vec<u8>)> {
    let separated = |rows: Option<&str>, head: Option<&str>, tail: Option<&str>, header| Format::Separated {
        encoding: Encoding::Auto,
        fields: "|||".to_owned(),
        rows: rows.map(str::to_owned),
        header,
        ragged: header,
        head: head.map(|text| Template::parse(text).unwrap()),
        tail: tail.map(|text| Template::parse(text).unwrap()),
    };
    let fixed = |line_ends| Format::Fixed {
        encoding: Encoding::Auto,
        widths: vec![2, 6, 3],
        skip: 0,
        line_ends,
        ragged: line_ends,
    };
    let csv = Format::Csv {
        encoding: Encoding::Auto,
        delimiter: b',',
        quote: Some(b'"'),
        header: true,
        skip: 0,
        ragged: true,
    };
    let packed = |layers: &[Layer]| Format::Packed { layers: layers.to_vec(), inner: Box::new(csv.clone()) };
    let frame = "##0136ST=32;CN=2011;PW=000000;MN=LD130133000015;CP=&&DataTime=20160824003817;011-Rtd=231.0,\
                 011-Flag=N;B01-Rtd=36.91;060-Rtd=1.803,060-Flag=N&&1dc0\r\n";
    vec![
        (separated(Some("###"), None, None, false), gbk("1|||青岛|||x###2|||即墨|||y###3|||崂山|||z##\0")),
        (separated(None, None, None, true), gbk("a|||名称\n1|||青岛\n2|||即墨\n3|||崂山\n")),
        (separated(Some("###"), Some("30{rows:4}"), None, false), b"3000021|||b|||c###1|||b|||c".to_vec()),
        (separated(None, None, Some("END{rows}"), false), b"1|||b|||c\n1|||b|||c\nEND2\n".to_vec()),
        (fixed(true), gbk("01青岛  abc\n02即墨  def\n03\n")),
        (fixed(false), gbk("01青岛  abc02即墨  def")),
        (Format::Hj212, frame.repeat(3).into_bytes()),
        (Format::Eseal, SEAL.clone()),
        (Format::Dbf { encoding: Encoding::Auto }, table()),
        (csv.clone(), super::unpack::tests::gz(b"a,b\n1,2\n3,4\n")),
        (packed(&[Layer::Member("a.b".to_owned()), sm2()]), envelope(b"a,b\n1,2\n")),
        (packed(&[Layer::Zip(None), Layer::Base64]), super::unpack::tests::zip(&[("x", b"YSxiCjEsMgo=")])),
    ]
}

fn sm2() -> Layer {
    Layer::Sm2(Password::new(crate::crypto::tests::SM2_KEY.to_owned()))
}

/// What a service encrypted to us.
fn envelope(text: &[u8]) -> Vec<u8> {
    let sealed = crate::crypto::tests::sm2_sealed(text).swap_remove(2);
    format!("{{\"a\":{{\"b\":\"{}\"}}}}", crate::crypto::hex(&sealed)).into_bytes()
}

/// A table of two columns with three rows.
fn table() -> Vec<u8> {
    let mut bytes = vec![3, 124, 2, 6, 3, 0, 0, 0, 97, 0, 10, 0];
    bytes.resize(32, 0);
    for (name, len) in [("a", 3u8), ("名称", 6)] {
        let mut block = name.as_bytes().to_vec();
        block.resize(11, 0);
        block.push(b'C');
        block.resize(16, 0);
        block.push(len);
        block.resize(32, 0);
        bytes.extend(block);
    }
    bytes.extend("\r 1  青岛*2  即墨 3  崂山\x1A".as_bytes());
    bytes
}

fn check(chunk: &Decoded, before: Resume) {
    let rows = chunk.rows.num_rows();
    assert_eq!((chunk.rows.num_columns(), chunk.places.len(), chunk.raw_ends.len()), (COLUMNS.len(), rows, rows));
    assert!(chunk.places.is_sorted_by(|a, b| a.row < b.row && a.line <= b.line && a.byte <= b.byte));
    assert!(chunk.raw_ends.is_sorted() && chunk.raw_ends.last().is_none_or(|end| *end == chunk.raw.len()));
    let taken = rows as u64 + chunk.undecodable.len() as u64 + chunk.dropped;
    assert_eq!(chunk.position.resume.row, before.row + taken);
}

/// Decodes to the end, and once more from after the first chunk.
fn decode(format: &Format, bytes: Vec<u8>) -> usize {
    let limits = Limits { row_bytes: 4096, columns: 64, cells: 10_000, depth: 16 };
    let (input, columns): (_, Vec<Wanted>) = (Arc::new(Memory::new("any", bytes)), wanted(&COLUMNS));
    let Ok(mut decoder) = open(input.clone(), format, &columns, limits, None) else { return 0 };
    let (mut before, mut middle, mut rows) = (Resume::default(), None, Vec::new());
    while let Ok(Some(chunk)) = decoder.next(2) {
        check(&chunk, before);
        before = chunk.position.resume;
        rows.extend(chunk.places.iter().map(|p| (p.row, p.line, p.byte)));
        middle = middle.or(Some((before, rows.len())));
    }
    let Some((resume, taken)) = middle else { return 0 };
    let mut again = open(input, format, &columns, limits, Some(resume)).expect("it could be opened before");
    let mut rest = Vec::new();
    while let Ok(Some(chunk)) = again.next(5) {
        rest.extend(chunk.places.iter().map(|p| (p.row, p.line, p.byte)));
    }
    assert_eq!(rows[taken..], rest, "resumed at {resume:?}");
    rows.len()
}

#[test]
fn the_samples_have_rows() {
    for (format, bytes) in formats() {
        assert!(decode(&format, bytes) > 0, "{format:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn nothing_makes_a_decoder_panic_or_forget_rows(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        for (format, sample) in formats() {
            decode(&format, noise.clone());
            let mut bytes = sample;
            for (at, byte) in &edits {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            decode(&format, bytes.clone());
            let end = cut.index(bytes.len());
            bytes.truncate(end);
            decode(&format, bytes);
        }
    }
}
