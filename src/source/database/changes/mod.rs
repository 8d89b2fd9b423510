//! Changes of a table from PostgreSQL's own log (变更订阅): copied once, then followed.
//!
//! Decides: what has to stand ready on the server, where a pull begins and ends, when only a new copy helps. Must not
//! know: what rows mean. Guarantees: between the copy and the log no change is lost and none is seen twice; the server
//! keeps its log until our rows are committed, and no longer, also while the table is quiet; a gap in the log is an error
//! that a person answers, never a silence.

mod place;
mod rows;
mod scan;
mod server;
mod stream;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use pg_walstream::Lsn;
use tokio::sync::mpsc;

use self::place::{Copied, Place};
use self::rows::{ChangeRows, CopyRows};
use self::scan::{Found, scan};
use self::server::{Names, Slot, asked, peek};
use self::stream::{Following, follow};
use super::client::Client;
use super::pages::Plan;
use super::rows::TableRows;
use super::sql::{End, Select};
use super::{describe, pulls};
use crate::config::{Cdc, Dataset, Relation, Table};
use crate::decode::{Decode, Header, Position};
use crate::source::{Before, Item, Lag, Listing, Source, SourceError, wanted};

/// Changes of one pull, and the transaction in which they end.
const PULL: u32 = 50_000;
/// Bytes of the log read for one pull, the changes of other tables included.
const WINDOW: u64 = 256 << 20;
/// Bytes of the log that a quiet table may keep the server from throwing away: one of its files.
const QUIET: u64 = 16 << 20;
/// Batches of changes read ahead.
const AHEAD: usize = 4;

/// One table whose log is followed.
pub(in crate::source) struct ChangesSource {
    dir: PathBuf,
    cdc: Cdc,
    table: Table,
    dataset: Dataset,
    names: Names,
    /// Nothing is made or moved on the server.
    looking: bool,
    /// A person said that what cannot be followed any more is copied anew.
    accepted: bool,
    /// Slot and copy begin anew.
    anew: bool,
    /// Where the log ended when this run began.
    horizon: Option<Lsn>,
    found: Option<Found>,
    lag: Option<Lag>,
}

impl ChangesSource {
    pub(in crate::source) fn new(dir: &Path, (system, cdc): (&str, &Cdc), table: &Table, dataset: &Dataset) -> Self {
        let slot = slot_name(&cdc.slot, &format!("{system}.{}", dataset.name));
        let publication = cdc.publication.clone().unwrap_or_else(|| slot.clone());
        Self {
            dir: dir.to_owned(),
            names: Names { slot, publication, own: cdc.publication.is_none() },
            cdc: cdc.clone(),
            table: table.clone(),
            dataset: dataset.clone(),
            looking: false,
            accepted: false,
            anew: false,
            horizon: None,
            found: None,
            lag: None,
        }
    }

    async fn connect(&self, writes: bool) -> Result<Client, SourceError> {
        Client::connect(&self.cdc.database, &self.dir, writes).await
    }

    /// What the table is called.
    fn shown(&self) -> &str {
        match &self.table.relation.value {
            Relation::Table(name) => name,
            Relation::Query(_) => &self.dataset.name,
        }
    }

    fn wanted(&self) -> Vec<String> {
        self.dataset.columns.iter().map(|column| column.name.clone()).collect()
    }

    async fn select(&self, client: &mut Client) -> Result<Select, SourceError> {
        let described = describe(client, &self.table.relation.value).await?;
        let key = self.dataset.key.iter().map(|name| name.value.clone()).collect();
        Select::new(described, self.wanted(), key, (self.shown(), None))
    }

    /// One pull, and that there is more afterwards.
    fn pull(&self, before: Option<&Before>, since: Option<&str>, until: Option<Lsn>, more: bool) -> Listing {
        let until = until.map(|until| until.to_string());
        let mut items = pulls(self.shown(), before, 1, (since, until.as_deref()));
        items.iter_mut().for_each(|item| item.whole = item.until.is_none());
        Listing { items, more, ..Listing::default() }
    }

    /// Slot and copy begin anew, under a name of their own: nothing of an earlier copy is gone on with.
    fn begin_anew(&mut self, before: Option<&Before>) -> Listing {
        self.anew = true;
        let before = before.map(|before| Before { over: true, ..before.clone() });
        self.pull(before.as_ref(), None, None, true)
    }

