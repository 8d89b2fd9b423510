//! `connectors/<system>.yaml`: how to reach one system, and the contract of each of its datasets.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{At, Beside, Files, Format, Percent, Rate};
use crate::record::FieldType;

/// One department's system.
#[derive(Debug, Clone)]
pub struct Connector {
    /// Name from the file name: `market-regulation`.
    pub system: String,
    /// 部门.
    pub department: String,
    /// Whom to call.
    pub contact: Option<String>,
    /// How to reach it.
    pub source: SourceKind,
    /// Its datasets by name.
    pub datasets: BTreeMap<String, Dataset>,
}

/// How a system is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// A directory of files, here or on a server.
    Files(Files),
    /// Somebody else's database.
    Database(Database),
    /// A service.
    Http(Http),
    /// Queues into which the department publishes.
    Amqp(Inbox),
    /// The log of somebody else's database.
    Cdc(Cdc),
}

/// How to reach a department's database (前置库), and how gently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// `postgres:`, `mysql:` or `sqlite:` URL, or `odbc:` and a connection string; without user and password.
    pub url: At<String>,
    /// User.
    pub user: Option<String>,
    /// Password.
    pub password: Option<Hidden>,
    /// CA certificates (PEM) that the server's certificate must follow from; `None` trusts the system's.
    pub ca: Option<String>,
    /// A statement that takes longer is given up.
    pub timeout: Duration,
    /// Rows a second at most, whatever the pipeline allows.
    pub rate: Option<Rate>,
}

/// How to follow the log of a department's database (变更订阅).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cdc {
    /// The database, PostgreSQL.
    pub database: Database,
    /// What the names of our slots begin with: a slot belongs to one installation.
    pub slot: String,
    /// A publication that the department made; `None` is one of our own for each table.
    pub publication: Option<String>,
}

/// The broker of a department's queues (收件队列).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbox {
    /// `amqp:` or `amqps:` URL with its virtual host, without user and password.
    pub url: At<String>,
    /// User.
    pub user: Option<String>,
    /// Password.
    pub password: Option<Hidden>,
    /// CA certificates (PEM) believed beside the public ones.
    pub ca: Option<String>,
}

/// How to reach a department's service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Address that every path is below.
    pub base: At<String>,
    /// CA certificates (PEM) that the service's certificate must follow from; `None` trusts the system's.
    pub ca: Option<String>,
    /// A call that takes longer is given up.
    pub timeout: Duration,
    /// Who we are there.
    pub auth: Auth,
}

/// How a service is told who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
    /// A key in a header.
    ApiKey {
        /// Header.
        header: String,
        /// Key.
        value: Hidden,
    },
    /// RFC 7617.
    Basic {
        /// User.
        user: String,
        /// Password.
        password: Hidden,
    },
    /// Client credentials, RFC 6749 §4.4.
    OAuth2 {
        /// Where tokens are given.
        token_url: String,
        /// Client.
        client_id: String,
        /// Its secret.
        client_secret: Hidden,
        /// What is asked for.
        scope: Option<String>,
    },
    /// Every request is signed.
    Hmac {
        /// Application.
        app_id: String,
        /// Shared secret.
        secret: Hidden,
        /// Digest.
        digest: HmacDigest,
        /// What is signed: `{app_id}{timestamp}{nonce}{method}{target}{body}`.
        template: String,
    },
}

/// Digest of request signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HmacDigest {
    /// FIPS 180-4.
    Sha256,
    /// GB/T 32905.
    Sm3,
}

/// Text that no message, log or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

/// What a system has for a dataset; each kind of source has its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// Files.
    Files {
        /// Pattern below the root: `QYDJ_*.csv`.
        path: String,
        /// How bytes become rows.
        format: Format,
        /// What stands beside each file.
        beside: Beside,
    },
    /// Rows of a database.
    Table(Table),
    /// Changes of a table, from the database's log.
    Changes(Table),
    /// Answers of a service.
    Endpoint(Endpoint),
    /// Messages.
    Queue {
        /// Its name.
        queue: String,
        /// How a message's bytes become rows.
        format: Format,
    },
}

/// One endpoint of a service. `{since}`, `{page}`, `{offset}`, `{size}` and `{cursor}` stand for what they name in path,
/// query, headers and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Path below the base.
    pub path: String,
    /// POST instead of GET.
    pub post: bool,
    /// Query parameters.
    pub query: BTreeMap<String, String>,
    /// Headers: `SOAPAction` and its like.
    pub headers: BTreeMap<String, String>,
    /// Body: a JSON text or a SOAP envelope.
    pub body: Option<String>,
    /// Its type.
    pub content_type: String,
    /// What `{since}` is before anything was taken.
    pub begin: String,
    /// How the answer is cut into pages; `None` is one page.
    pub pages: Option<Pages>,
    /// Calls a day at most.
    pub calls_per_day: Option<u32>,
    /// How bytes become rows.
    pub format: Format,
}

