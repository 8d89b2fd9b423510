//! Questions about what holds between entities: links (关联), uniqueness (一主体一证), totals (总分相符).
//!
//! Answered by counting when asked; nothing is stored, so what dangled puts itself right when the other side arrives.
//! Both stores ask the same SQL over the same typed tables.

use super::table::quoted;
use crate::config::{At, Link, Single, Totals};
use crate::linking::EntityId;

/// One thing that must hold.
#[derive(Debug, Clone, Copy)]
pub enum Bond<'a> {
    /// A value is a key of an entity elsewhere.
    Link(&'a Link),
    /// Only one entity of its kind is there.
    Single(&'a Single),
    /// Details add up to their total.
    Totals(&'a Totals),
    /// Something is done in time, or its time has not come.
    Deadline {
        /// Field: until when.
        due: &'a str,
        /// Field: when it was done.
        done: &'a str,
        /// The present, microseconds.
        now: i64,
    },
}

/// What a review counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reviewed {
    /// Links, entities or totals looked at.
    pub looked: u64,
    /// Of these, links that dangle, groups with more than one entity, totals that details do not add up to.
    pub broken: u64,
    /// Of the broken ones, deadlines that passed and nothing was done.
    pub overdue: u64,
    /// Entities to look at, one for each broken thing, ascending.
    pub examples: Vec<EntityId>,
}

impl<'a> Bond<'a> {
    /// Register fields that the question reads.
    pub(super) fn fields(self) -> Vec<&'a str> {
        let names = |listed: &'a [At<String>]| listed.iter().map(|name| name.value.as_str());
        match self {
            Self::Link(link) => vec![&link.field.value],
            Self::Single(single) => {
                names(&single.by).chain(single.among.iter().map(|(field, _)| field.value.as_str())).collect()
            }
            Self::Totals(totals) => {
                names(&totals.by).chain([totals.total.value.as_str(), totals.detail.value.as_str()]).collect()
            }
            Self::Deadline { due, done, .. } => vec![due, done],
        }
    }
}

/// Where the two databases differ.
#[derive(Clone, Copy)]
pub(super) struct Dialect {
    /// What a text column needs to be compared with the identity index.
    pub(super) collate: &'static str,
    /// An instant (microseconds) as a value of a timestamp column.
    pub(super) instant: fn(i64) -> String,
}

/// Two statements: one row with the three counts, and ids.
pub(super) struct Questions {
    pub(super) counts: String,
    pub(super) examples: String,
}

impl Questions {
    /// About the entities of `table`; `keys` are the stored ids of the key fields that a link may lead to.
    pub(super) fn of(bond: Bond<'_>, (table, keys, dialect): (&str, &[i64], Dialect)) -> Self {
        let Dialect { collate, instant } = dialect;
        match bond {
            Bond::Deadline { due, done, now } => {
                let (due, done) = (quoted(due), quoted(done));
                let missed = format!("coalesce({done}, {}) > {due}", instant(now));
                Self {
                    counts: format!(
                        "select count(*), count(case when {missed} then 1 end), \
                         count(case when {done} is null and {missed} then 1 end) from {table} where {due} is not null"
                    ),
                    examples: format!("select _id from {table} where {due} is not null and {missed} order by _id"),
                }
            }
            Bond::Link(link) => Self::link(table, &quoted(&link.field.value), (keys, collate)),
            Bond::Single(single) => {
                let among = single.among.iter().map(|(field, values)| {
                    let values: Vec<String> = values.iter().map(|value| literal(&value.value)).collect();
                    format!("{} in ({})", quoted(&field.value), values.join(", "))
                });
                let groups = groups(table, &single.by, (among.collect(), "count(*) as n, count(*) > 1 as broken"));
                Self::groups(&groups, "n")
            }
            Bond::Totals(totals) => {
                let (total, detail) = (quoted(&totals.total.value), quoted(&totals.detail.value));
                let judged = format!(
                    "1 as n, (min({total}) <> max({total}) or abs(coalesce(sum({detail}), 0) - max({total})) >= 0.00005) \
                     as broken"
                );
                let among = vec![format!("{total} is not null")];
                Self::groups(&groups(table, &totals.by, (among, judged.as_str())), "n")
            }
        }
    }

    fn link(table: &str, column: &str, (keys, collate): (&[i64], &str)) -> Self {
        let keys: Vec<String> = keys.iter().map(i64::to_string).collect();
        let keys = if keys.is_empty() { "-1".to_owned() } else { keys.join(", ") };
        let dangles = format!(
            "not exists (select 1 from identity i where i.field in ({keys}) and i.value = r.{column}{collate})"
        );
        Self {
            counts: format!(
                "select count(*), count(case when {dangles} then 1 end), cast(0 as bigint) from {table} r where r.{column} is not null"
            ),
            examples: format!("select r._id from {table} r where r.{column} is not null and {dangles} order by r._id"),
        }
    }

    fn groups(groups: &str, counted: &str) -> Self {
        Self {
            counts: format!(
                "select cast(coalesce(sum({counted}), 0) as bigint), count(case when broken then 1 end), \
                 cast(0 as bigint) from ({groups}) g"
            ),
            examples: format!("select first from ({groups}) g where broken order by first"),
        }
    }
}

fn groups(table: &str, by: &[At<String>], (mut among, judged): (Vec<String>, &str)) -> String {
    let columns: Vec<String> = by.iter().map(|field| quoted(&field.value)).collect();
    among.extend(columns.iter().map(|column| format!("{column} is not null")));
    format!(
        "select min(_id) as first, {judged} from {table} where {} group by {}",
        among.join(" and "),
        columns.join(", ")
    )
}

/// A text of the definitions, for SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
