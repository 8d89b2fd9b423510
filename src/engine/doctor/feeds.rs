//! The chain of a feed's batches, and what its subscriber holds (持有) against what the batches say.
//!
//! Where the records of all batches can be read, every holding is worked out anew. Where they cannot, manifests still say how
//! many records a batch brought and withdrew, and registers which entities there are: that much is compared.

use std::collections::BTreeMap;

use super::{DoctorReport, Finding, Outlined};
use crate::batch::{Kind, Manifest};
use crate::engine::holdings::{Replayed, Unread};
use crate::engine::rows::hex;
use crate::engine::{Engine, EngineError};
use crate::linking::EntityId;
use crate::store::{BatchLink, HeldDigest, HeldRow};

/// Holdings compared at a time.
const PAGE: i64 = 8192;

/// What the manifests of a feed's batches say, by number; those that do not read are left out.
type Manifests = BTreeMap<i64, Manifest>;

impl Engine {
    pub(super) async fn examine_feeds(&mut self, report: &mut DoctorReport) -> Result<(), EngineError> {
        let feeds: Vec<String> = self.store.feeds().await?.into_iter().map(|feed| feed.feed).collect();
        for feed in feeds {
            let links = self.store.batch_links(&feed).await?;
            report.batches += links.len() as u64;
            let manifests = walk(&feed, &links, report);
            let last = links.last().map_or(0, |link| link.seq.unsigned_abs());
            match self.sent_through(&feed, last).await? {
                Ok(replayed) => {
                    report.feeds_in_full += 1;
                    self.compare_holdings(&feed, replayed, report).await?;
                }
                Err(Unread { seq, why }) => {
                    report.feeds_in_outline.push(Outlined { feed: feed.clone(), batch: seq, why });
                    self.outline_holdings(&feed, &manifests, report).await?;
                }
            }
        }
        Ok(())
    }

