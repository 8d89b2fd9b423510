//! A department's database (前置库): PostgreSQL, MySQL, MariaDB and SQLite, and by ODBC others.
//!
//! Decides: which rows are new, in which order they are asked for, what is written back. Must not know: what rows mean.
//! Guarantees: read-only sessions but for the read flag (交换开关), short statements with a time limit, no row twice in a
//! pull and none left out, equal cursor values across page borders included; what is marked as read is what was committed.

mod changes;
mod client;
mod dialect;
mod error;
mod flavour;
mod lag;
mod native;
#[cfg(feature = "odbc")]
mod odbc;
mod pages;
mod ranges;
mod rows;
mod sql;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

pub(super) use self::changes::ChangesSource;
use self::client::Client;
use self::dialect::Dialect;
use self::pages::Plan;
pub use self::ranges::{KeyedTable, Range};
use self::rows::TableRows;
use self::sql::{Described, End, Select};
use super::{Before, Item, Listing, Source, SourceError};
use crate::config::{Database, Dataset, Extract, Relation, Table};
use crate::decode::{Decode, Position};

/// Rows marked as read in one item: they are remembered until they are committed.
const FLAGGED_ROWS: u64 = 50_000;

/// Cells that name a row of an exchange table among the unread ones.
type Mark = Vec<Option<String>>;

/// What was read of an item, for when it is settled.
type Marks = Arc<Mutex<Vec<Mark>>>;

/// One table, view or query of a database.
pub(super) struct DatabaseSource {
    dir: PathBuf,
    database: Database,
    table: Table,
    dataset: Dataset,
    /// Rows of the open item, to be marked as read once it is settled.
    taken: Marks,
}

impl DatabaseSource {
    pub(super) fn new(dir: &Path, database: &Database, table: &Table, dataset: &Dataset) -> Self {
        Self {
            dir: dir.to_owned(),
            database: database.clone(),
            table: table.clone(),
            dataset: dataset.clone(),
            taken: Arc::default(),
        }
    }

    async fn connect(&self, writes: bool) -> Result<Client, SourceError> {
        Client::connect(&self.database, &self.dir, writes).await
    }

    /// What the relation is called in messages and items.
    fn shown(&self) -> &str {
        match &self.table.relation.value {
            Relation::Table(name) => name,
            Relation::Query(_) => &self.dataset.name,
        }
    }

    async fn describe(&self, client: &mut Client) -> Result<Described, SourceError> {
        describe(client, &self.table.relation.value).await
    }

    /// The select of this dataset as its contract and extraction want it.
    fn select(&self, described: Described) -> Result<Select, SourceError> {
        let key = self.dataset.key.iter().map(|name| name.value.clone());
        let flagged = self.table.read_flag.is_some();
        let order: Vec<String> = match &self.dataset.extract {
            Extract::Cursor { column, .. } => std::iter::once(column.value.clone()).chain(key).collect(),
            _ if flagged => {
                let operation = self.dataset.operation.as_ref().map(|operation| operation.column.value.clone());
                self.dataset.updated.iter().map(|name| name.value.clone()).chain(key).chain(operation).collect()
            }
            _ => key.collect(),
        };
        let mut unique: Vec<String> = Vec::new();
        order.into_iter().for_each(|name| {
            if !unique.contains(&name) {
                unique.push(name)
            }
        });
        let wanted = self.dataset.columns.iter().map(|column| column.name.clone()).collect();
        Select::new(described, wanted, unique, (self.shown(), self.table.read_flag.as_ref()))
    }

    fn pulls(&self, before: Option<&Before>, count: u64, span: (Option<&str>, Option<&str>)) -> Listing {
        Listing { items: pulls(self.shown(), before, count, span), ..Listing::default() }
    }

    /// Where a pull by cursor begins and ends; `None` when nothing is new.
    async fn span(
        &self,
        client: &mut Client,
        select: &Select,
        before: Option<&Before>,
    ) -> Result<Option<(Option<String>, Option<String>)>, SourceError> {
        let Extract::Cursor { lag, .. } = &self.dataset.extract else { return Ok(Some((None, None))) };
        let since = before.and_then(|before| before.cursor.clone());
        if let Some(nulls) = select.without_cursor()
            && client.first(&nulls).await?.is_some()
        {
            let table = self.shown();
            tracing::warn!(
                code = "HL0335",
                table,
                "rows without a cursor value are not seen by a pull that follows it"
            );
        }
        if let Some(since) = &since
            && client.first(&select.backwards(since)?).await?.is_some()
        {
            return Err(SourceError::Backwards { table: self.shown().to_owned() });
        }
        let until = lag::ceiling(client, select, (*lag, self.shown())).await?;
        let news = client.first(&select.news(since.as_deref(), until.as_deref())?).await?;
        Ok(news.map(|_| (since, until)))
    }
}

