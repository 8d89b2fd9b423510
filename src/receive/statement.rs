//! Comparing with a statement (对账): what is missing here, what should not be here, what is another than was sent.
//!
//! Decides: how a comparison descends and what it calls a difference. Must not know: targets. Guarantees: nothing of a
//! statement counts before its signature holds; "complete" is said only when every range's root is the statement's;
//! what could not be looked into, for want of the file of ranges, is said to differ and listed as such.

use std::cmp::Ordering;
use std::io::{Read, Seek};

use serde::Serialize;

use super::{Cursor, ReceiveError};
use crate::batch::pages::Pages;
use crate::batch::ranges::{Entry, Range, STEP};
use crate::batch::{BatchError, HexDigest, Statement, batch_id};
use crate::crypto::{Moment, SignedBy, Trust, verify_detached};

/// What of one record differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Divergence {
    /// 缺失: it was sent and is not here.
    Missing,
    /// 多余: it is here, and was not sent or was withdrawn.
    Extra,
    /// 被改: it is not what was sent.
    Altered,
}

impl Divergence {
    /// For people, Chinese first.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "缺失 missing",
            Self::Extra => "多余 extra",
            Self::Altered => "被改 altered",
        }
    }
}

/// One record that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Diverging {
    /// How.
    pub what: Divergence,
    /// The entity.
    pub entity: i64,
    /// The version that was sent.
    pub sent: Option<i64>,
    /// The version that is here.
    pub held: Option<i64>,
}

/// A range that differs and could not be looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Unresolved {
    /// First entity number.
    pub from: i64,
    /// Width, as a power of two.
    pub bits: u32,
    /// Records by the statement.
    pub sent: i64,
    /// Records here.
    pub held: i64,
}

/// The outcome of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Records missing here.
    pub missing: u64,
    /// Records that should not be here.
    pub extra: u64,
    /// Records that are others than were sent.
    pub altered: u64,
    /// The first of them.
    pub differences: Vec<Diverging>,
    /// Ranges that differ, for which the file of ranges is needed.
    pub unresolved: Vec<Unresolved>,
    /// Bytes read of the file of ranges.
    pub bytes_read: u64,
}

impl Compared {
    /// Whether everything is as it was sent.
    pub fn complete(&self) -> bool {
        let Self { missing, extra, altered, unresolved, .. } = self;
        *missing + *extra + *altered == 0 && unresolved.is_empty()
    }

    fn found(&mut self, most: usize, what: Divergence, sent: Option<&Entry>, held: Option<&Entry>) {
        match what {
            Divergence::Missing => self.missing += 1,
            Divergence::Extra => self.extra += 1,
            Divergence::Altered => self.altered += 1,
        }
        if self.differences.len() < most {
            let entity = sent.or(held).map_or(0, |entry| entry.0);
            let (sent, held) = (sent.map(|entry| entry.1), held.map(|entry| entry.1));
            self.differences.push(Diverging { what, entity, sent, held });
        }
    }
}

/// A statement whose signature holds.
///
/// # Errors
/// [`BatchError::Crypto`], [`BatchError::Statement`].
pub fn open_statement(
    bytes: &[u8],
    signature: &[u8],
    trust: &Trust,
    moment: Moment,
) -> Result<(Statement, SignedBy), BatchError> {
    let signed = verify_detached(signature, bytes, trust, moment)?;
    Ok((Statement::from_json(bytes)?, signed))
}

/// Whether what a target holds after this batch can be compared with the statement.
///
/// # Errors
/// [`ReceiveError::Elsewhere`]; [`ReceiveError::Fork`] when the target's batch of that number was another one.
pub fn comparable(statement: &Statement, cursor: Option<Cursor>) -> Result<(), ReceiveError> {
    let found = cursor.map_or(0, |cursor| cursor.seq);
    if found != statement.as_of {
        return Err(ReceiveError::Elsewhere { feed: statement.feed.clone(), said: statement.as_of, found });
    }
    if cursor.map(|cursor| cursor.manifest_digest) != statement.manifest_digest {
        let batch = batch_id(&statement.feed, statement.as_of);
        return Err(ReceiveError::Fork { batch, what: "the statement is as of another batch of this number" });
    }
    Ok(())
}

