//! `huiliu verify`: what batches and proofs of records prove, without loading them.

mod record;

use std::fmt::Write as _;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::belief::Belief;
use super::{Context, Exit};
use crate::batch::{Encryption, batch_id};
use crate::crypto::StampedBy;
use crate::error::Problem;
use crate::receive::{Judging, Link, Proof, Proven, Timestamp, prove_all};

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    belief: Belief,
    /// Certificates must be valid at this time (RFC 3339) instead of when each batch was signed
    #[arg(long, value_name = "TIME")]
    pub at: Option<DateTime<Utc>>,
    /// CA certificate(s) of the time-stamping authority, PEM: checks .tsr beside a manifest or in a proof, whose time then counts 时间戳
    #[arg(long, value_name = "FILE")]
    pub tsa: Option<PathBuf>,
    /// Only this entity's record of each batch, with its path to the signed root 单条
    #[arg(long, value_name = "ID")]
    pub record: Option<i64>,
    /// Manifests (.manifest.json), with .avro and .p7s beside them; or proofs of records that `huiliu proof export` wrote
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Checks each file; fails when anything about any of them does not hold.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let reader = args.belief.reader().await?;
    let now = context.clock.now();
    let timestamps = match &args.tsa {
        Some(tsa) => Some(args.belief.trust_in(tsa).await?),
        None => None,
    };
    let judging = Judging::new(args.at, now, timestamps);
    let is_batch = |file: &PathBuf| args.record.is_none() && file.to_string_lossy().ends_with(".manifest.json");
    let (batches, alone): (Vec<PathBuf>, Vec<PathBuf>) = args.files.into_iter().partition(is_batch);
    let (proofs, answers) = tokio::task::spawn_blocking(move || {
        let answer = |file: &PathBuf| record::answer(file, args.record, &reader, &judging);
        (prove_all(&batches, &reader, &judging), alone.iter().map(answer).collect::<Vec<_>>())
    })
    .await?;
    let problems = proofs.iter().filter_map(|proof| proof.problem.clone());
    let problems: Vec<Problem> = problems.chain(answers.iter().filter_map(|answer| answer.problem.clone())).collect();
    if context.json {
        let all = proofs.iter().map(serde_json::to_value).chain(answers.iter().map(serde_json::to_value));
        context.print_json(&all.collect::<Result<Vec<_>, _>>()?)?;
    } else {
        let texts = [text(&proofs)].into_iter().chain(answers.iter().map(record::text));
        context.print(&texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n"))?;
        if !problems.is_empty() {
            context.report(&problems)?;
        }
    }
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Failed })
}

fn text(proofs: &[Proof]) -> String {
    proofs
        .iter()
        .map(|proof| match &proof.proven {
            Some(proven) => proven_text(proven),
            None => format!("{}  NOT PROVEN\n", proof.file),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn proven_text(proven: &Proven) -> String {
    let Proven { signed, manifest, .. } = proven;
    let decision = &manifest.decision;
    let mut out = format!("{}  proven\n", printable(&batch_id(&manifest.feed, manifest.seq)));
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
    line("from, to", format!("{} → {}, register {}", manifest.issuer, manifest.subscriber, manifest.register));
    let facts = &manifest.body;
    line("body", format!("{} bytes, {} {}", facts.bytes, facts.algorithm.name(), facts.digest));
    let counts = format!("{}: {} upserts, {} withdrawals", facts.records, facts.upserts, facts.withdrawals);
    if let Some(encryption) = &facts.encryption {
        let Encryption { to, serial, algorithm, .. } = encryption;
        line("encrypted", format!("to {to}, certificate {serial}, {algorithm}"));
    }
    if proven.read {
        line("records", format!("{counts}, each with its digest"));
        line("root", format!("{} (Merkle)", manifest.records_root));
    } else {
        line("records", format!("{counts} by the manifest; encrypted, not looked at: give --decrypt 已加密，未核对"));
    }
    signed.warnings.iter().for_each(|warning| line("WARNING", warning.clone()));
    line(
        "chain",
        match proven.link {
            Link::First => "the feed's first batch".to_owned(),
            Link::Follows => format!("follows batch {}", manifest.seq.saturating_sub(1)),
            Link::NotGiven => format!("batch {} was not given: not checked", manifest.seq.saturating_sub(1)),
        },
    );
    let approved = decision.approved.as_deref().map(|number| format!(", {number}")).unwrap_or_default();
    line("grant", format!("{}{approved}, definition {}", decision.grant, decision.grant_digest));
    line("purpose", decision.purpose.clone());
    line("basis", decision.basis.clone().unwrap_or_else(|| "none given".into()));
    out
}

fn timestamp_text(timestamp: &Timestamp) -> String {
    match timestamp {
        Timestamp::None => "none: the time is the signer's word 无时间戳".to_owned(),
        Timestamp::NotChecked => "there, not checked: give --tsa 未核对".to_owned(),
        Timestamp::Proven(by) => {
            let StampedBy { at, subject, root, serial, policy, suite, .. } = by;
            format!("{at} by {subject} ({suite}), serial {serial}, policy {policy}, trusted {root} 已证明")
        }
    }
}

/// Text of a manifest on a terminal: no control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
