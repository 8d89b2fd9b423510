//! The next page of a feed's snapshot, read on a connection of its own while the last one is sent.
//!
//! A page may be read at any time after the feed noted up to where the change log stands: what changes later is in the log.
//! So whoever asks for a feed's state, or for that place, gets no page that was read before.

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::task::JoinHandle;

use super::super::columns::PageBuilder;
use super::super::{Result, Snapshot};
use super::PostgresStore;
use super::connect::{Link, refused, within};
use crate::linking::EntityId;

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    register: String,
    fields: Vec<String>,
    after: EntityId,
    limit: i64,
}

/// Gives its connection back when it ends.
type Reading = JoinHandle<(PgConnection, Result<Snapshot>)>;

/// What is read ahead, and by which connection.
pub(super) struct Ahead {
    link: Link,
    page: Option<(Place, Reading)>,
}

impl Ahead {
    /// Nothing yet.
    pub(super) const fn new(link: Link) -> Self {
        Self { link, page: None }
    }

    /// Lets go of what was read.
    pub(super) fn forget(&mut self) {
        if let Some((_, page)) = self.page.take() {
            page.abort(); // and its connection with it
        }
    }

    /// The page that was read for this place, if it was.
    async fn take(&mut self, place: &Place) -> Option<Snapshot> {
        let (_, page) = self.page.take_if(|(of, _)| of == place)?;
        let (conn, read) = page.await.ok()?;
        let read = read.ok()?;
        self.link.put(conn);
        Some(read)
    }

    async fn begin(&mut self, place: Place, (sql, builder): (String, PageBuilder)) -> Result<()> {
        self.forget();
        let mut conn = self.link.take().await?;
        let (after, limit) = (place.after, place.limit);
        let page = tokio::spawn(async move {
            let read = within(read(&mut conn, (&sql, builder), (after, limit))).await;
            (conn, read)
        });
        self.page = Some((place, page));
        Ok(())
    }
}

impl PostgresStore {
    pub(super) async fn live_after(
        &mut self,
        register: &str,
        fields: &[&str],
        after: EntityId,
        limit: i64,
    ) -> Result<Snapshot> {
        let table = self.table(register)?.clone();
        let builder = || {
            let builder = PageBuilder::new(&table, fields);
            (builder.select_rows(register, "_id > $1 order by _id limit $2"), builder)
        };
        let place = |after| Place {
            register: register.to_owned(),
            fields: fields.iter().map(|&field| field.to_owned()).collect(),
            after,
            limit,
        };
        let page = match self.ahead.take(&place(after)).await {
            Some(page) => page,
            None => {
                let (sql, builder) = builder();
                read(self.link.get().await?, (&sql, builder), (after, limit)).await?
            }
        };
        if let Some(last) = page.last.filter(|_| i64::try_from(page.ids.len()) == Ok(limit)) {
            self.ahead.begin(place(last), builder()).await?;
        }
        Ok(page)
    }
}

async fn read(
    conn: &mut PgConnection,
    (sql, builder): (&str, PageBuilder),
    (after, limit): (EntityId, i64),
) -> Result<Snapshot> {
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(after).bind(limit).fetch_all(conn).await.map_err(refused)?;
    let builder = builder.read_rows(&rows)?;
    let last = builder.ids.last().copied();
    builder.finish(Vec::new(), last)
}
