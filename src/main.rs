//! Parse, call, exit.

use std::panic;
use std::process::ExitCode;

use clap::Parser;
use huiliu::cli::{self, Cli, Command, Exit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A library's panic message can quote what it was reading: say where, never what.
    panic::set_hook(Box::new(|panicked| match panicked.location() {
        Some(place) => eprintln!("internal fault at {}:{}", place.file(), place.line()),
        None => eprintln!("internal fault"),
    }));
    let _armed = huiliu::failpoint::armed();
    let cli = Cli::parse();
    if !matches!(cli.command, Command::Serve(_)) {
        cli::telemetry::begin(); // the daemon's log is how its installation wants it
    }
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(cli::run(cli));
            // Whoever still reads from what does not answer keeps nobody alive; all that counts was waited for.
            runtime.shutdown_background();
            exit.into()
        }
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            Exit::Failed.into()
        }
    }
}
