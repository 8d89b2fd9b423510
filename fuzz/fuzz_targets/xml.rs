//! XML, with records at `r/w` or, if the first byte is odd, at the root.
#![no_main]

use huiliu_fuzz::config::{Encoding, Format};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let encoding = if choice & 2 == 0 { Encoding::Auto } else { Encoding::Gb18030 };
    let record = if choice & 1 == 0 { "r/w" } else { "r" };
    let format = Format::Xml { record: record.to_owned(), each: None, encoding };
    huiliu_fuzz::decode_all(bytes, &format, &huiliu_fuzz::columns());
});
