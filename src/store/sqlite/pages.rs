//! Pages of register rows, as columns.
//!
//! A row costs a thread hop and a copy of every cell, so SQLite writes a whole page as one JSON text, which is read
//! straight into columns.

use std::fmt;

use arrow::datatypes::DataType;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use sqlx::AssertSqlSafe;

use super::super::columns::{ColumnBuilder, PageBuilder};
use super::super::table::quoted;
use super::super::{Result, Snapshot, StoreError};
use super::bulk::json_integers;
use super::{SqliteStore, unavailable};
use crate::linking::EntityId;

impl SqliteStore {
    pub(super) async fn live_after(
        &mut self,
        register: &str,
        fields: &[&str],
        after: EntityId,
        limit: i64,
    ) -> Result<Snapshot> {
        let builder = PageBuilder::new(self.table(register)?, fields);
        let sql = builder.select(register, "_id > ? order by _id limit ?");
        let text: String = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(after)
            .bind(limit)
            .fetch_one(&mut self.conn)
            .await
            .map_err(unavailable)?;
        let builder = builder.read(&text)?;
        let last = builder.ids.last().copied();
        builder.finish(Vec::new(), last)
    }

    pub(super) async fn changed_after(
        &mut self,
        (register, fields): (&str, &[&str]),
        (after, through): (i64, i64),
        from_entity: EntityId,
        limit: i64,
    ) -> Result<Snapshot> {
        let sql = format!(
            "select distinct entity from {} where seq > ? and seq <= ? and entity > ? order by entity limit ?",
            quoted(&format!("{register}_change"))
        );
        let entities: Vec<EntityId> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(after)
            .bind(through)
            .bind(from_entity)
            .bind(limit)
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)?;
        let builder = PageBuilder::new(self.table(register)?, fields);
        let sql = builder.select(register, "_id in (select value from json_each(?)) order by _id");
        let text: String = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(json_integers(&entities))
            .fetch_one(&mut self.conn)
            .await
            .map_err(unavailable)?;
        let builder = builder.read(&text)?;
        let gone = entities.iter().copied().filter(|id| builder.ids.binary_search(id).is_err()).collect();
        builder.finish(gone, entities.last().copied())
    }
}

/// A page that SQLite writes as one JSON text.
impl PageBuilder {
    /// One JSON array of rows; decimals as text, so that every digit comes back.
    fn select(&self, register: &str, which: &str) -> String {
        let cells = self.schema.fields().iter().map(|field| match field.data_type() {
            DataType::Decimal128(..) => format!(", cast({} as text)", quoted(field.name())),
            _ => format!(", {}", quoted(field.name())),
        });
        let (cells, live) = (cells.collect::<String>(), quoted(register));
        format!(
            "select json_group_array(json(cells)) from \
             (select json_array(_id, _version{cells}) as cells from {live} where {which})"
        )
    }

    fn read(mut self, text: &str) -> Result<Self> {
        let mut json = serde_json::Deserializer::from_str(text);
        PageSeed(&mut self).deserialize(&mut json).map_err(|error| StoreError::Damaged(error.to_string()))?;
        if self.ids.is_sorted_by(|a, b| a < b) {
            Ok(self)
        } else {
            Err(StoreError::Damaged("a page of a register is out of order".into()))
        }
    }
}

/// `[[id, version, cell, …], …]`
struct PageSeed<'a>(&'a mut PageBuilder);
/// `[id, version, cell, …]`
struct RowSeed<'a>(&'a mut PageBuilder);
/// One cell.
struct CellSeed<'a>(&'a mut ColumnBuilder);

impl<'de> DeserializeSeed<'de> for PageSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PageSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> std::result::Result<(), A::Error> {
        while rows.next_element_seed(RowSeed(self.0))?.is_some() {}
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut cells: A) -> std::result::Result<(), A::Error> {
        let short = || A::Error::custom("a row lacks cells");
        self.0.ids.push(cells.next_element()?.ok_or_else(short)?);
        self.0.versions.push(cells.next_element()?.ok_or_else(short)?);
        for column in &mut self.0.columns {
            cells.next_element_seed(CellSeed(column))?.ok_or_else(short)?;
        }
        match cells.next_element::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(A::Error::custom("a row has too many cells")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for CellSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cell of its field's type")
    }

    fn visit_unit<E: serde::de::Error>(self) -> std::result::Result<(), E> {
        self.0.null();
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<(), E> {
        if self.0.text(text) { Ok(()) } else { Err(E::custom("a text does not read as its field's type")) }
    }

    fn visit_i64<E: serde::de::Error>(self, n: i64) -> std::result::Result<(), E> {
        if self.0.number(n) { Ok(()) } else { Err(E::custom("a number in a field that has none")) }
    }

    fn visit_u64<E: serde::de::Error>(self, n: u64) -> std::result::Result<(), E> {
        i64::try_from(n).map_err(E::custom).and_then(|n| self.visit_i64(n))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::super::super::table::RegisterTable;
    use super::*;
    use crate::record::FieldType;

    fn table() -> RegisterTable {
        let fields = [
            ("name", FieldType::Text),
            ("capital", FieldType::Decimal),
            ("live", FieldType::Boolean),
            ("on", FieldType::Date),
        ];
        let fields = fields.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
        RegisterTable { fields, keys: Vec::new(), key_ids: Vec::new(), absent: std::collections::BTreeSet::new() }
    }

    #[test]
    fn a_page_is_read_into_the_columns_asked_for() {
        let builder = PageBuilder::new(&table(), &["on", "capital", "name"]);
        assert_eq!(builder.select("r", "true").matches("cast").count(), 1);
        let page = builder
            .read(r#"[[3,1,"海\n兰","12.5","2015-07-03"],[7,2,null,null,null]]"#)
            .unwrap()
            .finish(vec![5], Some(7))
            .unwrap();
        assert_eq!((page.ids.as_slice(), page.versions.as_slice(), page.last), (&[3, 7][..], &[1, 2][..], Some(7)));
        assert_eq!(page.rows.column_by_name("name").unwrap().as_string::<i32>().value(0), "海\n兰");
        assert!(page.rows.columns().iter().all(|column| column.is_null(1)));
    }

    #[test]
    fn what_is_not_such_a_page_is_refused() {
        for text in ["[[1,1]]", "[[1,1,\"a\",\"b\"]]", "[[1,1,1]]", "[[2,1,\"a\"],[1,1,\"b\"]]", "{}"] {
            assert!(PageBuilder::new(&table(), &["name"]).read(text).is_err(), "{text}");
        }
    }
}
