//! What every verb is given, how it prints, and how it may end.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::clock::Clock;
use crate::error::{Problem, render};

/// What every verb is given.
#[derive(Debug, Clone)]
pub struct Context {
    /// The workspace (`--dir`).
    pub dir: PathBuf,
    /// Whether stdout is for programs (`--json`).
    pub json: bool,
    /// The present.
    pub clock: Clock,
}

/// How a command ended. The numbers are documented and stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed.
    Failed,
    /// 2: the arguments make no sense.
    Usage,
    /// 3: done, but something is held or quarantined and waits for a person, or an edit needs one before it is merged.
    Held,
    /// 4: a ledger does not balance; nothing was moved.
    Unbalanced,
}

impl Exit {
    /// The number the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Held => 3,
            Self::Unbalanced => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Context {
    /// Data for stdout: text that ends with a line break.
    pub fn print(&self, text: &str) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// One value as indented JSON on stdout.
    pub fn print_json(&self, value: &impl serde::Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        self.print(&format!("{text}\n"))
    }

    /// A line for the person at the terminal, on stderr.
    pub fn note(&self, line: &str) -> io::Result<()> {
        writeln!(anstream::stderr().lock(), "{line}")
    }

    /// Problems: for people on stderr, with `--json` as an array on stdout.
    pub fn report(&self, problems: &[Problem]) -> io::Result<()> {
        if self.json {
            return self.print_json(&problems);
        }
        let mut err = anstream::stderr().lock();
        for line in render(problems).lines() {
            writeln!(err, "{}", paint(line))?;
        }
        Ok(())
    }
}

/// Colours the first word of a rendered problem; anstream strips it where nobody sees colours.
fn paint(line: &str) -> String {
    let coloured = |colour: AnsiColor, head: &str, rest: &str| {
        let style = Style::new().fg_color(Some(colour.into())).bold();
        format!("{style}{head}{style:#}{rest}")
    };
    match line.split_once("]: ") {
        Some((head, rest)) if head.starts_with("error[") => {
            coloured(AnsiColor::Red, &format!("{head}]"), &format!(": {rest}"))
        }
        Some((head, rest)) if head.starts_with("warning[") => {
            coloured(AnsiColor::Yellow, &format!("{head}]"), &format!(": {rest}"))
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_severity_is_coloured_and_the_text_is_not() {
        assert_eq!(paint("error[HL0106]: unknown key"), "\u{1b}[1m\u{1b}[31merror[HL0106]\u{1b}[0m: unknown key");
        assert_eq!(paint("  Detail: error[x]: y"), "  Detail: error[x]: y");
    }
}
