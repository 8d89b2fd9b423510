//! `huiliu demo`: a small fictional city, end to end, on the embedded store. Each further run is a night later.
//!
//! Decides what is shown, and in which order; everything it shows comes from the same calls that the other verbs make.

mod summary;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::progress::Bars;
use super::run::{PassReport, exit_of, pass, stop_on_interrupt};
use super::workspace::{Access, Opened, open};
use super::{Context, Exit};
use crate::config::SourceKind;
use crate::crypto::Trust;
use crate::crypto::at_rest::make_master;
use crate::crypto::dev_ca::DevCaFiles;
use crate::demo::{Outbox, SERVICES, Services, definitions_at, write_outbox};
use crate::engine::{Engine, RunOptions, spool_dir, state_dir};
use crate::error::Problem;
use crate::receive::{Received, Spool, Target, receive_feed};

/// Where the demo lives unless `--dir` says otherwise.
const HOME: &str = ".huiliu/demo";
/// Where the demo's master key lies. A real one does not lie beside the store.
const MASTER_KEY: &str = ".huiliu/master.key";
/// The feed that the demo also receives.
const RECEIVED: &str = "housing.enterprise";

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// So many times the city: 1 is about 2,000 enterprises and 3,000 persons
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub scale: u32,
    /// Another city
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
}

/// What the demo remembers between runs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Nights {
    seed: u64,
    scale: u32,
    /// The next night to come.
    next: u32,
}

/// Everything one night showed.
#[derive(Debug, Serialize)]
struct Night {
    night: u32,
    workspace: PathBuf,
    files: usize,
    rows: u64,
    bytes: u64,
    /// What the generator put in on purpose: `dataset: kind → rows`.
    flaws: Vec<(String, u64)>,
    #[serde(flatten)]
    pass: PassReport,
    received: Received,
}

/// Runs one night.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let home = if context.dir == Path::new(".") { PathBuf::from(HOME) } else { context.dir.clone() };
    let context = &Context { dir: home.clone(), ..context.clone() };
    let (nights, listener) = settle_in(&home, &args)?;
    let outbox = write_outbox(&home.join("outbox"), nights.seed, nights.scale, nights.next)
        .await
        .with_context(|| format!("cannot write the outbox below {}", home.display()))?;
    age(&outbox)?;
    let Opened { engine, warnings, _lock: lock } = open(context, Access::Write).await?;
    let services = serve(&engine, &home, listener)?;
    summary::opening(context, &nights, &outbox, services.as_ref())?;
    if !context.json {
        context.report(&warnings)?;
    }
    let mut engine = engine.with_progress(Arc::new(Bars::new()));
    stop_on_interrupt(&engine);
    let report = pass(&mut engine, (&[], context), &RunOptions::default(), true).await?;
    remember(&home, Nights { next: nights.next + 1, ..nights })?;
    let received = receive(&engine, &home, context).await?;
    let exit = exit_of(&report);
    let (files, rows, bytes) = written(&outbox);
    let night = Night {
        night: nights.next,
        workspace: home,
        files,
        rows,
        bytes,
        flaws: outbox.defects.iter().map(|(d, rows)| (format!("{}: {}", d.dataset, d.kind), *rows)).collect(),
        pass: report,
        received,
    };
    if context.json {
        context.print_json(&night)?;
    } else {
        summary::show(&mut engine, &night, context).await?;
    }
    drop((services, lock));
    // Quarantined rows are what the demo is meant to show; only a failure is one.
    Ok(match exit {
        Exit::Held if night.pass.runs.iter().all(|run| run.status == "succeeded") => Exit::Done,
        exit => exit,
    })
}

