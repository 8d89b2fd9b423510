//! `huiliu.yaml`: stores and brokers that nobody can talk to.

use super::super::yaml::Mark;
use super::super::{SigningKey, TokenUri};
use super::Ground;
use crate::error::Problem;

/// Checks the installation.
pub(super) fn check(ground: &Ground<'_>) -> Vec<Problem> {
    if !ground.trusts("huiliu.yaml") || ground.workspace.unset_in("huiliu.yaml").is_some() {
        return Vec::new();
    }
    store(ground)
        .into_iter()
        .chain(broker(ground))
        .chain(timestamps(ground))
        .chain(token(ground))
        .map(|problem| problem.at(Mark::START.place("huiliu.yaml")))
        .collect()
}

fn store(ground: &Ground<'_>) -> Option<Problem> {
    let store = &ground.workspace.installation.store;
    let problem = match store.split(':').next().unwrap_or_default() {
        "sqlite" => return None,
        "postgres" | "postgresql" => {
            let error = crate::postgres::options_of_database(store).err()?;
            Problem::error("HL0109", format!("the store of this installation cannot be asked: {error}"))
        }
        _ => Problem::error("HL0109", "the store of this installation is of no known kind"),
    };
    Some(problem.hint("write store: postgres://USER@HOST/DATABASE or store: sqlite:PATH, or leave it out"))
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

/// A key that is meant to be on a token must be named so that it can be found.
fn token(ground: &Ground<'_>) -> Option<Problem> {
    let SigningKey::File(path) = &ground.workspace.installation.signing.as_ref()?.key else { return None };
    // Joined to the workspace, as every path is.
    let text = path.strip_prefix(std::path::absolute(&ground.workspace.dir).ok()?).ok()?.to_str()?;
    let why = TokenUri::is_meant_by(text).then(|| TokenUri::parse(text).err())??;
    let problem = Problem::error("HL0780", format!("signing.key does not name a key on a token: {why}"));
    Some(problem.hint("write pkcs11:token=LABEL;object=KEY?module-path=/usr/lib/….so"))
}

/// A time-stamping authority must be one that can be asked, and somebody must be believed for its answers.
fn timestamps(ground: &Ground<'_>) -> Vec<Problem> {
    let installation = &ground.workspace.installation;
    let Some(asked) = &installation.timestamps else { return Vec::new() };
    let mut problems = Vec::new();
    if !["http://", "https://"].iter().any(|scheme| asked.url.starts_with(scheme)) {
        let problem =
            Problem::error("HL0770", "the address of the time-stamping authority does not begin with http(s)://");
        problems.push(problem.hint("write timestamps: { url: \"https://tsa.example.cn/tsa\" }"));
    }
    if installation.trust.timestamps.is_none() {
        let problem = Problem::error("HL0770", "nobody is believed for the tokens of the time-stamping authority");
        problems.push(problem.hint("write trust: { timestamps: FILE }, the authority's roots in PEM"));
    }
    let odd = |policy: &&String| {
        let arcs: Vec<&str> = policy.split('.').collect();
        arcs.len() < 2 || arcs.iter().any(|arc| arc.is_empty() || !arc.bytes().all(|b| b.is_ascii_digit()))
    };
    if asked.policy.as_ref().filter(odd).is_some() {
        let problem = Problem::error("HL0770", "the policy of time stamps is not an object identifier");
        problems.push(problem.hint("write it as numbers: 1.2.156.10197.6"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::{load_and_check, put, summary, write};
    use super::super::super::{SigningKey, TokenUri};

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

    #[test]
    fn a_key_on_a_token_is_named_so_that_it_can_be_found() {
        let dir = write();
        let check = |key: &str| {
            let yaml = format!("version: 1\ntoken_pin: env:SET\nsigning: {{ key: \"{key}\", chain: a.pem }}\n");
            put(dir.path(), "huiliu.yaml", yaml.as_bytes());
            let (workspace, problems) = load_and_check(dir.path());
            (workspace.installation.signing.unwrap().key, summary(&problems))
        };
        let uri = "pkcs11:token=t;object=k?module-path=/x.so";
        assert_eq!(check(uri), (SigningKey::Token(TokenUri::parse(uri).unwrap()), Vec::<String>::new()));
        assert_eq!(check("pkcs11:token=t;object=k").1, ["HL0780 1:1"]);
        assert_eq!(check("pkcs11:token=t;pin-value=1?module-path=/x.so").1, ["HL0780 1:1"]);
        assert!(
            matches!(check("a.key"), (SigningKey::File(path), problems) if path.is_absolute() && problems.is_empty())
        );
    }

    #[test]
    fn a_time_stamping_authority_is_one_that_can_be_asked_and_believed() {
        let dir = write();
        let check = |timestamps: &str, trust: &str| {
            let yaml = format!("version: 1\ntimestamps: {{ {timestamps} }}\n{trust}");
            put(dir.path(), "huiliu.yaml", yaml.as_bytes());
            let (workspace, problems) = load_and_check(dir.path());
            assert!(!format!("{:?}", workspace.installation).contains("top-secret"));
            (workspace.installation.timestamps, summary(&problems))
        };
        let trust = "trust: { timestamps: tsa.pem }\n";
        let (read, problems) = check("url: \"https://u:top-secret@tsa/\", within: 2h, policy: \"1.2.3\"", trust);
        assert_eq!(problems, [""; 0]);
        let read = read.unwrap();
        assert_eq!(
            (read.within.as_secs(), read.patience.as_secs(), read.policy.as_deref()),
            (7_200, 10, Some("1.2.3"))
        );
        assert_eq!(check("url: tsa.example", trust).1, ["HL0770 1:1"]);
        assert_eq!(check("url: \"http://tsa\"", "").1, ["HL0770 1:1"]);
        for policy in ["\"1\"", "\"1..2\"", "best", "\"1.2.x\""] {
            assert_eq!(check(&format!("url: \"http://tsa\", policy: {policy}"), trust).1, ["HL0770 1:1"], "{policy}");
        }
    }
}
