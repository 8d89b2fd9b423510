//! `huiliu key import`: what an authority sent.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{Keys, problem};
use crate::cli::workspace::{Access, open};
use crate::cli::{Context, Exit, audit};
use crate::crypto::{Certificate, PrivateKey, from_pkcs12};
use crate::error::Problem;

/// Arguments of `key import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The key's name here: of one that waits for its chain, or a new one
    name: String,
    /// A PKCS#12 file (.p12, .pfx): a key with its chain
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "chain"])]
    pkcs12: Option<PathBuf>,
    /// A private key, PKCS#8 PEM
    #[arg(long, value_name = "FILE", requires = "chain")]
    key: Option<PathBuf>,
    /// Certificates, PEM, the key's own first
    #[arg(long, value_name = "FILE", required_unless_present = "pkcs12")]
    chain: Option<PathBuf>,
    /// Password of the file that is imported, best from the environment
    #[arg(long, value_name = "PASSWORD", env = "HUILIU_IMPORT_PASSWORD", hide_env_values = true)]
    password: Option<String>,
}

/// Takes it in, after looking whether key and certificate belong together.
pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let mut opened = open(context, Access::Write).await?;
    let keys = Keys::of(opened.engine.workspace());
    let password = args.password.as_deref();
    let chain = match (&args.pkcs12, &args.key, &args.chain) {
        (Some(file), ..) => {
            let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let (key, chain) = from_pkcs12(&bytes, password.unwrap_or_default()).map_err(problem)?;
            keys.ring.keep(&args.name, &key, &chain, keys.password()).map_err(problem)?;
            chain
        }
        (None, Some(key), Some(chain)) => {
            let key = PrivateKey::load(key, password).map_err(problem)?;
            let chain = Certificate::load_all(chain).map_err(problem)?;
            keys.ring.keep(&args.name, &key, &chain, keys.password()).map_err(problem)?;
            chain
        }
        (None, None, Some(chain)) => {
            let chain = Certificate::load_all(chain).map_err(problem)?;
            keys.ring.attach(&args.name, &chain, keys.password()).map_err(problem)?;
            chain
        }
        (None, _, None) => return Err(Problem::error("HL0710", "no file is given to import").into()),
    };
    let leaf = chain.first().map(Certificate::subject).unwrap_or_default();
    audit::note(&mut opened.engine, "key.import", &format!("{}: {leaf}", args.name), context).await?;
    if context.json {
        context.print_json(&serde_json::json!({ "key": args.name, "subject": leaf, "certificates": chain.len() }))?;
    } else {
        context.print(&format!("{}: {leaf}\n", args.name))?;
        context.note(&format!("next: huiliu key rotate {}", args.name))?;
    }
    Ok(Exit::Done)
}
