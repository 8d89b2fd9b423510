//! How bytes become rows: the formats of datasets.

use super::super::shape::{Key, Kind, Shape, Variant, Word};
use super::super::view::View;
use super::super::{Encoding, Format, Layer, Password, Report, Template, scalar};
use super::{flag, number};

const ENCODINGS: &[Word] = &[
    Word::now("auto", "自动 BOM, then strict UTF-8, then GB18030."),
    Word::now("utf-8", "Strict UTF-8."),
    Word::now("gb18030", "GB 18030."),
    Word::now("gbk", "Read as GB 18030, which contains GBK and GB 2312."),
];

const ENCODING: Key =
    Key::optional("encoding", "编码 encoding", Kind::Word(ENCODINGS), "Character encoding of the file.").or("auto");

const RAGGED: Key =
    Key::optional("ragged", "不齐行 ragged", Kind::Boolean, "Whether rows may have fewer or more cells.").or("false");

const UNPACK: Key = Key::optional(
    "unpack",
    "拆包 unpack",
    Kind::List(&Kind::Either(&[Kind::Word(LAYERS), Kind::Map(&LAYER)])),
    "What is around the file, from the outside in. Without it, gzip and zip archives of one file are recognised.",
);

const LAYERS: &[Word] = &[
    Word::now("zip", "A zip archive with one file."),
    Word::now("gz", "gzip."),
    Word::now("zlib", "zlib."),
    Word::now("base64", "Base64, line breaks allowed."),
];

const LAYER: Shape = Shape {
    title: "外层 layer",
    about: "One thing around the file that needs a name: { zip: \"*.csv\" }, { element: ROOT/BODY/content }, { member: data.certData }, { sm2: file:keys/share.pem }.",
    keys: &[
        Key::optional("zip", "压缩包内文件 zip", Kind::Text, "A zip archive, and the pattern of the file in it."),
        Key::optional("element", "报文元素 element", Kind::Text, "The text of this element of an XML envelope."),
        Key::optional(
            "member",
            "报文成员 member",
            Kind::Text,
            "The text of this member of a JSON document: data.certData.",
        ),
        Key::optional(
            "sm2",
            "国密解密 sm2",
            Kind::Secret(&[]),
            "SM2 ciphertext, hexadecimal or bytes, for our private key: env:NAME or file:PATH, PKCS#8 in PEM or 64 hexadecimal digits.",
        ),
    ],
};

/// The formats.
pub(super) const FORMATS: &[Variant] = &[
    Variant { word: Word::now("csv", "Delimited text."), shape: &CSV },
    Variant { word: Word::now("excel", "Workbooks: .xlsx, .xls, .ods."), shape: &EXCEL },
    Variant { word: Word::now("xml", "One record per element."), shape: &XML },
    Variant { word: Word::now("json", "A document with an array of records."), shape: &JSON },
    Variant { word: Word::now("ndjson", "One JSON object per line."), shape: &NDJSON },
    Variant {
        word: Word::now("separated", "Text with separators of any length, and declared counts."),
        shape: &SEPARATED,
    },
    Variant { word: Word::now("fixed", "Columns of a fixed number of bytes."), shape: &FIXED },
    Variant { word: Word::now("dbf", "dBASE and FoxPro tables."), shape: &DBF },
    Variant { word: Word::now("hj212", "Frames of HJ 212, one row per factor."), shape: &HJ212 },
    Variant { word: Word::now("eseal", "Seal files (.esl), one row each."), shape: &ESEAL },
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
        RAGGED,
        UNPACK,
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
            "header_rows",
            "表头行数 header_rows",
            Kind::Integer(1, 10),
            "How many rows name the columns together (merged cells). A row of units counted here pins the units.",
        )
        .or("1"),
        Key::optional("header_join", "表头连接符 header_join", Kind::Text, "Between the parts of a name.").or("_"),
        Key::optional("unit_row", "单位行 unit_row", Kind::Boolean, "Whether the row after the header is dropped.")
            .or("false"),
        Key::optional(
            "repeated_header",
            "重复表头 repeated_header",
            Kind::Boolean,
            "Whether rows that repeat the header are dropped.",
        )
        .or("false"),
        Key::optional(
            "totals",
            "合计行 totals",
            Kind::List(&Kind::Text),
            "Rows whose first cell matches one of these patterns are dropped: [合计, 小计*].",
        ),
        Key::optional(
            "max_cells",
            "单元格上限 max_cells",
            Kind::Integer(1, 1_000_000_000),
            "Cells a workbook may hold.",
        )
        .or("50000000"),
        UNPACK,
    ],
};

const XML: Shape = Shape {
    title: "XML",
    about: "One record per element.",
    keys: &[
        Key::required("record", "记录路径 record", Kind::Text, "Path of the record element: ExchangeMessage/Body/row."),
        Key::optional(
            "each",
            "明细路径 each",
            Kind::Text,
            "Path below the record of what has a row each, the rest of the record beside it: XMMX.",
        ),
        ENCODING,
        UNPACK,
    ],
};

const JSON: Shape = Shape {
    title: "JSON",
    about: "A document with an array of records.",
    keys: &[Key::optional("records", "记录路径 records", Kind::Text, "Path to the array: data.items."), UNPACK],
};

const NDJSON: Shape = Shape { title: "NDJSON", about: "One JSON object per line.", keys: &[UNPACK] };