/// The project's own definitions, written on the first night with an address that is free for the city's services; later
/// nights keep what a person changed.
fn settle_in(home: &Path, args: &Args) -> anyhow::Result<(Nights, Option<TcpListener>)> {
    let remembered = home.join("demo.json");
    if let Ok(text) = fs::read_to_string(&remembered) {
        let nights = serde_json::from_str(&text).with_context(|| format!("{} does not read", remembered.display()))?;
        return Ok((nights, None));
    }
    if home.join("connectors").exists() {
        return Err(Problem::error("HL0820", format!("{} is a workspace of somebody else's", home.display()))
            .detail("the demo writes definitions and files of a fictional city")
            .hint("name an empty directory: huiliu demo --dir DIR")
            .into());
    }
    let listener = TcpListener::bind(SERVICES).or_else(|_| TcpListener::bind("127.0.0.1:0"));
    let listener = listener.context("no port of this machine is free for the city's services")?;
    for (path, text) in definitions_at(listener.local_addr()?) {
        let path = home.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    encrypt(home)?;
    let nights = Nights { seed: args.seed, scale: args.scale, next: 0 };
    remember(home, nights)?;
    Ok((nights, Some(listener)))
}

/// The demo's store is encrypted at rest, under a master key of its own.
fn encrypt(home: &Path) -> anyhow::Result<()> {
    let settings = home.join("huiliu.yaml");
    let master = home.join(MASTER_KEY);
    if settings.exists() || master.exists() {
        return Ok(());
    }
    if let Some(parent) = master.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    make_master(&master).map_err(|error| Problem::from(&error))?;
    let text = format!("version: 1\nat_rest: {{ master_key: file:{MASTER_KEY} }} # 落盘加密\n");
    fs::write(&settings, text).with_context(|| format!("cannot write {}", settings.display()))
}

/// The city's services, at the address of this machine that the definitions name; none when a person has changed it to
/// another machine's.
fn serve(engine: &Engine, home: &Path, listener: Option<TcpListener>) -> anyhow::Result<Option<Services>> {
    let listener = match listener {
        Some(listener) => listener,
        None => match address_of(engine) {
            Some(address) => TcpListener::bind(&address).map_err(|error| taken(&address, &error))?,
            None => return Ok(None),
        },
    };
    let services = Services::start(listener, &home.join("outbox"));
    Ok(Some(services.context("the city's services cannot be started")?))
}

/// `127.0.0.1:37202` of the first connector that names a service of this machine.
fn address_of(engine: &Engine) -> Option<String> {
    engine.workspace().connectors.values().find_map(|connector| {
        let SourceKind::Http(http) = &connector.source else { return None };
        let address = http.base.value.strip_prefix("http://")?.split('/').next()?;
        address.starts_with("127.0.0.1:").then(|| address.to_owned())
    })
}

fn taken(address: &str, error: &io::Error) -> Problem {
    Problem::error("HL0821", format!("the city's services cannot answer at {address}"))
        .detail(error.kind().to_string())
        .hint("does another demo run? else write another port into base: of connectors/{e-license,e-seal,real-estate}.yaml")
}

fn remember(home: &Path, nights: Nights) -> anyhow::Result<()> {
    let path = home.join("demo.json");
    fs::write(&path, serde_json::to_vec(&nights)?).with_context(|| format!("cannot write {}", path.display()))
}

/// The departments finished writing a while ago: no run has to wait and see whether they are still at it.
fn age(outbox: &Outbox) -> anyhow::Result<()> {
    let past = SystemTime::now() - Duration::from_secs(60);
    for file in &outbox.files {
        let opened = fs::File::options().write(true).open(&file.path);
        opened
            .and_then(|opened| opened.set_modified(past))
            .with_context(|| format!("cannot date {}", file.path.display()))?;
    }
    Ok(())
}

/// The subscriber's side: verifies every batch of one feed and loads it into a database of its own.
async fn receive(engine: &Engine, home: &Path, context: &Context) -> anyhow::Result<Received> {
    let root = DevCaFiles::below(&state_dir(engine.workspace())).root;
    let pem = fs::read(&root).with_context(|| format!("cannot read {}", root.display()))?;
    let trust = Arc::new(Trust::from_pem(&pem).map_err(|error| Problem::from(&error))?.into());
    let spool = Spool::parse(&format!("spool:{}", spool_dir(engine.workspace()).display()));
    let spool = spool.map_err(|error| Problem::from(&error))?;
    let target = Target::parse(&format!("sqlite:{}", home.join("housing.db").display()));
    let target = target.map_err(|error| Problem::from(&error))?;
    let mut sink = target.open(None).await.map_err(|error| Problem::from(&error))?;
    Ok(receive_feed(&mut spool.feed(RECEIVED), RECEIVED, &trust, sink.as_mut(), context.clock).await)
}

/// Datasets, rows and bytes that the generator wrote.
fn written(outbox: &Outbox) -> (usize, u64, u64) {
    let rows = outbox.files.iter().map(|file| file.rows).sum();
    let bytes = outbox.files.iter().map(|file| file.bytes).sum();
    let datasets: BTreeSet<_> = outbox.files.iter().map(|file| file.dataset).collect();
    (datasets.len(), rows, bytes)
}
