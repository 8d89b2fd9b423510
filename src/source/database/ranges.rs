//! Parts of a table by ranges of its key (按主键分段), for backfills.
//!
//! Decides: where a part ends. Must not know: what becomes of rows. Guarantees: every row that is there all the while is
//! in exactly one part; rows with one key are in one part; a part may be read again, and from any position of it.
//!
//! Borders are found by going along the key so many rows at a time, one short statement each: where the key has an index,
//! the table itself is not read. That works on every database and for keys of several columns, where the statistics of a
//! planner do not.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::client::Client;
use super::pages::Plan;
use super::rows::TableRows;
use super::sql::{End, Select, cursor_text, order_values};
use super::{Relation, describe};
use crate::config::{Connector, Database, Dataset, Offer, SourceKind, Table};
use crate::decode::{Decode, Position};
use crate::source::SourceError;

/// Some rows of a table, by their key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Key after which it begins; `None` is the table's first row.
    pub after: Option<String>,
    /// Key at which it ends; `None` is the table's end, whatever comes until it is read.
    pub until: Option<String>,
    /// Rows when it was cut.
    pub rows: u64,
}

/// A table that is read by ranges of its key.
pub struct KeyedTable {
    dir: PathBuf,
    database: Database,
    table: Table,
    dataset: Dataset,
}

impl KeyedTable {
    /// The table of a dataset; `None` when it is none, or is taken by its read flag.
    pub fn new(dir: &Path, connector: &Connector, dataset: &Dataset) -> Option<Self> {
        let (SourceKind::Database(database), Offer::Table(table)) = (&connector.source, &dataset.offer) else {
            return None;
        };
        table.read_flag.is_none().then(|| Self {
            dir: dir.to_owned(),
            database: database.clone(),
            table: table.clone(),
            dataset: dataset.clone(),
        })
    }

    async fn select(&self) -> Result<(Client, Select), SourceError> {
        let mut client = Client::connect(&self.database, &self.dir, false).await?;
        let described = describe(&mut client, &self.table.relation.value).await?;
        let wanted = self.dataset.columns.iter().map(|column| column.name.clone()).collect();
        let key = self.dataset.key.iter().map(|name| name.value.clone()).collect();
        let select = Select::new(described, wanted, key, (self.shown(), None))?;
        Ok((client, select))
    }

    /// What the table is called in messages.
    pub fn shown(&self) -> &str {
        match &self.table.relation.value {
            Relation::Table(name) => name,
            Relation::Query(_) => &self.dataset.name,
        }
    }

    /// Cuts it into ranges of so many rows; none when it is empty. Stops when there are more than `most`.
    pub async fn cut(&self, rows: u64, most: usize) -> Result<Vec<Range>, SourceError> {
        let (mut client, select) = self.select().await?;
        let mut ranges = Vec::new();
        let mut after: Option<Vec<Option<String>>> = None;
        while ranges.len() <= most {
            let Some(border) = client.first(&select.border(after.as_deref(), &End::Open, rows)).await? else { break };
            let (begins, ends) = (after.as_deref().map(cursor_text), cursor_text(&border));
            if begins.as_ref() == Some(&ends) {
                return Err(SourceError::Endless { what: self.shown().to_owned() });
            }
            let end = End::At(border.clone());
            let count = client.first(&select.count(after.as_deref(), &end)).await?;
            let count = count.and_then(|row| row.into_iter().next().flatten()?.parse().ok()).unwrap_or(0);
            ranges.push(Range { after: begins, until: Some(ends), rows: count });
            after = Some(border);
        }
        if let Some(last) = ranges.last_mut() {
            last.until = None;
        }
        Ok(ranges)
    }

    /// The rows of a range after this position.
    pub async fn open(&self, range: &Range, at: &Position) -> Result<Box<dyn Decode>, SourceError> {
        let (client, select) = self.select().await?;
        let values = |text: &Option<String>| text.as_deref().map(order_values).transpose();
        let after = match &at.cursor {
            Some(cursor) => Some(order_values(cursor)?),
            None => values(&range.after)?,
        };
        let plan = Plan {
            after,
            end: values(&range.until)?.map_or(End::Open, End::At),
            page: u64::from(self.table.page),
            once: false,
            rate: self.database.rate,
            table: self.shown().to_owned(),
        };
        let wanted = crate::source::wanted(&self.dataset);
        Ok(Box::new(TableRows::start(client, select, plan, (wanted, at.resume.row, None))))
    }
}
