//! One dataset of a connector: its files, their format, its contract.

use super::super::shape::{Key, Kind, Naming, Shape, Word};
use super::super::units::{Percent, span};
use super::super::view::View;
use super::super::{
    At, Beside, Column, Control, Dataset, Drift, DriftPolicy, Endpoint, Extract, Missing, Offer, Operation, PageBy,
    Pages, ReadFlag, Relation, SourceKind, Table, Template, scalar,
};
use super::{FIELD_TYPES, field_type, flag, format, number};
use crate::record::FieldType;

/// The table.
pub(in crate::config) const DATASET: Shape = Shape {
    title: "数据集 dataset",
    about: "One table, file family or endpoint, with what the department promised about it.",
    keys: &[
        Key::optional("title", "名称 title", Kind::Text, "What people call it."),
        Key::optional("path", "文件名 path", Kind::Pattern, "Of files: pattern below the root: QYDJ_{yyyyMMdd}_*.csv.")
            .unless(OTHER_OFFERS),
        Key::optional(
            "format",
            "格式 format",
            Kind::Tagged("kind", format::FORMATS),
            "Of files: how bytes become rows.",
        )
        .unless(OTHER_OFFERS),
        Key::optional(
            "control",
            "控制文件 control",
            Kind::Map(&CONTROL),
            "Of files: what is written last, beside a file.",
        ),
        Key::optional("signature", "签名 signature", Kind::Word(SIGNATURES), "Of files: a .p7s by the department.")
            .or("none"),
        Key::optional("table", "表 table", Kind::Text, "Of a database: table or view: exchange.E_BASEINFO."),
        Key::optional("query", "查询 query", Kind::Text, "Of a database: a select in place of a table."),
        Key::optional("read_flag", "交换开关 read_flag", Kind::Map(&READ_FLAG), "Of a database: marks what was taken."),
        Key::optional("page", "分页 page", Kind::Integer(1, 100_000), "Of a database: rows asked for at a time.")
            .or("8192"),
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
        Key::optional("queue", "队列 queue", Kind::Text, "Of a broker: the department's queue."),
        Key::optional("request", "请求 request", Kind::Map(&REQUEST), "Of a service: what is asked for."),
        Key::optional("pages", "分页 pages", Kind::Map(&PAGES), "Of a service: how answers are cut into pages."),
        Key::optional("operation", "增删改标志 operation", Kind::Map(&OPERATION), "How a row says that it is gone."),
        Key::optional("missing", "缺失 missing", Kind::Map(&MISSING), "When a full extract has lost rows."),
        Key::required(
            "columns",
            "字段 columns",
            Kind::Each(Naming::Foreign, &Kind::Either(&[Kind::Word(FIELD_TYPES), Kind::Map(&COLUMN)])),
            "The contract: every column the department promised, in file order.",
        ),
        Key::optional("drift", "结构变化 drift", Kind::Map(&DRIFT), "When a file differs from the contract."),
    ],
};

/// Keys that say what a system has when it has no files.
const OTHER_OFFERS: &[&str] = &["table", "query", "request", "queue"];

const EXTRACTS: &[Word] = &[
    Word::now("full", "全量 Everything there is: what is not in it is gone."),
    Word::now("append", "增量 More rows: nothing is said about others."),
    Word::now("log", "变更记录 Changes in the order they happened: the latest row of a key stands."),
];

const CURSOR: Shape = Shape {
    title: "游标 cursor",
    about: "Rows changed since the last pull.",
    keys: &[
        Key::required("cursor", "游标字段 cursor", Kind::Text, "Column that only grows: 更新时间, a sequence number."),
        Key::optional("lag", "滞后 lag", Kind::Span, "Rows younger than this wait for the next pull."),
    ],
};

const CONTROL: Shape = Shape {
    title: "控制文件 control",
    about: "A small file that the department writes last; until it is there, a file is not finished.",
    keys: &[
        Key::required("file", "文件名 file", Kind::Text, "Its name: \"{name}.ok\", \"{stem}.chk\"."),
        Key::optional(
            "says",
            "内容 says",
            Kind::Template,
            "What a line of it says: \"{name}|{rows}|{bytes}\"; {rows} and {bytes} must be those of the file.",
        ),
    ],
};

const SIGNATURES: &[Word] = &[
    Word::now("required", "必须 NAME.p7s beside each file, by a certificate of the source."),
    Word::now("none", "不要 Signatures are not looked at."),
];

