//! Delimited text. The first byte chooses the dialect.
#![no_main]

use huiliu_fuzz::config::{Encoding, Format};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let encoding = [Encoding::Auto, Encoding::Utf8, Encoding::Gb18030, Encoding::Auto][usize::from(choice & 3)];
    let format = Format::Csv {
        encoding,
        delimiter: if choice & 4 == 0 { b',' } else { b'|' },
        quote: (choice & 8 == 0).then_some(b'"'),
        header: choice & 16 == 0,
        skip: u32::from(choice & 32 != 0),
        ragged: choice & 64 != 0,
    };
    huiliu_fuzz::decode_all(bytes, &format, &huiliu_fuzz::columns());
});
