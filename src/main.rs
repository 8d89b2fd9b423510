//! Parse, call, exit.

use std::process::ExitCode;

use clap::Parser;
use huiliu::cli::{self, Cli, Exit};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli::run(cli)).into(),
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            Exit::Failed.into()
        }
    }
}
