//! Proofs of single records, for people.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::{printable, timestamp_text};
use crate::batch::{Reader, batch_id};
use crate::error::Problem;
use crate::receive::{Judging, ReceiveError, RecordProven, Timestamp, proven_record, record_proof, verify_proof_file};

/// The answer for one file.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) file: String,
    pub(super) proven: Option<Box<RecordProven>>,
    pub(super) problem: Option<Problem>,
}

/// Proves one record of a batch, or reads the proof in a file.
pub(super) fn answer(file: &Path, entity: Option<i64>, reader: &Reader, judging: &Judging) -> Answer {
    let done: Result<RecordProven, ReceiveError> = match entity {
        Some(entity) => record_proof(file, (entity, None), (reader, judging), Vec::new())
            .and_then(|proof| proven_record(&proof, reader, judging)),
        None => verify_proof_file(file, reader, judging),
    };
    let file = file.display().to_string();
    match done {
        Ok(proven) => Answer { file, proven: Some(Box::new(proven)), problem: None },
        Err(error) => Answer { file, proven: None, problem: Some(Problem::from(&error)) },
    }
}

pub(super) fn text(answer: &Answer) -> String {
    let Some(proven) = &answer.proven else { return format!("{}  NOT PROVEN\n", answer.file) };
    let RecordProven { signed, manifest, record, .. } = &**proven;
    let id = batch_id(&manifest.feed, manifest.seq);
    let mut out = format!("{}  record {} of {}  proven\n", printable(&answer.file), record["_id"], printable(&id));
    let mut line = |label: &str, text: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {label:<10} {}", printable(&text));
    };
    line("signed by", format!("{} at {} ({})", signed.subject, signed.signed_at, signed.suite));
    line("issued by", format!("{}, serial {}", signed.issuer, signed.serial));
    line("trusted", signed.root.clone());
    line("timestamp", timestamp_text(&proven.timestamp));
    if let Timestamp::Proven(by) = &proven.timestamp {
        by.warnings.iter().for_each(|warning| line("WARNING", warning.clone()));
    }
    if let Some(container) = &proven.container {
        line("container", format!("signed by {} at {}", container.subject, container.signed_at));
    }
    if let Some(at) = proven.revocation_as_of {
        line("revocation", format!("by the lists that came along, as of {at} 撤销列表截至"));
    }
    line("from, to", format!("{} → {}, register {}", manifest.issuer, manifest.subscriber, manifest.register));
    line("place", format!("{} of {}, {} digests to the root", proven.position, manifest.body.records, proven.steps));
    line("digest", format!("{} {}", manifest.body.algorithm.name(), proven.digest));
    if let Some(root) = &proven.record_root {
        line("own root", format!("{root} over all fields of the register 记录根"));
    }
    if !proven.hidden.is_empty() {
        line("committed", format!("{}: not shown as the register has them 未出示", proven.hidden.join(", ")));
    }
    line("root", format!("{} (Merkle)", manifest.records_root));
    signed.warnings.iter().for_each(|warning| line("WARNING", warning.clone()));
    for (name, value) in record {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        line(name, value);
    }
    out
}
