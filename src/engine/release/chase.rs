//! Corrections and recalls (更正，撤回): batches of their own, to everybody who has or had the record.
//!
//! Decides: what each of them gets — the record as it is now where the grant still allows it and it was corrected, else the word
//! to give it back. Guarantees: the batch, the holdings and the word that this subscriber was told are one transaction; a
//! grant that has ended keeps nobody from being told, and one that the office suspended keeps nobody from giving back.

use std::collections::HashMap;

use super::Pass;
use super::page::{Page, encode};
use crate::batch::{Kind, Notice};
use crate::engine::{Engine, EngineError};
use crate::error::Problem;
use crate::linking::EntityId;
use crate::store::{ChaseView, HeldDigest, Holding, NewChase, Note, Snapshot};

impl Engine {
    /// Demands that every copy of a record is corrected or given back; returns the feeds that the next passes tell.
    ///
    /// # Errors
    /// HL0663 when nobody ever had it.
    pub async fn demand(&mut self, chase: NewChase, by: &str) -> Result<Vec<String>, EngineError> {
        if self.store.ever_holding(chase.entity).await?.is_empty() && chase.kind == Kind::Correction {
            let what = format!("nobody has or had entity {} of register {}", chase.entity, chase.register);
            let problem = Problem::error("HL0663", what)
                .hint("what was never sent needs no correction: it goes out as it is now");
            return Err(EngineError::Definitions(vec![problem]));
        }
        let NewChase { kind, register, entity, why, reference, at } = &chase;
        let action = if *kind == Kind::Recall { "feed.recall" } else { "feed.correct" };
        let note = Note::new(*at, action, format!("{register} #{entity}: {why}, {reference}, by {by}"));
        Ok(self.store.add_chase(&chase, note).await?)
    }

    /// Sends what waits of them for this feed.
    pub(super) async fn chase(&mut self, pass: &mut Pass) -> Result<(), EngineError> {
        let mut waiting = self.store.chases(Some(&pass.feed.name), None).await?;
        let leaves = |kind: &str| !pass.recalls_only || kind == Kind::Recall.name();
        waiting.retain(|chase| chase.seq.is_none() && leaves(&chase.kind));
        let mut open: Option<&ChaseView> = None;
        for chase in &waiting {
            let kind = if chase.kind == Kind::Recall.name() { Kind::Recall } else { Kind::Correction };
            let same = |other: &ChaseView| {
                (&other.kind, &other.why, &other.reference) == (&chase.kind, &chase.why, &chase.reference)
            };
            if open.is_some_and(|other| !same(other)) {
                self.seal_and_keep(pass).await?;
            }
            open = Some(chase);
            let notice = Notice { reason: chase.why.clone(), reference: chase.reference.clone() };
            pass.notice = Some((kind, notice));
            self.chase_one(pass, chase, kind).await?;
        }
        if open.is_some() {
            self.seal_and_keep(pass).await?;
            pass.notice = None;
        }
        Ok(())
    }

    async fn chase_one(&mut self, pass: &mut Pass, chase: &ChaseView, kind: Kind) -> Result<(), EngineError> {
        let (feed, entity) = (pass.feed.name.clone(), chase.entity);
        let rows = self.store.entities_after(&pass.feed.register.value, &pass.reads(), entity - 1, 1).await?;
        let is_there = rows.ids == [entity];
        let page = Page { rows, held: HashMap::new() };
        let encoded = match (kind, is_there) {
            (Kind::Correction, true) => Some(encode(pass.form(), (pass.release.as_deref(), &pass.recalled), &page)?),
            _ => None,
        };
        if let Some((rows, holding)) = encoded.as_ref().and_then(|encoded| encoded.only(&page.rows)) {
            if !pass.body.has_room_for(rows, 0, &pass.feed.delivery.batch) {
                self.seal_and_keep(pass).await?;
            }
            pass.body.push(rows, 0)?;
            pass.find(encoded.iter().flat_map(|encoded| encoded.found_in(rows, 0)));
            pass.upserts.push(holding);
        } else {
            let version = self.version_sent(&feed, entity).await?;
            let rows = pass.schema.encode_withdrawals(&[(entity, version)]);
            if !pass.body.has_room_for(&rows, 0, &pass.feed.delivery.batch) {
                self.seal_and_keep(pass).await?;
            }
            pass.body.push(&rows, 0)?;
            pass.withdrawals.push(entity);
        }
        pass.chased.push(chase.id);
        pass.counts.considered += 1;
        pass.counts.released += 1;
        Ok(())
    }

    /// What is sealed here changes what the subscriber holds of entities that this pass comes to later.
    async fn seal_and_keep(&mut self, pass: &mut Pass) -> Result<(), EngineError> {
        self.seal_batch(pass, false).await?;
        self.keep(pass).await
    }

    /// The version that the subscriber has, or had last.
    async fn version_sent(&mut self, feed: &str, entity: EntityId) -> Result<i64, EngineError> {
        let holders = self.store.ever_holding(entity).await?;
        Ok(holders.iter().find(|holder| holder.feed == feed).map_or(0, |holder| holder.version))
    }
}

impl super::page::Encoded {
    /// The one record of a page of one entity, if it leaves.
    fn only(&self, page: &Snapshot) -> Option<(&crate::batch::EncodedRows, Holding)> {
        let rows = self.present();
        let (entity, version, digest) = (*page.ids.first()?, *page.versions.first()?, *rows.digests().first()?);
        Some((rows, Holding { entity, held: HeldDigest { version, digest } }))
    }
}
