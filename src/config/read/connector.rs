//! `connectors/<system>.yaml`.

use super::super::shape::{Key, Kind, Naming, Shape, Variant, Word};
use super::super::view::View;
use super::super::{Connector, SourceKind};
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
    Variant { word: Word::later("database", FILES_INSTEAD), shape: &FILES },
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

/// Reads a whole connector.
pub(in crate::config) fn read(system: &str, view: View<'_>) -> Connector {
    let root = view.get("source").get("root");
    let root = super::super::At { value: root.resolved().unwrap_or_default(), place: root.place() };
    let datasets = view.get("datasets").each().into_iter();
    Connector {
        system: system.to_owned(),
        department: view.get("department").text(),
        contact: view.get("contact").maybe(),
        source: SourceKind::Files { root },
        datasets: datasets.map(|(name, view)| (name.value.clone(), dataset::read(name, view))).collect(),
    }
}
