//! One dataset of a connector: its files, their format, its contract.

use super::super::shape::{Key, Kind, Naming, Shape, Word};
use super::super::units::Percent;
use super::super::view::View;
use super::super::{At, Column, Dataset, Drift, DriftPolicy, Extract, Missing};
use super::{FIELD_TYPES, field_type, flag, format};
use crate::record::FieldType;

/// The table.
pub(in crate::config) const DATASET: Shape = Shape {
    title: "数据集 dataset",
    about: "One table, file family or endpoint, with what the department promised about it.",
    keys: &[
        Key::optional("title", "名称 title", Kind::Text, "What people call it."),
        Key::required("path", "文件名 path", Kind::Text, "File name pattern below the root: QYDJ_*.csv."),
        Key::required("format", "格式 format", Kind::Tagged("kind", format::FORMATS), "How bytes become rows."),
        Key::optional(
            "key",
            "行标识 key",
            Kind::List(&Kind::Text),
            "Columns that name a row in the source; without them the whole row does.",
        ),
        Key::optional("updated", "更新时间 updated", Kind::Text, "Column with the business time of a row."),
        Key::required(
            "extract",
            "抽取方式 extract",
            Kind::Either(&[Kind::Word(EXTRACTS), Kind::Map(&CURSOR)]),
            "What a file says about rows that it does not contain.",
        ),
        Key::optional("missing", "缺失 missing", Kind::Map(&MISSING), "When a full extract has lost rows."),
        Key::required(
            "columns",
            "字段 columns",
            Kind::Each(Naming::Foreign, &Kind::Either(&[Kind::Word(FIELD_TYPES), Kind::Map(&COLUMN)])),
            "The contract: every column the department promised, in file order.",
        ),
        Key::optional("drift", "结构变化 drift", Kind::Map(&DRIFT), "When a file differs from the contract."),
        Key::later("signature", "签名 signature"),
    ],
};

const EXTRACTS: &[Word] = &[
    Word::now("full", "全量 Everything there is: what is not in it is gone."),
    Word::now("append", "增量 More rows: nothing is said about others."),
    Word::later("log", "use extract: full or extract: append"),
];

const CURSOR: Shape = Shape {
    title: "游标 cursor",
    about: "Rows changed since the last pull. Not supported by this version yet.",
    keys: &[Key::later("cursor", "游标字段 cursor"), Key::later("lag", "回看 lag")],
};

const MISSING: Shape = Shape {
    title: "缺失 missing",
    about: "When a full extract has lost rows.",
    keys: &[
        Key::optional("retract", "撤回 retract", Kind::Boolean, "Whether vanished rows take their claims with them.")
            .or("true"),
        Key::optional("hold_above", "暂停阈值 hold_above", Kind::Percent, "More vanished than this: a person decides.")
            .or("5%"),
    ],
};

const COLUMN: Shape = Shape {
    title: "字段 column",
    about: "One contracted column.",
    keys: &[
        Key::required("type", "类型 type", Kind::Word(FIELD_TYPES), "Type after decoding; text when in doubt."),
        Key::optional("title", "名称 title", Kind::Text, "What people call it."),
        Key::optional("required", "必填 required", Kind::Boolean, "Whether a blank cell breaks the contract.")
            .or("false"),
        Key::optional("path", "路径 path", Kind::Text, "Path inside a record of XML or JSON; the name when absent."),
    ],
};

const DRIFT: Shape = Shape {
    title: "结构变化 drift",
    about: "When a file differs from the contract.",
    keys: &[
        Key::optional("new_column", "新增字段 new_column", Kind::Word(POLICIES), "A column nobody contracted.")
            .or("approve"),
        Key::optional("lost_column", "缺少字段 lost_column", Kind::Word(POLICIES), "A contracted column that is gone.")
            .or("freeze"),
    ],
};

const POLICIES: &[Word] = &[
    Word::now("accept", "接受 Take it and note it."),
    Word::now("approve", "审批 Hold the file until the contract is edited."),
    Word::now("freeze", "冻结 Hold the file."),
    Word::now("ignore", "忽略 Take it without a note."),
];

/// Reads one dataset.
pub(super) fn read(name: At<String>, view: View<'_>) -> Dataset {
    let (missing, drift) = (view.get("missing"), view.get("drift"));
    Dataset {
        name: name.value,
        place: name.place,
        title: view.get("title").maybe(),
        path: view.get("path").text(),
        format: format::read(view.get("format")),
        key: view.get("key").texts(),
        updated: view.get("updated").maybe_at(),
        extract: if view.get("extract").raw() == Some("full") { Extract::Full } else { Extract::Append },
        missing: Missing {
            retract: flag(missing.get("retract")),
            hold_above: missing.get("hold_above").parsed(|text| Percent::parse(text).ok()).unwrap_or(Percent(0.0)),
        },
        columns: view.get("columns").each().into_iter().map(|(name, view)| column(name, view)).collect(),
        drift: Drift { new_column: policy(drift.get("new_column")), lost_column: policy(drift.get("lost_column")) },
    }
}

fn column(name: At<String>, view: View<'_>) -> Column {
    let long = view.is_map().then_some(view);
    let kind = long.map_or(view, |view| view.get("type"));
    Column {
        name: name.value,
        place: name.place,
        kind: kind.parsed(field_type).unwrap_or(FieldType::Text),
        required: long.is_some_and(|view| flag(view.get("required"))),
        path: long.and_then(|view| view.get("path").maybe()),
    }
}

fn policy(view: View<'_>) -> DriftPolicy {
    match view.raw() {
        Some("accept") => DriftPolicy::Accept,
        Some("ignore") => DriftPolicy::Ignore,
        Some("approve") => DriftPolicy::Approve,
        _ => DriftPolicy::Freeze,
    }
}
