//! Rows set aside, in the transaction of their chunk.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::super::{Quarantined, RegisterPart, Result, StoreError};
use super::connect::refused;
use super::copy::Rows;

/// Settles what this part healed, and keeps what it set aside; `from` is run and file, 0 for none.
pub(super) async fn write(conn: &mut PgConnection, from: (i64, i64), part: &RegisterPart) -> Result<()> {
    if !part.healed.is_empty() {
        let keys: Vec<&str> = part.healed.iter().map(|key| &**key).collect();
        sqlx::query(
            // A subquery is a look-up by key, whatever the planner thinks of an empty table.
            "update quarantine set status = 'corrected', last_run = $1 where id = any(array(select q.id \
             from unnest($4::text[]) w(key) cross join lateral (select id from quarantine where status = 'open' \
             and dataset = $2 and register = $3 and key = w.key offset 0) q))",
        )
        .bind(from.0)
        .bind(&part.dataset)
        .bind(&part.register)
        .bind(keys)
        .execute(&mut *conn)
        .await
        .map_err(refused)?;
    }
    let set_aside = SetAside::of(&part.quarantined)?;
    if set_aside.digests.is_empty() {
        return Ok(());
    }
    let known = set_aside.known(conn, &part.dataset).await?;
    set_aside.see_again(conn, from, (part, &known)).await?;
    set_aside.keep(conn, from, (part, &known)).await
}

/// Rows set aside, by column; a row that comes twice is kept once, at the place where it came last.
#[derive(Default)]
struct SetAside<'a> {
    registers: Vec<&'a str>,
    digests: Vec<i64>,
    reasons: Vec<String>,
    rows: Vec<i64>,
    lines: Vec<i64>,
    bytes: Vec<i64>,
    keys: Vec<Option<&'a str>>,
    raws: Vec<&'a [u8]>,
    cells: Vec<Option<&'a str>>,
}

impl SetAside<'_> {
    /// The ids of those that are kept already.
    async fn known(&self, conn: &mut PgConnection, dataset: &str) -> Result<Vec<Option<i64>>> {
        // A subquery is a look-up by row, whatever the planner thinks of an empty table.
        sqlx::query_scalar(
            "select (select q.id from quarantine q where q.dataset = $1 and q.register = w.register \
             and q.digest = w.digest) from unnest($2::text[], $3::bigint[]) with ordinality w(register, digest, i) \
             order by w.i",
        )
        .bind(dataset)
        .bind(&self.registers)
        .bind(&self.digests)
        .fetch_all(conn)
        .await
        .map_err(refused)
    }

    /// Known bad rows are seen again, at the place where they are now.
    async fn see_again(
        &self,
        conn: &mut PgConnection,
        (run, file): (i64, i64),
        (part, known): (&RegisterPart, &[Option<i64>]),
    ) -> Result<()> {
        // Whatever the plan, a few hundred at a time are soon compared with each other.
        const PAGE: usize = 512;
        let again: Vec<(usize, i64)> = known.iter().enumerate().filter_map(|(i, id)| Some((i, (*id)?))).collect();
        for page in again.chunks(PAGE) {
            let of = |numbers: &[i64]| -> Vec<i64> { page.iter().map(|(i, _)| numbers[*i]).collect() };
            sqlx::query(
                "update quarantine q set last_run = $1, reasons = w.reasons::jsonb, mapping = $2, \
                 file = case $3 when 0 then q.file else $3 end, row = w.row, line = w.line, byte = w.byte, \
                 status = case q.status when 'dismissed' then 'dismissed' else 'open' end \
                 from unnest($4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[]) \
                 w(id, reasons, row, line, byte) where q.id = any($4) and q.id = w.id",
            )
            .bind(run)
            .bind(&part.mapping)
            .bind(file)
            .bind(page.iter().map(|(_, id)| *id).collect::<Vec<i64>>())
            .bind(page.iter().map(|(i, _)| self.reasons[*i].as_str()).collect::<Vec<&str>>())
            .bind(of(&self.rows))
            .bind(of(&self.lines))
            .bind(of(&self.bytes))
            .execute(&mut *conn)
            .await
            .map_err(refused)?;
        }
        Ok(())
    }

    /// Others are new; ids are drawn for them only.
    async fn keep(
        &self,
        conn: &mut PgConnection,
        (run, file): (i64, i64),
        (part, known): (&RegisterPart, &[Option<i64>]),
    ) -> Result<()> {
        let mut rows = Rows::new(15);
        for i in (0..self.digests.len()).filter(|&i| known.get(i).copied().flatten().is_none()) {
            rows.row();
            rows.text(&part.dataset);
            rows.text(self.registers[i]);
            rows.text_or_null(self.keys[i]);
            rows.bigint(self.digests[i]);
            rows.text("open");
            for n in [file, self.rows[i], self.lines[i], self.bytes[i]] {
                rows.bigint(n);
            }
            rows.text(&part.mapping);
            rows.jsonb(&self.reasons[i]);
            rows.raw(self.raws[i]);
            rows.text_or_null(self.cells[i]);
            for _ in ["first_run", "last_run"] {
                rows.bigint(run);
            }
        }
        let into = "quarantine (dataset, register, key, digest, status, file, row, line, byte, mapping, reasons, raw, \
                    cells, first_run, last_run)";
        rows.into_table(into.into()).send(conn).await
    }
}

impl<'a> SetAside<'a> {
    fn of(quarantined: &'a [Quarantined]) -> Result<Self> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let mut at: HashMap<(&str, i64), usize> = HashMap::new();
        let mut all = Self::default();
        for bad in quarantined {
            let register = bad.register.as_deref().unwrap_or_default();
            let next = all.digests.len();
            let i = *at.entry((register, bad.digest)).or_insert(next);
            let place = [bad.place.row, bad.place.line, bad.place.byte].map(number);
            if i < next {
                (all.rows[i], all.lines[i], all.bytes[i]) = (place[0], place[1], place[2]);
                continue;
            }
            let reasons = serde_json::to_string(&bad.reasons);
            all.reasons.push(reasons.map_err(|error| StoreError::Damaged(error.to_string()))?);
            all.registers.push(register);
            all.digests.push(bad.digest);
            all.rows.push(place[0]);
            all.lines.push(place[1]);
            all.bytes.push(place[2]);
            all.keys.push(bad.key.as_deref());
            all.raws.push(&bad.raw);
            all.cells.push(bad.cells.as_deref());
        }
        Ok(all)
    }
}