/// How an answer is cut into pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// What tells them apart.
    pub by: PageBy,
    /// Rows that are asked for in a page; the service may give fewer.
    pub size: u32,
    /// Whether a page with fewer rows than that is the last, in place of an empty one.
    pub short_is_last: bool,
    /// Where the body says how many rows there are in all: `data.total`.
    pub total: Option<String>,
    /// Number of the first page, or offset of the first row plus one.
    pub first: u32,
    /// Where the body says what comes next: `data.next`.
    pub next: Option<String>,
    /// Pages asked for at the same time, at most; only those that can be named before the one before them came.
    pub at_once: u32,
}

/// What tells pages apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageBy {
    /// Their number.
    Page,
    /// How many rows come before.
    Offset,
    /// The service's own word.
    Cursor,
    /// The next page's address, in the body or in `Link` (RFC 8288).
    Link,
}

/// A table, view or query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What is read.
    pub relation: At<Relation>,
    /// 交换开关: rows that were taken are marked in the source.
    pub read_flag: Option<ReadFlag>,
    /// Rows asked for at a time.
    pub page: u32,
}

/// What a database is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// A table or view, with its schema if it has one: `exchange.E_BASEINFO`.
    Table(String),
    /// A `select`.
    Query(String),
}

/// 交换开关: a column that says whether a row of an exchange table was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFlag {
    /// Column of the table; it need not be in the contract.
    pub column: String,
    /// What it says of a row that was not taken yet.
    pub unread: String,
    /// What we write.
    pub read: String,
}

/// 增删改标志: a column that says what happened to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Contract column.
    pub column: At<String>,
    /// What it says of a row that is gone: `D`, `3`.
    pub delete: Vec<String>,
    /// What it says of a row that is there: `I`, `U`, `1`, `2`.
    pub upsert: Vec<String>,
}

/// One table, file family or endpoint, with what the department promised about it.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Name within its system.
    pub name: String,
    /// Where it is defined.
    pub place: crate::error::Place,
    /// Chinese title, if any.
    pub title: Option<String>,
    /// What the system has of it.
    pub offer: Offer,
    /// Source columns that name a row; empty means the whole row does.
    pub key: Vec<At<String>>,
    /// Source column with the business time of a row (更新时间), which orders claims of one source.
    pub updated: Option<At<String>>,
    /// What a file means for rows it does not contain.
    pub extract: Extract,
    /// How a row says that it is gone.
    pub operation: Option<Operation>,
    /// What happens when a full extract lost rows.
    pub missing: Missing,
    /// The contract, in file order.
    pub columns: Vec<Column>,
    /// When a file differs from the contract.
    pub drift: Drift,
}

/// One contracted column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Source name, exactly.
    pub name: String,
    /// Where it is written.
    pub place: crate::error::Place,
    /// Type after decoding; anything but text converts fallibly, row by row.
    pub kind: FieldType,
    /// A blank cell breaks the contract.
    pub required: bool,
    /// Path of this field inside a record (XML, JSON); defaults to the name.
    pub path: Option<String>,
}

/// What a file says about rows that it does not contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extract {
    /// Everything there is: what is not in it is gone.
    Full,
    /// More rows: nothing is said about others.
    Append,
    /// What changed since the last pull, by a column that only grows; the latest row of a key stands.
    Cursor {
        /// Contract column.
        column: At<String>,
        /// Rows younger than this wait for the next pull: slow transactions may still add to their time.
        lag: Duration,
    },
    /// Changes in the order they happened; the latest row of a key stands.
    Log,
}

impl Dataset {
    /// Columns by which rows are told apart, ordered, asked for and taken away: key, business time, cursor, 增删改标志.
    pub fn named_columns(&self) -> impl Iterator<Item = &At<String>> {
        let cursor = match &self.extract {
            Extract::Cursor { column, .. } => Some(column),
            Extract::Full | Extract::Append | Extract::Log => None,
        };
        let flag = self.operation.as_ref().map(|operation| &operation.column);
        self.key.iter().chain(&self.updated).chain(cursor).chain(flag)
    }

    /// How its bytes become rows; `None` when its system hands over rows.
    pub const fn format(&self) -> Option<&Format> {
        match &self.offer {
            Offer::Files { format, .. } | Offer::Endpoint(Endpoint { format, .. }) | Offer::Queue { format, .. } => {
                Some(format)
            }
            Offer::Table(_) | Offer::Changes(_) => None,
        }
    }
}

/// When a full extract has lost rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Missing {
    /// Whether vanished rows retract their claims.
    pub retract: bool,
    /// More than this share vanished: hold the run for a person.
    pub hold_above: Percent,
}

/// What to do when a file differs from the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// A column nobody contracted.
    pub new_column: DriftPolicy,
    /// A contracted column that is not there. A key or cursor column that is not there always holds.
    pub lost_column: DriftPolicy,
    /// A column whose type in the source is another than when rows were last taken.
    pub changed_type: DriftPolicy,
}

/// One answer to drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftPolicy {
    /// Take it and note it (a new column is not mapped; a lost one is null).
    Accept,
    /// Hold the rows until a person approves of what the source offers now (`huiliu drift approve`).
    Approve,
    /// Hold the rows until the contract is changed.
    Freeze,
    /// Take it without a note.
    Ignore,
}
