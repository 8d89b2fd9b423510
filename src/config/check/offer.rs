//! What a dataset says about its system's offer: everything its kind of source needs, nothing that another kind would.

use super::super::{Dataset, Endpoint, Extract, Format, Offer, PageBy, Pages, Relation, Table};
use crate::error::Problem;

/// Checks one dataset against its kind of source.
pub(super) fn check(dataset: &Dataset) -> Vec<Problem> {
    let mut problems = match &dataset.offer {
        Offer::Files { path, .. } => of_files(dataset, path),
        Offer::Table(table) => of_table(dataset, table),
        Offer::Changes(table) => of_changes(dataset, table),
        Offer::Endpoint(endpoint) => of_endpoint(dataset, endpoint),
        Offer::Queue { queue, .. } => of_queue(dataset, queue),
    };
    let events = dataset.operation.is_some() || matches!(dataset.extract, Extract::Log | Extract::Cursor { .. });
    if events && dataset.key.is_empty() {
        let message = "rows that change one after the other need a key to be told apart";
        problems.push(Problem::error("HL0143", message).at(dataset.place.clone()).hint("name it: key: […]"));
    }
    problems
}

fn of_files(dataset: &Dataset, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if path.is_empty() {
        problems.push(lacks(dataset, "path", "a dataset of files says which files are its own"));
    }
    if let Extract::Cursor { column, .. } = &dataset.extract {
        let problem = Problem::error("HL0142", "files are taken whole: a cursor has no meaning here");
        problems.push(problem.at(column.place.clone()).hint("write extract: append or extract: log"));
    }
    problems
}

fn of_table(dataset: &Dataset, table: &Table) -> Vec<Problem> {
    let mut problems = Vec::new();
    if matches!(&table.relation.value, Relation::Table(name) if name.is_empty()) {
        problems.push(lacks(dataset, "table", "a dataset of a database says which table, view or query it is"));
    }
    if table.read_flag.is_some() && matches!(table.relation.value, Relation::Query(_)) {
        let problem = Problem::error("HL0142", "a query cannot be marked as read").at(table.relation.place.clone());
        problems.push(problem.hint("name the exchange table: table: …"));
    }
    match &dataset.extract {
        Extract::Full if dataset.key.is_empty() => {
            let message = "a table is read page by page in the order of its key, and this one has none";
            problems.push(Problem::error("HL0143", message).at(dataset.place.clone()).hint("name it: key: […]"));
        }
        Extract::Append => {
            let problem = Problem::error("HL0142", "extract: append does not say which rows of a table are new");
            let hint = "write extract: full, extract: { cursor: COLUMN } or extract: log with read_flag";
            problems.push(problem.at(dataset.place.clone()).hint(hint));
        }
        Extract::Log if table.read_flag.is_none() => {
            let problem =
                Problem::error("HL0142", "extract: log does not say in which order the rows of a table happened");
            let hint = "write extract: { cursor: COLUMN }, or read_flag: { column: COLUMN }";
            problems.push(problem.at(dataset.place.clone()).hint(hint));
        }
        Extract::Full | Extract::Cursor { .. } | Extract::Log => {}
    }
    problems
}

fn of_changes(dataset: &Dataset, table: &Table) -> Vec<Problem> {
    let mut problems = Vec::new();
    let refused =
        |what| Problem::error("HL0142", what).at(table.relation.place.clone()).hint("name the table: table: …");
    match &table.relation.value {
        Relation::Table(name) if name.is_empty() => {
            problems.push(lacks(dataset, "table", "a dataset of a database's log says which table it is"));
        }
        Relation::Table(_) => {}
        Relation::Query(_) => problems.push(refused("a log tells of tables, not of queries")),
    }
    if table.read_flag.is_some() {
        problems.push(refused("a log knows what was taken: nothing is written back").hint("leave out read_flag"));
    }
    if dataset.extract != Extract::Log {
        let problem = Problem::error("HL0142", "what a log tells is what changed, in the order it happened");
        problems.push(problem.at(dataset.place.clone()).hint("write extract: log"));
    }
    problems
}

fn of_endpoint(dataset: &Dataset, endpoint: &Endpoint) -> Vec<Problem> {
    let mut problems = Vec::new();
    if endpoint.path.is_empty() {
        problems.push(lacks(dataset, "request", "a dataset of a service says what is asked for"));
    }
    let texts = endpoint.query.values().chain(endpoint.headers.values()).chain(&endpoint.body).chain([&endpoint.path]);
    let asks = |placeholder: &str| texts.clone().any(|text| text.contains(placeholder));
    let needed = endpoint.pages.as_ref().and_then(|pages| match pages.by {
        PageBy::Page => Some("{page}"),
        PageBy::Offset => Some("{offset}"),
        PageBy::Cursor => Some("{cursor}"),
        PageBy::Link => None,
    });
    if let Some(needed) = needed.filter(|needed| !asks(needed)) {
        let problem =
            Problem::error("HL0142", format!("every page would be asked for alike: no {needed} in the request"));
        problems.push(problem.at(dataset.place.clone()).hint("write it into query, headers, body or path"));
    }
    let counts = |pages: &Pages| matches!(pages.by, PageBy::Page | PageBy::Offset);
    let one_by_one = |pages: &&Pages| pages.at_once > 1 && !counts(pages);
    if endpoint.pages.as_ref().filter(one_by_one).is_some() {
        let problem = Problem::warning("HL0122", "at_once has no effect: each page says where the next one is");
        problems.push(problem.at(dataset.place.clone()));
    }
    let told = |pages: &&Pages| (pages.total.is_some() || pages.short_is_last) && !counts(pages);
    if endpoint.pages.as_ref().filter(told).is_some() {
        let problem = Problem::warning("HL0122", "last and total have no effect: each page says whether one follows");
        problems.push(problem.at(dataset.place.clone()));
    }
    let total = endpoint.pages.as_ref().filter(|pages| pages.total.is_some() && counts(pages));
    if total.is_some() && !matches!(endpoint.format, Format::Json { .. }) {
        let problem = Problem::error("HL0142", "a total is read from JSON, and these answers are something else");
        problems.push(problem.at(dataset.place.clone()).hint("leave total out: pages then end with an empty one"));
    }
    if matches!(dataset.extract, Extract::Cursor { .. }) && !asks("{since}") {
        let problem = Problem::error("HL0142", "the service is not told since when: no {since} in the request");
        problems.push(problem.at(dataset.place.clone()).hint("write it into query, headers, body or path"));
    }
    problems
}

fn of_queue(dataset: &Dataset, queue: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if queue.is_empty() {
        problems.push(lacks(dataset, "queue", "a dataset of a broker says which queue it is"));
    }
    if matches!(dataset.extract, Extract::Full | Extract::Cursor { .. }) {
        let problem =
            Problem::error("HL0142", "messages are what is new: they are neither everything nor asked for since");
        problems.push(problem.at(dataset.place.clone()).hint("write extract: append or extract: log"));
    }
    problems
}

fn lacks(dataset: &Dataset, key: &str, why: &str) -> Problem {
    let problem =
        Problem::error("HL0107", format!("required key \"{key}\" of dataset \"{}\" is missing", dataset.name));
    problem.at(dataset.place.clone()).detail(why.to_owned())
}
