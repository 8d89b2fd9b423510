//! Statements (对账单): what a subscriber should hold as of a batch, by our own record of what was sent, signed.
//!
//! Guarantees: what is signed is what was sealed through that batch and nothing since; while that cannot be said — a full
//! comparison or a resend is under way, the grant has changed and nothing was released under it yet — nothing is signed.

use chrono::{DateTime, Utc};

use super::holdings::{Replayed, Unread};
use super::{Engine, EngineError, premises};
use crate::batch::ranges::Entry;
use crate::batch::{BatchError, HexDigest, Standing, Statement};
use crate::config::Feed;
use crate::crypto::{Digest, Signer, digest_from_hex};
use crate::error::Problem;
use crate::share::Release;
use crate::store::{FeedState, HeldDigest, HeldRow};

/// Holdings read at a time.
const PAGE: i64 = 8192;

/// A statement, signed, with the holdings that it sums up.
#[derive(Debug)]
pub struct SignedStatement {
    /// What it says.
    pub statement: Statement,
    /// JSON, as signed.
    pub bytes: Vec<u8>,
    /// CMS SignedData over `bytes`, detached.
    pub signature: Vec<u8>,
    /// The holdings, ascending by entity.
    pub records: Vec<Entry>,
}

/// What is held, after which batch, and under which schema.
struct Held {
    as_of: u64,
    manifest_digest: Option<Digest>,
    records: Vec<Entry>,
    schema: String,
}

impl Engine {
    /// Says, signed, what the subscriber of this feed should hold after its newest batch, or after batch `as_of`. An
    /// earlier one is worked out from the batches themselves, as far as they are kept.
    ///
    /// # Errors
    /// HL0752 when it cannot be said now; HL0753 when it cannot be said for that batch; those of signing.
    pub async fn statement(&mut self, name: &str, as_of: Option<u64>) -> Result<SignedStatement, EngineError> {
        let feed = self.workspace.feeds.get(name).cloned();
        let feed = feed.ok_or_else(|| EngineError::Internal(format!("feed {name} is not defined")))?;
        let now = self.agreed_time().await?;
        let signer = premises::believed_signer(&self.workspace, now).await?;
        let held = self.held_as_of(&feed, as_of, &signer).await?;
        let signed = signed(self.workspace.installation.issuer.clone(), feed, held, (&signer, now))?;
        let detail = format!("{}, {} records", signed.statement.id(), signed.statement.records);
        self.store.audit(self.now(), "feed.statement", &detail).await?;
        Ok(signed)
    }

    async fn held_as_of(&mut self, feed: &Feed, as_of: Option<u64>, signer: &Signer) -> Result<Held, EngineError> {
        self.store.feed(&feed.name).await?; // a feed that was never released begins to be one
        // The state of the feed and all holdings are of one moment: batches are sealed meanwhile.
        self.store.hold_still().await?;
        let held = self.held_now(feed, as_of, signer).await;
        self.store.move_on().await?;
        match held? {
            Ok(held) => Ok(held),
            Err(earlier) => self.replayed(feed, earlier).await,
        }
    }

    /// What is held now; the number of the batch, if an earlier one than the last is asked for.
    async fn held_now(
        &mut self,
        feed: &Feed,
        as_of: Option<u64>,
        signer: &Signer,
    ) -> Result<Result<Held, u64>, EngineError> {
        let state = self.store.feed(&feed.name).await?;
        let last = state.seq.unsigned_abs();
        if let Some(seq) = as_of.filter(|seq| *seq != last) {
            if seq > last {
                return Err(impossible(format!("feed {} has no batch {seq}; its last is {last}", feed.name)));
            }
            return Ok(Err(seq));
        }
        self.check_settled(feed, &state)?;
        let records = self.all_holdings(&feed.name).await?;
        if records.iter().any(|entry| entry.2.0 == HeldDigest::AGAIN) {
            return Err(not_now(feed, "everything is to be sent again, and is not yet"));
        }
        let manifest_digest = state.previous.as_deref().and_then(digest_from_hex);
        let schema = if records.is_empty() { String::new() } else { self.schema_of(feed, signer)? };
        Ok(Ok(Held { as_of: last, manifest_digest, records, schema }))
    }

