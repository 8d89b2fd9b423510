//! A source alone, its rows thrown away: `source WORKSPACE SYSTEM.DATASET NAME [BYTES]` prints rows/s, the seconds of
//! listing (which fetches remote files), peak memory, and MB/s of so many bytes.

use std::path::Path;
use std::time::Instant;

use huiliu::config::Workspace;
use huiliu::source;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn peak_rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|kib| kib.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Rows of everything that a dataset has, and the seconds that listing it took.
async fn rows(dir: &Path, system: &str, dataset: &str) -> (usize, f64) {
    let workspace = Workspace::load(dir).unwrap_or_else(|problems| panic!("{}", huiliu::error::render(&problems)));
    let connector = &workspace.connectors[system];
    let mut source = source::open(&workspace, connector, &connector.datasets[dataset]).expect("the source opens");
    let mut rows = 0;
    let started = Instant::now();
    let listing = source.list(None).await.expect("the source lists");
    let listed = started.elapsed().as_secs_f64();
    for item in listing.items {
        let mut decoder = source.open(&item, None).await.expect("the item opens");
        let reading = tokio::task::spawn_blocking(move || {
            let mut rows = 0;
            while let Some(chunk) = decoder.next(8192).expect("the item decodes") {
                rows += chunk.rows.num_rows();
            }
            rows
        });
        rows += reading.await.expect("reading does not panic");
    }
    (rows, listed)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let [dir, from, name, more @ ..] = args.as_slice() else { return };
    let (system, dataset) = from.split_once('.').expect("SYSTEM.DATASET");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let started = Instant::now();
    let (rows, listed) = runtime.block_on(rows(Path::new(dir), system, dataset));
    let seconds = started.elapsed().as_secs_f64();
    let bytes: Option<f64> = more.first().and_then(|bytes| bytes.parse().ok());
    let megabytes = bytes.map_or_else(String::new, |bytes| format!(" mb_per_s={:.0}", bytes / 1e6 / seconds));
    println!(
        "{name} rows={rows} seconds={seconds:.2} listed={listed:.2} rows_per_s={:.0}{megabytes} peak_rss_mib={}",
        rows as f64 / seconds,
        peak_rss_mib()
    );
}
