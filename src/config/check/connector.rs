//! A connector by itself: columns that its datasets name, roots it cannot reach, settings without effect.

use super::super::names::confusable;
use super::super::{At, Cdc, Connector, Database, Dataset, Extract, Format, Http, Inbox, SourceKind};
use super::{Ground, dangling, repeated};
use super::{files, offer};
use crate::error::Problem;

/// Checks one connector.
pub(super) fn check(connector: &Connector, ground: &Ground<'_>) -> Vec<Problem> {
    let mut problems = match &connector.source {
        _ if ground.is_unset(address(&connector.source)) => Vec::new(), // what it would be is not known
        SourceKind::Files(files) => files::of_source(files),
        SourceKind::Database(database) => of_database(database, DATABASES),
        SourceKind::Cdc(cdc) => of_log(cdc),
        SourceKind::Http(http) => of_service(http),
        SourceKind::Amqp(inbox) => of_broker(inbox),
    };
    let named = connector.datasets.values().map(|dataset| (dataset.name.as_str(), dataset.place.clone()));
    problems.extend(confusable("dataset", named, Problem::error));
    if ground.trusts_connector(&connector.system) {
        let datasets = connector.datasets.values();
        problems.extend(datasets.clone().flat_map(|dataset| of_dataset(&connector.system, dataset)));
        problems.extend(datasets.clone().flat_map(offer::check));
        if let SourceKind::Files(source) = &connector.source
            && !ground.is_unset(&source.root)
        {
            problems.extend(datasets.flat_map(|dataset| files::of_dataset(source, dataset)));
        }
    }
    problems
}

/// Where the system is.
const fn address(source: &SourceKind) -> &At<String> {
    match source {
        SourceKind::Files(files) => &files.root,
        SourceKind::Database(database) | SourceKind::Cdc(Cdc { database, .. }) => &database.url,
        SourceKind::Http(http) => &http.base,
        SourceKind::Amqp(inbox) => &inbox.url,
    }
}

fn of_broker(inbox: &Inbox) -> Vec<Problem> {
    let url = &inbox.url;
    match url.value.split_once("://") {
        Some(("amqp" | "amqps", rest)) if rest.split('/').next().unwrap_or(rest).contains('@') => {
            let problem = Problem::error("HL0144", "the url of this broker says who we are").at(url.place.clone());
            vec![problem.hint("write user: env:NAME and password: env:NAME beside it, and the url without them")]
        }
        Some(("amqp" | "amqps", _)) => Vec::new(),
        _ => {
            vec![Problem::error("HL0109", "the url of this broker is no amqp: or amqps: address").at(url.place.clone())]
        }
    }
}

fn of_service(http: &Http) -> Vec<Problem> {
    let base = &http.base;
    match base.value.split_once("://") {
        Some(("http" | "https", rest)) if rest.split('/').next().unwrap_or(rest).contains('@') => {
            let problem = Problem::error("HL0144", "the base of this service says who we are").at(base.place.clone());
            vec![problem.hint("write auth: { kind: basic, user: env:NAME, password: env:NAME }")]
        }
        Some(("http" | "https", _)) => Vec::new(),
        _ => vec![
            Problem::error("HL0109", "the base of this service is no http: or https: address").at(base.place.clone()),
        ],
    }
}

/// What the url of a database may begin with.
const DATABASES: &[&str] = &["postgres", "postgresql", "mysql", "mariadb", "sqlite", "odbc"];

fn of_log(cdc: &Cdc) -> Vec<Problem> {
    let mut problems = of_database(&cdc.database, &["postgres", "postgresql"]);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !cdc.slot.chars().all(plain) || cdc.slot.len() > 20 {
        let problem = Problem::error("HL0114", "slots of PostgreSQL cannot be called so");
        let problem = problem.at(cdc.database.url.place.clone());
        problems.push(problem.detail("expected a-z, 0-9 and _, at most 20 of them"));
    }
    problems
}

fn of_database(database: &Database, schemes: &[&str]) -> Vec<Problem> {
    let url = &database.url;
    let mut problems = Vec::new();
    let scheme = url.value.split_once(':').map_or("", |(scheme, _)| scheme);
    if !schemes.contains(&scheme) {
        let problem = Problem::error("HL0109", "the url of this database has an unknown scheme").at(url.place.clone());
        problems.push(problem.detail(format!("expected one of {}", schemes.join(", "))));
    }
    if url.value.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().unwrap_or(rest).contains('@')) {
        let problem = Problem::error("HL0144", "the url of this database says who we are").at(url.place.clone());
        problems.push(problem.hint("write user: env:NAME and password: env:NAME beside it, and the url without them"));
    }
    if scheme == "odbc" {
        problems.extend(of_string(database));
    }
    problems
}

/// What an ODBC connection string must not say, and what has no effect beside it.
fn of_string(database: &Database) -> Option<Problem> {
    let keys = || database.url.value.split([':', ';']).filter_map(|part| part.split_once('='));
    let ours = ["uid", "pwd", "user", "username", "password"];
    if keys().any(|(key, _)| ours.contains(&key.trim().to_lowercase().as_str())) {
        let problem = Problem::error("HL0144", "the connection string of this database says who we are");
        let problem = problem.at(database.url.place.clone());
        return Some(
            problem.hint("write user: env:NAME and password: env:NAME beside it, and the string without them"),
        );
    }
    database.ca.as_ref().map(|_| {
        let problem = Problem::error("HL0122", "ca has no effect: an ODBC driver trusts what its own settings say");
        let problem = problem.at(database.url.place.clone());
        problem.hint("write the driver's words into the connection string, such as SSLmode=verify-full")
    })
}

