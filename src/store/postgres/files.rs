//! Files: how far each is, what was taken last, under which name, and what was counted of it.

use sqlx::{PgConnection, Row as _};

use super::super::{FileCounts, FileEnd, FileStart, FileState, FileStatus, HeldFile, Pulled, Result, StoreError};
use super::PostgresStore;
use super::audit::append;
use super::connect::refused;
use super::runs::{COUNTED, counts, unsigned};
use super::schema::{begin, finish};
use crate::failpoint::Boundary;

impl PostgresStore {
    pub(super) async fn known_file(&mut self, dataset: &str, digest: &str) -> Result<Option<FileState>> {
        let row = sqlx::query(
            "select id, status, resume, at, chunks, why from file where dataset = $1 and digest = $2 order by id desc limit 1",
        )
            .bind(dataset)
            .bind(digest)
            .fetch_optional(self.link.get().await?)
            .await
            .map_err(refused)?;
        row.map(|row| {
            let damaged = || StoreError::Damaged(format!("the state of file {} does not read", row.get::<i64, _>(0)));
            let resume: Option<&str> = row.get(2);
            Ok(FileState {
                id: row.get(0),
                status: FileStatus::from_name(row.get(1)).ok_or_else(damaged)?,
                position: resume.map(serde_json::from_str).transpose().map_err(|_| damaged())?,
                at: row.get(3),
                chunks: row.get(4),
                why: row.get(5),
            })
        })
        .transpose()
    }

    pub(super) async fn last_pulled(&mut self, dataset: &str) -> Result<Option<Pulled>> {
        let row = sqlx::query(
            "select name, digest, status, (select resume::jsonb ->> 'cursor' from file where dataset = $1 and resume::jsonb ->> 'cursor' is not null \
             order by id desc limit 1) from file where dataset = $1 order by id desc limit 1",
        )
        .bind(dataset)
        .fetch_optional(self.link.get().await?)
        .await
        .map_err(refused)?;
        row.map(|row| {
            let damaged = || StoreError::Damaged("the state of a file does not read".into());
            let status = FileStatus::from_name(row.get(2)).ok_or_else(damaged)?;
            Ok(Pulled { name: row.get(0), digest: row.get(1), status, cursor: row.get(3) })
        })
        .transpose()
    }

    pub(super) async fn start_file(&mut self, start: FileStart) -> Result<FileState> {
        let fence = self.fence.as_ref();
        let conn = self.link.get().await?;
        begin(conn).await?;
        let written = match super::leases::check(conn, fence).await {
            Ok(()) => open_file(conn, &start).await,
            Err(fenced) => Err(fenced),
        };
        finish(conn, written).await?;
        let state = self.known_file(&start.dataset, &start.digest).await?;
        state.ok_or_else(|| StoreError::Damaged("a file that was just noted is not there".into()))
    }

    pub(super) async fn finish_file(&mut self, file: i64, end: FileEnd) -> Result<()> {
        let (fence, algorithm) = (self.fence.as_ref(), self.audited_by);
        let conn = self.link.get().await?;
        begin(conn).await?;
        let written = async {
            super::leases::check(conn, fence).await?;
            sqlx::query("update file set status = $1, why = $2, run = coalesce($3, run) where id = $4")
                .bind(end.status.name())
                .bind(&end.why)
                .bind(end.run)
                .bind(file)
                .execute(&mut *conn)
                .await
                .map_err(refused)?;
            if matches!(end.status, FileStatus::Taken | FileStatus::Superseded) {
                let forget = sqlx::query("delete from seen where file = $1").bind(file);
                forget.execute(&mut *conn).await.map_err(refused)?;
            }
            append(conn, algorithm, end.note.as_slice()).await
        }
        .await;
        Boundary::FileEnding.reached();
        finish(conn, written).await?;
        Boundary::FileEnded.reached();
        Ok(())
    }

    pub(super) async fn digest_under(&mut self, dataset: &str, name: &str) -> Result<Option<String>> {
        sqlx::query_scalar("select digest from file_name where dataset = $1 and name = $2")
            .bind(dataset)
            .bind(name)
            .fetch_optional(self.link.get().await?)
            .await
            .map_err(refused)
    }

