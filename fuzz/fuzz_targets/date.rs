//! Dates as departments write them.
#![no_main]

use huiliu_fuzz::mapping::values::cn_date;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = cn_date(text);
});
