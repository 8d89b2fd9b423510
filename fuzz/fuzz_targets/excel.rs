//! Workbooks of every kind.
//!
//! A workbook is parsed on a thread of its own, and a panic there is an answer (HL0317), not a crash. Panics anywhere
//! else, endless loops and unbounded memory are what is looked for.
#![no_main]

use huiliu_fuzz::config::{Format, Report};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        let abort = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let parser = std::thread::current().name().is_some_and(|name| name.starts_with("huiliu-"));
            if !parser {
                abort(info);
            }
        }));
    },
    |data: &[u8]| {
        let format = Format::Excel { sheet: None, header_row: 1, repeated_header: true, max_cells: 10_000, report: Report::default() };
        huiliu_fuzz::decode_all(data, &format, &huiliu_fuzz::columns());
    }
);
