//! `mappings/registers/<register>.yaml`.

use super::super::shape::{Key, Kind, Naming, Shape, Word};
use super::super::view::View;
use super::super::{
    At, Bonds, Counted, Deadline, EvidenceOf, Expired, Field, Link, Register, ShareClass, Single, States, Totals, Until,
};
use super::{FIELD_TYPES, VERSION, field_type, flag, number};
use crate::clock::Term;
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
        Key::optional(
            "versions",
            "版本 versions",
            Kind::Text,
            "The field with a certificate identifier (GB/T 36904): a lower version of the same certificate is superseded.",
        ),
        Key::optional(
            "evidence",
            "凭证粒度 evidence",
            Kind::Word(EVIDENCE),
            "What of a record can be proven alone. By field: every batch carries salted commitments to all fields.",
        )
        .or("record"),
        Key::optional(
            "links",
            "关联 links",
            Kind::Each(Naming::Identifier, &Kind::Map(&LINK)),
            "Fields whose value is a key of an entity of another register; one that leads nowhere dangles until it arrives.",
        ),
        Key::optional(
            "single",
            "唯一 single",
            Kind::Each(Naming::Identifier, &Kind::Map(&SINGLE)),
            "Entities of which only one may be there at a time (一主体一证).",
        ),
        Key::optional(
            "totals",
            "总分相符 totals",
            Kind::Each(Naming::Identifier, &Kind::Map(&TOTALS)),
            "Details that must add up to a total.",
        ),
        Key::optional(
            "deadlines",
            "期限 deadlines",
            Kind::Each(Naming::Identifier, &Kind::Map(&DEADLINE)),
            "Things that must be done by a certain time.",
        ),
    ],
};

const DEADLINE: Shape = Shape {
    title: "期限 deadline",
    about: "Something that must be done by a certain time.",
    keys: &[
        Key::required("title", "名称 title", Kind::Text, "What people call it."),
        Key::required(
            "due",
            "期限 due",
            Kind::Either(&[Kind::Text, Kind::Map(&TERM)]),
            "The timestamp field that says until when, or the term that is counted.",
        ),
        Key::required(
            "done",
            "完成 done",
            Kind::Text,
            "The timestamp field that says when; blank while it is not done.",
        ),
        Key::optional("basis", "依据 basis", Kind::Text, "The law or rule that sets it."),
    ],
};

const TERM: Shape = Shape {
    title: "时限 term",
    about: "How long something may take; days are counted as mappings/calendar.yaml says.",
    keys: &[
        Key::required(
            "from",
            "起算 from",
            Kind::Text,
            "The timestamp or date field from which it runs; the day itself is not counted.",
        ),
        Key::required("within", "时限 within", Kind::Term, "24h, 30d or 5 working days (5 个工作日)."),
        Key::optional(
            "excluding",
            "不计时 excluding",
            Kind::Text,
            "An integer field: so many more days, as `within` counts them, do not count (特别程序).",
        ),
    ],
};

const LINK: Shape = Shape {
    title: "关联 link",
    about: "A reference to an entity of another register; resolved when it is asked for.",
    keys: &[
        Key::required("title", "名称 title", Kind::Text, "What people call it."),
        Key::required("field", "字段 field", Kind::Text, "The field with the key's value; of type text."),
        Key::required("to", "去向 to", Kind::List(&Kind::Text), "register.key, in the order in which they are tried."),
    ],
};

const SINGLE: Shape = Shape {
    title: "唯一 single",
    about: "At most one entity at a time.",
    keys: &[
        Key::required("title", "名称 title", Kind::Text, "What people call it."),
        Key::required("by", "按 by", Kind::List(&Kind::Text), "Fields that must not be the same in two entities."),
        Key::optional(
            "among",
            "范围 among",
            Kind::Each(Naming::Identifier, &Kind::List(&Kind::Text)),
            "Which entities count: text fields, and the values they may have.",
        ),
    ],
};

