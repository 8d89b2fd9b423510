//! One dataset of a connector: its files, their format, its contract.

use super::super::shape::{Key, Kind, Naming, Shape, Variant, Word};
use super::super::units::Percent;
use super::super::view::View;
use super::super::{At, Column, Dataset, Drift, DriftPolicy, Encoding, Extract, Format, Missing, scalar};
use super::{FIELD_TYPES, field_type, flag, number};
use crate::record::FieldType;

/// The table.
pub(in crate::config) const DATASET: Shape = Shape {
    title: "数据集 dataset",
    about: "One table, file family or endpoint, with what the department promised about it.",
    keys: &[
        Key::optional("title", "名称 title", Kind::Text, "What people call it."),
        Key::required("path", "文件名 path", Kind::Text, "File name pattern below the root: QYDJ_*.csv."),
        Key::required("format", "格式 format", Kind::Tagged("kind", FORMATS), "How bytes become rows."),
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

const ENCODINGS: &[Word] = &[
    Word::now("auto", "自动 BOM, then strict UTF-8, then GB18030."),
    Word::now("utf-8", "Strict UTF-8."),
    Word::now("gb18030", "GB 18030."),
    Word::now("gbk", "Read as GB 18030, which contains GBK and GB 2312."),
];

const ENCODING: Key =
    Key::optional("encoding", "编码 encoding", Kind::Word(ENCODINGS), "Character encoding of the file.").or("auto");

const FORMATS: &[Variant] = &[
    Variant { word: Word::now("csv", "Delimited text."), shape: &CSV },
    Variant { word: Word::now("excel", "Workbooks: .xlsx, .xls, .ods."), shape: &EXCEL },
    Variant { word: Word::now("xml", "One record per element."), shape: &XML },
    Variant { word: Word::now("json", "A document with an array of records."), shape: &JSON },
    Variant { word: Word::now("ndjson", "One JSON object per line."), shape: &NDJSON },
    Variant { word: Word::later("dbf", "save the table as CSV or Excel"), shape: &NDJSON },
    Variant { word: Word::later("fixed", "save the table as CSV or Excel"), shape: &NDJSON },
];

const CSV: Shape = Shape {
    title: "CSV",
    about: "Delimited text.",
    keys: &[
        ENCODING,
        Key::optional("delimiter", "分隔符 delimiter", Kind::Character(false), "Between cells.").or(","),
        Key::optional("quote", "引号 quote", Kind::Character(true), "Around cells; none turns quoting off.").or("\""),
        Key::optional("header", "表头 header", Kind::Boolean, "Whether the first row names the columns.").or("true"),
        Key::optional("skip", "跳过行数 skip", Kind::Integer(0, 1000), "Lines before the header.").or("0"),
        Key::optional("ragged", "不齐行 ragged", Kind::Boolean, "Whether rows may have fewer or more cells.")
            .or("false"),
    ],
};

const EXCEL: Shape = Shape {
    title: "Excel",
    about: "Workbooks, told apart by content.",
    keys: &[
        Key::optional("sheet", "工作表 sheet", Kind::Text, "Sheet name; the first visible sheet when absent."),
        Key::optional("header_row", "表头行 header_row", Kind::Integer(1, 10_000), "Row that names the columns.")
            .or("1"),
        Key::optional(
            "repeated_header",
            "重复表头 repeated_header",
            Kind::Boolean,
            "Whether rows that repeat the header are dropped.",
        )
        .or("false"),
        Key::optional(
            "max_cells",
            "单元格上限 max_cells",
            Kind::Integer(1, 1_000_000_000),
            "Cells a workbook may hold.",
        )
        .or("50000000"),
    ],
};

const XML: Shape = Shape {
    title: "XML",
    about: "One record per element.",
    keys: &[
        Key::required("record", "记录路径 record", Kind::Text, "Path of the record element: ExchangeMessage/Body/row."),
        ENCODING,
    ],
};

const JSON: Shape = Shape {
    title: "JSON",
    about: "A document with an array of records.",
    keys: &[Key::optional("records", "记录路径 records", Kind::Text, "Path to the array: data.items.")],
};

const NDJSON: Shape = Shape { title: "NDJSON", about: "One JSON object per line.", keys: &[] };

/// Reads one dataset.
pub(super) fn read(name: At<String>, view: View<'_>) -> Dataset {
    let (missing, drift) = (view.get("missing"), view.get("drift"));
    Dataset {
        name: name.value,
        place: name.place,
        title: view.get("title").maybe(),
        path: view.get("path").text(),
        format: format(view.get("format")),
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

fn format(view: View<'_>) -> Format {
    match view.tag() {
        Some("excel") => Format::Excel {
            sheet: view.get("sheet").maybe(),
            header_row: number(view.get("header_row")),
            repeated_header: flag(view.get("repeated_header")),
            max_cells: number(view.get("max_cells")),
        },
        Some("xml") => Format::Xml { record: view.get("record").text(), encoding: encoding(view.get("encoding")) },
        Some("json") => Format::Json { records: view.get("records").maybe() },
        Some("ndjson") => Format::Ndjson,
        _ => Format::Csv {
            encoding: encoding(view.get("encoding")),
            delimiter: view.get("delimiter").parsed(scalar::character).flatten().unwrap_or(b','),
            quote: view.get("quote").parsed(scalar::character).flatten(),
            header: flag(view.get("header")),
            skip: number(view.get("skip")),
            ragged: flag(view.get("ragged")),
        },
    }
}

fn encoding(view: View<'_>) -> Encoding {
    match view.raw() {
        Some("utf-8") => Encoding::Utf8,
        Some("gb18030" | "gbk") => Encoding::Gb18030,
        _ => Encoding::Auto,
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
