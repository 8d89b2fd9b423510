//! `mappings/registers/<register>.yaml`: one shared database, its fields, catalogue and survivorship.

use super::At;
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