    /// Why our place in the log is lost, if it is.
    async fn gap(
        &self,
        client: &mut Client,
        (table, place): (&server::Table, &Place),
        slot: Option<&Slot>,
    ) -> Result<Option<&'static str>, SourceError> {
        Ok(match slot.map(Slot::confirmed) {
            _ if table.oid != place.table => Some("the table was made anew under the same name"),
            None => Some("our slot is gone"),
            Some(None) => Some("the server no longer keeps it for us"),
            Some(Some(confirmed)) if confirmed > place.lsn => Some("somebody else read from our slot"),
            _ if !server::is_published(client, table, &self.names).await? => Some("its publication lost the table"),
            _ => None,
        })
    }

    /// What the log has after this place.
    async fn ahead(
        &mut self,
        client: &mut Client,
        (before, place): (Option<&Before>, Place),
        (confirmed, accepted): (Option<Lsn>, bool),
    ) -> Result<Listing, SourceError> {
        // Committed here, and then the process was gone.
        if !self.looking && confirmed.is_some_and(|confirmed| confirmed < place.lsn) {
            server::advance(client, &self.names, place.lsn).await?;
        }
        let now = server::now(client).await?;
        let horizon = *self.horizon.get_or_insert(now.lsn);
        let upto = Lsn(horizon.0.min(place.lsn.0 + WINDOW));
        let bytes = now.lsn.0.saturating_sub(place.lsn.0);
        self.lag = Some(Lag { bytes, seconds: 0 });
        // What broke off is ended, also when nothing is left of it.
        let broken_off = before.is_some_and(|before| !before.over);
        if upto <= place.lsn && !broken_off {
            return Ok(Listing::default());
        }
        let upto = upto.max(place.lsn);
        let found = scan(client, &peek(&self.names, place.table, upto, (Some(PULL), true)), &place).await?;
        let seconds = found.oldest.map_or(0, |oldest| now.micros.saturating_sub(oldest) / 1_000_000);
        self.lag = Some(Lag { bytes, seconds: u64::try_from(seconds).unwrap_or(0) });
        if found.truncated && accepted {
            return Ok(self.begin_anew(before));
        }
        let end = found.end.unwrap_or(upto).max(place.lsn);
        let quiet = found.changes == 0 && !found.truncated;
        if quiet && !broken_off && (end == place.lsn || upto.0 - place.lsn.0 < QUIET) {
            return Ok(Listing::default());
        }
        self.found = Some(found);
        Ok(self.pull(before, Some(&place.text()), Some(end), end < horizon))
    }

    /// A copy of the whole table, as of one moment unless it broke off in between.
    async fn copy(&self, item: &Item, at: Option<&Position>) -> Result<Box<dyn Decode>, SourceError> {
        let mut client = self.connect(false).await?;
        let select = self.select(&mut client).await?;
        let known = at.and_then(|at| at.cursor.as_deref()).or(item.since.as_deref()).filter(|_| !self.anew);
        let known = known.map(Place::parse).transpose()?;
        let row = at.filter(|_| known.is_some()).map_or(0, |at| at.resume.row);
        let moment = asked("begin isolation level repeatable read read only", &[]);
        let mut place = match known {
            // What changed since the first rows were copied comes out of the log, for those and for the others.
            Some(place) => {
                client.execute(&moment).await?;
                place
            }
            None => {
                let (table, lsn) = self.prepare(&mut client).await?;
                client.execute(&moment).await?;
                Place { table, lsn, changes: 0, copy: Some(shown_by(&mut client).await?) }
            }
        };
        place.copy.iter_mut().for_each(|copy| copy.item.clone_from(&item.name));
        let plan = Plan {
            after: place.copy.as_ref().and_then(|copy| copy.after.clone()),
            end: End::Open,
            page: u64::from(self.table.page),
            once: false,
            rate: self.cdc.database.rate,
            table: self.shown().to_owned(),
        };
        let columns = wanted(&self.dataset);
        let rows = TableRows::start(client, select, plan, (columns.clone(), row, None));
        Ok(Box::new(CopyRows::of(rows, place, (&columns, row))))
    }

    /// Publication and slot stand ready; the table's number, and the place from which on changes are kept for us.
    async fn prepare(&self, client: &mut Client) -> Result<(u32, Lsn), SourceError> {
        let table = server::table(client, self.shown()).await?;
        table.check(&self.dataset.key)?;
        if self.looking {
            return Ok((table.oid, Lsn(0)));
        }
        let mut maker = self.connect(true).await?;
        server::publish(&mut maker, &table, &self.names).await?;
        let lsn = server::keep_slot(&mut maker, &self.names, self.anew).await?;
        Ok((table.oid, lsn))
    }

    /// The changes between two places.
    async fn changes(&self, item: &Item, at: Option<&Position>, end: &str) -> Result<Box<dyn Decode>, SourceError> {
        let since = at.and_then(|at| at.cursor.as_deref()).or(item.since.as_deref()).ok_or(SourceError::Cursor)?;
        let place = Place::parse(since)?;
        let end: Lsn = end.parse().map_err(|_| SourceError::Cursor)?;
        let mut client = self.connect(false).await?;
        let found = match &self.found {
            Some(found) if found.end == Some(end) => found.clone(),
            _ => scan(&mut client, &peek(&self.names, place.table, end, (None, true)), &place).await?,
        };
        if found.truncated {
            return Err(SourceError::Truncated { table: self.shown().to_owned() });
        }
        let select = self.select(&mut client).await?;
        // Rows are read at the pace at which they are taken.
        client.execute(&asked("set statement_timeout = 0", &[])).await?;
        let contract = self.wanted();
        let column = |name: &str| contract.iter().position(|column| column == name);
        let following = Following {
            database: self.cdc.database.clone(),
            dir: self.dir.clone(),
            place: place.clone(),
            key: self.dataset.key.iter().filter_map(|name| column(&name.value)).collect(),
            wanted: contract.clone(),
            select,
        };
        let (sender, changes) = mpsc::channel(AHEAD);
        let header = Header {
            columns: found.columns(&contract),
            kinds: Vec::new(),
            encoding: "utf-8 (database log)".to_owned(),
        };
        let peek = peek(&self.names, place.table, end, (None, false));
        tokio::spawn(follow(client, peek, following, sender));
        let row = at.map_or(0, |at| at.resume.row);
        let columns = wanted(&self.dataset);
        Ok(Box::new(ChangeRows::of((header, changes), (place, end), (&columns, row), self.shown())))
    }
}

