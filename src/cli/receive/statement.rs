//! `huiliu receive statement`: whether a statement is genuine, and whether what was loaded is what it says.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::super::belief::Belief;
use super::super::table::{count, number, table, text};
use super::super::{Context, Exit};
use super::{choose, problem, usage};
use crate::batch::pages::Pages;
use crate::batch::{Reader, Statement};
use crate::crypto::{Moment, SignedBy};
use crate::error::Problem;
use crate::outlet::StatementFiles;
use crate::receive::{
    Compared, Diverging, Question, ReceiveError, Reconciled, Spool, Target, Unresolved, comparable, compare,
    open_statement, stands, take_stock,
};

/// No statement is longer.
const MOST_BYTES: u64 = 1 << 20;

/// Arguments of `receive statement`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 genuine, and with --check complete · 1 not believed, or not comparable · 3 something is missing, extra or altered"
)]
pub struct Args {
    /// Compare what was loaded with it, record by record, from the values as they are now 对账
    #[arg(long, requires = "to")]
    pub check: bool,
    /// The statement; .p7s beside it, .ranges too if there
    #[arg(long, value_name = "FILE", required_unless_present = "from")]
    pub statement: Option<PathBuf>,
    /// Where statements lie beside batches: spool:DIR; that of the last batch loaded is taken, else the newest
    #[arg(long, value_name = "FROM", env = "HUILIU_RECEIVE_FROM", hide_env_values = true)]
    pub from: Option<String>,
    /// Only this feed; may be given again
    #[arg(long, value_name = "NAME")]
    pub feed: Vec<String>,
    #[command(flatten)]
    belief: Belief,
    /// What was loaded: sqlite:FILE or postgres://user:password@host/database
    #[arg(long, value_name = "TARGET", env = "HUILIU_RECEIVE_TO", hide_env_values = true)]
    pub to: Option<String>,
    /// The file of ranges, when it does not lie beside the statement
    #[arg(long, value_name = "FILE", requires = "check")]
    pub ranges: Option<PathBuf>,
    /// List at most so many records
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
}

/// Verifies, and with `--check` compares; held (3) when something differs.
pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let reader = args.belief.reader().await?;
    let target = args.to.as_deref().filter(|_| args.check).map(Target::parse).transpose().map_err(problem)?;
    let files = statements(&args, target.as_ref()).await?;
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for files in files {
        let done = Box::pin(reconcile(&files, &args, (&reader, target.as_ref()), context)).await;
        match done {
            Ok(reconciled) => all.push(reconciled),
            Err(error) => problems.push(Problem::from(&error).detail(files.statement.display().to_string())),
        }
    }
    if context.json {
        context.print_json(&serde_json::json!({ "statements": all, "problems": problems }))?;
    } else {
        context.print(&all.iter().map(shown).collect::<String>())?;
        if !problems.is_empty() {
            context.report(&problems)?;
        }
    }
    Ok(match (problems.is_empty(), all.iter().any(|one| one.complete == Some(false))) {
        (false, _) => Exit::Failed,
        (true, true) => Exit::Held,
        (true, false) => Exit::Done,
    })
}

/// The statements that are meant.
async fn statements(args: &Args, target: Option<&Target>) -> anyhow::Result<Vec<StatementFiles>> {
    if let Some(file) = &args.statement {
        return Ok(vec![StatementFiles::at(file)]);
    }
    let spool = Spool::parse(args.from.as_deref().unwrap_or_default()).map_err(problem)?;
    let mut all = Vec::new();
    for feed in choose(&spool, &args.feed).map_err(problem)? {
        let loaded = match target {
            Some(target) => stands(target, &feed).await.map_err(problem)?.map(|cursor| cursor.seq),
            None => None,
        };
        let there = spool.statements(&feed).map_err(problem)?;
        match loaded.filter(|seq| there.contains(seq)).or_else(|| there.last().copied()) {
            Some(seq) => all.push(spool.statement(&feed, seq)),
            None if args.feed.is_empty() => {}
            None => return Err(usage(&format!("there is no statement of {feed}"), "ask the issuing office for one")),
        }
    }
    if all.is_empty() {
        return Err(usage("there is no statement of any feed", "ask the issuing office for `huiliu statement FEED`"));
    }
    Ok(all)
}

