//! Where following a log stands (位点), as it is kept with the rows that were committed.
//!
//! Guarantees: nothing that commits after a place is before it, and no transaction is both in a copy and after it.

use std::fmt;
use std::str::FromStr;

use pg_walstream::Lsn;
use serde::{Deserialize, Serialize};

use crate::source::{Before, SourceError};

/// A place in the log of a table's database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The table's own number (oid): one of the same name that was made anew is another one.
    pub(super) table: u32,
    /// Every transaction whose commit begins before this was taken.
    #[serde(with = "text")]
    pub(super) lsn: Lsn,
    /// Of the transaction that comes next so many changes.
    #[serde(default)]
    pub(super) changes: u64,
    /// The copy with which it began, until the log has passed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) copy: Option<Copied>,
}

/// A copy of the whole table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Copied {
    /// What it shows.
    pub(super) seen: Seen,
    /// Every transaction that it shows had committed before this.
    #[serde(with = "text")]
    pub(super) until: Lsn,
    /// The pull that copied it.
    pub(super) item: String,
    /// Key of the last row that was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Vec<Option<String>>>,
}

/// A snapshot, as `txid_current_snapshot()` writes it: `100:104:100,102`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Seen {
    /// All before this were over.
    least: u64,
    /// This and all after it had not begun.
    next: u64,
    /// Between them, those that were under way.
    running: Vec<u64>,
}

impl Place {
    /// Reads what [`Place::text`] wrote. Errors: it is the place of another kind of source.
    pub(super) fn parse(text: &str) -> Result<Self, SourceError> {
        serde_json::from_str(text).map_err(|_| SourceError::Cursor)
    }

    /// As it is stored.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether the table is still being copied, or the copy waits for a person, when this is what was taken last.
    pub(super) fn copying(&self, last: &Before) -> bool {
        (last.held || !last.over) && self.copy.as_ref().is_some_and(|copy| copy.item == last.name)
    }

    /// Whether a transaction was taken, or is in the copy.
    pub(super) fn has(&self, commit: Lsn, xid: u32) -> bool {
        commit < self.lsn || self.copy.as_ref().is_some_and(|copy| commit < copy.until && copy.seen.shows(xid))
    }

    /// One more change of the next transaction was taken.
    pub(super) const fn take_change(&mut self) {
        self.changes += 1;
    }

    /// Everything before this was taken.
    pub(super) fn take_until(&mut self, lsn: Lsn) {
        (self.lsn, self.changes) = (lsn, 0);
        if self.copy.as_ref().is_some_and(|copy| copy.until <= lsn) {
            self.copy = None;
        }
    }
}

impl Seen {
    /// Whether what this transaction did is in the snapshot. The log writes the lower half of its number only.
    fn shows(&self, xid: u32) -> bool {
        const EPOCH: u64 = 1 << 32;
        let mut full = self.next / EPOCH * EPOCH + u64::from(xid);
        if full > self.next + EPOCH / 2 {
            full = full.saturating_sub(EPOCH);
        } else if full + EPOCH / 2 < self.next {
            full += EPOCH;
        }
        full < self.least || (full < self.next && !self.running.contains(&full))
    }
}

impl FromStr for Seen {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let mut parts = text.splitn(3, ':');
        let mut number = || parts.next().and_then(|part| part.parse().ok()).ok_or(SourceError::Cursor);
        let (least, next) = (number()?, number()?);
        let running = parts.next().unwrap_or_default().split(',').filter(|part| !part.is_empty());
        let running = running.map(|part| part.parse().map_err(|_| SourceError::Cursor));
        Ok(Self { least, next, running: running.collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        write!(f, "{}:{}:{}", self.least, self.next, running.join(","))
    }
}

impl TryFrom<String> for Seen {
    type Error = SourceError;

    fn try_from(text: String) -> Result<Self, SourceError> {
        text.parse()
    }
}

impl From<Seen> for String {
    fn from(seen: Seen) -> Self {
        seen.to_string()
    }
}

/// Places in the log as PostgreSQL writes them: `0/16B3748`.
mod text {
    use pg_walstream::Lsn;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(lsn: &Lsn, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(lsn)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Lsn, D::Error> {
        String::deserialize(from)?.parse().map_err(|_| D::Error::custom("no place in a log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_shows_what_was_over_when_it_was_taken() {
        let seen: Seen = "100:104:100,102".parse().unwrap();
        let shown: Vec<u32> = (98..107).filter(|&xid| seen.shows(xid)).collect();
        assert_eq!(shown, [98, 99, 101, 103]);
        // Numbers of transactions begin anew after four thousand million.
        let seen: Seen = "4294967294:4294967298:4294967295".parse().unwrap();
        let shown: Vec<u32> = [4_294_967_293, 4_294_967_294, 4_294_967_295, 0, 1, 2, 3]
            .into_iter()
            .filter(|&xid| seen.shows(xid))
            .collect();
        assert_eq!(shown, [4_294_967_293, 4_294_967_294, 0, 1]);
    }

    #[test]
    fn a_place_is_kept_as_text_and_forgets_a_copy_that_the_log_has_passed() {
        let copy = Copied { seen: "7:7:".parse().unwrap(), until: Lsn(0x20), item: "qy #1".into(), after: None };
        let mut place = Place { table: 5, lsn: Lsn(0x10), changes: 3, copy: Some(copy) };
        insta::assert_snapshot!(place.text(), @r#"{"table":5,"lsn":"0/10","changes":3,"copy":{"seen":"7:7:","until":"0/20","item":"qy #1"}}"#);
        assert_eq!(Place::parse(&place.text()).unwrap(), place);
        let last =
            |name: &str, over| Before { name: name.into(), digest: String::new(), over, held: false, cursor: None };
        assert!(place.copying(&last("qy #1", false)) && !place.copying(&last("qy #1", true)));
        assert!(!place.copying(&last("qy #2", false)), "a pull after the copy broke off");
        assert!(place.has(Lsn(0x18), 6) && !place.has(Lsn(0x18), 7) && !place.has(Lsn(0x20), 6));
        place.take_until(Lsn(0x20));
        insta::assert_snapshot!(place.text(), @r#"{"table":5,"lsn":"0/20","changes":0}"#);
        assert_eq!(Place::parse("[\"7\"]").unwrap_err().code(), "HL0337", "of a table that was read page by page");
    }
}
