//! What holds between entities, where a database cannot tell: it neither adds up nor compares what is encrypted.
//!
//! The same questions as `store::review` asks in SQL, answered over opened pages. A group costs about 60 bytes of
//! memory; nothing is written.

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::{AtRestStore, Result};
use crate::config::{At, Link};
use crate::linking::EntityId;
use crate::record::Value;
use crate::store::columns::Cells;
use crate::store::{Bond, Reviewed, Store as _};

/// Rows looked at a time.
const PAGE: i64 = 4096;

/// Entities that belong together.
struct Group {
    first: EntityId,
    n: u64,
    least: i128,
    most: i128,
    sum: i128,
}

/// A page's rows, for the fields that a question reads.
struct Rows {
    ids: Vec<EntityId>,
    fields: Vec<(String, Vec<Option<Value>>)>,
}

impl Rows {
    fn get(&self, field: &str, row: usize) -> Option<&Value> {
        let (_, values) = self.fields.iter().find(|(name, _)| name == field)?;
        values.get(row)?.as_ref()
    }

    /// One number for these fields' values; `None` where one is null.
    fn key(&self, fields: &[At<String>], row: usize) -> Option<u128> {
        let mut texts = String::new();
        for field in fields {
            let text = self.get(&field.value, row)?.to_text();
            texts.push_str(&text.len().to_string());
            texts.push(':');
            texts.push_str(&text);
        }
        Some(xxh3_128(texts.as_bytes()))
    }
}

impl AtRestStore {
    pub(super) async fn review_bond(&mut self, register: &str, bond: Bond<'_>, limit: i64) -> Result<Reviewed> {
        let at_rest = self.register(register)?;
        let reads_encrypted = bond.fields().iter().any(|field| at_rest.has(field));
        let leads_to_encrypted = matches!(bond, Bond::Link(link) if link.targets().any(|(to, key)| {
            self.registers.get(to).is_some_and(|to| to.has(key))
        }));
        if !reads_encrypted && !leads_to_encrypted {
            return self.inner.review(register, bond, limit).await;
        }
        let mut found = Reviewed::default();
        let mut groups: HashMap<u128, Group> = HashMap::new();
        let mut after = 0;
        while let Some((rows, last)) = self.rows(register, &bond.fields(), after).await? {
            match bond {
                Bond::Link(link) => self.review_links(link, &rows, &mut found).await?,
                _ => rows
                    .ids
                    .iter()
                    .enumerate()
                    .for_each(|(row, id)| look(bond, (&rows, row, *id), (&mut groups, &mut found))),
            }
            after = last;
        }
        judge(bond, groups, &mut found);
        found.examples.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found)
    }

    async fn rows(&mut self, register: &str, fields: &[&str], after: EntityId) -> Result<Option<(Rows, EntityId)>> {
        let page = self.entities_after(register, fields, after, PAGE).await?;
        let Some(last) = page.last else { return Ok(None) };
        let schema = page.rows.schema();
        let fields = schema.fields().iter().zip(page.rows.columns()).map(|(field, column)| {
            let cells = Cells::of(column.as_ref());
            (field.name().clone(), (0..page.ids.len()).map(|row| cells.get(row)).collect())
        });
        Ok(Some((Rows { fields: fields.collect(), ids: page.ids }, last)))
    }

    async fn review_links(&mut self, link: &Link, rows: &Rows, found: &mut Reviewed) -> Result<()> {
        let mut open: Vec<(EntityId, Arc<str>)> = Vec::new();
        for (row, id) in rows.ids.iter().enumerate() {
            open.extend(rows.get(&link.field.value, row).map(|value| (*id, value.to_text().into())));
        }
        found.looked += open.len() as u64;
        for (to, key) in link.targets() {
            let Some(kind) = self.registers.get(to).and_then(|to| to.keys.iter().position(|(name, _)| name == key))
            else {
                continue;
            };
            let asked: Vec<(usize, Arc<str>)> = open.iter().map(|(_, value)| (kind, Arc::clone(value))).collect();
            if !asked.is_empty() {
                let known = self.known(to, &asked).await?;
                open.retain(|(_, value)| !known.entity_of.contains_key(&(kind, Arc::clone(value))));
            }
        }
        found.broken += open.len() as u64;
        found.examples.extend(open.into_iter().map(|(id, _)| id));
        Ok(())
    }
}

/// One row, for a question that is no link.
fn look(
    bond: Bond<'_>,
    (rows, row, id): (&Rows, usize, EntityId),
    (groups, found): (&mut HashMap<u128, Group>, &mut Reviewed),
) {
    let mut put = |key: Option<u128>, total: i128, detail: i128| {
        let Some(key) = key else { return };
        let group = groups.entry(key).or_insert(Group { first: id, n: 0, least: total, most: total, sum: 0 });
        group.n += 1;
        group.least = group.least.min(total);
        group.most = group.most.max(total);
        group.sum += detail;
    };
    match bond {
        Bond::Single(single) => {
            let among = single.among.iter().all(|(field, values)| {
                let text = rows.get(&field.value, row).map(Value::to_text);
                text.is_some_and(|text| values.iter().any(|value| value.value == text))
            });
            if among {
                put(rows.key(&single.by, row), 0, 0);
            }
        }
        Bond::Totals(totals) => {
            let amount = |field: &At<String>| match rows.get(&field.value, row) {
                Some(Value::Decimal(amount)) => Some(*amount),
                _ => None,
            };
            if let Some(total) = amount(&totals.total) {
                put(rows.key(&totals.by, row), total, amount(&totals.detail).unwrap_or(0));
            }
        }
        Bond::Deadline { due, done, now } => {
            let instant = |field: &str| match rows.get(field, row) {
                Some(Value::Timestamp(at)) => Some(*at),
                _ => None,
            };
            if let Some(due) = instant(due) {
                found.looked += 1;
                if instant(done).unwrap_or(now) > due {
                    found.broken += 1;
                    found.overdue += u64::from(instant(done).is_none());
                    found.examples.push(id);
                }
            }
        }
        Bond::Link(_) => {}
    }
}

/// What the groups add up to.
fn judge(bond: Bond<'_>, groups: HashMap<u128, Group>, found: &mut Reviewed) {
    let totals = matches!(bond, Bond::Totals(_));
    for group in groups.into_values() {
        found.looked += if totals { 1 } else { group.n };
        let broken = if totals { group.least != group.most || group.sum != group.most } else { group.n > 1 };
        if broken {
            found.broken += 1;
            found.examples.push(group.first);
        }
    }
    found.examples.sort_unstable();
}
