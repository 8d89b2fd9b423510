//! `huiliu config schema KIND`: JSON Schema of the definition files, for editors.

use clap::Subcommand;
use clap::builder::PossibleValuesParser;

use super::{Context, Exit};
use crate::config::{KINDS, schema};

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to show
    #[command(subcommand)]
    pub what: What,
}

/// What `config` shows.
#[derive(Debug, Subcommand)]
pub enum What {
    /// JSON Schema (2020-12) of one kind of definition file
    Schema {
        /// The kind of file
        #[arg(value_parser = PossibleValuesParser::new(KINDS))]
        kind: String,
    },
}

/// Prints a schema; it is JSON with or without `--json`.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let What::Schema { kind } = args.what;
    match schema(&kind) {
        Some(schema) => context.print_json(&schema)?,
        None => anyhow::bail!("there is no kind of file called {kind}"),
    }
    Ok(Exit::Done)
}
