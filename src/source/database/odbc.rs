//! Connections by ODBC drivers, through unixODBC.
//!
//! Decides: how a connection string becomes a session, how cells become texts. Guarantees: no call of a driver blocks
//! anything but the thread that its connection lives on, which ends with the connection; a driver that does not come
//! back is given up after `timeout`, and its thread ends when it does come back; no cell is cut off, however long its
//! driver said that it can be. Drivers are other people's code in this process: what they break, breaks here.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use odbc_api::buffers::{ColumnarBuffer, WCharColumn};
use odbc_api::parameter::{VarWCharBox, WithDataType};
use odbc_api::{
    Connection, ConnectionOptions, Cursor, CursorImpl, DataType, Error, Nullability, ResultSetMetadata as _,
    environment, escape_attribute_value, handles,
};
use tokio::sync::{mpsc, oneshot};

use super::client::{HELLO, Paged};
use super::dialect::Dialect;
use super::error;
use super::flavour::{Flavour, SPOKEN};
use super::rows::Block;
use super::sql::Statement;
use crate::config::Database;
use crate::source::SourceError;

/// Rows fetched at a time, at most.
const ROWS: usize = 1024;
/// Bytes of the buffers for them, at most.
const BYTES: usize = 4 << 20;
/// Characters of a cell that has room in them. Rows with a column that may be longer are fetched cell by cell: MariaDB's driver
/// cuts long cells off and says nothing.
const CELL: usize = 4096;

/// What a connection's thread is asked to do.
type Job = Box<dyn FnOnce(&Desk) + Send>;
/// Rows of an open statement.
type Rows<'c> = CursorImpl<handles::StatementImpl<'c>>;
/// A value, bound with the type of the column that it is compared with.
type Bound = WithDataType<VarWCharBox>;

/// A connection on its thread.
pub(super) struct Session {
    jobs: Sender<Job>,
    timeout: Duration,
    dialect: Dialect,
}

impl Session {
    /// Connects. The string is what stands after `odbc:`; user and password are added to it.
    pub(super) async fn connect(string: &str, database: &Database, writes: bool) -> Result<Self, SourceError> {
        let string = whole(string, database);
        let (jobs, asked) = channel::<Job>();
        let (told, hello) = oneshot::channel();
        let timeout = database.timeout;
        let thread = std::thread::Builder::new().name("odbc".to_owned());
        let spawned = thread.spawn(move || match Desk::open(&string, writes, timeout) {
            Ok(desk) => {
                if told.send(Ok(desk.dialect)).is_ok() {
                    asked.into_iter().for_each(|job| job(&desk));
                }
            }
            Err(error) => {
                told.send(Err(error)).ok();
            }
        });
        spawned.map_err(|error| SourceError::Unreached { why: error.kind().to_string() })?;
        match tokio::time::timeout(HELLO, hello).await {
            Ok(Ok(dialect)) => Ok(Self { jobs, timeout, dialect: dialect? }),
            Ok(Err(_)) => Err(gone()),
            Err(_) => Err(SourceError::Unreached { why: format!("no answer within {} s", HELLO.as_secs()) }),
        }
    }

    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// As [`super::client::Client::columns`].
    pub(super) async fn columns(&mut self, sql: &str) -> Result<Vec<(String, String)>, SourceError> {
        let statement = Statement { sql: sql.to_owned(), ..Statement::default() };
        self.ask(move |desk| desk.columns(&statement)).await
    }

    /// As [`super::client::Client::never_null`].
    pub(super) async fn never_null(&mut self, from: &str) -> Result<Vec<String>, SourceError> {
        let statement = Statement { sql: format!("select * from {from} where 1 = 0"), ..Statement::default() };
        self.ask(move |desk| desk.never_null(&statement)).await
    }

    /// As [`super::client::Client::first`].
    pub(super) async fn first(&mut self, statement: &Statement) -> Result<Option<Vec<Option<String>>>, SourceError> {
        let statement = statement.clone();
        self.ask(move |desk| desk.first(&statement)).await
    }

    /// As [`super::client::Client::execute`].
    pub(super) async fn execute(&mut self, statement: &Statement) -> Result<(), SourceError> {
        let statement = statement.clone();
        self.ask(move |desk| desk.open_rows(&statement).map(|_| ())).await
    }

