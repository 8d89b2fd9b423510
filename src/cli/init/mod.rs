//! `huiliu init [DIR]`: a new, commented workspace that passes `huiliu check`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use chrono::{Datelike, NaiveDate};
use chrono_tz::Tz;

use super::{Context, Exit};
use crate::error::Problem;

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write it; made when it is not there [default: --dir]
    pub dir: Option<PathBuf>,
}

macro_rules! template {
    ($($file:literal)*) => {
        &[$(($file, include_str!(concat!("template/", $file)))),*]
    };
}

/// The files, by path below the new workspace.
const FILES: &[(&str, &str)] = template![
    "README.md"
    "huiliu.yaml"
    "connectors/market-regulation.yaml"
    "mappings/registers/enterprise.yaml"
    "mappings/codes/enterprise_type.csv"
    "mappings/market-regulation/enterprise.enterprise.sql"
    "mappings/market-regulation/enterprise.enterprise.cases.yaml"
    "pipelines/enterprise-registration.yaml"
    "pipelines/feeds/housing.enterprise.yaml"
    "data/market-regulation/QYDJ_sample.csv"
];

/// The working days that were published, as the project's own definitions have them.
const CALENDAR: (&str, &str) = ("mappings/calendar.yaml", include_str!("../../../mappings/calendar.yaml"));

/// Kept under another name here, because it would ignore files of this repository.
const GITIGNORE: (&str, &str) = (".gitignore", include_str!("template/gitignore"));

/// Writes the workspace, unless one of its files is already there.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let dir = args.dir.unwrap_or_else(|| context.dir.clone());
    let files = files(context.clock.today(Tz::Asia__Shanghai));
    let present: Vec<&str> = files.iter().map(|(path, _)| *path).filter(|path| dir.join(path).exists()).collect();
    if !present.is_empty() {
        let problem = Problem::error("HL0803", format!("{} already has files of a workspace", dir.display()));
        let problem = problem.detail(format!("nothing was written; there are {}", present.join(", ")));
        return Err(problem.hint("name another directory: huiliu init DIR").into());
    }
    for (path, text) in &files {
        write(&dir, path, text)?;
    }
    if context.json {
        context.print_json(&files.iter().map(|(path, _)| path).collect::<Vec<_>>())?;
    } else {
        let list: String = files.iter().map(|(path, _)| format!("  {path}\n")).collect();
        context.note(&format!("wrote into {}:\n{list}next: huiliu --dir {} check", dir.display(), dir.display()))?;
    }
    Ok(Exit::Done)
}

/// The files of a workspace made on `today`: its grant runs for a year from then.
fn files(today: NaiveDate) -> Vec<(&'static str, String)> {
    let until = today.with_year(today.year() + 1).unwrap_or(today).pred_opt().unwrap_or(today).max(today);
    let filled = |text: &str| text.replace("{from}", &today.to_string()).replace("{until}", &until.to_string());
    FILES.iter().chain([&CALENDAR, &GITIGNORE]).map(|(path, text)| (*path, filled(text))).collect()
}

/// Writes a new file; one that has appeared meanwhile is left alone.
fn write(dir: &Path, path: &str, text: &str) -> anyhow::Result<()> {
    let file = dir.join(path);
    let cannot = |error: std::io::Error| {
        Problem::error("HL0804", format!("{} cannot be written", file.display())).detail(error.to_string())
    };
    fs::create_dir_all(file.parent().unwrap_or(dir)).map_err(cannot)?;
    let mut open = OpenOptions::new().write(true).create_new(true).open(&file).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Problem::error("HL0803", format!("{} is already there", file.display()))
            .hint("name another directory: huiliu init DIR"),
        _ => cannot(error),
    })?;
    Ok(open.write_all(text.as_bytes()).map_err(cannot)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config;

    fn context(dir: &Path) -> Context {
        let now = chrono::DateTime::parse_from_rfc3339("2028-02-29T04:00:00Z").expect("an instant").to_utc();
        Context { dir: dir.to_owned(), json: false, clock: Clock::Frozen(now) }
    }

    #[test]
    fn a_new_workspace_has_no_problems_and_no_warnings() {
        let dir = tempfile::tempdir().expect("a directory");
        let context = context(dir.path());
        assert_eq!(run(Args { dir: None }, &context).expect("written"), Exit::Done);
        let (workspace, problems) = config::load_and_check(dir.path(), &context.clock);
        assert_eq!(problems, [], "{}", crate::error::render(&problems));
        assert_eq!((workspace.feeds.len(), workspace.mappings.len(), workspace.codes.len()), (1, 1, 1));
        let (_, text) = workspace.mappings.values().next().and_then(|m| m.cases.clone()).expect("cases");
        assert_eq!(config::read_cases("cases.yaml", &text).0.len(), 2);
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("huiliu.yaml"), "mine").expect("written");
        let error = run(Args { dir: None }, &context(dir.path())).expect_err("refused");
        assert_eq!(error.downcast_ref::<Problem>().map(|p| p.code), Some("HL0803"));
        assert!(!dir.path().join("connectors").exists());
        assert_eq!(fs::read_to_string(dir.path().join("huiliu.yaml")).expect("read"), "mine");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_said() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("file"), "").expect("written");
        let args = Args { dir: Some(dir.path().join("file")) };
        let error = run(args, &context(dir.path())).expect_err("refused");
        assert_eq!(error.downcast_ref::<Problem>().map(|p| p.code), Some("HL0804"));
    }
}