    pub(super) async fn note_name(&mut self, dataset: &str, name: &str, digest: &str) -> Result<()> {
        sqlx::query(
            "insert into file_name (dataset, name, digest) values ($1, $2, $3) \
             on conflict (dataset, name) do update set digest = excluded.digest",
        )
        .bind(dataset)
        .bind(name)
        .bind(digest)
        .execute(self.link.get().await?)
        .await
        .map(|_| ())
        .map_err(refused)
    }

    pub(super) async fn held_file(&mut self, register: &str) -> Result<Option<HeldFile>> {
        let row = sqlx::query(
            "select f.dataset, f.name, f.why from file f where f.status in ('held', 'taking') and f.why is not null \
             and not exists (select 1 from file n where n.dataset = f.dataset and n.status = 'taken' \
             and (n.at, n.id) > (f.at, f.id)) and exists (select 1 from ledger l where l.file = f.id and l.register = $1 \
             and l.new + l.changed + l.retracted > 0) order by f.id desc limit 1",
        )
        .bind(register)
        .fetch_optional(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(row.map(|row| HeldFile { dataset: row.get(0), name: row.get(1), why: row.get(2) }))
    }

    pub(super) async fn let_held_go(&mut self, dataset: &str, why: &str) -> Result<()> {
        sqlx::query("update file set status = 'superseded', why = $1 where dataset = $2 and status = 'held'")
            .bind(why)
            .bind(dataset)
            .execute(self.link.get().await?)
            .await
            .map(|_| ())
            .map_err(refused)
    }

    pub(super) async fn counts_of(&mut self, file: i64) -> Result<Vec<FileCounts>> {
        let sums: String = COUNTED.iter().map(|column| format!(", sum(l.{column})::bigint")).collect();
        let sql = format!(
            "select l.register, r.kind = 'replay'{sums} from ledger l join run r on r.id = l.run where l.file = $1 \
             group by 1, 2 order by 1, 2"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(file).fetch_all(self.link.get().await?).await;
        let rows = rows.map_err(refused)?;
        Ok(FileCounts::of(rows.iter().map(|row| (row.get(0), row.get(1), counts(row, 2)))))
    }

    pub(super) async fn rows_last_taken(&mut self, pipeline: &str, register: &str) -> Result<Option<(u64, u64)>> {
        let row = sqlx::query(
            "select sum(l.read)::bigint, sum(l.mapped)::bigint from file f join ledger l on l.file = f.id \
             join run r on r.id = l.run where r.kind <> 'replay' and l.register = $2 and f.run = (select d.id from file t \
             join run d on d.id = t.run where d.pipeline = $1 and d.kind = 'run' and d.status = 'succeeded' \
             and exists (select 1 from ledger c where c.file = t.id and c.read > 0) order by t.run desc limit 1) \
             group by f.run",
        )
        .bind(pipeline)
        .bind(register)
        .fetch_optional(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(row.map(|row| (unsigned(&row, 0), unsigned(&row, 1))))
    }
}

async fn open_file(conn: &mut PgConnection, start: &FileStart) -> Result<()> {
    if !start.again {
        let known = sqlx::query(
            "update file set status = 'taking', name = $1, why = case when status = 'failed' then null else why end \
             where id = (select max(id) from file where dataset = $2 and digest = $3)",
        );
        let known = known.bind(&start.name).bind(&start.dataset).bind(&start.digest);
        if known.execute(&mut *conn).await.map_err(refused)?.rows_affected() > 0 {
            return Ok(());
        }
    }
    sqlx::query("insert into file (dataset, name, digest, bytes, status, at) values ($1, $2, $3, $4, 'taking', $5)")
        .bind(&start.dataset)
        .bind(&start.name)
        .bind(&start.digest)
        .bind(i64::try_from(start.bytes).unwrap_or(i64::MAX))
        .bind(start.at)
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(refused)
}
