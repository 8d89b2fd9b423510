//! The working days of each year: once, in that year, and nothing that says the opposite of itself.

use chrono::{Datelike as _, NaiveDate, Weekday};

use super::super::calendar::{FILE, PublishedYear};
use super::super::register::Until;
use super::super::yaml::Mark;
use super::super::{At, Workspace};
use super::repeated;
use crate::clock::{Days, Term};
use crate::error::Problem;

pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    let years: Vec<At<String>> = workspace
        .calendar
        .iter()
        .map(|of| At { value: of.year.value.to_string(), place: of.year.place.clone() })
        .collect();
    let mut problems = repeated("year", &years);
    problems.extend(workspace.calendar.iter().flat_map(year));
    problems.extend(missing(workspace));
    problems
}

fn year(of: &PublishedYear) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |days: &At<Days>, why: String| {
        problems.push(Problem::error("HL0164", why).at(days.place.clone()));
    };
    for days in of.off.iter().chain(&of.work) {
        let elsewhere = |day: NaiveDate| i64::from(day.year()) != i64::try_from(of.year.value).unwrap_or(i64::MAX);
        if let Some(day) = [days.value.first, days.value.last].into_iter().find(|day| elsewhere(*day)) {
            wrong(days, format!("{day} is not a day of {}", of.year.value));
        }
    }
    for days in &of.work {
        let off = |day: NaiveDate| of.off.iter().any(|off| off.value.first <= day && day <= off.value.last);
        for day in days.value.iter().take(366) {
            if off(day) {
                wrong(days, format!("{day} is both under `off` and under `work`"));
            } else if !matches!(day.weekday(), Weekday::Sat | Weekday::Sun) {
                wrong(days, format!("{day} is no weekend: it is a working day already"));
            }
        }
    }
    problems
}

/// Terms of days without any calendar to count them by.
fn missing(workspace: &Workspace) -> Option<Problem> {
    if !workspace.calendar.is_empty() {
        return None;
    }
    let counts = |until: &Until| match until {
        Until::Counted(term) if !matches!(term.within.value, Term::Hours(_)) => Some(term.within.place.clone()),
        _ => None,
    };
    let deadlines = workspace.registers.values().flat_map(|register| &register.bonds.deadlines);
    let place = deadlines.filter_map(|deadline| counts(&deadline.until)).next()?;
    let problem = Problem::error("HL0164", format!("{FILE} says of no year which days are working days")).at(place);
    Some(
        problem
            .detail(format!("expected at {}", Mark::START.place(FILE).file))
            .hint("write it, a year from each notice"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::check;

    fn with(days: &str, codes: &[&str]) {
        check("mappings/calendar", "off: [2026-01-01..2026-01-03], work: [2026-01-04]", days, codes);
    }

    #[test]
    fn days_lie_in_their_year_once_and_made_up_days_are_weekends() {
        with("off: [2026-01-01], work: [2026-01-04, 2026-02-14]", &[]);
        with("off: [2025-12-31..2026-01-01]", &["HL0164 3:48"]);
        with("off: [2026-01-01..2026-01-04], work: [2026-01-04]", &["HL0164 3:80"]);
        with("work: [2026-01-05]", &["HL0164 3:49"]);
        with("off: [2026-01-03..2026-01-01]", &["HL0108 3:48"]);
        with("off: [] }\n  - { year: 2026, notice: 2", &["HL0115 4:13"]);
    }
}
