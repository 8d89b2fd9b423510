//! `mappings/registers/<register>.yaml`: one shared database, its fields, catalogue and survivorship.

use std::collections::BTreeMap;

use super::At;
use crate::clock::Term;
use crate::record::FieldType;

/// One shared database (基础库).
#[derive(Debug, Clone)]
pub struct Register {
    /// Name from the file name: `enterprise`.
    pub name: String,
    /// 名称.
    pub title: String,
    /// Department responsible.
    pub steward: String,
    /// Fields that name an entity, strongest first; all of type text.
    pub keys: Vec<At<String>>,
    /// Fields in file order.
    pub fields: Vec<Field>,
    /// What of a record the digest in a batch proves by itself.
    pub evidence: EvidenceOf,
    /// What holds between its entities, and to other registers.
    pub bonds: Bonds,
}

/// What of a register's records can be proven alone (可验证的脱敏).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EvidenceOf {
    /// The record as the subscriber gets it, whole.
    #[default]
    Record,
    /// Every field by itself: the digest is made of salted commitments to all fields of the register.
    Field,
}

/// What a register says beyond single fields: versions, links (关联), uniqueness (一主体一证), totals (总分相符) and deadlines
/// (期限).
///
/// Only versions change a row. The others are questions that the store answers when asked, so what
/// dangles or does not add up puts itself right when the other side arrives.
#[derive(Debug, Clone, Default)]
pub struct Bonds {
    /// The field with the certificate identifier (GB/T 36904): a claim of a lower version of the same certificate is
    /// superseded in every field, whenever it arrives.
    pub versions: Option<At<String>>,
    /// References to entities of other registers.
    pub links: Vec<Link>,
    /// At most one entity at a time.
    pub single: Vec<Single>,
    /// Amounts that must add up.
    pub totals: Vec<Totals>,
    /// Things that must be done by a certain time.
    pub deadlines: Vec<Deadline>,
}

impl Bonds {
    /// Whether there is nothing to ask.
    pub const fn asks_nothing(&self) -> bool {
        self.links.is_empty() && self.single.is_empty() && self.totals.is_empty() && self.deadlines.is_empty()
    }
}

/// Something that must be done by a time (期限), such as filing a seal within 24 hours.
#[derive(Debug, Clone)]
pub struct Deadline {
    /// `filing`.
    pub name: At<String>,
    /// 名称.
    pub title: String,
    /// Until when.
    pub until: Until,
    /// Timestamp field: when it was done; null while it is not.
    pub done: At<String>,
    /// 法规依据.
    pub basis: Option<String>,
}

/// How it is known until when something must be done.
#[derive(Debug, Clone)]
pub enum Until {
    /// Timestamp field: the source says it.
    Field(At<String>),
    /// It is counted.
    Counted(Counted),
}

/// A term (时限) that is counted from a day on.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Timestamp or date field: from when; the day itself is not counted.
    pub from: At<String>,
    /// 24 hours, 5 working days.
    pub within: At<Term>,
    /// Integer field: so many days of that kind do not count (特别程序: hearings, tests, appraisals; 行政许可法 第四十五条).
    pub excluding: Option<At<String>>,
}

/// A field whose value is a key of an entity elsewhere.
#[derive(Debug, Clone)]
pub struct Link {
    /// `holder`.
    pub name: At<String>,
    /// 名称.
    pub title: String,
    /// Field with the key's value.
    pub field: At<String>,
    /// `enterprise.uscc`: registers and their keys, in the order in which they are tried.
    pub to: Vec<At<String>>,
}

impl Link {
    /// Register and key of every target that is written as one.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.to.iter().filter_map(|to| to.value.split_once('.'))
    }
}

/// Entities of which only one may be there at a time.
#[derive(Debug, Clone)]
pub struct Single {
    /// `licence`.
    pub name: At<String>,
    /// 名称.
    pub title: String,
    /// Fields that must not be the same in two of them.
    pub by: Vec<At<String>>,
    /// Which entities count: fields and the values they may have.
    pub among: Vec<(At<String>, Vec<At<String>>)>,
}

/// Details (明细) that must add up to a total (总额) that each of them carries.
#[derive(Debug, Clone)]
pub struct Totals {
    /// `bill`.
    pub name: At<String>,
    /// 名称.
    pub title: String,
    /// Fields that say which details belong together.
    pub by: Vec<At<String>>,
    /// Decimal field with the declared total.
    pub total: At<String>,
    /// Decimal field with the detail's amount.
    pub detail: At<String>,
}

/// The states of a status field and what may follow each (状态机).
#[derive(Debug, Clone, Default)]
pub struct States {
    /// State → the states that may follow it. One that nothing may follow is terminal (终态).
    pub next: Vec<(At<String>, Vec<At<String>>)>,
    /// The field that tells issues of the thing apart (证照标识, 卡号): each issue runs a course of its own, and the latest
    /// stands.
    pub issue: Option<At<String>>,
    /// The state that is derived from a date and never stored.
    pub expired: Option<Expired>,
}

impl States {
    /// As a map, for asking.
    pub fn table(&self) -> BTreeMap<&str, Vec<&str>> {
        self.next
            .iter()
            .map(|(state, next)| (state.value.as_str(), next.iter().map(|state| state.value.as_str()).collect()))
            .collect()
    }
}

/// 过期 is a matter of the calendar: it is shown, and overwrites nothing.
#[derive(Debug, Clone)]
pub struct Expired {
    /// States that expire; others (暂扣, 吊销, …) stand.
    pub from: Vec<At<String>>,
    /// The state shown.
    pub to: At<String>,
    /// Date field with the last day.
    pub after: At<String>,
}

impl Register {
    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }
}

/// One field of a register, with its catalogue entry.
#[derive(Debug, Clone)]
pub struct Field {
    /// Column name.
    pub name: String,
    /// Where it is defined.
    pub place: crate::error::Place,
    /// 名称.
    pub title: String,
    /// Type.
    pub kind: FieldType,
    /// A claim without it breaks the register's rules.
    pub required: bool,
    /// 共享类型.
    pub share: ShareClass,
    /// 数据安全级别 1–4.
    pub level: u8,
    /// Sharing condition; mandatory for conditional fields.
    pub condition: Option<String>,
    /// Legal basis; mandatory for conditional and withheld fields.
    pub basis: Option<String>,
    /// SQL predicate over the register's fields; a row for which it is false (or null) is quarantined with `rule:<field>`.
    pub rule: Option<At<String>>,
    /// Systems whose claim wins, in order (一数一源); systems not listed come after; ties by business time.
    pub from: Vec<At<String>>,
    /// For a status field: its states and what may follow each.
    pub states: Option<States>,
}

/// From this level (数据安全级别) on a field travels encrypted, and is encrypted where it is stored.
pub(in crate::config) const SENSITIVE: u8 = 3;

impl Field {
    /// Whether it is of a level that is kept and sent encrypted.
    pub const fn is_sensitive(&self) -> bool {
        self.level >= SENSITIVE
    }
}

/// 共享类型 (国发〔2016〕51号).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareClass {
    /// 无条件共享.
    Unconditional,
    /// 有条件共享.
    Conditional,
    /// 不予共享.
    Withheld,
}
