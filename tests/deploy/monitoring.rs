//! Prometheus and Grafana: rules parse and fire when they should, and every metric they name is one that exists.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use super::{passes, program, yaml};

const ALERTS: &str = "deploy/prometheus/alerts.yml";

/// The metrics of `metrics.txt`; a histogram under the names that it is scraped with.
fn listed() -> BTreeSet<String> {
    let text = fs::read_to_string("deploy/prometheus/metrics.txt").unwrap();
    let mut names = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        names.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
    }
    names
}

/// What in a text reads as a metric of ours.
fn mentioned(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("huiliu_")).map(str::to_owned).collect()
}

/// Every value under a key, at any depth.
fn values<'a>(json: &'a Json, key: &str, out: &mut Vec<&'a str>) {
    match json {
        Json::Object(map) => {
            out.extend(map.get(key).and_then(Json::as_str));
            map.values().for_each(|inner| values(inner, key, out));
        }
        Json::Array(list) => list.iter().for_each(|inner| values(inner, key, out)),
        _ => {}
    }
}

fn rules() -> Vec<Json> {
    let groups = yaml(Path::new(ALERTS)).remove(0);
    let groups = groups["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn dashboard() -> Json {
    serde_json::from_str(&fs::read_to_string("deploy/grafana/huiliu.json").unwrap()).unwrap()
}

#[test]
fn prometheus_reads_its_configuration_and_every_alert_fires_when_it_should() {
    passes(program("promtool").args(["check", "config", "deploy/prometheus/prometheus.yml"]));
    passes(program("promtool").args(["test", "rules", "deploy/prometheus/alerts.test.yml"]));
    let tests = fs::read_to_string("deploy/prometheus/alerts.test.yml").unwrap();
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        let prefix = ["HuiliuFeedLag", "Rabbitmq"].into_iter().find(|prefix| name.starts_with(prefix)).unwrap_or(name);
        assert!(tests.contains(prefix), "{name} is not tried");
    }
}

#[test]
fn every_alert_says_in_chinese_what_is_wrong_and_names_a_page_that_says_what_to_do() {
    for rule in rules() {
        let (name, notes) = (&rule["alert"], &rule["annotations"]);
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        let (chinese, english) = notes["summary"].as_str().unwrap().split_once(" — ").unwrap();
        assert!(chinese.contains(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)), "{name}: {chinese}");
        assert!(english.is_ascii(), "{name}: {english}");
        let page = notes["runbook"].as_str().unwrap();
        let text = fs::read_to_string(page).unwrap_or_else(|error| panic!("{name}: {page}: {error}"));
        assert!(text.contains(name.as_str().unwrap()), "{page} does not mention {name}");
    }
}

#[test]
fn alerts_and_dashboard_name_metrics_that_exist_and_forget_none() {
    let listed = listed();
    let watched = [ALERTS, "deploy/grafana/huiliu.json"].map(|path| mentioned(&fs::read_to_string(path).unwrap()));
    let watched: BTreeSet<String> = watched.into_iter().flatten().collect();
    let unknown: Vec<_> = watched.difference(&listed).collect();
    assert!(unknown.is_empty(), "not in metrics.txt: {unknown:?}");
    // Of a histogram, the buckets say the rest.
    let unwatched: Vec<_> =
        listed.difference(&watched).filter(|name| !name.ends_with("_sum") && !name.ends_with("_count")).collect();
    assert!(unwatched.is_empty(), "nobody looks at {unwatched:?}");
}

#[test]
fn the_daemon_tells_exactly_the_metrics_of_the_list() {
    let source = fs::read_to_string("src/serve/metrics.rs").unwrap();
    let literals = source.split('"').skip(1).step_by(2).filter(|text| text.starts_with("huiliu_"));
    let told: BTreeSet<&str> = literals.collect();
    let list = fs::read_to_string("deploy/prometheus/metrics.txt").unwrap();
    let names = list.lines().filter_map(|line| line.split_whitespace().next().filter(|word| *word != "#"));
    // The library writes the ending of a counter itself.
    let listed: BTreeSet<&str> = names.map(|name| name.strip_suffix("_total").unwrap_or(name)).collect();
    assert_eq!(told, listed);
}

#[test]
fn every_query_of_the_dashboard_is_promql_and_every_panel_has_a_chinese_title() {
    let dashboard = dashboard();
    let mut queries = Vec::new();
    values(&dashboard, "expr", &mut queries);
    assert!(queries.len() > 20, "{}", queries.len());
    let mut rules = String::from("groups:\n  - name: dashboard\n    rules:\n");
    for (n, query) in queries.iter().enumerate() {
        let query = query.replace("$__rate_interval", "5m").replace("$pipeline", ".*").replace("$feed", ".*");
        writeln!(rules, "      - {{ record: q{n}, expr: {} }}", Json::from(query)).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.yml");
    fs::write(&path, rules).unwrap();
    passes(program("promtool").args(["check", "rules"]).arg(path));
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(title.starts_with(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)), "{title}");
    }
}

#[test]
fn grafana_is_provisioned_with_what_compose_mounts() {
    let sources = &yaml(Path::new("deploy/grafana/provisioning/datasources/prometheus.yaml"))[0];
    let own = &sources["datasources"][0];
    let mut used = Vec::new();
    let dashboard = dashboard();
    values(&dashboard["panels"], "uid", &mut used);
    assert!(!used.is_empty() && used.iter().all(|uid| *uid == own["uid"]), "{used:?}");
    let compose = fs::read_to_string("deploy/compose/compose.yaml").unwrap();
    let providers = &yaml(Path::new("deploy/grafana/provisioning/dashboards/huiliu.yaml"))[0];
    let shown = providers["providers"][0]["options"]["path"].as_str().unwrap();
    assert!(compose.contains(&format!("../grafana/huiliu.json:{shown}/huiliu.json:ro")), "{shown}");
    // Prometheus scrapes what answers: the port of huiliu.yaml, under the job's name that alerts look for.
    let scraped = &yaml(Path::new("deploy/prometheus/prometheus.yml"))[0]["scrape_configs"][0];
    assert_eq!(
        (&scraped["job_name"], &scraped["static_configs"][0]["targets"][0]),
        (&"huiliu".into(), &"huiliu:7070".into())
    );
    assert_eq!(yaml(Path::new("deploy/huiliu.yaml"))[0]["serve"]["listen"], "0.0.0.0:7070");
}