    /// As [`super::client::Client::page`]. A page is full before its limit when a cell is longer than its driver said:
    /// what comes after it is asked for anew.
    pub(super) async fn page(
        &mut self,
        statement: &Statement,
        (limit, width): (u64, (usize, usize)),
        to: &mpsc::Sender<Result<Block, SourceError>>,
    ) -> Result<Paged, SourceError> {
        let statement = statement.clone();
        let (blocks, mut read) = mpsc::channel(1);
        let (told, answer) = oneshot::channel();
        let job: Job = Box::new(move |desk| {
            told.send(desk.page(&statement, limit, Taken::new(width, blocks)).map_err(|error| desk.told(error))).ok();
        });
        self.jobs.send(job).map_err(|_| gone())?;
        // Only the driver is given so much time, never who reads its rows.
        while let Some(block) = self.within(read.recv()).await? {
            if to.send(Ok(block)).await.is_err() {
                break;
            }
        }
        drop(read);
        self.within(answer).await?.map_err(|_| gone())?
    }

    /// Does something on the connection's thread.
    async fn ask<T: Send + 'static>(
        &mut self,
        does: impl FnOnce(&Desk) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let (told, answer) = oneshot::channel();
        let job: Job = Box::new(move |desk| {
            told.send(does(desk).map_err(|error| desk.told(error))).ok();
        });
        self.jobs.send(job).map_err(|_| gone())?;
        self.within(answer).await?.map_err(|_| gone())?
    }

    async fn within<T>(&self, answer: impl Future<Output = T>) -> Result<T, SourceError> {
        let given_up = |_| error::given_up(self.timeout.as_secs());
        tokio::time::timeout(self.timeout, answer).await.map_err(given_up)
    }
}

/// The connection string with who we are.
fn whole(string: &str, database: &Database) -> String {
    let password = database.password.as_ref().map(|password| password.0.as_str());
    let mut whole = string.trim_end_matches(';').to_owned();
    for (key, value) in [("UID", database.user.as_deref()), ("PWD", password)] {
        if let Some(value) = value {
            whole.push_str(&format!(";{key}={}", escape_attribute_value(value)));
        }
    }
    whole
}

fn gone() -> SourceError {
    SourceError::Unreached { why: "the driver broke down".to_owned() }
}

/// A connection, on its thread.
struct Desk {
    conn: Connection<'static>,
    dialect: Dialect,
    timeout: usize,
    /// Whether a cell was longer than its driver had said: from then on cells are fetched one by one.
    long: Cell<bool>,
}

impl Desk {
    fn open(string: &str, writes: bool, timeout: Duration) -> Result<Self, SourceError> {
        let refused = |error: Error| error::of_odbc(&error, false);
        let options = ConnectionOptions {
            login_timeout_sec: u32::try_from(HELLO.as_secs()).ok(),
            ..ConnectionOptions::default()
        };
        let conn = environment().map_err(refused)?.connect_with_connection_string(string, options).map_err(refused)?;
        let dbms = conn.database_management_system_name().map_err(refused)?;
        let flavour = Flavour::of(&dbms).ok_or_else(|| SourceError::Flavour { dbms, known: Flavour::all() })?;
        let quote = conn.identifier_quote_char().map_err(refused)?;
        let timeout = usize::try_from(timeout.as_secs().max(1)).unwrap_or(usize::MAX);
        let desk = Self { conn, dialect: Dialect::Odbc(flavour, quote), timeout, long: Cell::new(false) };
        desk.listens(flavour)?;
        if let Some(sql) = flavour.read_only.filter(|_| !writes) {
            desk.open_rows(&Statement { sql: sql.to_owned(), ..Statement::default() })?;
        }
        Ok(desk)
    }

