//! `huiliu.yaml`: stores and brokers that nobody can talk to.

use super::super::yaml::Mark;
use super::Ground;
use crate::error::Problem;

/// Checks the installation.
pub(super) fn check(ground: &Ground<'_>) -> Vec<Problem> {
    if !ground.trusts("huiliu.yaml") {
        return Vec::new();
    }
    store(ground)
        .into_iter()
        .chain(broker(ground))
        .map(|problem| problem.at(Mark::START.place("huiliu.yaml")))
        .collect()
}

fn store(ground: &Ground<'_>) -> Option<Problem> {
    let scheme = ground.workspace.installation.store.split(':').next().unwrap_or_default();
    if ["sqlite", "postgres", "postgresql"].contains(&scheme) {
        return None;
    }
    let problem = Problem::error("HL0109", "the store of this installation is of no known kind");
    Some(problem.hint(
        "write store: postgres://user:password@host/database, best as a reference: env:HUILIU_STORE; or sqlite:PATH",
    ))
}

/// Only the schemes: what they are followed by is a secret, and wrong in ways that only the broker can tell.
fn broker(ground: &Ground<'_>) -> Vec<Problem> {
    let Some(broker) = &ground.workspace.installation.broker else { return Vec::new() };
    let mut problems = Vec::new();
    if !["amqp://", "amqps://"].iter().any(|scheme| broker.url.starts_with(scheme)) {
        let problem = Problem::error("HL0146", "the broker's address does not begin with amqps:// or amqp://");
        problems
            .push(problem.hint("write amqps://user:password@host:5671/vhost, best as a reference: env:HUILIU_BROKER"));
    }
    let odd = broker.api.as_ref().filter(|api| !["http://", "https://"].iter().any(|scheme| api.starts_with(scheme)));
    if odd.is_some() {
        let problem =
            Problem::error("HL0146", "the address of the broker's management API does not begin with http(s)://");
        problems.push(problem.hint("write https://host:15671, or leave broker_api out"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::{load_and_check, put, summary, write};

    #[test]
    fn a_store_is_sqlite_or_postgresql() {
        let dir = write();
        for (store, codes) in [
            ("sqlite:x.db", &[][..]),
            ("postgres://u:p@h/d", &[]),
            ("postgresql://u:p@h/d", &[]),
            ("mysql://u:p@h/d", &["HL0109 1:1"]),
        ] {
            put(dir.path(), "huiliu.yaml", format!("version: 1\nstore: {store}\n").as_bytes());
            assert_eq!(summary(&load_and_check(dir.path()).1), codes, "{store}");
        }
    }

    #[test]
    fn a_feed_to_rabbitmq_needs_a_broker_that_reads_as_one() {
        let dir = write();
        let feed = "pipelines/feeds/housing.enterprise.yaml";
        let text = std::fs::read_to_string(dir.path().join(feed)).unwrap();
        put(dir.path(), feed, text.replace("outlet: spool", "outlet: rabbitmq").as_bytes());
        let problems = load_and_check(dir.path()).1;
        assert_eq!(problems.iter().map(|p| p.code).collect::<Vec<_>>(), ["HL0145"]);
        let at = problems[0].place.as_ref().unwrap();
        assert!(at.file == feed && at.line > 1 && at.column > 1, "{at:?}");
        put(dir.path(), "huiliu.yaml", b"version: 1\nbroker: env:SET\nbroker_api: ftp://x\n");
        assert_eq!(summary(&load_and_check(dir.path()).1), ["HL0146 1:1", "HL0146 1:1"]);
        put(dir.path(), "huiliu.yaml", b"version: 1\nbroker: amqp://u:top-secret@h/v\n");
        let (workspace, problems) = load_and_check(dir.path());
        assert_eq!(problems, []);
        assert!(!format!("{:?}", workspace.installation).contains("top-secret"));
    }
}