async fn reconcile(
    files: &StatementFiles,
    args: &Args,
    (reader, target): (&Reader, Option<&Target>),
    context: &Context,
) -> Result<Reconciled, ReceiveError> {
    let named = files.statement.display().to_string();
    let (bytes, signature) = (read(&files.statement, &named)?, read(&files.signature, &named)?);
    let moment = Moment::Signing { now: context.clock.now() };
    let failed = |error| ReceiveError::Batch { batch: named.clone(), error };
    let (statement, signed) = open_statement(&bytes, &signature, &reader.trust, moment).map_err(failed)?;
    if !args.feed.is_empty() && !args.feed.contains(&statement.feed) {
        return Err(ReceiveError::Misplaced { place: named, batch: statement.id() });
    }
    let size = u64::try_from(bytes.len() + signature.len()).unwrap_or(u64::MAX);
    let Some(target) = target else { return Ok(reconciled(&statement, signed, size, None)) };
    let schema = statement.schema(statement.algorithm).map_err(failed)?;
    let fields = schema.iter().flat_map(|schema| schema.fields());
    let question = Question {
        feed: statement.feed.clone(),
        register: statement.register.clone(),
        fields: fields.map(|field| (field.name.clone(), field.kind)).collect(),
        algorithm: statement.algorithm,
    };
    let stock = take_stock(target, &question).await?;
    comparable(&statement, stock.cursor)?;
    let mut pages = match args.ranges.as_deref().or_else(|| files.ranges.exists().then_some(&*files.ranges)) {
        Some(file) => Some(Pages::open(BufReader::new(opened(file, &named)?), &statement).map_err(failed)?),
        None => None,
    };
    let compared = compare(&statement, &stock.records, pages.as_mut(), args.limit).map_err(failed)?;
    Ok(reconciled(&statement, signed, size, Some((stock.records.len(), compared))))
}

fn reconciled(statement: &Statement, signed: SignedBy, bytes: u64, compared: Option<(usize, Compared)>) -> Reconciled {
    let (held, compared) = compared.unzip();
    Reconciled {
        feed: statement.feed.clone(),
        as_of: statement.as_of,
        signed,
        records: statement.records,
        root: statement.root,
        held: held.map(|held| u64::try_from(held).unwrap_or(u64::MAX)),
        complete: compared.as_ref().map(Compared::complete),
        compared,
        bytes,
    }
}

fn opened(file: &Path, named: &str) -> Result<File, ReceiveError> {
    File::open(file).map_err(|error| incomplete(file, named, &error))
}

fn read(file: &Path, named: &str) -> Result<Vec<u8>, ReceiveError> {
    let length = fs::metadata(file).map_err(|error| incomplete(file, named, &error))?.len();
    if length > MOST_BYTES {
        let error = std::io::Error::other(format!("it is longer than {MOST_BYTES} bytes"));
        return Err(incomplete(file, named, &error));
    }
    fs::read(file).map_err(|error| incomplete(file, named, &error))
}

fn incomplete(file: &Path, named: &str, error: &std::io::Error) -> ReceiveError {
    ReceiveError::Incomplete { batch: named.to_owned(), file: file.display().to_string(), why: error.to_string() }
}

/// One statement, for people.
fn shown(one: &Reconciled) -> String {
    let Reconciled { feed, as_of, signed, records, root, held, .. } = one;
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{feed}/{as_of} 对账单 statement: {} 条 records, root {root}", count(*records));
    let _ = writeln!(out, "  签名 signed by {} at {}, trusted {}", signed.subject, signed.signed_at, signed.root);
    for warning in &signed.warnings {
        let _ = writeln!(out, "  WARNING {warning}");
    }
    let (Some(compared), Some(held)) = (&one.compared, held) else { return out };
    if compared.complete() {
        let _ = writeln!(out, "  完整 complete: {} 条逐条相符 records, each as it was sent", count(*held));
        return out;
    }
    let Compared { missing, extra, altered, differences, unresolved, .. } = compared;
    let _ = writeln!(
        out,
        "  不一致 NOT complete: 缺失 missing {}, 多余 extra {}, 被改 altered {}",
        count(*missing),
        count(*extra),
        count(*altered)
    );
    if !differences.is_empty() {
        let columns = [text("差异 what"), number("实体 entity"), number("应有版本 sent"), number("现有版本 held")];
        let version = |version: Option<i64>| version.map_or_else(|| "—".to_owned(), |version| version.to_string());
        let row =
            |one: &Diverging| [one.what.word().into(), one.entity.to_string(), version(one.sent), version(one.held)];
        out += &table(&columns, differences.iter().map(row));
    }
    if !unresolved.is_empty() {
        let _ = writeln!(
            out,
            "  有差异而未展开 {} ranges differ and could not be looked into. Ask the issuing office for\n  \
             huiliu statement {feed} --as-of {as_of} --ranges {} --out FILE\n  and give it with --ranges FILE",
            unresolved.len(),
            unresolved.iter().map(asked).collect::<Vec<_>>().join(",")
        );
    }
    out
}

fn asked(range: &Unresolved) -> String {
    format!("{}/{}", range.from, range.bits)
}
