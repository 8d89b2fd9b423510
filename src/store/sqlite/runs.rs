//! Runs, quarantine and ledger.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, QueryBuilder, Row, Sqlite};

use super::super::rows::kept;
use super::super::{
    ChunkCounts, LedgerRow, Note, QuarantineFilter, QuarantineView, Result, RunEnd, RunStart, RunView, StoreError,
};
use super::audit::append;
use super::bulk::json_integers;
use super::{SqliteStore, unavailable};

impl SqliteStore {
    pub(super) async fn start_run(&mut self, start: RunStart) -> Result<i64> {
        super::commit::begin(&mut self.conn).await?;
        let mut id = 0;
        let written = async {
            super::leases::check(&mut self.conn, self.fence.as_ref()).await?;
            // A run that a crash left open never ended; say so before the next one begins.
            sqlx::query(
                "update run set status = 'failed', why = 'HL0506 the process ended before the run did', ended = ? \
                 where pipeline = ? and kind = ? and status = 'running'",
            )
            .bind(start.at)
            .bind(&start.pipeline)
            .bind(start.kind)
            .execute(&mut self.conn)
            .await
            .map_err(unavailable)?;
            id = sqlx::query_scalar(
                "insert into run (pipeline, kind, status, started, definitions) values (?, ?, 'running', ?, ?) returning id",
            )
            .bind(start.pipeline)
            .bind(start.kind)
            .bind(start.at)
            .bind(start.definitions)
            .fetch_one(&mut self.conn)
            .await
            .map_err(unavailable)?;
            Ok(())
        }
        .await;
        super::commit::finish(&mut self.conn, written).await?;
        Ok(id)
    }

    pub(super) async fn finish_run(&mut self, run: i64, end: RunEnd) -> Result<()> {
        let (bytes, seconds) = kept(end.lag);
        super::commit::begin(&mut self.conn).await?;
        let written = async {
            sqlx::query("update run set status = ?, why = ?, ended = ?, lag_bytes = ?, lag_seconds = ? where id = ?")
                .bind(end.status.name())
                .bind(&end.why)
                .bind(end.at)
                .bind(bytes)
                .bind(seconds)
                .bind(run)
                .execute(&mut self.conn)
                .await
                .map_err(unavailable)?;
            append(&mut self.conn, self.audited_by, end.note.as_slice()).await
        }
        .await;
        super::commit::finish(&mut self.conn, written).await
    }

    pub(super) async fn list_runs(&mut self, pipeline: Option<&str>, limit: i64) -> Result<Vec<RunView>> {
        let rows = sqlx::query(
            "select r.id, r.pipeline, r.kind, r.status, r.why, r.started, r.ended, \
             coalesce((select sum(read) from ledger l where l.run = r.id group by register order by register limit 1), 0), \
             coalesce((select sum(mapped) from ledger l where l.run = r.id group by register order by register limit 1), 0), \
             r.lag_bytes, r.lag_seconds from run r where ?1 is null or r.pipeline = ?1 order by r.id desc limit ?2",
        )
        .bind(pipeline)
        .bind(limit)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        let view = |row: &SqliteRow| RunView {
            id: row.get(0),
            pipeline: row.get(1),
            kind: row.get(2),
            status: row.get(3),
            why: row.get(4),
            started: row.get(5),
            ended: row.get(6),
            read: row.get(7),
            mapped: row.get(8),
            lag: RunView::lag_of(row.get(9), row.get(10)),
        };
        Ok(rows.iter().map(view).collect())
    }