#[async_trait]
impl Source for DatabaseSource {
    async fn list(&mut self, before: Option<&Before>) -> Result<Listing, SourceError> {
        let mut client = self.connect(false).await?;
        let described = self.describe(&mut client).await?;
        let select = self.select(described)?;
        if let Some(unread) = select.unread() {
            let row = client.first(&unread).await?;
            let count = row.and_then(|row| row.into_iter().next().flatten()?.parse::<u64>().ok()).unwrap_or(0);
            return Ok(self.pulls(before, count.div_ceil(FLAGGED_ROWS), (None, None)));
        }
        match self.span(&mut client, &select, before).await? {
            Some((since, until)) => Ok(self.pulls(before, 1, (since.as_deref(), until.as_deref()))),
            None => Ok(Listing::default()),
        }
    }

    async fn open(&self, item: &Item, at: Option<&Position>) -> Result<Box<dyn Decode>, SourceError> {
        let mut client = self.connect(false).await?;
        let described = self.describe(&mut client).await?;
        let select = self.select(described)?;
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let flagged = self.table.read_flag.is_some();
        // What was committed of a flagged item and not marked is read once more: nothing else would mark it.
        let at = at.filter(|_| !flagged);
        let cursor = at.and_then(|at| at.cursor.as_deref()).or(item.since.as_deref());
        let plan = Plan {
            after: cursor.map(sql::order_values).transpose()?,
            end: item.until.clone().map_or(End::Open, End::First),
            page: if flagged { FLAGGED_ROWS } else { u64::from(self.table.page) },
            once: flagged,
            rate: self.database.rate,
            table: self.shown().to_owned(),
        };
        let rows = at.map_or(0, |at| at.resume.row);
        let taken = flagged.then(|| Arc::clone(&self.taken));
        Ok(Box::new(TableRows::start(client, select, plan, (super::wanted(&self.dataset), rows, taken))))
    }

    async fn settle(&mut self, _item: &Item) -> Result<(), SourceError> {
        let taken = std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner));
        if taken.is_empty() {
            return Ok(());
        }
        let mut client = self.connect(true).await?;
        let described = self.describe(&mut client).await?;
        let select = self.select(described)?;
        for some in taken.chunks(sql::MARKED_AT_ONCE) {
            client.execute(&select.mark(some)).await?;
        }
        Ok(())
    }
}

/// What a relation is made of.
async fn describe(client: &mut Client, relation: &Relation) -> Result<Described, SourceError> {
    let from = client.dialect().relation(relation);
    let mut columns = client.columns(&format!("select * from {from} where 1 = 0")).await?;
    let derived = matches!(relation, Relation::Query(_));
    if let Relation::Table(name) = relation
        && let Some(sets) = sql::sets(client.dialect(), name)
    {
        let sets = client.first(&sets).await?.and_then(|row| row.into_iter().next().flatten()).unwrap_or_default();
        let is_set = |name: &String| sets.lines().any(|set| set == name);
        columns.iter_mut().filter(|(name, _)| is_set(name)).for_each(|(_, kind)| *kind = "SET".to_owned());
    }
    // Where nulls come first, a bound passes them over; of a query nobody says which columns hold none.
    let asks = client.dialect().nulls_last() && !derived;
    let never_null = if asks { client.never_null(&from).await? } else { Vec::new() };
    Ok(Described { dialect: client.dialect(), from, columns, derived, never_null })
}

/// Pulls of a relation that name themselves by the one before.
fn pulls(shown: &str, before: Option<&Before>, count: u64, (since, until): (Option<&str>, Option<&str>)) -> Vec<Item> {
    let number = |name: &str| name.rsplit_once('#').and_then(|(_, n)| n.parse::<u64>().ok()).unwrap_or(0);
    let unfinished = before.filter(|before| !before.over);
    let mut digest = before.map_or_else(String::new, |before| before.digest.clone());
    let mut last = before.map_or(0, |before| number(&before.name));
    let mut items = Vec::new();
    for n in 0..count {
        let again = unfinished.filter(|_| n == 0);
        if again.is_none() {
            digest = blake3::hash(format!("{shown}\n{digest}").as_bytes()).to_hex().to_string();
            last += 1;
        }
        items.push(Item {
            name: again.map_or_else(|| format!("{shown} #{last}"), |before| before.name.clone()),
            digest: digest.clone(),
            since: since.map(str::to_owned),
            until: until.map(str::to_owned),
            ..Item::default()
        });
    }
    items
}

/// The databases that a URL can name.
fn dialect(url: &str) -> Option<Dialect> {
    match url.split_once(':')?.0 {
        "postgres" | "postgresql" => Some(Dialect::Postgres),
        "mysql" | "mariadb" => Some(Dialect::MySql),
        "sqlite" => Some(Dialect::Sqlite),
        _ => None,
    }
}
