//! `connectors/<system>.yaml`.

use super::super::shape::{Key, Kind, Naming, Shape, Variant, Word};
use super::super::units::{Rate, span};
use super::super::view::View;
use super::super::{At, Connector, Database, Hidden, SourceKind};
use super::{VERSION, dataset};

/// The table.
pub(in crate::config) const CONNECTOR: Shape = Shape {
    title: "接入 connector",
    about: "How to reach one department's system, and the contract of each of its datasets.",
    keys: &[
        VERSION,
        Key::required("department", "部门 department", Kind::Text, "The department whose system this is."),
        Key::optional("title", "名称 title", Kind::Text, "What people call the system."),
        Key::optional("contact", "联系人 contact", Kind::Text, "Whom to call when a file does not come."),
        Key::required("source", "来源 source", Kind::Tagged("kind", SOURCES), "How to reach the system."),
        Key::required(
            "datasets",
            "数据集 datasets",
            Kind::Each(Naming::Plain, &Kind::Map(&dataset::DATASET)),
            "Its tables, file families or endpoints, by name.",
        ),
    ],
};

const SOURCES: &[Variant] = &[
    Variant { word: Word::now("files", "文件目录 A directory of files."), shape: &FILES },
    Variant { word: Word::now("database", "数据库 Tables of a database."), shape: &DATABASE },
    Variant { word: Word::later("http", FILES_INSTEAD), shape: &FILES },
    Variant { word: Word::later("amqp", FILES_INSTEAD), shape: &FILES },
    Variant { word: Word::later("cdc", FILES_INSTEAD), shape: &FILES },
];

const FILES_INSTEAD: &str = "let the system write files and use kind: files";

const FILES: Shape = Shape {
    title: "文件来源 files",
    about: "A directory into which the department writes its files.",
    keys: &[
        Key::required(
            "root",
            "根目录 root",
            Kind::Address,
            "A directory relative to the workspace, an absolute one, a file: URL, or env:NAME.",
        ),
        Key::later("user", "用户 user"),
        Key::later("password", "口令 password"),
        Key::later("key", "密钥 key"),
        Key::later("settle", "处理后 settle"),
    ],
};

const DATABASE: Shape = Shape {
    title: "数据库来源 database",
    about: "The department's (front-end) database; it is read in small pages, in read-only sessions.",
    keys: &[
        Key::required(
            "url",
            "地址 url",
            Kind::Address,
            "postgres://host/db, mysql://host/db, sqlite:file.db, or env:NAME; without user and password.",
        ),
        Key::optional("user", "用户 user", Kind::Secret, "Who we are there: env:NAME or file:PATH."),
        Key::optional("password", "口令 password", Kind::Secret, "Our password there: env:NAME or file:PATH."),
        Key::optional("ca", "根证书 ca", Kind::Address, "PEM file that the server's certificate must follow from."),
        Key::optional("timeout", "超时 timeout", Kind::Span, "A statement that takes longer is given up.").or("60s"),
        Key::optional("rate", "限速 rate", Kind::Rate, "Rows a second at most; as fast as it goes when absent."),
    ],
};

/// Reads a whole connector.
pub(in crate::config) fn read(system: &str, view: View<'_>) -> Connector {
    let source = source(view.get("source"));
    let datasets = view.get("datasets").each().into_iter();
    Connector {
        system: system.to_owned(),
        department: view.get("department").text(),
        contact: view.get("contact").maybe(),
        datasets: datasets.map(|(name, view)| (name.value.clone(), dataset::read(&source, name, view))).collect(),
        source,
    }
}

fn source(view: View<'_>) -> SourceKind {
    let resolved = |name: &str| {
        let view = view.get(name);
        At { value: view.resolved().unwrap_or_default(), place: view.place() }
    };
    match view.tag() {
        Some("database") => SourceKind::Database(Database {
            url: resolved("url"),
            user: view.get("user").resolved(),
            password: view.get("password").resolved().map(Hidden),
            ca: view.get("ca").resolved(),
            timeout: view.get("timeout").parsed(|text| span::parse(text).ok()).unwrap_or_default(),
            rate: view.get("rate").parsed(|text| Rate::parse(text).ok()),
        }),
        _ => SourceKind::Files { root: resolved("root") },
    }
}
