//! Parse, call, exit.

use std::io::{self, IsTerminal as _};
use std::panic;
use std::process::ExitCode;

use clap::Parser;
use huiliu::cli::{self, Cli, Exit};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A library's panic message can quote what it was reading: say where, never what.
    panic::set_hook(Box::new(|panicked| match panicked.location() {
        Some(place) => eprintln!("internal fault at {}:{}", place.file(), place.line()),
        None => eprintln!("internal fault"),
    }));
    let cli = Cli::parse();
    log();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli::run(cli)).into(),
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            Exit::Failed.into()
        }
    }
}

/// Log lines on stderr: warnings on a terminal, which has progress bars, more elsewhere; `HUILIU_LOG` says otherwise.
fn log() {
    let person = io::stderr().is_terminal();
    // What the broker's client library logs is told again, with a code, where it is handled.
    let usual = if person { "warn,lapin=off" } else { "info,lapin=off" };
    let filter = EnvFilter::try_from_env("HUILIU_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let colours = person && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    log.with_ansi(colours).init();
}