    /// Every holding against what the batches say of it.
    async fn compare_holdings(
        &mut self,
        feed: &str,
        replayed: Replayed,
        report: &mut DoctorReport,
    ) -> Result<(), EngineError> {
        let mut sent = replayed.held;
        let mut after = EntityId::MIN;
        loop {
            let page = self.store.holdings_after(feed, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.entity;
            report.holdings += page.len() as u64;
            for row in page {
                let what = match sent.remove(&row.entity) {
                    None => Some("it is held by our record, but no batch left it there".to_owned()),
                    Some((sent, _)) => difference(&row, &sent),
                };
                if let Some(what) = what {
                    report.found(finding(feed, row.entity, what));
                }
            }
        }
        for entity in sent.into_keys() {
            report.found(finding(feed, entity, "a batch left it there, but by our record it is not held".into()));
        }
        Ok(())
    }

    /// What can be said of holdings without the records that were sent.
    async fn outline_holdings(
        &mut self,
        feed: &str,
        manifests: &Manifests,
        report: &mut DoctorReport,
    ) -> Result<(), EngineError> {
        let register = self.settled_register(feed, manifests).await?;
        let mut by_batch: BTreeMap<i64, u64> = BTreeMap::new();
        let mut after = EntityId::MIN;
        loop {
            let page = self.store.holdings_after(feed, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.entity;
            report.holdings += page.len() as u64;
            let ids: Vec<EntityId> = page.iter().map(|row| row.entity).collect();
            let there = match &register {
                Some(register) => self.live(register, &ids).await?,
                None => ids,
            };
            for row in page {
                *by_batch.entry(row.batch).or_default() += 1;
                if there.binary_search(&row.entity).is_err() {
                    let what =
                        "it is held by our record, but the register has no such entity and none waits to be withdrawn";
                    report.found(finding(feed, row.entity, what.into()));
                }
            }
        }
        count(feed, manifests, &by_batch, report);
        Ok(())
    }

    /// The register of a feed that has released all that its change log says: whatever it holds is there.
    async fn settled_register(&mut self, feed: &str, manifests: &Manifests) -> Result<Option<String>, EngineError> {
        let Some(register) = manifests.values().next_back().map(|manifest| manifest.register.clone()) else {
            return Ok(None);
        };
        if !self.workspace.registers.contains_key(&register) {
            return Ok(None);
        }
        let state = self.store.feed(feed).await?;
        let settled = state.sweep.is_none() && state.cursor >= self.store.horizon(&register).await?;
        Ok(settled.then_some(register))
    }

    /// Which of these entities have a row, ascending.
    async fn live(&mut self, register: &str, entities: &[EntityId]) -> Result<Vec<EntityId>, EngineError> {
        let (Some(&first), Some(&last)) = (entities.first(), entities.last()) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        let mut after = first - 1;
        while after < last {
            let page = self.store.claimed_entities(register, after, PAGE).await?;
            let Some(&reached) = page.last() else { break };
            after = reached;
            all.extend(page);
        }
        Ok(all)
    }
}

/// Walks the chain from its first batch.
fn walk(feed: &str, links: &[BatchLink], report: &mut DoctorReport) -> Manifests {
    let mut all = Manifests::new();
    let mut previous: Option<String> = None;
    let mut expected = 1;
    for BatchLink { seq, manifest } in links {
        let mut found = |what: &str| {
            report.found(Finding { kind: "batch_chain", subject: feed.to_owned(), number: *seq, what: what.into() });
        };
        if *seq != expected {
            found("a number is missing before it");
        }
        let read = Manifest::from_json(manifest);
        match &read {
            Err(_) => found("its manifest does not read"),
            Ok(read) if read.previous.map(|digest| digest.to_string()) != previous => {
                found("it does not name the manifest before it");
            }
            Ok(_) => {}
        }
        previous = read.as_ref().ok().map(|read| hex(&read.body.algorithm.digest(&[manifest])));
        all.extend(read.ok().map(|read| (*seq, read)));
        expected = seq + 1;
    }
    all
}

/// In what a holding is not as it was sent. Where everything is to be sent again, nobody knows its digest any more.
fn difference(row: &HeldRow, sent: &HeldRow) -> Option<String> {
    let digests = row.held.digest == sent.held.digest || row.held.digest == HeldDigest::AGAIN;
    let same =
        [("version", row.held.version == sent.held.version), ("digest", digests), ("batch", row.batch == sent.batch)];
    let differing: Vec<&str> = same.into_iter().filter(|(_, same)| !same).map(|(what, _)| what).collect();
    (!differing.is_empty()).then(|| format!("differs from what was sent in {}", differing.join(", ")))
}

/// Holdings by the batch that brought them, against what manifests say. Later batches may have sent or withdrawn any of them
/// again, so there is a most and a least.
fn count(feed: &str, manifests: &Manifests, by_batch: &BTreeMap<i64, u64>, report: &mut DoctorReport) {
    let mut found = |number: i64, what: &str| {
        report.found(Finding { kind: "holding_count", subject: feed.to_owned(), number, what: what.into() });
    };
    for (seq, _) in by_batch.iter().filter(|(seq, _)| !manifests.contains_key(seq)) {
        found(*seq, "records are held that it brought, but there is no such batch");
    }
    let mut later: u64 = 0;
    for (seq, manifest) in manifests.iter().rev() {
        let held = by_batch.get(seq).copied().unwrap_or_default();
        let brought = manifest.body.upserts;
        // Two corrections may send one record twice in a batch.
        let least =
            if matches!(manifest.kind, Kind::Correction | Kind::Recall) { 0 } else { brought.saturating_sub(later) };
        if held > brought {
            found(*seq, "more records are held from it than it brought");
        } else if held < least {
            found(
                *seq,
                "fewer records are held from it than it brought and later ones can have sent or withdrawn again",
            );
        }
        later += manifest.body.records;
    }
}

fn finding(feed: &str, entity: EntityId, what: String) -> Finding {
    Finding { kind: "holding", subject: feed.to_owned(), number: entity, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::chain;
    use crate::crypto::tests::CaAndSigner;

    #[test]
    fn holdings_are_counted_between_what_a_batch_brought_and_what_later_ones_touched() {
        // Three batches: 3 sent, 1 sent and 1 withdrawn, 1 sent.
        let sealed = chain(&CaAndSigner::new(), 1).remove(0).manifest;
        let sealed = Manifest::from_json(&sealed).unwrap();
        let manifest = |seq: u64, kind, upserts, withdrawals| {
            let mut manifest = sealed.clone();
            (manifest.seq, manifest.kind) = (seq, kind);
            (manifest.body.upserts, manifest.body.withdrawals) = (upserts, withdrawals);
            manifest.body.records = upserts + withdrawals;
            (seq.cast_signed(), manifest)
        };
        let check = |kind, held: &[(i64, u64)], expected: &[i64]| {
            let manifests =
                [manifest(1, Kind::Snapshot, 3, 0), manifest(2, Kind::Delta, 1, 1), manifest(3, kind, 1, 0)];
            let mut report = DoctorReport::default();
            count("f", &manifests.into(), &held.iter().copied().collect(), &mut report);
            let found: Vec<i64> = report.findings.iter().map(|finding| finding.number).collect();
            assert_eq!(found, expected, "{held:?}");
        };
        check(Kind::Delta, &[(1, 2), (2, 1), (3, 1)], &[]);
        check(Kind::Delta, &[(1, 1), (2, 0), (3, 1)], &[]);
        check(Kind::Delta, &[(1, 0), (2, 0), (3, 1)], &[]);
        check(Kind::Delta, &[(1, 2), (2, 1)], &[3]);
        check(Kind::Correction, &[(1, 2), (2, 1)], &[]);
        check(Kind::Delta, &[(1, 4), (3, 1)], &[1]);
        check(Kind::Delta, &[(1, 2), (3, 1), (7, 1)], &[7]);
    }
}
