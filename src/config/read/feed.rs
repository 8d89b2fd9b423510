//! `pipelines/feeds/<subscriber>.<register>.yaml`.

use chrono::NaiveDate;

use super::super::shape::{Key, Kind, Naming, Shape, Word};
use super::super::units::{ByteSize, Quota, span};
use super::super::view::View;
use super::super::{
    Approval, At, BatchLimit, Delivery, DeliveryEncryption, Feed, FreeText, MaskRule, OutletKind, PseudonymBy,
    Validity, scalar,
};
use super::{VERSION, number};

/// The table.
pub(in crate::config) const FEED: Shape = Shape {
    title: "订阅 feed",
    about: "One grant and its delivery: who may have which fields of which rows, why, until when, and how.",
    keys: &[
        VERSION,
        Key::required("subscriber", "订阅方 subscriber", Kind::Text, "As in the file name."),
        Key::optional("title", "订阅方名称 title", Kind::Text, "What people call the subscriber."),
        Key::required("register", "基础库 register", Kind::Text, "As in the file name."),
        Key::required("purpose", "使用目的 purpose", Kind::Text, "What the data is for."),
        Key::optional("basis", "法律依据 basis", Kind::Text, "Needed as soon as one field is conditional."),
        Key::optional("approved", "审批 approved", Kind::Map(&APPROVED), "Who approved it, when, under which number."),
        Key::required("valid", "有效期 valid", Kind::Map(&VALID), "When the grant is in force."),
        Key::required("fields", "数据项 fields", Kind::List(&Kind::Text), "Granted fields; all others are withheld."),
        Key::optional(
            "rows",
            "范围 rows",
            Kind::Text,
            "SQL predicate over the register's fields; all rows when absent.",
        ),
        Key::optional(
            "mask",
            "脱敏 mask",
            Kind::Each(Naming::Foreign, &Kind::Mask),
            "Masks by field: name, id_number, phone, address, year, null, pseudonym, pseudonym(sm3), or an SQL expression.",
        ),
        Key::optional(
            "free_text",
            "自由文本 free_text",
            Kind::Word(FREE_TEXT),
            "What happens to citizens' numbers and mobile numbers in text that the grant does not cover.",
        )
        .or("mask"),
        Key::optional("delivery", "投递 delivery", Kind::Map(&DELIVERY), "How it reaches the subscriber."),
    ],
};

const APPROVED: Shape = Shape {
    title: "审批 approved",
    about: "Who approved the grant.",
    keys: &[
        Key::required("by", "审批单位 by", Kind::Text, "Office."),
        Key::required("on", "审批日期 on", Kind::Date, "Day."),
        Key::optional("number", "文号 number", Kind::Text, "Document number."),
    ],
};

const VALID: Shape = Shape {
    title: "有效期 valid",
    about: "Days in force, both inclusive.",
    keys: &[
        Key::required("from", "起 from", Kind::Date, "First day."),
        Key::optional("until", "止 until", Kind::Date, "Last day; until revoked when absent."),
    ],
};

const DELIVERY: Shape = Shape {
    title: "投递 delivery",
    about: "How batches travel.",
    keys: &[
        Key::optional("outlet", "出口 outlet", Kind::Word(OUTLETS), "Where batches go.").or("spool"),
        Key::optional("every", "频率 every", Kind::Span, "How often the daemon looks.").or("1m"),
        Key::optional("batch", "批大小 batch", Kind::Map(&BATCH), "What closes a batch."),
        Key::optional("quota", "配额 quota", Kind::Quota, "Records a day; unlimited when absent."),
        Key::optional(
            "encrypt_to",
            "加密证书 encrypt_to",
            Kind::Address,
            "PEM file with the subscriber's certificate: bodies are encrypted to it.",
        ),
        Key::optional(
            "encrypt",
            "加密 encrypt",
            Kind::Word(ENCRYPT),
            "Whether bodies are encrypted; from level 3 on they are, unless it says off.",
        )
        .or("auto"),
    ],
};

const FREE_TEXT: &[Word] = &[
    Word::now("mask", "遮盖 Their digits leave as stars."),
    Word::now("withhold", "不予 The text stays inside, the rest of the record leaves."),
    Word::now("flag", "标记 They leave as they are, and are counted."),
];

