//! Seal files, and what a file without a maker's signature may claim.
#![no_main]

use huiliu_fuzz::config::Format;
use huiliu_fuzz::decode::Wanted;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let wanted = ["standard", "esID", "name", "until", "bearer_subject", "bearers_sm3", "maker_subject"].map(Wanted::named);
    huiliu_fuzz::decode_all(data, &Format::Eseal, &wanted);
});