    /// That names and texts pass both ways as they are: of a driver without Unicode unixODBC knows ASCII only.
    fn listens(&self, flavour: &Flavour) -> Result<(), SourceError> {
        let named = format!("'{SPOKEN}' as {}", self.dialect.quoted(SPOKEN));
        let sql = flavour.spoken.replace(&format!("'{SPOKEN}'"), &named);
        let statement = Statement { sql, ..Statement::default() };
        let heard = self.columns(&statement).and_then(|columns| Ok((columns, self.first(&statement)?)));
        match heard {
            Ok((columns, Some(row)))
                if columns.iter().all(|(name, _)| name == SPOKEN) && row == [Some(SPOKEN.to_owned())] =>
            {
                return Ok(());
            }
            Ok(_) | Err(SourceError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        Err(SourceError::Driver { why: "it does not know Unicode, and would lose Chinese names and texts".to_owned() })
    }

    /// An error that a driver has no word of its own for may be that its connection broke.
    fn told(&self, error: SourceError) -> SourceError {
        match error {
            SourceError::Refused { why } if self.conn.is_dead().unwrap_or(false) => SourceError::Unreached { why },
            error => error,
        }
    }

    /// Runs a statement; its rows, if it has any.
    fn open_rows(&self, statement: &Statement) -> Result<Option<Rows<'_>>, SourceError> {
        let refused = |error: Error| error::of_odbc(&error, true);
        let typed = !matches!(self.dialect, Dialect::Odbc(flavour, _) if flavour.texts_compare);
        let bound: Vec<Bound> = (statement.binds.iter().enumerate())
            .map(|(i, value)| bound(value.as_deref(), statement.kinds.get(i).filter(|_| typed)))
            .collect();
        let mut prepared = self.conn.preallocate().map_err(refused)?;
        // Not every driver can; then only our own patience ends it.
        prepared.set_query_timeout_sec(self.timeout).ok();
        prepared.into_cursor(&statement.sql, bound.as_slice()).map_err(refused)
    }

    fn columns(&self, statement: &Statement) -> Result<Vec<(String, String)>, SourceError> {
        let refused = |error: Error| error::of_odbc(&error, true);
        let Some(mut rows) = self.open_rows(statement)? else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for column in columns_of(&mut rows)? {
            let name = rows.col_name(column).map_err(refused)?;
            all.push((name, kind(rows.col_data_type(column).map_err(refused)?)));
        }
        Ok(all)
    }

    fn never_null(&self, statement: &Statement) -> Result<Vec<String>, SourceError> {
        let refused = |error: Error| error::of_odbc(&error, true);
        let Some(mut rows) = self.open_rows(statement)? else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for column in columns_of(&mut rows)? {
            if rows.col_nullability(column).map_err(refused)? == Nullability::NoNulls {
                all.push(rows.col_name(column).map_err(refused)?);
            }
        }
        Ok(all)
    }

    fn first(&self, statement: &Statement) -> Result<Option<Vec<Option<String>>>, SourceError> {
        let refused = |error: Error| error::of_odbc(&error, true);
        let Some(mut rows) = self.open_rows(statement)? else { return Ok(None) };
        let columns = columns_of(&mut rows)?;
        let Some(mut row) = rows.next_row().map_err(refused)? else { return Ok(None) };
        let mut texts = Vec::new();
        let mut units = Vec::new();
        for column in columns {
            let there = row.get_wide_text(column, &mut units).map_err(refused)?;
            texts.push(there.then(|| String::from_utf16_lossy(&units)));
        }
        Ok(Some(texts))
    }

    fn page(&self, statement: &Statement, limit: u64, mut taken: Taken) -> Result<Paged, SourceError> {
        if !self.long.get() {
            let Some(rows) = self.open_rows(statement)? else { return Ok(taken.end(limit)) };
            if in_bulk(rows, &mut taken)? {
                return Ok(taken.end(limit));
            }
            self.long.set(true);
            taken.send_groups();
            if taken.last.is_some() {
                return Ok(Paged { rows: taken.rows, last: taken.last, full: true });
            }
            taken.forget();
        }
        if let Some(rows) = self.open_rows(statement)? {
            one_by_one(rows, &mut taken)?;
        }
        Ok(taken.end(limit))
    }
}

/// Numbers of the columns.
fn columns_of(rows: &mut Rows<'_>) -> Result<std::ops::RangeInclusive<u16>, SourceError> {
    let count = rows.num_result_cols().map_err(|error| error::of_odbc(&error, true))?;
    Ok(1..=u16::try_from(count).unwrap_or_default())
}

/// Fetches many rows at a time; false as soon as a cell has no room, or where one may have none.
fn in_bulk(mut rows: Rows<'_>, taken: &mut Taken) -> Result<bool, SourceError> {
    let refused = |error: Error| error::of_odbc(&error, true);
    let mut lengths = Vec::new();
    for column in columns_of(&mut rows)? {
        match rows.col_display_size(column).ok().flatten().map(NonZeroUsize::get) {
            Some(length @ 1..=CELL) => lengths.push((column, length)),
            _ => return Ok(false),
        }
    }
    let row: usize = lengths.iter().map(|(_, length)| 2 * (length + 1) + size_of::<isize>()).sum();
    let room = (BYTES / row.max(1)).clamp(1, ROWS);
    let columns = lengths.iter().map(|&(column, length)| (column, WCharColumn::new(room, length)));
    let buffer = ColumnarBuffer::new(columns.collect());
    let mut fetching = rows.bind_buffer(buffer).map_err(refused)?;
    while let Some(batch) = fetching.fetch().map_err(refused)? {
        let columns: Vec<_> = (0..lengths.len()).map(|i| batch.column(i)).collect();
        if columns.iter().any(|column| column.has_truncated_values().is_some()) {
            return Ok(false);
        }
        for row in 0..batch.num_rows() {
            columns.iter().for_each(|column| taken.cell(column.get(row)));
            taken.end_row();
        }
        if taken.unread {
            break;
        }
    }
    Ok(true)
}

/// Fetches cell by cell, however long they are.
fn one_by_one(mut rows: Rows<'_>, taken: &mut Taken) -> Result<(), SourceError> {
    let refused = |error: Error| error::of_odbc(&error, true);
    let columns = columns_of(&mut rows)?;
    let mut units = Vec::new();
    while let Some(mut row) = rows.next_row().map_err(refused)? {
        for column in columns.clone() {
            let there = row.get_wide_text(column, &mut units).map_err(refused)?;
            taken.cell(there.then_some(units.as_slice()));
        }
        taken.end_row();
        if taken.unread {
            break;
        }
    }
    Ok(())
}

/// Rows on their way to who reads them.
struct Taken {
    block: Block,
    width: (usize, usize),
    rows: u64,
    /// The last row that was sent.
    last: Option<Vec<Option<String>>>,
    to: mpsc::Sender<Block>,
    /// Nobody reads any more.
    unread: bool,
    bytes: Vec<u8>,
}

impl Taken {
    fn new(width: (usize, usize), to: mpsc::Sender<Block>) -> Self {
        Self { block: Block::of(width), width, rows: 0, last: None, to, unread: false, bytes: Vec::new() }
    }

