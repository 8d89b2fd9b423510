//! `huiliu proof`: the proof of one record, as a file that stands alone.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::json;

use super::belief::{Belief, signer};
use super::{Context, Exit};
use crate::batch::container;
use crate::crypto::Crl;
use crate::error::Problem;
use crate::pki;
use crate::receive::{Judging, ReceiveError, record_proof};

/// Proofs of single records (单条凭证).
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write a record with its path to the signed root, the manifest, its signature and token of time, and the revocation lists given
    Export(Export),
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON file, for `huiliu verify`
    Proof,
    /// An ASiC-E container with a CAdES signature of your own (ETSI EN 319 162), for any signature viewer
    Asice,
}

#[derive(Debug, clap::Args)]
struct Export {
    #[command(flatten)]
    belief: Belief,
    /// CA certificate(s) of the time-stamping authority, PEM: checks the .tsr that goes along, whose time then counts 时间戳
    #[arg(long, value_name = "FILE")]
    tsa: Option<PathBuf>,
    /// The batch, with .avro and .p7s beside it, and .tsr where it has one
    #[arg(value_name = "FILE.manifest.json")]
    batch: PathBuf,
    /// The entity
    #[arg(long, value_name = "ID")]
    record: i64,
    /// Only these fields, of a register with evidence by field: a presentation 出示
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    fields: Option<Vec<String>>,
    /// Where to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// As what
    #[arg(long, value_enum, default_value_t = Format::Proof)]
    format: Format,
    /// Asice: sign the container with this key and certificate chain, PEM
    #[arg(long, value_name = "KEY,CHAIN", required_if_eq("format", "asice"))]
    sign: Option<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let Verb::Export(args) = args.verb;
    let reader = args.belief.reader().await?;
    let files = pki::gathered(&args.belief.crl).await.map_err(|error| Problem::from(&error))?;
    let lists = files.iter().map(|file| Crl::ders_of(file)).collect::<Result<Vec<_>, _>>();
    let lists = lists.map_err(|error| Problem::from(&error))?.concat();
    let now = context.clock.now();
    let timestamps = match &args.tsa {
        Some(tsa) => Some(args.belief.trust_in(tsa).await?),
        None => None,
    };
    let judging = Judging::new(None, now, timestamps);
    let failed = |error: ReceiveError| Problem::from(&error);
    let what = (args.record, args.fields.as_deref());
    let proof = record_proof(&args.batch, what, (&reader, &judging), lists).map_err(failed)?;
    let (_, moment) = judging.of(proof.stamp(), proof.manifest().1, "the proof").map_err(failed)?;
    // As whoever gets it will: by what it carries, and nothing else.
    let proven = proof.verify(&reader.trust, moment).map_err(|error| Problem::from(&error))?;
    let bytes = match (args.format, &args.sign) {
        (Format::Asice, Some(files)) => {
            let signer = signer(files, "--sign", args.belief.key_password.as_deref())?;
            container::pack(&proof, &proven, &signer, now).map_err(|error| Problem::from(&error))?
        }
        _ => proof.to_json().map_err(|error| Problem::from(&error))?,
    };
    std::fs::write(&args.out, &bytes).map_err(|error| {
        Problem::error("HL0756", format!("cannot write {}: {error}", args.out.display()))
            .hint("give --out FILE in a directory that you may write to")
    })?;
    let shown = args.out.display();
    if context.json {
        context.print_json(&json!({
            "feed": proven.manifest.feed, "seq": proven.manifest.seq, "record": args.record,
            "digest": crate::batch::HexDigest(proven.record.sealed), "file": args.out, "bytes": bytes.len(),
        }))?;
    } else {
        context.print(&format!("{shown}\n核验 verify with: huiliu verify --trust CA.pem {shown}\n"))?;
    }
    Ok(Exit::Done)
}
