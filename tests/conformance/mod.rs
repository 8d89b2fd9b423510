//! What every kind of source has to do, the same for all of them and against real servers: one scenario, one test a kind.
//!
//! A kind is described by its [`Department`]: how rows are put out there. What a kind does not do it says in words; the
//! table of both stands in `docs/sources.md`, written by `HUILIU_BLESS=1 cargo test conformance::the_table`.

mod departments;

use std::collections::BTreeMap;

use async_trait::async_trait;
use huiliu::config::Workspace;
use huiliu::decode::Position;
use huiliu::engine::RunReport;
use huiliu::source::{self, Item, Source};

use crate::databases::read;
use crate::runs::valid_code;
use crate::support::proxy::Proxy;
use crate::support::{Small, enterprises};

/// Enterprises that a department has: number and name.
type Rows = Vec<(u64, String)>;

/// A department's system.
#[async_trait]
pub trait Department: Send + Sync {
    /// These are the rows now: as the next whole extract, or, where a system tells events, as such, for each of them.
    async fn has(&self, turn: u32, rows: &[(u64, String)]);
    /// Whether a pull that broke off begins anew: its server promises nothing about what comes after a row.
    fn begins_anew(&self) -> bool {
        false
    }
}

/// A department, a workspace that takes from it, and what lies between them.
pub struct Stand {
    small: Small,
    department: Box<dyn Department>,
    way: Option<Proxy>,
}

const SCENARIOS: [(&str, &str); 8] = [
    ("resume", "a pull that stopped goes on, or begins anew, and has every row once"),
    ("settle", "what is taken is not taken again"),
    ("reconnect", "a server that is away is tried again later, and nothing is lost"),
    ("slow", "what comes in small pieces is the same"),
    ("cut", "a connection that breaks in the middle loses nothing"),
    ("duplicate", "the same rows once more change nothing"),
    ("empty", "nothing to take is no error"),
    ("shrink", "a whole extract that lost most of its rows is held"),
];

macro_rules! conformance {
    ($($(#[$when:meta])? $kind:ident: $($scenario:ident)*;)*) => {
        $($(#[$when])? mod $kind {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                super::$scenario(super::departments::$kind().await).await;
            })*
        })*
        /// Which kind runs which scenarios.
        const RUN: &[(&str, &[&str])] = &[$((stringify!($kind), &[$(stringify!($scenario)),*])),*];
    };
}

conformance! {
    local: resume settle duplicate empty shrink;
    sftp: resume settle reconnect slow cut duplicate empty shrink;
    ftp: resume settle reconnect slow cut duplicate empty shrink;
    ftps: resume settle reconnect slow cut duplicate empty shrink;
    webdav: resume settle reconnect slow cut duplicate empty shrink;
    s3: resume settle reconnect slow cut duplicate empty shrink;
    postgres: resume settle reconnect slow cut duplicate empty shrink;
    mariadb: resume settle reconnect slow cut duplicate empty shrink;
    sqlite: resume settle duplicate empty shrink;
    #[cfg(feature = "odbc")]
    odbc: resume settle reconnect slow cut duplicate empty shrink;
    http: resume settle reconnect slow cut duplicate empty shrink;
    amqp: resume settle reconnect slow cut duplicate empty;
    cdc: resume settle reconnect slow cut duplicate empty;
}

/// What has no meaning for a kind, and why.
const WITHOUT: &[(&[&str], &[&str], &str)] = &[
    (&["local", "sqlite"], &["reconnect", "slow", "cut"], "a file of this machine has no connection"),
    (&["amqp"], &["shrink"], "a message says nothing about rows that are in none"),
    (&["cdc"], &["shrink"], "a row that is gone is an event; only a copy that is made anew is compared (HL0383)"),
];