const ENCRYPT: &[Word] = &[
    Word::now("auto", "自动 Where a certificate is given, which fields of level 3 and above demand."),
    Word::now("off", "不加密 Never: the way to the subscriber is protected otherwise."),
];

const OUTLETS: &[Word] = &[
    Word::now("spool", "文件出口 Files below the installation's spool directory."),
    Word::now("rabbitmq", "消息队列 The subscriber's queue on the installation's broker."),
];

const BATCH: Shape = Shape {
    title: "批大小 batch",
    about: "Limits of one batch; whichever is reached first closes it.",
    keys: &[
        Key::optional("records", "条数 records", Kind::Integer(1, 1_000_000), "Records.").or("5000"),
        Key::optional("bytes", "字节 bytes", Kind::Bytes, "Bytes of the body.").or("4MiB"),
    ],
};

/// Names of masks that need no SQL.
pub(in crate::config) const MASKS: [&str; 8] =
    ["name", "id_number", "phone", "address", "year", "null", "pseudonym", "pseudonym(sm3)"];

/// Reads a whole feed.
pub(in crate::config) fn read(name: &str, file: &str, view: View<'_>) -> Feed {
    let (approved, valid) = (view.get("approved"), view.get("valid"));
    Feed {
        name: name.to_owned(),
        file: file.to_owned(),
        subscriber: view.get("subscriber").text(),
        title: view.get("title").maybe(),
        register: view.get("register").text_at(),
        purpose: view.get("purpose").text(),
        basis: view.get("basis").maybe(),
        approved: approved.is_map().then(|| Approval {
            by: approved.get("by").text(),
            on: approved.get("on").parsed(scalar::date).unwrap_or(NaiveDate::MAX),
            number: approved.get("number").maybe(),
        }),
        valid: Validity {
            from: valid.get("from").parsed(scalar::date).unwrap_or(NaiveDate::MAX),
            until: valid.get("until").parsed(scalar::date),
        },
        fields: view.get("fields").texts(),
        rows: view.get("rows").maybe_at(),
        free_text: view.get("free_text").raw().and_then(FreeText::from_name).unwrap_or_default(),
        mask: view
            .get("mask")
            .each()
            .into_iter()
            .map(|(field, view)| (field.value, At { value: mask(&view.text()), place: view.place() }))
            .collect(),
        delivery: delivery(view.get("delivery")),
    }
}

fn mask(text: &str) -> MaskRule {
    match text.trim() {
        "name" => MaskRule::Name,
        "id_number" => MaskRule::IdNumber,
        "phone" => MaskRule::Phone,
        "address" => MaskRule::Address,
        "year" => MaskRule::Year,
        "null" | "" => MaskRule::Null,
        "pseudonym" | "pseudonym(sha256)" => MaskRule::Pseudonym(PseudonymBy::Sha256),
        "pseudonym(sm3)" => MaskRule::Pseudonym(PseudonymBy::Sm3),
        sql => MaskRule::Sql(sql.to_owned()),
    }
}

fn delivery(view: View<'_>) -> Delivery {
    let batch = view.get("batch");
    let outlet = view.get("outlet");
    Delivery {
        outlet: At {
            value: if outlet.raw() == Some("rabbitmq") { OutletKind::Rabbitmq } else { OutletKind::Spool },
            place: outlet.place(),
        },
        encryption: match (view.get("encrypt").raw(), view.get("encrypt_to").resolved()) {
            (Some("off"), _) => DeliveryEncryption::Off,
            (_, Some(file)) => DeliveryEncryption::To(At { value: file, place: view.get("encrypt_to").place() }),
            (_, None) => DeliveryEncryption::Unsaid,
        },
        every: view.get("every").parsed(|text| span::parse(text).ok()).unwrap_or_default(),
        batch: BatchLimit {
            records: number(batch.get("records")),
            bytes: batch.get("bytes").parsed(|text| ByteSize::parse(text).ok()).unwrap_or(ByteSize(0)),
        },
        quota: view.get("quota").parsed(|text| Quota::parse(text).ok()),
    }
}
