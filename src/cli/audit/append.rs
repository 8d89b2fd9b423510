//! `huiliu audit append`: entries of other programs, in the order in which they come.
//!
//! What has come while one group was made durable is the next group: many writers cost one commit. Guarantees: a line that was
//! answered is durable; order is that of the lines; a line that does not read stops everything behind it.

use std::io::{BufRead as _, Write as _};

use serde::Deserialize;
use tokio::sync::mpsc;

use super::super::workspace::{Access, open};
use super::super::{Context, Exit};
use super::who;
use crate::error::Problem;
use crate::store::Note;

/// Lines in one commit, at most.
const GROUP: usize = 8192;
/// Characters of an action, at most.
const ACTION: usize = 64;
/// Characters of a detail, at most.
const DETAIL: usize = 2000;

/// One line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    action: String,
    detail: String,
}

/// Appends until stdin ends.
pub(super) async fn run(context: &Context) -> anyhow::Result<Exit> {
    let mut engine = open(context, Access::Read).await?.engine;
    let (by, mut taken) = (who(), 0_u64);
    let (sender, mut lines) = mpsc::channel::<std::io::Result<String>>(2 * GROUP);
    // Reading blocks, and ends with stdin or with the process.
    tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut group = Vec::with_capacity(GROUP);
    while lines.recv_many(&mut group, GROUP).await > 0 {
        let at = context.clock.now().timestamp_micros();
        let (mut notes, mut bad) = (Vec::with_capacity(group.len()), None);
        for line in group.drain(..) {
            match noted(at, &line?, &by) {
                Ok(note) => notes.push(note),
                Err(what) => {
                    bad = Some((taken + notes.len() as u64 + 1, what));
                    break;
                }
            }
        }
        engine.store().audit_all(&notes).await?;
        taken += notes.len() as u64;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{taken}")?;
        out.flush()?;
        drop(out);
        if let Some((line, what)) = bad {
            let problem = Problem::error("HL0662", format!("line {line} of what is to be appended: {what}"));
            return Err(problem
                .detail(format!("the {taken} lines before it are durable, nothing behind it was taken"))
                .into());
        }
        engine.checkpoint_audit(false).await?;
    }
    Ok(Exit::Done)
}

/// The entry of one line: its action below `other.`, so that nobody takes it for one of ours.
fn noted(at: i64, line: &str, by: &str) -> Result<Note, &'static str> {
    let line: Line = serde_json::from_str(line).map_err(|_| "it is not {\"action\": …, \"detail\": …}")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    if line.action.is_empty() || line.action.len() > ACTION || !line.action.chars().all(plain) {
        return Err("an action is up to 64 small letters, digits, dots, - and _");
    }
    if line.detail.chars().count() > DETAIL || line.detail.contains(char::is_control) {
        return Err("a detail is up to 2000 characters on one line");
    }
    Ok(Note::new(at, format!("other.{}", line.action), format!("{}, by {by}", line.detail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_an_entry_that_cannot_pass_for_one_of_ours() {
        let note = noted(1, r#"{"action":"console.sign_in","detail":"account 7 from 10.0.0.9"}"#, "console").unwrap();
        assert_eq!(
            (&*note.action, note.detail.as_str()),
            ("other.console.sign_in", "account 7 from 10.0.0.9, by console")
        );
        for bad in [
            "",
            "{}",
            r#"{"action":"","detail":"x"}"#,
            r#"{"action":"Feed.Release","detail":"x"}"#,
            r#"{"action":"a","detail":"x\ny"}"#,
            r#"{"action":"a","detail":"x","at":1}"#,
        ] {
            assert!(noted(1, bad, "x").is_err(), "{bad}");
        }
        let long = format!(r#"{{"action":"a","detail":"{}"}}"#, "长".repeat(DETAIL + 1));
        assert!(noted(1, &long, "x").is_err());
    }
}