#[test]
fn the_table_says_what_every_kind_does_and_why_not() {
    let mut text = String::from("| |");
    SCENARIOS.iter().for_each(|(scenario, _)| text.push_str(&format!(" {scenario} |")));
    text.push_str(&format!("\n|---|{}\n", "---|".repeat(SCENARIOS.len())));
    for (kind, runs) in RUN {
        text.push_str(&format!("| `{kind}` |"));
        for (scenario, _) in SCENARIOS {
            let without = |(kinds, scenarios, _): &&(&[&str], &[&str], &str)| {
                kinds.contains(kind) && scenarios.contains(&scenario)
            };
            let why = WITHOUT.iter().position(|one| without(&one));
            assert_eq!(runs.contains(&scenario), why.is_none(), "{kind} {scenario}: run it, or say why not");
            text.push_str(&why.map_or_else(|| " ✓ |".to_owned(), |why| format!(" {} |", why + 1)));
        }
        text.push('\n');
    }
    text.push('\n');
    for (i, (_, _, why)) in WITHOUT.iter().enumerate() {
        text.push_str(&format!("{}. {why}\n", i + 1));
    }
    text.push('\n');
    SCENARIOS.iter().for_each(|(scenario, says)| text.push_str(&format!("- *{scenario}*: {says}\n")));
    let path = "docs/sources.md";
    let page = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- conformance -->\n", "<!-- /conformance -->");
    let (before, rest) = page.split_once(begin).unwrap();
    let (stands, after) = rest.split_once(end).unwrap();
    if std::env::var_os("HUILIU_BLESS").is_some() {
        std::fs::write(path, format!("{before}{begin}{text}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(stands, text, "{path}: run this test with HUILIU_BLESS=1");
}

/// Enterprises `0..count`.
fn rows(count: u64) -> Rows {
    (0..count).map(|n| (n, format!("企业{n}"))).collect()
}

/// What the register must hold.
fn expected(rows: &[(u64, String)]) -> BTreeMap<String, String> {
    rows.iter().map(|(n, name)| (valid_code(*n), name.clone())).collect()
}

impl Stand {
    async fn has(&self, turn: u32, rows: &[(u64, String)]) {
        self.department.has(turn, rows).await;
    }

    fn way(&self) -> &Proxy {
        self.way.as_ref().unwrap()
    }

    /// A run that must go well.
    async fn takes(&self) -> RunReport {
        let report = self.small.run("qy").await;
        assert_eq!(report.status, "succeeded", "{report:?}");
        report
    }

    /// A run that must not, and what it says: something that another try may find otherwise.
    async fn fails(&self) {
        let options = Default::default();
        match self.small.engine().await.run("qy", &options).await {
            Ok(report) => assert_eq!(report.status, "failed", "{report:?}"),
            Err(error) => assert_eq!(error.disposition(), huiliu::error::Disposition::Retry, "{error}"),
        }
    }

    /// The register holds these and no others.
    async fn registered(&self, rows: &[(u64, String)]) {
        assert_eq!(enterprises(&self.small).await, expected(rows));
    }

    fn source(&self) -> Box<dyn Source> {
        let workspace = Workspace::load(self.small.path()).unwrap();
        let connector = &workspace.connectors["gs"];
        source::open(&workspace, connector, &connector.datasets["qy"]).unwrap()
    }

    /// Rows of the first item there is, part by part, as soon as there is one.
    async fn parts(&self, item: Option<&Item>, at: Option<&Position>) -> (Item, Vec<(Vec<u8>, Position)>) {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
        for _ in 0..100 {
            tick.tick().await;
            let mut source = self.source();
            let listed = source.list(None).await.unwrap().items;
            if let Some(item) = item.or(listed.first()) {
                return (item.clone(), read(&*source, item, at, 2).await);
            }
        }
        panic!("nothing was listed");
    }
}

/// Registers hold nothing new after this run.
fn nothing_new(report: &RunReport) {
    for register in &report.registers {
        let counts = &register.counts;
        assert_eq!((counts.new, counts.changed, counts.retracted), (0, 0, 0), "{report:?}");
    }
}

/// More than a page of any source.
const SOME: u64 = 230;

async fn resume(stand: Stand) {
    stand.has(1, &rows(SOME)).await;
    let text = |parts: &[(Vec<u8>, Position)]| {
        let bytes: Vec<u8> = parts.iter().flat_map(|(raw, _)| raw.clone()).collect();
        String::from_utf8(bytes).unwrap()
    };
    let (item, parts) = stand.parts(None, None).await;
    let whole = text(&parts);
    let (first, position) = &parts[0];
    assert!(parts.len() > 1 && first.len() < whole.len());
    let first = String::from_utf8(first.clone()).unwrap();
    let expect =
        if stand.department.begins_anew() { whole.clone() } else { whole.strip_prefix(&first).unwrap().to_owned() };
    for tries in 0.. {
        let (_, rest) = stand.parts(Some(&item), Some(position)).await;
        // A broker gives back what a reader that went had, in its own time.
        if text(&rest).len() >= expect.len() || tries == 50 {
            assert_eq!(text(&rest), expect);
            break;
        }
    }
    let taken = stand.takes().await;
    assert_eq!(taken.registers[0].counts.new, SOME);
    stand.registered(&rows(SOME)).await;
}

async fn settle(stand: Stand) {
    stand.has(1, &rows(7)).await;
    assert_eq!(stand.takes().await.registers[0].counts.new, 7);
    nothing_new(&stand.takes().await);
    let mut changed = rows(7);
    changed[3].1 = "企业3新".to_owned();
    stand.has(2, &changed).await;
    let report = stand.takes().await;
    assert_eq!((report.registers[0].counts.new, report.registers[0].counts.changed), (0, 1), "{report:?}");
    stand.registered(&changed).await;
    nothing_new(&stand.takes().await);
}

async fn reconnect(stand: Stand) {
    stand.has(1, &rows(7)).await;
    stand.way().cut_after(0);
    stand.fails().await;
    stand.way().open();
    stand.takes().await;
    stand.registered(&rows(7)).await;
    stand.way().cut_after(0);
    stand.fails().await;
    stand.registered(&rows(7)).await;
    stand.way().open();
    nothing_new(&stand.takes().await);
}

async fn slow(stand: Stand) {
    stand.has(1, &rows(300)).await;
    stand.way().trickle();
    stand.takes().await;
    stand.registered(&rows(300)).await;
}

async fn cut(stand: Stand) {
    stand.has(1, &rows(1500)).await;
    stand.way().cut_after(70_000);
    stand.fails().await;
    stand.way().open();
    stand.takes().await;
    stand.registered(&rows(1500)).await;
    nothing_new(&stand.takes().await);
}

async fn duplicate(stand: Stand) {
    stand.has(1, &rows(7)).await;
    stand.takes().await;
    stand.has(2, &rows(7)).await;
    nothing_new(&stand.takes().await);
    stand.registered(&rows(7)).await;
}

async fn empty(stand: Stand) {
    nothing_new(&stand.takes().await);
    stand.has(1, &rows(2)).await;
    stand.takes().await;
    stand.registered(&rows(2)).await;
}

async fn shrink(stand: Stand) {
    stand.has(1, &rows(7)).await;
    stand.takes().await;
    stand.has(2, &rows(2)).await;
    let held = stand.small.run("qy").await;
    assert!(held.status == "held" && held.why.as_deref().unwrap().contains("HL0502"), "{held:?}");
    stand.registered(&rows(7)).await;
}
