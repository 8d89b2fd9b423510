//! Separated text, fixed width, DBF, HJ 212, and what may be around a file. The first byte chooses.
#![no_main]

use huiliu_fuzz::config::{Encoding, Format, Layer, Password, Template};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let template = |text: &str| Template::parse(text).ok();
    let csv = Box::new(Format::Csv {
        encoding: Encoding::Auto,
        delimiter: b',',
        quote: Some(b'"'),
        header: true,
        skip: 0,
        ragged: true,
    });
    let format = match choice & 7 {
        0 => Format::Separated {
            encoding: Encoding::Auto,
            fields: "|||".to_owned(),
            rows: (choice & 8 == 0).then(|| "###".to_owned()),
            header: choice & 16 != 0,
            ragged: choice & 32 != 0,
            head: if choice & 64 == 0 { None } else { template("30{rows:4}") },
            tail: if choice & 128 == 0 { None } else { template("END{rows}") },
        },
        1 => Format::Fixed {
            encoding: Encoding::Auto,
            widths: vec![2, 6, 3],
            skip: u32::from(choice & 8 != 0),
            line_ends: choice & 16 == 0,
            ragged: choice & 32 != 0,
        },
        2 => Format::Dbf { encoding: Encoding::Auto },
        3 => Format::Hj212,
        4 => Format::Packed { layers: vec![Layer::Zip(None)], inner: csv },
        5 => Format::Packed { layers: vec![Layer::Base64], inner: csv },
        6 if choice & 8 == 0 => Format::Packed { layers: vec![Layer::Element("a/b".to_owned())], inner: csv },
        6 => Format::Packed {
            layers: vec![Layer::Member("a.b".to_owned()), Layer::Sm2(Password::new("11".repeat(32)))],
            inner: csv,
        },
        _ => Format::Packed { layers: vec![Layer::Zlib], inner: csv },
    };
    huiliu_fuzz::decode_all(bytes, &format, &huiliu_fuzz::columns());
});