    fn cell(&mut self, units: Option<&[u16]>) {
        let Some(units) = units else { return self.block.put(None) };
        self.bytes.clear();
        utf_8(units, &mut self.bytes);
        self.block.put(Some(&self.bytes));
    }

    fn end_row(&mut self) {
        self.block.end_row();
        self.rows += 1;
        if self.block.is_full() {
            self.send_groups();
        }
    }

    /// Sends all rows but the last ones that share a place in the order.
    fn send_groups(&mut self) {
        let groups = self.block.whole_groups();
        self.send(groups);
    }

    fn send(&mut self, block: Block) {
        if let Some(row) = block.rows().checked_sub(1) {
            self.last = Some(block.texts(row));
            self.unread |= self.to.blocking_send(block).is_err();
        }
    }

    /// Begins anew; nothing was sent.
    fn forget(&mut self) {
        (self.block, self.rows) = (Block::of(self.width), 0);
    }

    fn end(mut self, limit: u64) -> Paged {
        let full = self.rows >= limit;
        let rest = if full { self.block.whole_groups() } else { std::mem::take(&mut self.block) };
        self.send(rest.ending_page());
        Paged { rows: self.rows, last: self.last, full }
    }
}

/// UTF-16 as UTF-8; half a character becomes bytes that are none, so that its row is set aside.
fn utf_8(units: &[u16], to: &mut Vec<u8>) {
    for character in char::decode_utf16(units.iter().copied()) {
        match character {
            Ok(character) => to.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(half) => {
                let unit = u32::from(half.unpaired_surrogate());
                let bits = |shift: u32, mask: u32| u8::try_from((unit >> shift) & mask).unwrap_or_default();
                to.extend([0xe0 | bits(12, 0x0f), 0x80 | bits(6, 0x3f), 0x80 | bits(0, 0x3f)]);
            }
        }
    }
}

/// What a type is called, in versions of a source's shape and where values are bound.
fn kind(of: DataType) -> String {
    let long = |name: &str, length: Option<NonZeroUsize>| {
        length.map_or_else(|| name.to_owned(), |length| format!("{name}({length})"))
    };
    match of {
        DataType::Char { length } | DataType::WChar { length } => long("CHAR", length),
        DataType::Varchar { length } | DataType::WVarchar { length } => long("VARCHAR", length),
        DataType::LongVarchar { .. } | DataType::WLongVarchar { .. } => "TEXT".to_owned(),
        DataType::Numeric { precision, scale } | DataType::Decimal { precision, scale } => {
            format!("DECIMAL({precision},{scale})")
        }
        DataType::TinyInt | DataType::SmallInt | DataType::Integer | DataType::BigInt => "INTEGER".to_owned(),
        DataType::Float { .. } | DataType::Real | DataType::Double => "DOUBLE".to_owned(),
        DataType::Date => "DATE".to_owned(),
        DataType::Time { .. } => "TIME".to_owned(),
        DataType::Timestamp { precision } => format!("TIMESTAMP({precision})"),
        DataType::Bit => "BIT".to_owned(),
        DataType::Binary { .. } | DataType::Varbinary { .. } | DataType::LongVarbinary { .. } => "BINARY".to_owned(),
        DataType::Unknown | DataType::Other { .. } => "OTHER".to_owned(),
    }
}

/// A value as it is bound where it is compared with a column of this type.
fn bound(value: Option<&str>, kind: Option<&String>) -> Bound {
    let cell = value.map_or_else(VarWCharBox::null, VarWCharBox::from_str_slice);
    let (name, sizes) = kind.map_or(("", ""), |kind| kind.split_once('(').unwrap_or((kind, "")));
    let mut sizes = sizes.trim_end_matches(')').split(',').map(|size| size.parse::<i16>().unwrap_or_default());
    let first = sizes.next().unwrap_or_default();
    let data_type = match name {
        // A server's index of integers does not serve decimals, so they are the way out of 64 bits only.
        "INTEGER" if value.is_none_or(|value| value.parse::<i64>().is_ok()) => DataType::BigInt,
        "INTEGER" => DataType::Decimal { precision: 20, scale: 0 },
        "DECIMAL" => DataType::Decimal {
            precision: usize::try_from(first).unwrap_or_default(),
            scale: sizes.next().unwrap_or_default(),
        },
        "DOUBLE" => DataType::Double,
        "DATE" => DataType::Date,
        "TIMESTAMP" => DataType::Timestamp { precision: first },
        _ => DataType::WVarchar { length: NonZeroUsize::new(value.map_or(1, |value| value.encode_utf16().count())) },
    };
    WithDataType::new(cell, data_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_character_is_no_utf_8() {
        let text = |units: &[u16]| {
            let mut bytes = Vec::new();
            utf_8(units, &mut bytes);
            String::from_utf8(bytes).ok()
        };
        assert_eq!(text(&"青岛𠮷".encode_utf16().collect::<Vec<_>>()).as_deref(), Some("青岛𠮷"));
        assert_eq!(text(&[0x9752, 0xd842, 0x5c9b]), None);
        assert_eq!(text(&[0xdfb7]), None);
    }

    #[test]
    fn types_are_bound_as_they_were_described() {
        let check = |of: DataType, name: &str, as_bound: DataType| {
            assert_eq!(kind(of), name);
            assert_eq!(bound(Some("7"), Some(&kind(of))).data_type, as_bound, "{name}");
        };
        let length = NonZeroUsize::new(1);
        check(DataType::Integer, "INTEGER", DataType::BigInt);
        let decimal = DataType::Decimal { precision: 20, scale: 2 };
        check(DataType::Numeric { precision: 20, scale: 2 }, "DECIMAL(20,2)", decimal);
        let time = DataType::Timestamp { precision: 6 };
        check(time, "TIMESTAMP(6)", time);
        check(DataType::Varchar { length: NonZeroUsize::new(18) }, "VARCHAR(18)", DataType::WVarchar { length });
        check(DataType::Unknown, "OTHER", DataType::WVarchar { length });
    }

    #[test]
    fn who_we_are_is_added_to_a_connection_string() {
        let database = |user: &str, password: &str| Database {
            url: crate::config::At { value: String::new(), place: crate::error::Place::new("x", 1, 1) },
            user: Some(user.to_owned()),
            password: Some(crate::config::Hidden(password.to_owned())),
            ca: None,
            timeout: Duration::from_secs(1),
            rate: None,
        };
        assert_eq!(whole("DSN=a;", &database("u", "p;w}")), "DSN=a;UID=u;PWD={p;w}}}");
    }
}
