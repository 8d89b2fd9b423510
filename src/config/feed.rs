//! `pipelines/feeds/<subscriber>.<register>.yaml`: one grant and its delivery.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::NaiveDate;

use super::{At, ByteSize, Quota};

/// Who may have which fields of which rows, why, on what basis, until when — and how it reaches them.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Name from the file name: `housing.enterprise`.
    pub name: String,
    /// File it is written in, relative to the workspace.
    pub file: String,
    /// Subscriber.
    pub subscriber: String,
    /// Chinese title of the subscriber, if any.
    pub title: Option<String>,
    /// Register.
    pub register: At<String>,
    /// 使用目的.
    pub purpose: String,
    /// 法律依据.
    pub basis: Option<String>,
    /// Who approved it.
    pub approved: Option<Approval>,
    /// When it is in force.
    pub valid: Validity,
    /// Granted fields, in file order.
    pub fields: Vec<At<String>>,
    /// SQL predicate over the register's fields; `None` is every row.
    pub rows: Option<At<String>>,
    /// What happens to citizens' numbers and mobile numbers in text that the grant does not cover.
    pub free_text: FreeText,
    /// Masks by field.
    pub mask: BTreeMap<String, At<MaskRule>>,
    /// Delivery.
    pub delivery: Delivery,
}

/// What happens to numbers of persons in free text (自由文本).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreeText {
    /// Their digits leave as stars.
    #[default]
    Mask,
    /// The text stays inside; the rest of the record leaves.
    Withhold,
    /// They leave as they are, and are counted.
    Flag,
}

impl FreeText {
    /// As files and manifests write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Withhold => "withhold",
            Self::Flag => "flag",
        }
    }

    /// Reads [`Self::name`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Mask, Self::Withhold, Self::Flag].into_iter().find(|policy| policy.name() == name)
    }
}

/// 审批.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Approval {
    /// Office.
    pub by: String,
    /// Day.
    pub on: NaiveDate,
    /// 文号.
    pub number: Option<String>,
}

/// Days in force, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// First day.
    pub from: NaiveDate,
    /// Last day; `None` is until revoked.
    pub until: Option<NaiveDate>,
}

/// How a field is masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaskRule {
    /// 张*.
    Name,
    /// 3702**********1234.
    IdNumber,
    /// 138****0000.
    Phone,
    /// Down to district or street.
    Address,
    /// Year only of a date.
    Year,
    /// Nothing at all.
    Null,
    /// A keyed pseudonym, stable within the feed.
    Pseudonym(PseudonymBy),
    /// An SQL expression over the register's fields.
    Sql(String),
}

/// By which digest a pseudonym's HMAC is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PseudonymBy {
    /// SHA-256: `pseudonym`, `pseudonym(sha256)`.
    Sha256,
    /// SM3 (国密): `pseudonym(sm3)`.
    Sm3,
}

/// How a feed travels.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Where to.
    pub outlet: At<OutletKind>,
    /// Whether bodies are encrypted, and to whom.
    pub encryption: DeliveryEncryption,
    /// How often the daemon looks.
    pub every: Duration,
    /// Size of one batch.
    pub batch: BatchLimit,
    /// Records a day.
    pub quota: Option<Quota>,
}

/// Whether a feed's bodies are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryEncryption {
    /// To the certificate in this file, relative to the workspace.
    To(At<String>),
    /// No: it says so.
    Off,
    /// No: nothing is said, and no field demands it.
    Unsaid,
}

/// Where batches go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutletKind {
    /// Files under the installation's spool directory.
    Spool,
    /// The installation's RabbitMQ.
    Rabbitmq,
}

/// Limits of one batch; whichever is reached first closes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimit {
    /// Records; default 5000.
    pub records: usize,
    /// Bytes of the body; default 4 MiB.
    pub bytes: ByteSize,
}