const REQUEST: Shape = Shape {
    title: "请求 request",
    about: "{since}, {page}, {offset}, {size} and {cursor} stand for what they name.",
    keys: &[
        Key::required("path", "路径 path", Kind::Text, "Below the service's base."),
        Key::optional("method", "方法 method", Kind::Word(METHODS), "GET, or POST with a body.").or("get"),
        Key::optional("query", "参数 query", Kind::Each(Naming::Foreign, &Kind::Text), "Query parameters."),
        Key::optional(
            "headers",
            "请求头 headers",
            Kind::Each(Naming::Foreign, &Kind::Text),
            "SOAPAction and its like.",
        ),
        Key::optional("body", "报文 body", Kind::Text, "A JSON text or a SOAP envelope."),
        Key::optional("content_type", "报文类型 content_type", Kind::Text, "Type of the body.").or("application/json"),
        Key::optional("begin", "起点 begin", Kind::Text, "What {since} is at first.").or("1970-01-01 00:00:00"),
        Key::optional("calls_per_day", "每日次数 calls_per_day", Kind::Integer(1, 100_000_000), "Calls a day at most."),
    ],
};

const METHODS: &[Word] = &[Word::now("get", "GET."), Word::now("post", "POST.")];

const PAGES: Shape = Shape {
    title: "分页 pages",
    about: "How answers are cut into pages; without it there is one.",
    keys: &[
        Key::required("by", "方式 by", Kind::Word(PAGED_BY), "What tells pages apart."),
        Key::optional("size", "每页行数 size", Kind::Integer(1, 100_000), "Rows asked for in a page.").or("100"),
        Key::optional(
            "last",
            "末页 last",
            Kind::Word(LAST_PAGES),
            "Of page and offset: what says that no page follows, where no total does.",
        )
        .or("empty"),
        Key::optional(
            "total",
            "总数 total",
            Kind::Text,
            "Of page and offset, in JSON: where the body says how many rows there are: data.total. Fewer are an error.",
        ),
        Key::optional("first", "起始 first", Kind::Integer(0, 1), "Number of the first page or row.").or("1"),
        Key::optional("next", "下一页 next", Kind::Text, "Where the body says what comes next: data.next."),
        Key::optional(
            "at_once",
            "并发 at_once",
            Kind::Integer(1, 32),
            "Of page and offset: so many are asked for at the same time at most, fewer while the service is slow or busy.",
        )
        .or("1"),
    ],
};

const LAST_PAGES: &[Word] = &[
    Word::now("empty", "空页 A page without rows: a service may give fewer than it is asked for."),
    Word::now("short", "短页 A page with fewer rows than size: the service promises full ones."),
];

const PAGED_BY: &[Word] = &[
    Word::now("page", "页码 Their number: {page}."),
    Word::now("offset", "偏移 How many rows come before: {offset}."),
    Word::now("cursor", "游标 The service's own word: {cursor}."),
    Word::now("link", "链接 The next page's address, in the body or in the Link header."),
];

const READ_FLAG: Shape = Shape {
    title: "交换开关 read_flag",
    about: "A column of the exchange table that says whether a row was taken; we write it back.",
    keys: &[
        Key::required("column", "字段 column", Kind::Text, "Its name."),
        Key::optional("unread", "未取 unread", Kind::Text, "What it says before.").or("0"),
        Key::optional("read", "已取 read", Kind::Text, "What we write once the rows are committed here.").or("1"),
    ],
};

const OPERATION: Shape = Shape {
    title: "增删改标志 operation",
    about: "A column that says what happened to a row.",
    keys: &[
        Key::required("column", "字段 column", Kind::Text, "Its name in the contract."),
        Key::optional("delete", "删除 delete", Kind::List(&Kind::Text), "Words for a row that is gone: D and 3."),
        Key::optional("upsert", "新增修改 upsert", Kind::List(&Kind::Text), "Words for other rows: I, U, 1 and 2."),
    ],
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
        Key::optional("changed_type", "类型变化 changed_type", Kind::Word(POLICIES), "A column whose type is another.")
            .or("accept"),
    ],
};

const POLICIES: &[Word] = &[
    Word::now("accept", "接受 Take it and note it."),
    Word::now("approve", "审批 Hold the file until the contract is edited."),
    Word::now("freeze", "冻结 Hold the file."),
    Word::now("ignore", "忽略 Take it without a note."),
];

