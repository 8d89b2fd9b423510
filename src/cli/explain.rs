//! `huiliu explain CODE`: the page behind an error code; without a code, the list of them.

use super::{Context, Exit};
use crate::error::{PAGES, Problem, nearest, page};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The code, as an error shows it: HL0106; none lists all codes
    pub code: Option<String>,
}

/// Prints one page, or the list of all of them.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.code {
        None => list(context),
        Some(code) => explain(&code, context),
    }
}

fn explain(code: &str, context: &Context) -> anyhow::Result<Exit> {
    let page = page(code).ok_or_else(|| unknown(code))?;
    if context.json {
        context.print_json(&serde_json::json!({ "code": page.code, "title": page.title(), "page": page.text }))?;
    } else {
        context.print(page.text)?;
    }
    Ok(Exit::Done)
}

fn list(context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        let pages: Vec<_> =
            PAGES.iter().map(|page| serde_json::json!({ "code": page.code, "title": page.title() })).collect();
        context.print_json(&pages)?;
    } else {
        let lines: String = PAGES.iter().map(|page| format!("{}  {}\n", page.code, page.title())).collect();
        context.print(&lines)?;
    }
    Ok(Exit::Done)
}

fn unknown(code: &str) -> Problem {
    let problem = Problem::error("HL0802", format!("there is no error code {code}"));
    match nearest(&code.to_uppercase(), PAGES.iter().map(|page| page.code)) {
        Some(near) => problem.hint(format!("did you mean {near}? `huiliu explain` lists all codes")),
        None => problem.hint("`huiliu explain` lists all codes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_names_a_near_one() {
        let hint = |code| unknown(code).hint.unwrap_or_default();
        assert!(hint("hl016").starts_with("did you mean HL01"), "{}", hint("hl016"));
        assert_eq!(hint("nonsense"), "`huiliu explain` lists all codes");
    }
}
