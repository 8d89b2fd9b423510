//! Amounts of money as departments write them.
#![no_main]

use huiliu_fuzz::mapping::values::cn_amount;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = cn_amount(text, Some("万元"));
    let _ = cn_amount(text, None);
});
