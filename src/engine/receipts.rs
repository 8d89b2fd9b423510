//! Reading receipts (回执): what subscribers answered, compared with what was sent, kept, and told when it does not fit.
//!
//! Decides: whether an answer is believed. Guarantees: every answer is in the store before the broker forgets it, also
//! one that is false or unreadable; a false one moves nothing, and is written into the audit log.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::rows::hex;
use super::{Engine, EngineError};
use crate::batch::{HexDigest, Manifest, Receipt, batch_id};
use crate::crypto::{Moment, Trust, verify_detached};
use crate::failpoint::Boundary;
use crate::outlet::rabbitmq::{Answer, Answers, BrokerError, user_of};
use crate::store::ReceiptRow;

/// Feed of an answer that does not say one.
const UNKNOWN: &str = "?";

/// What came of reading receipts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReceiptsReport {
    /// Answers read.
    pub read: u64,
    /// Of which new, and fitting what was sent.
    pub recorded: u64,
    /// Of which known already.
    pub again: u64,
    /// Those that do not fit.
    pub mismatches: Vec<FalseReceipt>,
}

/// An answer that does not fit what was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FalseReceipt {
    /// `feed/seq`, as it says.
    pub batch: String,
    /// Who published it.
    pub sender: Option<String>,
    /// What does not fit.
    pub why: String,
}

impl Engine {
    /// Reads every receipt that waits at the broker. Ends when the queue is empty, or at the next receipt when asked to
    /// stop.
    ///
    /// # Errors
    /// [`EngineError::Broker`] when the broker or the queue is not there; what was read until then is kept.
    pub async fn read_receipts(&mut self) -> Result<ReceiptsReport, EngineError> {
        let broker = self.broker.clone().ok_or_else(none_configured)?;
        let own = broker.address()?.user().to_owned();
        let trust = self.receipt_trust()?;
        let answers = Answers::open(broker.link().await?).await?;
        let (mut report, mut senders) = (ReceiptsReport::default(), BTreeMap::<String, u64>::new());
        while let Some(answer) = answers.next().await? {
            self.check_stop()?;
            let row = self.judge(&answer, &own, trust.as_ref()).await?;
            *senders.entry(row.sender.clone().unwrap_or_else(|| UNKNOWN.to_owned())).or_default() += 1;
            let fresh = self.store.record_receipt(&row).await?;
            report.read += 1;
            match (row.mismatch, fresh) {
                (Some(why), _) => {
                    let batch = batch_id(&row.feed, row.seq.unsigned_abs());
                    if fresh {
                        let at = self.now();
                        self.store.audit(at, "receipt.mismatch", &format!("HL0750 {batch}: {why}")).await?;
                        tracing::error!(code = "HL0750", batch, sender = row.sender, why, "a receipt does not fit");
                    }
                    report.mismatches.push(FalseReceipt { batch, sender: row.sender, why });
                }
                (None, true) => report.recorded += 1,
                (None, false) => report.again += 1,
            }
            Boundary::ReceiptKept.reached();
            answers.settle(answer).await?;
        }
        if report.read > 0 {
            // Who signed in at the broker to answer: it knows no other accounts of subscribers than these.
            let from: Vec<String> = senders.into_iter().map(|(sender, n)| format!("{n} from {sender}")).collect();
            let detail = format!("{} read, {}, {} do not fit", report.read, from.join(", "), report.mismatches.len());
            let at = self.now();
            self.store.audit(at, "receipts.read", &detail).await?;
        }
        Ok(report)
    }

    /// Roots under which subscribers sign; `None` when none are configured, and signatures are kept unverified.
    fn receipt_trust(&self) -> Result<Option<Trust>, EngineError> {
        let Some(file) = self.workspace.installation.broker.as_ref().and_then(|broker| broker.receipt_ca.as_ref())
        else {
            return Ok(None);
        };
        Ok(Some(crate::pki::trust_of(&self.workspace, file)?))
    }

    async fn judge(&mut self, answer: &Answer, own: &str, trust: Option<&Trust>) -> Result<ReceiptRow, EngineError> {
        let now = self.clock.now();
        let mut row = ReceiptRow {
            feed: UNKNOWN.to_owned(),
            seq: 0,
            digest: hex(&Sha256::digest(&answer.body)),
            at: now.timestamp_micros(),
            recorded_at: now.timestamp_micros(),
            sender: answer.user.clone(),
            signer: None,
            held: None,
            mismatch: None,
            receipt: answer.body.clone(),
            signature: answer.signature.clone(),
        };
        let receipt = match Receipt::from_json(&answer.body) {
            Ok(receipt) => receipt,
            Err(error) => {
                row.mismatch = Some(error.to_string());
                return Ok(row);
            }
        };
        row.feed.clone_from(&receipt.feed);
        row.seq = i64::try_from(receipt.seq).unwrap_or(i64::MAX);
        row.at = receipt.at.timestamp_micros();
        row.held = receipt.held.map(|held| i64::try_from(held).unwrap_or(i64::MAX));
        row.mismatch = match signed_by(answer, &receipt, trust, Moment::Signing { now }) {
            Err(why) => Some(why),
            Ok(signer) => {
                row.signer = signer;
                self.mismatch(&receipt, answer.user.as_deref(), own).await?
            }
        };
        Ok(row)
    }

    /// What of a receipt does not fit what was sent.
    async fn mismatch(
        &mut self,
        receipt: &Receipt,
        sender: Option<&str>,
        own: &str,
    ) -> Result<Option<String>, EngineError> {
        let seq = i64::try_from(receipt.seq).unwrap_or(i64::MAX);
        let Some(bytes) = self.store.manifest(&receipt.feed, seq).await? else {
            return Ok(Some("no such batch was sealed".to_owned()));
        };
        let Ok(sent) = Manifest::from_json(&bytes) else {
            return Err(EngineError::Internal("a stored manifest does not read".into()));
        };
        // Under the sender's own name, which the broker checks: any subscriber may write receipts.
        let expected = user_of(&sent.subscriber);
        if sender.is_none_or(|sender| sender != expected && sender != own) {
            return Ok(Some(format!("{} sent it, not {expected}", sender.unwrap_or("somebody without a name"))));
        }
        let digest = HexDigest(sent.body.algorithm.digest(&[&bytes]));
        if let Some(why) = receipt.contradicts(&sent, digest) {
            return Ok(Some(why.to_owned()));
        }
        // What is held is on record as it stands now, so only the last batch can be compared.
        let Some(held) = receipt.held else { return Ok(None) };
        let record = self.store.holding_at(&receipt.feed, seq).await?;
        let differs = record.filter(|record| *record != held);
        Ok(differs.map(|record| format!("it holds {held} rows, by our record {record}")))
    }
}

/// Whose signature it is; an error says what is wrong with it.
fn signed_by(
    answer: &Answer,
    receipt: &Receipt,
    trust: Option<&Trust>,
    moment: Moment,
) -> Result<Option<String>, String> {
    match (&answer.signature, receipt.signed, trust) {
        (None, true, _) => Err("it says that it is signed, and is not".to_owned()),
        (None, false, Some(_)) => Err("it is not signed".to_owned()),
        (None, false, None) | (Some(_), _, None) => Ok(None),
        (Some(signature), _, Some(trust)) => match verify_detached(signature, &answer.body, trust, moment) {
            Ok(by) => Ok(Some(by.subject)),
            Err(error) => Err(format!("{} {error}", error.code())),
        },
    }
}

fn none_configured() -> EngineError {
    BrokerError::Address { what: "none is configured; write broker: in huiliu.yaml".into() }.into()
}