    /// Whether all that is held was sent under the grant as it is now.
    fn check_settled(&self, feed: &Feed, state: &FeedState) -> Result<(), EngineError> {
        if state.sweep.is_some() {
            return Err(not_now(feed, "a full comparison is under way"));
        }
        let Some(followed) = &state.grant else {
            return if state.seq == 0 { Ok(()) } else { Err(not_now(feed, "everything is to be sent again")) };
        };
        let followed = followed.strip_prefix("ended:").unwrap_or(followed);
        match self.workspace.feed_digest(&feed.name) {
            Some(present) if present != followed => {
                Err(not_now(feed, "its grant has changed, and nothing was released under it yet"))
            }
            _ => Ok(()),
        }
    }

    async fn all_holdings(&mut self, feed: &str) -> Result<Vec<Entry>, EngineError> {
        let mut records: Vec<Entry> = Vec::new();
        loop {
            let after = records.last().map_or(i64::MIN, |entry| entry.0);
            let page = self.store.holdings_after(feed, after, PAGE).await?;
            if page.is_empty() {
                return Ok(records);
            }
            records.extend(page.iter().map(entry));
        }
    }

    fn schema_of(&self, feed: &Feed, signer: &Signer) -> Result<String, EngineError> {
        let register = self.workspace.registers.get(&feed.register.value);
        let register = register.ok_or_else(|| EngineError::Internal("a feed's register is not defined".into()))?;
        let release = Release::compile(feed, register, &self.workspace.codes, self.today());
        let release = release.map_err(EngineError::Definitions)?;
        let schema = super::release::schema(&feed.name, register, &release, signer.suite().digest())?;
        Ok(schema.json().to_owned())
    }

    /// What was held after an earlier batch, from the batches up to it.
    async fn replayed(&mut self, feed: &Feed, through: u64) -> Result<Held, EngineError> {
        let Replayed { held, schema, manifest_digest } = match self.sent_through(&feed.name, through).await? {
            Ok(replayed) => replayed,
            Err(Unread { seq, why }) => {
                return Err(impossible(format!("the records of {}/{seq} cannot be read: {why}", feed.name)));
            }
        };
        let fingerprint = schema.as_ref().map(crate::batch::FeedSchema::fingerprint);
        if held.values().any(|(_, of)| Some(*of) != fingerprint) {
            return Err(not_now(feed, "after that batch, records of two schemas were held"));
        }
        let schema = schema.filter(|_| !held.is_empty()).map_or_else(String::new, |schema| schema.json().to_owned());
        let records = held.into_values().map(|(row, _)| entry(&row)).collect();
        Ok(Held { as_of: through, manifest_digest, records, schema })
    }
}

/// A holding as a statement has it.
const fn entry(row: &HeldRow) -> Entry {
    Entry(row.entity, row.held.version, HexDigest(row.held.digest))
}

fn signed(
    issuer: String,
    feed: Feed,
    held: Held,
    (signer, at): (&Signer, DateTime<Utc>),
) -> Result<SignedStatement, EngineError> {
    let Held { as_of, manifest_digest, records, schema } = held;
    let standing = Standing {
        feed: feed.name,
        as_of,
        manifest_digest,
        issuer,
        subscriber: feed.subscriber,
        register: feed.register.value,
        at,
        schema,
    };
    let statement = Statement::over(standing, signer.suite().digest(), &records);
    let bytes = statement.to_json()?;
    let signature = signer.sign_detached(&bytes, statement.at).map_err(BatchError::from)?;
    Ok(SignedStatement { statement, bytes, signature, records })
}

fn not_now(feed: &Feed, why: &str) -> EngineError {
    let problem = Problem::error("HL0752", format!("feed {}: no statement can be made: {why}", feed.name));
    let hint = format!("run `huiliu feed release {}` to its end, then ask again", feed.name);
    EngineError::Definitions(vec![problem.hint(hint)])
}

fn impossible(what: String) -> EngineError {
    let hint = "leave out --as-of for a statement as of the newest batch";
    EngineError::Definitions(vec![Problem::error("HL0753", what).hint(hint)])
}
