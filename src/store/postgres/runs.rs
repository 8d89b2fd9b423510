//! Runs, quarantine and ledger.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row as _};

use super::super::rows::kept;
use super::super::{
    ChunkCounts, LedgerRow, Note, QuarantineFilter, QuarantineView, Result, RunEnd, RunStart, RunView, StoreError,
};
use super::PostgresStore;
use super::audit::append;
use super::connect::refused;
use super::schema::{begin, finish};

/// What the ledger counts, in the order of [`counts`].
pub(super) const COUNTED: [&str; 11] = [
    "read",
    "undecodable",
    "filtered",
    "quarantined",
    "mapped",
    "new",
    "changed",
    "unchanged",
    "superseded",
    "retracted",
    "notes",
];

impl PostgresStore {
    pub(super) async fn start_run(&mut self, start: RunStart) -> Result<i64> {
        let fence = self.fence.as_ref();
        let conn = self.link.get().await?;
        begin(conn).await?;
        let written = match super::leases::check(conn, fence).await {
            Ok(()) => open_run(conn, start).await,
            Err(fenced) => Err(fenced),
        };
        finish(conn, written).await
    }

    pub(super) async fn finish_run(&mut self, run: i64, end: RunEnd) -> Result<()> {
        let (bytes, seconds) = kept(end.lag);
        let algorithm = self.audited_by;
        let conn = self.link.get().await?;
        begin(conn).await?;
        let written = async {
            sqlx::query(
                "update run set status = $1, why = $2, ended = $3, lag_bytes = $4, lag_seconds = $5 where id = $6",
            )
            .bind(end.status.name())
            .bind(&end.why)
            .bind(end.at)
            .bind(bytes)
            .bind(seconds)
            .bind(run)
            .execute(&mut *conn)
            .await
            .map_err(refused)?;
            append(conn, algorithm, end.note.as_slice()).await
        }
        .await;
        finish(conn, written).await
    }

    pub(super) async fn list_runs(&mut self, pipeline: Option<&str>, limit: i64) -> Result<Vec<RunView>> {
        let first = |column: &str| {
            format!(
                "coalesce((select sum({column}) from ledger l where l.run = r.id group by register order by register \
                 limit 1), 0)::bigint"
            )
        };
        let sql = format!(
            "select r.id, r.pipeline, r.kind, r.status, r.why, r.started, r.ended, {}, {}, r.lag_bytes, r.lag_seconds from run r \
             where $1::text is null or r.pipeline = $1 order by r.id desc limit $2",
            first("read"),
            first("mapped")
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(pipeline)
            .bind(limit)
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)?;
        let view = |row: &PgRow| RunView {
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
        let content = if filter.with_content { "q.raw, q.cells" } else { "''::bytea as raw, null::text as cells" };
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!(
            "select q.id, q.dataset, q.register, q.key, q.status, coalesce(f.name, ''), q.row, q.line, q.byte, q.mapping, \
             q.reasons::text, q.first_run, q.last_run, q.file, {content}, q.digest from quarantine q \
             left join file f on f.id = q.file where q.id > "
        ));
        query.push_bind(filter.after);
        if !filter.ids.is_empty() {
            query.push(" and q.id = any(").push_bind(filter.ids.clone()).push(")");
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
            query.push(" and q.reasons @> jsonb_build_array(jsonb_build_object('code', ");
            query.push_bind(code.clone()).push("::text))");
        }
        query.push(" order by q.id limit ").push_bind(filter.limit);
        let rows = query.build().fetch_all(self.link.get().await?).await.map_err(refused)?;
        rows.iter().map(quarantine_view).collect()
    }

    pub(super) async fn change_quarantine(
        &mut self,
        ids: &[i64],
        (status, why): (&str, &str),
        note: Option<Note>,
    ) -> Result<u64> {
        let algorithm = self.audited_by;
        let conn = self.link.get().await?;
        begin(conn).await?;
        let changed = async {
            let done = sqlx::query("update quarantine set status = $1, why = $2 where id = any($3) and status <> $1")
                .bind(status)
                .bind(why)
                .bind(ids)
                .execute(&mut *conn)
                .await
                .map_err(refused)?;
            append(conn, algorithm, note.as_slice()).await.map(|()| done.rows_affected())
        }
        .await;
        finish(conn, changed).await
    }

    pub(super) async fn ledger_lines(&mut self, run: Option<i64>) -> Result<Vec<LedgerRow>> {
        let sums: String = COUNTED.iter().map(|column| format!(", sum(l.{column})::bigint")).collect();
        let sql = format!(
            "select l.run, r.pipeline, l.register{sums} from ledger l join run r on r.id = l.run \
             where $1::bigint is null or l.run = $1 group by l.run, r.pipeline, l.register order by l.run, l.register"
        );
        let conn = self.link.get().await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(run).fetch_all(&mut *conn).await.map_err(refused)?;
        let codes = sqlx::query(
            "select run, register, kind, code, n from ledger_code where $1::bigint is null or run = $1 \
             order by n desc, code",
        )
        .bind(run)
        .fetch_all(conn)
        .await
        .map_err(refused)?;
        let mut by_line: HashMap<(i64, String, String), Vec<(String, u64)>> = HashMap::new();
        for row in &codes {
            let line = (row.get(0), row.get(1), row.get(2));
            by_line.entry(line).or_default().push((row.get(3), unsigned(row, 4)));
        }
        let line = |row: &PgRow| {
            let (run, register): (i64, String) = (row.get(0), row.get(2));
            let mut of = |kind: &str| by_line.remove(&(run, register.clone(), kind.to_owned())).unwrap_or_default();
            let (codes, notes) = (of("quarantined"), of("note"));
            LedgerRow { run, pipeline: row.get(1), register, counts: counts(row, 3), codes, notes }
        };
        Ok(rows.iter().map(line).collect())
    }
}

async fn open_run(conn: &mut PgConnection, start: RunStart) -> Result<i64> {
    // A run that a crash left open never ended; say so before the next one begins.
    sqlx::query(
        "update run set status = 'failed', why = 'HL0506 the process ended before the run did', ended = $1 \
         where pipeline = $2 and kind = $3 and status = 'running'",
    )
    .bind(start.at)
    .bind(&start.pipeline)
    .bind(start.kind)
    .execute(&mut *conn)
    .await
    .map_err(refused)?;
    sqlx::query_scalar(
        "insert into run (pipeline, kind, status, started, definitions) values ($1, $2, 'running', $3, $4) returning id",
    )
    .bind(start.pipeline)
    .bind(start.kind)
    .bind(start.at)
    .bind(start.definitions)
    .fetch_one(conn)
    .await
    .map_err(refused)
}

pub(super) fn unsigned(row: &PgRow, column: usize) -> u64 {
    u64::try_from(row.get::<i64, _>(column)).unwrap_or(0)
}

pub(super) fn counts(row: &PgRow, first: usize) -> ChunkCounts {
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

fn quarantine_view(row: &PgRow) -> Result<QuarantineView> {
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
