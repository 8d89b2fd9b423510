//! `mappings/registers/<register>.yaml`.

use super::super::shape::{Key, Kind, Naming, Shape, Word};
use super::super::view::View;
use super::super::{At, Field, Register, ShareClass};
use super::{FIELD_TYPES, VERSION, field_type, flag, number};
use crate::record::FieldType;

/// The table.
pub(in crate::config) const REGISTER: Shape = Shape {
    title: "基础库 register",
    about: "One shared database: its fields, what names an entity, how each field may be shared, whose claim wins.",
    keys: &[
        VERSION,
        Key::required("title", "名称 title", Kind::Text, "企业基础信息库."),
        Key::required("steward", "牵头部门 steward", Kind::Text, "The department responsible."),
        Key::required(
            "keys",
            "标识 keys",
            Kind::List(&Kind::Text),
            "Fields that name an entity, strongest first; all of type text.",
        ),
        Key::required(
            "fields",
            "数据项 fields",
            Kind::Each(Naming::Identifier, &Kind::Map(&FIELD)),
            "The fields, in the order people want to read them.",
        ),
    ],
};

const FIELD: Shape = Shape {
    title: "数据项 field",
    about: "One field and its catalogue entry (信息资源目录).",
    keys: &[
        Key::required("title", "名称 title", Kind::Text, "What people call it."),
        Key::required("type", "类型 type", Kind::Word(FIELD_TYPES), "Its type."),
        Key::optional("required", "必填 required", Kind::Boolean, "Whether a claim without it is quarantined.")
            .or("false"),
        Key::required("share", "共享类型 share", Kind::Word(SHARES), "国发〔2016〕51号."),
        Key::required("level", "安全级别 level", Kind::Integer(1, 4), "Data security level, 1 to 4."),
        Key::optional("condition", "共享条件 condition", Kind::Text, "For conditional fields: under which condition."),
        Key::optional("basis", "依据 basis", Kind::Text, "For conditional and withheld fields: the legal basis."),
        Key::optional(
            "rule",
            "校验规则 rule",
            Kind::Text,
            "SQL predicate over the register's fields; a row that breaks it is quarantined.",
        ),
        Key::optional(
            "from",
            "一数一源 from",
            Kind::List(&Kind::Text),
            "Systems whose claim wins, in order; then the most recent claim of the others.",
        ),
    ],
};

const SHARES: &[Word] = &[
    Word::now("unconditional", "无条件共享 Any department may have it."),
    Word::now("conditional", "有条件共享 Departments that meet its condition may have it."),
    Word::now("withheld", "不予共享 Nobody may have it."),
];

/// Reads a whole register.
pub(in crate::config) fn read(name: &str, view: View<'_>) -> Register {
    Register {
        name: name.to_owned(),
        title: view.get("title").text(),
        steward: view.get("steward").text(),
        keys: view.get("keys").texts(),
        fields: view.get("fields").each().into_iter().map(|(name, view)| field(name, view)).collect(),
    }
}

fn field(name: At<String>, view: View<'_>) -> Field {
    Field {
        name: name.value,
        place: name.place,
        title: view.get("title").text(),
        kind: view.get("type").parsed(field_type).unwrap_or(FieldType::Text),
        required: flag(view.get("required")),
        share: match view.get("share").raw() {
            Some("unconditional") => ShareClass::Unconditional,
            Some("conditional") => ShareClass::Conditional,
            _ => ShareClass::Withheld,
        },
        level: match number(view.get("level")) {
            level @ 1..=4 => level,
            _ => 4,
        },
        condition: view.get("condition").maybe(),
        basis: view.get("basis").maybe(),
        rule: view.get("rule").maybe_at(),
        from: view.get("from").texts(),
    }
}
