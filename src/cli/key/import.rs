//! `huiliu key import`: what an authority sent.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{Keys, problem};
use crate::cli::workspace::{Access, open};
use crate::cli::{Context, Exit, audit};
use crate::config::TokenUri;
use crate::crypto::{Certificate, PrivateKey, from_pkcs12};
use crate::engine::Engine;
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
    /// A key that is on a PKCS#11 token already 令牌: "pkcs11:token=LABEL;object=KEY?module-path=/usr/lib/….so"
    #[arg(long, value_name = "URI", requires = "chain", conflicts_with_all = ["key", "pkcs12"], value_parser = super::token_uri)]
    token: Option<TokenUri>,
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
    if let (Some(uri), Some(chain)) = (&args.token, &args.chain) {
        keys.ring.check_free(&args.name).map_err(problem)?;
        let key = keys.ring.on_token(uri).map_err(problem)?;
        let chain = Certificate::load_all(chain).map_err(problem)?;
        keys.ring.keep(&args.name, &key, &chain, None).map_err(problem)?;
        return told(&args.name, &chain, &mut opened.engine, context).await;
    }
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
    told(&args.name, &chain, &mut opened.engine, context).await
}

/// What was taken in.
async fn told(name: &str, chain: &[Certificate], engine: &mut Engine, context: &Context) -> anyhow::Result<Exit> {
    let leaf = chain.first().map(Certificate::subject).unwrap_or_default();
    audit::note(engine, "key.import", &format!("{name}: {leaf}"), context).await?;
    if context.json {
        context.print_json(&serde_json::json!({ "key": name, "subject": leaf, "certificates": chain.len() }))?;
    } else {
        context.print(&format!("{name}: {leaf}\n"))?;
        context.note(&format!("next: huiliu key rotate {name}"))?;
    }
    Ok(Exit::Done)
}
