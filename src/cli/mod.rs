//! The command line: one file per verb, each with its arguments, its call and its output.
//!
//! Decides: how arguments read, what goes to stdout (data) and to stderr (everything else), the exit code. Must not
//! know: how anything is done. Guarantees: every problem is printed in the one form of [`crate::error::Problem`], and
//! `--json` puts machine-readable output on stdout and nothing else there.

mod audit;
mod backfill;
mod belief;
mod check;
mod completions;
mod config;
mod context;
mod demo;
mod doctor;
mod drift;
mod explain;
mod feed;
mod init;
mod key;
mod lease;
mod named;
mod plan;
mod probe;
mod problems;
mod progress;
mod proof;
mod purpose;
mod quarantine;
mod receive;
mod register;
mod run;
mod scope;
mod serve;
mod statement;
mod status;
mod table;
pub mod telemetry;
mod test;
mod verify;
mod workspace;

use std::io;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use context::{Context, Exit};
pub use problems::Problems;

use crate::clock::Clock;

/// 汇流: departments' records flow in, are mapped onto shared registers, and flow out as signed batches.
#[derive(Debug, Parser)]
#[command(name = "huiliu", version, about, max_term_width = 110, after_help = EXIT_CODES)]
pub struct Cli {
    /// The workspace: the directory with connectors/, mappings/ and pipelines/
    #[arg(long, global = true, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Print JSON on stdout, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done · 1 failed · 2 usage · 3 done, but something is held, quarantined or needs a person · 4 the ledger does not balance";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask, verify and archive the log of who did what 审计
    Audit(audit::Args),
    /// Read files again, or send batches again, beside the live flow 补数
    Backfill(backfill::Args),
    /// Check every definition file offline and report all problems at once
    Check(check::Args),
    /// Print a shell's completion script: `huiliu completions bash`
    Completions(completions::Args),
    /// Describe the definition files: `huiliu config schema connector`
    Config(config::Args),
    /// Show a small fictional city, end to end; run it again for the next night 演示
    Demo(demo::Args),
    /// Re-derive what is stored from what it came from, and compare 自检
    Doctor(doctor::Args),
    /// Sources that no longer offer what their contracts say, and a person's word on it 结构变化
    Drift(drift::Args),
    /// Explain an error code: `huiliu explain HL0106`
    Explain(explain::Args),
    /// Feeds: what goes to whom, and sending it now 订阅
    Feed(feed::Args),
    /// Write a new, commented workspace that passes `huiliu check`
    Init(init::Args),
    /// Keys and certificates: make, request, import, change 密钥
    Key(key::Args),
    /// Say what the definitions would do that has not happened yet, before they are merged 变更预览
    Plan(plan::Args),
    /// Reach the real systems and compare them with their contracts 探测
    Probe(probe::Args),
    /// Write the proof of one record, to be verified without the others and without us 单条凭证
    Proof(proof::Args),
    /// Look at rows that were set aside, have them corrected, replay them 问题数据
    Quarantine(quarantine::Args),
    /// Verify batches from a spool or a queue and load them, in order 接收
    Receive(receive::Args),
    /// Ask the shared databases: values, origin, history 基础库
    Register(register::Args),
    /// One pass now: take new files, then release the feeds of the registers they feed
    Run(run::Args),
    /// Say what every grant releases, masks and withholds, and why 共享范围
    Scope(scope::Args),
    /// The daemon: schedules, feeds, backfills, health and metrics 守护进程
    Serve(serve::Args),
    /// Say, signed, what a subscriber should hold, so that they can compare 对账单
    Statement(statement::Args),
    /// Show where everything stands 状态
    Status(status::Args),
    /// Run the examples beside the mappings: `huiliu test market-regulation`
    Test(test::Args),
    /// Check batches, single records and their proofs, and say what each proves 核验
    Verify(verify::Args),
}

/// Runs one command and says how it ended. Whatever went wrong has been printed.
pub async fn run(cli: Cli) -> Exit {
    let context = Context { dir: cli.dir, json: cli.json, clock: Clock::System };
    let outcome = match cli.command {
        Command::Audit(args) => Box::pin(audit::run(args, &context)).await,
        Command::Backfill(args) => Box::pin(backfill::run(args, &context)).await,
        Command::Check(args) => check::run(args, &context),
        Command::Completions(args) => completions::run(args, &context).await,
        Command::Config(args) => config::run(args, &context),
        Command::Demo(args) => Box::pin(demo::run(args, &context)).await,
        Command::Doctor(args) => Box::pin(doctor::run(args, &context)).await,
        Command::Drift(args) => Box::pin(drift::run(args, &context)).await,
        Command::Explain(args) => explain::run(args, &context),
        Command::Feed(args) => Box::pin(feed::run(args, &context)).await,
        Command::Init(args) => init::run(args, &context),
        Command::Key(args) => Box::pin(key::run(args, &context)).await,
        Command::Plan(args) => Box::pin(plan::run(args, &context)).await,
        Command::Probe(args) => Box::pin(probe::run(args, &context)).await,
        Command::Proof(args) => proof::run(args, &context).await,
        Command::Quarantine(args) => Box::pin(quarantine::run(args, &context)).await,
        Command::Receive(args) => receive::run(args, &context).await,
        Command::Register(args) => Box::pin(register::run(args, &context)).await,
        Command::Run(args) => Box::pin(run::run(args, &context)).await,
        Command::Scope(args) => Box::pin(scope::run(args, &context)).await,
        Command::Serve(args) => Box::pin(serve::run(args, &context)).await,
        Command::Statement(args) => Box::pin(statement::run(args, &context)).await,
        Command::Status(args) => Box::pin(status::run(args, &context)).await,
        Command::Test(args) => test::run(&args, &context),
        Command::Verify(args) => verify::run(args, &context).await,
    };
    outcome.unwrap_or_else(|error| failed(&error, &context))
}

/// Prints what stopped a command: [`Problems`] in their own form, anything else as its chain of causes.
fn failed(error: &anyhow::Error, context: &Context) -> Exit {
    if broken_pipe(error) {
        return Exit::Done; // the reader of our output has had enough
    }
    let printed = match problems::of(error) {
        Some(problems) => context.report(&problems),
        None => context.note(&format!("error: {error:#}")),
    };
    match printed {
        Ok(()) | Err(_) => Exit::Failed, // with stdout and stderr gone, the exit code is all there is left to say
    }
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_reader_that_stops_reading_is_not_a_failure() {
        let closed = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot print");
        assert!(broken_pipe(&closed));
        assert!(!broken_pipe(&anyhow::anyhow!("something else")));
    }
}