    pub(super) async fn list_quarantine(&mut self, filter: &QuarantineFilter) -> Result<Vec<QuarantineView>> {
        let content = if filter.with_content { "q.raw, q.cells" } else { "x'' as raw, null as cells" };
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!(
            "select q.id, q.dataset, q.register, q.key, q.status, coalesce(f.name, ''), q.row, q.line, q.byte, q.mapping, \
             q.reasons, q.first_run, q.last_run, q.file, {content}, q.digest from quarantine q left join file f on f.id = q.file \
             where q.id > "
        ));
        query.push_bind(filter.after);
        if !filter.ids.is_empty() {
            query.push(" and q.id in (select value from json_each(").push_bind(json_integers(&filter.ids)).push("))");
        }
        for (column, wanted) in
            [("q.dataset", &filter.dataset), ("q.register", &filter.register), ("q.status", &filter.status)]
        {
            if let Some(wanted) = wanted {
                query.push(format!(" and {column} = ")).push_bind(wanted.clone());
            }
        }
        if let Some(file) = filter.file {
            query.push(" and q.file = ").push_bind(file);
        }
        if let Some(code) = &filter.code {
            query
                .push(" and exists (select 1 from json_each(q.reasons) r where r.value ->> 'code' = ")
                .push_bind(code.clone())
                .push(")");
        }
        query.push(" order by q.id limit ").push_bind(filter.limit);
        let rows = query.build().fetch_all(&mut self.conn).await.map_err(unavailable)?;
        rows.iter().map(quarantine_view).collect()
    }

    pub(super) async fn change_quarantine(
        &mut self,
        ids: &[i64],
        (status, why): (&str, &str),
        note: Option<Note>,
    ) -> Result<u64> {
        super::commit::begin(&mut self.conn).await?;
        let mut changed = 0;
        let written = async {
            let done = sqlx::query(
                "update quarantine set status = ?1, why = ?2 where id in (select value from json_each(?3)) and status <> ?1",
            )
            .bind(status)
            .bind(why)
            .bind(json_integers(ids))
            .execute(&mut self.conn)
            .await
            .map_err(unavailable)?;
            changed = done.rows_affected();
            append(&mut self.conn, self.audited_by, note.as_slice()).await
        }
        .await;
        super::commit::finish(&mut self.conn, written).await.map(|()| changed)
    }

    pub(super) async fn ledger_lines(&mut self, run: Option<i64>) -> Result<Vec<LedgerRow>> {
        let sql = "select l.run, r.pipeline, l.register, sum(read), sum(undecodable), sum(filtered), sum(quarantined), \
                   sum(mapped), sum(new), sum(changed), sum(unchanged), sum(superseded), sum(retracted), sum(notes) \
                   from ledger l join run r on r.id = l.run where ?1 is null or l.run = ?1 group by l.run, l.register \
                   order by l.run, l.register";
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .bind(run)
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)?;
        let codes = sqlx::query(
            "select run, register, kind, code, n from ledger_code where ?1 is null or run = ?1 order by n desc, code",
        )
        .bind(run)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        let mut by_line: HashMap<(i64, String, String), Vec<(String, u64)>> = HashMap::new();
        for row in &codes {
            let line = (row.get(0), row.get(1), row.get(2));
            by_line.entry(line).or_default().push((row.get(3), unsigned(row, 4)));
        }
        let line = |row: &SqliteRow| {
            let (run, register): (i64, String) = (row.get(0), row.get(2));
            let mut of = |kind: &str| by_line.remove(&(run, register.clone(), kind.to_owned())).unwrap_or_default();
            let (codes, notes) = (of("quarantined"), of("note"));
            LedgerRow { run, pipeline: row.get(1), register, counts: counts(row, 3), codes, notes }
        };
        Ok(rows.iter().map(line).collect())
    }
}

pub(super) fn unsigned(row: &SqliteRow, column: usize) -> u64 {
    u64::try_from(row.get::<i64, _>(column)).unwrap_or(0)
}

pub(super) fn counts(row: &SqliteRow, first: usize) -> ChunkCounts {
    ChunkCounts {
        read: unsigned(row, first),
        undecodable: unsigned(row, first + 1),
        filtered: unsigned(row, first + 2),
        quarantined: unsigned(row, first + 3),
        mapped: unsigned(row, first + 4),
        new: unsigned(row, first + 5),
        changed: unsigned(row, first + 6),
        unchanged: unsigned(row, first + 7),
        superseded: unsigned(row, first + 8),
        retracted: unsigned(row, first + 9),
        notes: unsigned(row, first + 10),
    }
}

fn quarantine_view(row: &SqliteRow) -> Result<QuarantineView> {
    let register: String = row.get(2);
    Ok(QuarantineView {
        id: row.get(0),
        dataset: row.get(1),
        register: (!register.is_empty()).then_some(register),
        key: row.get(3),
        status: row.get(4),
        file: row.get(5),
        row: row.get(6),
        line: row.get(7),
        byte: row.get(8),
        mapping: row.get(9),
        reasons: serde_json::from_str(row.get(10)).map_err(|_| {
            StoreError::Damaged(format!("the reasons of quarantine entry {} do not read", row.get::<i64, _>(0)))
        })?,
        first_run: row.get(11),
        last_run: row.get(12),
        file_id: row.get(13),
        raw: row.get(14),
        cells: row.get(15),
        digest: row.get(16),
    })
}