#[async_trait]
impl Source for ChangesSource {
    async fn list(&mut self, before: Option<&Before>) -> Result<Listing, SourceError> {
        let accepted = std::mem::take(&mut self.accepted);
        (self.anew, self.found, self.lag) = (false, None, None);
        let mut client = self.connect(false).await?;
        let table = server::table(&mut client, self.shown()).await?;
        table.check(&self.dataset.key)?;
        let Some(cursor) = before.and_then(|before| before.cursor.as_deref()) else {
            return Ok(self.pull(before, None, None, true));
        };
        let mut place = match Place::parse(cursor) {
            Err(_) if accepted => return Ok(self.begin_anew(before)),
            place => place?,
        };
        let slot = server::slot(&mut client, &self.names).await?;
        if let Some(why) = self.gap(&mut client, (&table, &place), slot.as_ref()).await? {
            let lost = Err(SourceError::Lost { why: why.to_owned() });
            return if accepted { Ok(self.begin_anew(before)) } else { lost };
        }
        if before.is_some_and(|before| place.copying(before)) {
            // Unless it broke off, what a person waits for may have been put right: then all of it is read once more.
            place.copy.iter_mut().for_each(|copy| copy.after = None);
            return Ok(self.pull(before, Some(&place.text()), None, true));
        }
        let confirmed = slot.as_ref().and_then(Slot::confirmed);
        match self.ahead(&mut client, (before, place), (confirmed, accepted)).await {
            Err(SourceError::Lost { .. }) if accepted => Ok(self.begin_anew(before)),
            listing => listing,
        }
    }

    async fn open(&self, item: &Item, at: Option<&Position>) -> Result<Box<dyn Decode>, SourceError> {
        match &item.until {
            Some(end) => self.changes(item, at, end).await,
            None => self.copy(item, at).await,
        }
    }

    fn accept(&mut self) {
        self.accepted = true;
    }

    fn only_look(&mut self) {
        self.looking = true;
    }

    fn lag(&self) -> Option<Lag> {
        self.lag
    }

    async fn settle(&mut self, item: &Item) -> Result<(), SourceError> {
        let Some(end) = &item.until else { return Ok(()) };
        let end: Lsn = end.parse().map_err(|_| SourceError::Cursor)?;
        let mut client = self.connect(false).await?;
        let slot = server::slot(&mut client, &self.names).await?;
        match slot.as_ref().and_then(Slot::confirmed) {
            Some(confirmed) if confirmed < end => server::advance(&mut client, &self.names, end).await,
            _ => Ok(()),
        }
    }
}

/// What a copy that begins now will show.
async fn shown_by(client: &mut Client) -> Result<Copied, SourceError> {
    let sql = "select txid_current_snapshot()::text, pg_current_wal_insert_lsn()::text";
    let row = client.first(&asked(sql, &[])).await?.unwrap_or_default();
    let text = |i: usize| row.get(i).cloned().flatten().unwrap_or_default();
    let until = text(1).parse().map_err(|_| SourceError::Cursor)?;
    Ok(Copied { seen: text(0).parse()?, until, item: String::new(), after: None })
}

/// A name that slots may have and no other dataset's has: `huiliu_gs_qy`, or with a digest where that is not all.
fn slot_name(prefix: &str, dataset: &str) -> String {
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' };
    let name: String = dataset.chars().map(plain).collect();
    if name.matches('_').count() == 1 && name.len() <= 40 {
        return format!("{prefix}_{name}");
    }
    let digest = blake3::hash(dataset.as_bytes()).to_hex();
    let (name, digest): (String, String) = (name.chars().take(30).collect(), digest.chars().take(10).collect());
    format!("{prefix}_{name}_{digest}")
}

#[cfg(test)]
mod tests {
    use super::slot_name;

    #[test]
    fn slots_have_names_that_postgresql_takes_and_no_two_share_one() {
        let names = ["gs.qy", "gs.q_y", "gs-q.y", "工商.企业", "工商.个体"].map(|dataset| slot_name("huiliu", dataset));
        assert_eq!(names[0], "huiliu_gs_qy");
        let unique: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        let taken = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(names.iter().all(|name| name.chars().all(taken)), "{names:?}");
        let long = slot_name(&"a".repeat(20), &"b".repeat(127));
        assert!(long.len() <= 63, "{long}");
    }
}