const SEPARATED: Shape = Shape {
    title: "分隔文本 separated",
    about: "Text with separators of any length, without quoting; what it declares of itself is checked.",
    keys: &[
        ENCODING,
        Key::required("fields", "字段分隔符 fields", Kind::Separator, "Between cells: \"|||\"."),
        Key::optional("rows", "行分隔符 rows", Kind::Separator, "Between rows: \"###\"; line for line ends.")
            .or("line"),
        Key::optional("header", "表头 header", Kind::Boolean, "Whether the first row names the columns.").or("false"),
        RAGGED,
        Key::optional(
            "head",
            "文件头 head",
            Kind::Template,
            "What stands before the rows: \"3003{bytes:8}{区划:6}{日期:8}\". {rows} and {bytes} are checked; a column \
             with path head.区划 takes what stands there.",
        ),
        Key::optional("tail", "文件尾 tail", Kind::Template, "The record that closes the file: \"END|{rows}\"."),
        UNPACK,
    ],
};

const FIXED: Shape = Shape {
    title: "定长文本 fixed",
    about: "Columns of a fixed number of bytes, in the order of the contract.",
    keys: &[
        ENCODING,
        Key::required(
            "widths",
            "宽度 widths",
            Kind::List(&Kind::Integer(1, 65_535)),
            "Bytes of every column; a hanzi is two in GBK.",
        ),
        Key::optional("skip", "跳过行数 skip", Kind::Integer(0, 1000), "Lines before the first row.").or("0"),
        Key::optional("line_ends", "换行 line_ends", Kind::Boolean, "Whether rows end with a line end.").or("true"),
        Key::optional("ragged", "不齐行 ragged", Kind::Boolean, "Whether rows may end early.").or("false"),
        UNPACK,
    ],
};

const DBF: Shape = Shape {
    title: "DBF",
    about: "dBASE III, IV and FoxPro tables; memo files are not read.",
    keys: &[
        Key::optional(
            "encoding",
            "编码 encoding",
            Kind::Word(ENCODINGS),
            "auto follows the .cpg beside the file, then the language driver, then the bytes.",
        )
        .or("auto"),
        UNPACK,
    ],
};

const HJ212: Shape = Shape {
    title: "HJ 212",
    about: "Frames of pollution monitoring, one a line; paths: MN, DataTime, factor, factor_2017, -Rtd, -Flag …",
    keys: &[UNPACK],
};

const ESEAL: Shape = Shape {
    title: "电子印章 .esl",
    about: "One seal of GB/T 38540 or GM/T 0031 a file, its maker's signature checked; paths: esID, name, until, bearer_serial …",
    keys: &[UNPACK],
};

/// Reads one format.
pub(super) fn read(view: View<'_>) -> Format {
    let inner = inner(view);
    let layers: Vec<Layer> = match view.tag() {
        Some(_) => view.get("unpack").items().into_iter().filter_map(layer).collect(),
        None => Vec::new(),
    };
    if layers.is_empty() { inner } else { Format::Packed { layers, inner: Box::new(inner) } }
}

fn layer(view: View<'_>) -> Option<Layer> {
    if view.is_map() {
        let text = |name: &str| view.get(name).maybe();
        let named = text("element").map(Layer::Element).or_else(|| text("member").map(Layer::Member));
        let named = named.or_else(|| text("zip").map(|pattern| Layer::Zip(Some(pattern))));
        return named.or_else(|| view.get("sm2").resolved().map(Password::new).map(Layer::Sm2));
    }
    match view.raw()? {
        "zip" => Some(Layer::Zip(None)),
        "gz" => Some(Layer::Gzip),
        "zlib" => Some(Layer::Zlib),
        "base64" => Some(Layer::Base64),
        _ => None,
    }
}

fn inner(view: View<'_>) -> Format {
    match view.tag() {
        Some("excel") => Format::Excel {
            sheet: view.get("sheet").maybe(),
            header_row: number(view.get("header_row")),
            repeated_header: flag(view.get("repeated_header")),
            max_cells: number(view.get("max_cells")),
            report: Report {
                header_rows: number(view.get("header_rows")),
                header_join: view.get("header_join").text(),
                unit_row: flag(view.get("unit_row")),
                totals: view.get("totals").texts().into_iter().map(|pattern| pattern.value).collect(),
            },
        },
        Some("xml") => Format::Xml {
            record: view.get("record").text(),
            each: view.get("each").maybe(),
            encoding: encoding(view.get("encoding")),
        },
        Some("json") => Format::Json { records: view.get("records").maybe() },
        Some("ndjson") => Format::Ndjson,
        Some("separated") => Format::Separated {
            encoding: encoding(view.get("encoding")),
            fields: view.get("fields").parsed(scalar::separator).flatten().unwrap_or_else(|| "\n".to_owned()),
            rows: view.get("rows").parsed(scalar::separator).flatten(),
            header: flag(view.get("header")),
            ragged: flag(view.get("ragged")),
            head: view.get("head").parsed(|text| Template::parse(text).ok()),
            tail: view.get("tail").parsed(|text| Template::parse(text).ok()),
        },
        Some("fixed") => Format::Fixed {
            encoding: encoding(view.get("encoding")),
            widths: view.get("widths").items().into_iter().map(number).collect(),
            skip: number(view.get("skip")),
            line_ends: flag(view.get("line_ends")),
            ragged: flag(view.get("ragged")),
        },
        Some("dbf") => Format::Dbf { encoding: encoding(view.get("encoding")) },
        Some("hj212") => Format::Hj212,
        Some("eseal") => Format::Eseal,
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