/// Compares `held`, which ascends by entity, with the statement; looks into the ranges that differ with the help of
/// `pages`, and lists at most `most` records.
///
/// # Errors
/// [`BatchError::Statement`] when the file of ranges is not the statement's.
pub fn compare<R: Read + Seek>(
    statement: &Statement,
    held: &[Entry],
    pages: Option<&mut Pages<R>>,
    most: usize,
) -> Result<Compared, BatchError> {
    let bits = statement.range_bits;
    let ours = crate::batch::ranges::summed(statement.algorithm, held, bits);
    let mut comparing = Comparing { statement, held, pages, most, outcome: Compared::default() };
    for (theirs, ours) in paired(&statement.ranges, &ours) {
        let Some(range) = theirs.or(ours).map(|entry| Range { from: entry.0, bits }) else { continue };
        let place = comparing.pages.as_ref().and_then(|pages| pages.place(range));
        comparing.range(range, theirs, ours, place)?;
    }
    let mut outcome = comparing.outcome;
    outcome.bytes_read = comparing.pages.map_or(0, |pages| pages.read());
    Ok(outcome)
}

struct Comparing<'a, R> {
    statement: &'a Statement,
    held: &'a [Entry],
    pages: Option<&'a mut Pages<R>>,
    most: usize,
    outcome: Compared,
}

impl<R: Read + Seek> Comparing<'_, R> {
    fn range(
        &mut self,
        range: Range,
        theirs: Option<&Entry>,
        ours: Option<&Entry>,
        place: Option<(u64, u64)>,
    ) -> Result<(), BatchError> {
        let Some(root) = theirs.filter(|theirs| Some(*theirs) != ours) else {
            // Equal; or there is nothing on the other side.
            if theirs.is_none() {
                let held = self.held;
                range.of(held).iter().for_each(|entry| self.found(Divergence::Extra, None, Some(entry)));
            }
            return Ok(());
        };
        let algorithm = self.statement.algorithm;
        let (Some(pages), Some(place)) = (self.pages.as_deref_mut(), place) else {
            let held = ours.map_or(0, |ours| ours.1);
            self.outcome.unresolved.push(Unresolved { from: range.from, bits: range.bits, sent: root.1, held });
            return Ok(());
        };
        let page = pages.page((range, place), (algorithm, root.2.0))?;
        let own = range.entries(algorithm, self.held);
        let mut position = 0;
        for (theirs, ours) in paired(&page.entries, &own) {
            let place = theirs.and_then(|_| page.place(position));
            position += usize::from(theirs.is_some());
            let key = theirs.or(ours).map_or(0, |entry| entry.0);
            match (theirs, ours) {
                _ if range.bits > STEP => {
                    self.range(Range { from: key, bits: range.bits - STEP }, theirs, ours, place)?
                }
                (Some(theirs), Some(ours)) if theirs == ours => {}
                (Some(theirs), Some(ours)) => self.found(Divergence::Altered, Some(theirs), Some(ours)),
                (Some(theirs), None) => self.found(Divergence::Missing, Some(theirs), None),
                (None, ours) => self.found(Divergence::Extra, None, ours),
            }
        }
        Ok(())
    }

    fn found(&mut self, what: Divergence, sent: Option<&Entry>, held: Option<&Entry>) {
        self.outcome.found(self.most, what, sent, held);
    }
}

/// Entries of both sides with the same key beside each other, in order.
fn paired<'a>(theirs: &'a [Entry], ours: &'a [Entry]) -> Vec<(Option<&'a Entry>, Option<&'a Entry>)> {
    let (mut theirs, mut ours) = (theirs.iter().peekable(), ours.iter().peekable());
    let mut pairs = Vec::new();
    loop {
        let order = match (theirs.peek(), ours.peek()) {
            (None, None) => return pairs,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.0.cmp(&b.0),
        };
        let theirs = if order == Ordering::Greater { None } else { theirs.next() };
        let ours = if order == Ordering::Less { None } else { ours.next() };
        pairs.push((theirs, ours));
    }
}