fn of_dataset(system: &str, dataset: &Dataset) -> Vec<Problem> {
    let mut problems = repeated("key column", &dataset.key);
    let columns = || dataset.columns.iter().map(|column| column.name.as_str());
    let named = dataset.columns.iter().map(|column| (column.name.as_str(), column.place.clone()));
    problems.extend(confusable("column", named, Problem::warning));
    let name = format!("{system}.{}", dataset.name);
    for column in dataset.named_columns() {
        if !columns().any(|name| name == column.value) {
            let what = format!("column \"{}\" is not in the contract of \"{name}\"", column.value);
            problems.push(dangling("HL0137", what, column, columns()));
        }
    }
    if dataset.columns.is_empty() {
        let problem = Problem::error("HL0138", format!("the contract of \"{name}\" has no columns"));
        problems.push(problem.at(dataset.place.clone()));
    }
    if dataset.extract == Extract::Full && dataset.key.is_empty() && dataset.missing.retract {
        let message = format!("rows of \"{name}\" have no key, so a corrected row reads as one gone and one new");
        let problem = Problem::warning("HL0122", message).at(dataset.place.clone());
        problems.push(problem.hint("name the columns that identify a row: key: […]"));
    }
    let with_path = dataset.columns.iter().filter(|column| column.path.is_some());
    for column in with_path.filter(|_| !dataset.format().is_some_and(Format::has_paths)) {
        let message = format!("path of column \"{}\" has no effect: rows of this format have no inside", column.name);
        problems.push(Problem::warning("HL0122", message).at(column.place.clone()));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::check;

    const FILE: &str = "connectors/";

    #[test]
    fn columns_that_a_dataset_names_are_in_its_contract() {
        let problems = check(FILE, "key: [统一社会信用代码]", "key: [统一社会信用码]", &["HL0137 13:11"]);
        assert_eq!(problems[0].hint.as_deref(), Some("did you mean 统一社会信用代码?"));
        check(FILE, "    extract: full", "    updated: 更新时间\n    extract: full", &["HL0137 14:14"]);
        check(FILE, "key: [统一社会信用代码]", "key: [统一社会信用代码, 统一社会信用代码]", &["HL0115 13:21"]);
    }

    #[test]
    fn settings_without_effect_are_warned_about() {
        check(FILE, "企业名称: text", "企业名称: { type: text, path: a/b }", &["HL0122 18:7 warning"]);
        check(FILE, "    key: [统一社会信用代码]", "    # no key", &["HL0122 10:3 warning"]);
    }

    #[test]
    fn columns_that_differ_only_in_width_are_warned_about() {
        check(FILE, "企业名称: text", "ID: text\n      ＩＤ: text", &["HL0115 19:7 warning"]);
    }

    #[test]
    fn a_connection_string_says_neither_who_we_are_nor_whom_we_trust() {
        const FILES: &str = "  kind: files\n  root: out";
        let odbc = |more: &str| format!("  kind: database\n  url: \"odbc:DSN=front{more}");
        check(FILE, FILES, &odbc(";Port=1\""), &["HL0107 10:3"]);
        check(FILE, FILES, &odbc(";Uid=x\""), &["HL0144 7:8", "HL0107 10:3"]);
        check(FILE, FILES, &odbc(";PWD =x\""), &["HL0144 7:8", "HL0107 10:3"]);
        check(FILE, FILES, &odbc("\"\n  ca: ca.pem"), &["HL0122 7:8", "HL0107 11:3"]);
    }

    #[test]
    fn what_a_log_cannot_tell_is_refused() {
        const FILES: &str = "  kind: files\n  root: out";
        let cdc = "  kind: cdc\n  url: postgres://x/y";
        let problems = check(FILE, FILES, cdc, &["HL0107 10:3", "HL0142 10:3"]);
        assert!(problems[0].message.contains("table") && problems[1].message.contains("log"), "{problems:?}");
        check(FILE, FILES, "  kind: cdc\n  url: mysql://x/y", &["HL0109 7:8", "HL0107 10:3", "HL0142 10:3"]);
        check(FILE, FILES, &format!("{cdc}\n  slot: Prod-1"), &["HL0114 7:8", "HL0107 11:3", "HL0142 11:3"]);
        check(FILE, FILES, &format!("{cdc}\n  slots: x"), &["HL0106 8:3"]);
    }

    #[test]
    fn an_empty_contract_is_an_error() {
        let columns =
            "{ type: text, required: true }\n      企业名称: text\n      注册资本: text\n      成立日期: text\n";
        let from = format!(
            "columns:                           # the contract: what the department promised\n      统一社会信用代码: {columns}"
        );
        check(
            FILE,
            &from,
            "columns: {}\n",
            &["HL0138 10:3", "HL0137 13:11", "HL0141 3:9", "HL0141 3:39", "HL0141 3:55"],
        );
    }

    #[test]
    fn roots_with_unknown_schemes_are_refused() {
        check(FILE, "root: out", "root: gopher://x", &["HL0109 7:9"]);
        check(FILE, "root: out", "root: sftp://a@x/out\n  key: env:SET", &["HL0144 7:9", "HL0353 7:9"]);
        check(FILE, "root: out", "root: sftp://x/out\n  host_key: SHA256:x", &["HL0107 7:9"]);
        check(FILE, "root: out", "root: out\n  host_key: SHA256:x", &["HL0122 8:13 warning"]);
        check(FILE, "    drift:", "    signature: required\n    drift:", &["HL0107 10:3"]);
        check(FILE, "root: out", "root: file:///srv/out", &[]);
    }
}