/// Reads one dataset.
pub(super) fn read(source: &SourceKind, name: At<String>, view: View<'_>) -> Dataset {
    let (missing, drift) = (view.get("missing"), view.get("drift"));
    Dataset {
        name: name.value,
        place: name.place,
        title: view.get("title").maybe(),
        offer: match source {
            SourceKind::Files(_) => Offer::Files {
                path: view.get("path").text(),
                format: format::read(view.get("format")),
                beside: beside(view),
            },
            SourceKind::Database(_) => Offer::Table(table(view)),
            SourceKind::Cdc(_) => Offer::Changes(table(view)),
            SourceKind::Http(_) => Offer::Endpoint(endpoint(view)),
            SourceKind::Amqp(_) => {
                Offer::Queue { queue: view.get("queue").text(), format: format::read(view.get("format")) }
            }
        },
        key: view.get("key").texts(),
        updated: view.get("updated").maybe_at(),
        extract: extract(view.get("extract")),
        operation: view.get("operation").is_map().then(|| operation(view.get("operation"))),
        missing: Missing {
            retract: flag(missing.get("retract")),
            hold_above: missing.get("hold_above").parsed(|text| Percent::parse(text).ok()).unwrap_or(Percent(0.0)),
        },
        columns: view.get("columns").each().into_iter().map(|(name, view)| column(name, view)).collect(),
        drift: Drift {
            new_column: policy(drift.get("new_column")),
            lost_column: policy(drift.get("lost_column")),
            changed_type: policy(drift.get("changed_type")),
        },
    }
}

fn extract(view: View<'_>) -> Extract {
    match view.raw() {
        Some("full") => Extract::Full,
        Some("log") => Extract::Log,
        None if view.is_map() => Extract::Cursor {
            column: view.get("cursor").text_at(),
            lag: view.get("lag").parsed(|text| span::parse(text).ok()).unwrap_or_default(),
        },
        _ => Extract::Append,
    }
}

fn operation(view: View<'_>) -> Operation {
    let words = |name: &str, usual: &[&str]| {
        let written: Vec<String> = view.get(name).texts().into_iter().map(|word| word.value).collect();
        if written.is_empty() { usual.iter().map(|&word| word.to_owned()).collect() } else { written }
    };
    Operation {
        column: view.get("column").text_at(),
        delete: words("delete", &["D", "3"]),
        upsert: words("upsert", &["I", "U", "1", "2"]),
    }
}

fn table(view: View<'_>) -> Table {
    let flag = view.get("read_flag");
    let relation = match view.get("query").maybe_at() {
        Some(At { value, place }) => At { value: Relation::Query(value), place },
        None => At { value: Relation::Table(view.get("table").text()), place: view.get("table").place() },
    };
    Table {
        relation,
        read_flag: flag.is_map().then(|| ReadFlag {
            column: flag.get("column").text(),
            unread: flag.get("unread").text(),
            read: flag.get("read").text(),
        }),
        page: number(view.get("page")),
    }
}

fn beside(view: View<'_>) -> Beside {
    let control = view.get("control");
    let control = control.is_map().then(|| Control {
        file: control.get("file").text(),
        says: control.get("says").parsed(|text| Template::parse(text).ok()),
    });
    Beside { control, signed: view.get("signature").raw() == Some("required") }
}

fn endpoint(view: View<'_>) -> Endpoint {
    let (request, pages) = (view.get("request"), view.get("pages"));
    let pairs =
        |name: &str| request.get(name).each().into_iter().map(|(name, view)| (name.value, view.text())).collect();
    Endpoint {
        path: request.get("path").text(),
        post: request.get("method").raw() == Some("post"),
        query: pairs("query"),
        headers: pairs("headers"),
        body: request.get("body").maybe(),
        content_type: request.get("content_type").text(),
        begin: request.get("begin").text(),
        pages: pages.is_map().then(|| Pages {
            by: match pages.get("by").raw() {
                Some("offset") => PageBy::Offset,
                Some("cursor") => PageBy::Cursor,
                Some("link") => PageBy::Link,
                _ => PageBy::Page,
            },
            size: number(pages.get("size")),
            short_is_last: pages.get("last").raw() == Some("short"),
            total: pages.get("total").maybe(),
            first: number(pages.get("first")),
            next: pages.get("next").maybe(),
            at_once: number(pages.get("at_once")),
        }),
        calls_per_day: request.get("calls_per_day").parsed(scalar::integer).and_then(|n| u32::try_from(n).ok()),
        format: format::read(view.get("format")),
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
