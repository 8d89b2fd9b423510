//! Decoding alone: `decode xlsx|xml FILE` prints rows/s, MB/s and peak memory of reading a whole file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use huiliu::config::{Encoding, Format, Report};
use huiliu::decode::{Input, Limits, Wanted, open};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Local(PathBuf);

impl Input for Local {
    fn name(&self) -> &str {
        "bench"
    }
    fn len(&self) -> u64 {
        self.0.metadata().map_or(0, |meta| meta.len())
    }
    fn read_from(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(&self.0)?;
        file.seek(SeekFrom::Start(from))?;
        Ok(Box::new(file))
    }
    fn local_path(&self) -> Option<&Path> {
        Some(&self.0)
    }
}

fn peak_rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|kib| kib.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let [kind, path] = args.as_slice() else { return };
    let columns: Vec<Wanted> = match kind.as_str() {
        "xlsx" => (0..10).map(|i| Wanted { name: format!("列{i}"), path: None }).collect(),
        _ => ["NSRSBH", "SHXYDM", "NSRMC", "FDDBRXM", "ZCDZ", "DJRQ"]
            .map(|name| Wanted { name: name.to_owned(), path: None })
            .to_vec(),
    };
    let format = match kind.as_str() {
        "xlsx" => Format::Excel {
            sheet: None,
            header_row: 1,
            repeated_header: false,
            max_cells: 50_000_000,
            report: Report::default(),
        },
        _ => Format::Xml { record: "taxpayers/taxpayer".into(), each: None, encoding: Encoding::Auto },
    };
    let input = Arc::new(Local(PathBuf::from(path)));
    let bytes = input.len();
    let started = Instant::now();
    let mut decoder = open(input, &format, &columns, Limits::default(), None).expect("the workload opens");
    let mut rows = 0;
    while let Some(chunk) = decoder.next(8192).expect("the workload decodes") {
        rows += chunk.rows.num_rows();
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{kind} rows={rows} seconds={seconds:.2} rows_per_s={:.0} mb_per_s={:.0} peak_rss_mib={}",
        rows as f64 / seconds,
        bytes as f64 / 1e6 / seconds,
        peak_rss_mib()
    );
}