/// What a checked statement brought, for reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// Feed.
    pub feed: String,
    /// Batch.
    pub as_of: u64,
    /// Who signed it.
    pub signed: SignedBy,
    /// Records by the statement.
    pub records: u64,
    /// Its root.
    pub root: HexDigest,
    /// Records here; `None` when nothing was compared.
    pub held: Option<u64>,
    /// Whether everything is here as it was sent; `None` when nothing was compared.
    pub complete: Option<bool>,
    /// What differs.
    #[serde(flatten)]
    pub compared: Option<Compared>,
    /// Bytes of statement and signature.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use std::io::Cursor as Bytes;

    use proptest::prelude::*;

    use super::*;
    use crate::batch::Standing;
    use crate::batch::pages::write_pages;
    use crate::crypto::DigestAlgorithm;
    use crate::crypto::tests::noon;

    fn entries(ids: impl IntoIterator<Item = i64>) -> Vec<Entry> {
        let digest = |id: i64| HexDigest(DigestAlgorithm::Sha256.digest(&[&id.to_be_bytes()]));
        ids.into_iter().map(|id| Entry(id, 1, digest(id))).collect()
    }

    fn stated(sent: &[Entry]) -> (Statement, Vec<u8>) {
        let standing = Standing {
            feed: "a.b".into(),
            as_of: 1,
            manifest_digest: None,
            issuer: "青岛市电政办".into(),
            subscriber: "a".into(),
            register: "b".into(),
            at: noon(),
            schema: String::new(),
        };
        let statement = Statement::over(standing, DigestAlgorithm::Sha256, sent);
        let mut file = Vec::new();
        let all = statement.ranges.iter().map(|entry| Range { from: entry.0, bits: statement.range_bits });
        write_pages(&mut file, &statement, sent, all).unwrap();
        (statement, file)
    }

    fn compared(sent: &[Entry], held: &[Entry]) -> Compared {
        let (statement, file) = stated(sent);
        let mut pages = Pages::open(Bytes::new(file), &statement).unwrap();
        compare(&statement, held, Some(&mut pages), 10).unwrap()
    }

    #[test]
    fn equal_holdings_are_complete_and_nothing_is_fetched() {
        let sent = entries((0..90_000).filter(|id| id % 11 != 0));
        let (statement, _) = stated(&sent);
        let outcome = compare::<Bytes<Vec<u8>>>(&statement, &sent, None, 10).unwrap();
        assert!(outcome.complete() && outcome.bytes_read == 0, "{outcome:?}");
        assert!(compared(&[], &[]).complete());
    }

    #[test]
    fn each_difference_is_found_for_a_few_kilobytes() {
        let sent = entries(0..90_000);
        let mut held = sent.clone();
        held[70_000].2.0[0] ^= 1;
        held.remove(123);
        held.push(entries([400_000])[0]);
        let outcome = compared(&sent, &held);
        assert_eq!((outcome.missing, outcome.extra, outcome.altered), (1, 1, 1));
        let found: Vec<_> = outcome.differences.iter().map(|one| (one.what, one.entity)).collect();
        assert_eq!(found, [(Divergence::Missing, 123), (Divergence::Altered, 70_000), (Divergence::Extra, 400_000)]);
        assert!(outcome.bytes_read < 40_000, "{}", outcome.bytes_read);
        let (statement, _) = stated(&sent);
        let blind = compare::<Bytes<Vec<u8>>>(&statement, &held, None, 10).unwrap();
        let ranges: Vec<_> = blind.unresolved.iter().map(|range| (range.from, range.sent, range.held)).collect();
        assert_eq!(ranges, [(0, 4096, 4095), (69_632, 4096, 4096)]);
        assert_eq!(blind.extra, 1, "what lies where nothing was sent needs no file");
    }

    proptest! {
        #[test]
        fn whatever_differs_is_found(
            sent in proptest::collection::btree_set(0_i64..60_000, 0..300),
            changes in proptest::collection::btree_map(0_i64..60_000, 0_u8..3, 0..40),
        ) {
            let all = entries(sent.iter().copied());
            let mut held: std::collections::BTreeMap<i64, Entry> = all.iter().map(|entry| (entry.0, *entry)).collect();
            let (mut missing, mut extra, mut altered) = (0, 0, 0);
            for (id, change) in changes {
                match (change, held.get_mut(&id)) {
                    (0, Some(_)) => {
                        held.remove(&id);
                        missing += 1;
                    }
                    (1, Some(entry)) => {
                        entry.1 += 1;
                        altered += 1;
                    }
                    (_, Some(_)) => {}
                    (_, None) => {
                        held.insert(id, entries([id])[0]);
                        extra += 1;
                    }
                }
            }
            let held: Vec<Entry> = held.into_values().collect();
            let outcome = compared(&all, &held);
            prop_assert_eq!((outcome.missing, outcome.extra, outcome.altered), (missing, extra, altered));
            prop_assert_eq!(outcome.complete(), missing + extra + altered == 0);
            prop_assert!(outcome.unresolved.is_empty());
        }
    }
}