const TOTALS: Shape = Shape {
    title: "总分相符 totals",
    about: "Details that must add up to the total that each of them carries.",
    keys: &[
        Key::required("title", "名称 title", Kind::Text, "What people call it."),
        Key::required("by", "按 by", Kind::List(&Kind::Text), "Fields that say which details belong together."),
        Key::required("total", "总额 total", Kind::Text, "The decimal field with the declared total."),
        Key::required("detail", "明细 detail", Kind::Text, "The decimal field with the amount of the detail."),
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
        Key::optional(
            "states",
            "状态机 states",
            Kind::Each(Naming::Plain, &Kind::List(&Kind::Text)),
            "For a status field: each state and the states that may follow it; [] is terminal. Business time decides.",
        ),
        Key::optional(
            "issue",
            "签发 issue",
            Kind::Text,
            "For a field with states: the field that tells issues apart (证照标识, 卡号); the latest issue stands.",
        ),
        Key::optional(
            "expired",
            "过期 expired",
            Kind::Map(&EXPIRED),
            "For a field with states: the state that a date brings about; shown, never stored.",
        ),
    ],
};

const EXPIRED: Shape = Shape {
    title: "过期 expired",
    about: "A state that is derived from a date.",
    keys: &[
        Key::required("from", "由 from", Kind::List(&Kind::Text), "States that expire; others stand."),
        Key::required("to", "成为 to", Kind::Text, "The state that is shown."),
        Key::required("after", "日期 after", Kind::Text, "The date field with the last day."),
    ],
};

const EVIDENCE: &[Word] = &[
    Word::now("record", "整条 The record as the subscriber gets it, whole."),
    Word::now("field", "逐项 Each field by itself, without the others (可验证的脱敏)."),
];

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
        evidence: match view.get("evidence").raw() {
            Some("field") => EvidenceOf::Field,
            _ => EvidenceOf::Record,
        },
        bonds: bonds(view),
    }
}

fn bonds(view: View<'_>) -> Bonds {
    let link = |(name, view): (At<String>, View<'_>)| Link {
        name,
        title: view.get("title").text(),
        field: view.get("field").text_at(),
        to: view.get("to").texts(),
    };
    let single = |(name, view): (At<String>, View<'_>)| Single {
        name,
        title: view.get("title").text(),
        by: view.get("by").texts(),
        among: view.get("among").each().into_iter().map(|(field, view)| (field, view.texts())).collect(),
    };
    let totals = |(name, view): (At<String>, View<'_>)| Totals {
        name,
        title: view.get("title").text(),
        by: view.get("by").texts(),
        total: view.get("total").text_at(),
        detail: view.get("detail").text_at(),
    };
    let deadline = |(name, view): (At<String>, View<'_>)| Deadline {
        name,
        title: view.get("title").text(),
        until: until(view.get("due")),
        done: view.get("done").text_at(),
        basis: view.get("basis").maybe(),
    };
    Bonds {
        deadlines: view.get("deadlines").each().into_iter().map(deadline).collect(),
        versions: view.get("versions").maybe_at(),
        links: view.get("links").each().into_iter().map(link).collect(),
        single: view.get("single").each().into_iter().map(single).collect(),
        totals: view.get("totals").each().into_iter().map(totals).collect(),
    }
}

fn until(view: View<'_>) -> Until {
    if !view.is_map() {
        return Until::Field(view.text_at());
    }
    let within = view.get("within");
    let term = within.parsed(Term::parse).unwrap_or(Term::Hours(0));
    Until::Counted(Counted {
        from: view.get("from").text_at(),
        within: At { value: term, place: within.place() },
        excluding: view.get("excluding").maybe_at(),
    })
}

fn states(view: View<'_>) -> Option<States> {
    let (states, expired) = (view.get("states"), view.get("expired"));
    let dated = || Expired {
        from: expired.get("from").texts(),
        to: expired.get("to").text_at(),
        after: expired.get("after").text_at(),
    };
    (states.is_written() || expired.is_written()).then(|| States {
        next: states.each().into_iter().map(|(state, view)| (state, view.texts())).collect(),
        issue: view.get("issue").maybe_at(),
        expired: expired.is_written().then(dated),
    })
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
        states: states(view),
    }
}
