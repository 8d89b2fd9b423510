//! What holds between entities: the questions of `store::review`, asked of PostgreSQL.

use sqlx::{AssertSqlSafe, Row as _};

use super::super::review::{Dialect, Questions};
use super::super::{Bond, Result, Reviewed};
use super::PostgresStore;
use super::connect::refused;
use super::schema::in_registers;

const DIALECT: Dialect = Dialect {
    collate: " collate \"C\"",
    instant: |at| format!("(timestamptz 'epoch' + {at} * interval '1 microsecond')"),
};

impl PostgresStore {
    /// Counts what holds and what does not.
    pub(super) async fn review_bond(&mut self, register: &str, bond: Bond<'_>, limit: i64) -> Result<Reviewed> {
        let table = self.table(register)?;
        if bond.fields().iter().any(|field| table.absent.contains(*field)) {
            return Ok(Reviewed::default());
        }
        let keys = match bond {
            Bond::Link(link) => link.targets().filter_map(|(register, key)| self.key_id(register, key)).collect(),
            Bond::Single(_) | Bond::Totals(_) | Bond::Deadline { .. } => Vec::new(),
        };
        let Questions { counts, examples } = Questions::of(bond, (&in_registers(register), &keys, DIALECT));
        let conn = self.link.get().await?;
        let row = sqlx::query(AssertSqlSafe(counts)).fetch_one(&mut *conn).await.map_err(refused)?;
        let examples = format!("{examples} limit {limit}");
        let examples = sqlx::query_scalar(AssertSqlSafe(examples)).fetch_all(conn).await.map_err(refused)?;
        let count = |at: usize| row.get::<i64, _>(at).unsigned_abs();
        Ok(Reviewed { looked: count(0), broken: count(1), overdue: count(2), examples })
    }

    /// The stored id of a register's key field.
    fn key_id(&self, register: &str, key: &str) -> Option<i64> {
        self.registers.get(register)?.key_id(key)
    }
}
