//! JSON documents and NDJSON.
#![no_main]

use huiliu_fuzz::config::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let format = match choice % 3 {
        0 => Format::Ndjson,
        1 => Format::Json { records: None },
        _ => Format::Json { records: Some("d.l".to_owned()) },
    };
    huiliu_fuzz::decode_all(bytes, &format, &huiliu_fuzz::columns());
});
