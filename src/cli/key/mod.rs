//! `huiliu key`: the keys of this installation — made, requested, imported, looked at, changed.

mod import;
mod rest;
mod show;

use std::path::PathBuf;

use clap::Subcommand;

use super::workspace::{Access, definitions, open};
use super::{Context, Exit, audit};
use crate::config::{Password, TokenUri, Workspace};
use crate::crypto::{CryptoError, KeyRing, Suite, dev_set, distinguished_name, new_request};
use crate::engine;
use crate::error::Problem;

/// Keys and certificates 密钥与证书
#[derive(Debug, clap::Args)]
#[command(after_help = "Keys lie in .huiliu/keys, encrypted when huiliu.yaml has key_password; of a key on a \
PKCS#11 token only its name lies there. What signed before stays \
verifiable: every batch carries its certificate.")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a key, to be certified: `huiliu key new sign-2027 --suite sm2` 生成
    New {
        /// Its name here: small Latin letters, digits, -
        name: String,
        /// Kind: p256, rsa, sm2 (国密)
        #[arg(long, value_parser = suite)]
        suite: Suite,
        /// On a PKCS#11 token 令牌: "pkcs11:token=LABEL?module-path=/usr/lib/….so"; token_pin in huiliu.yaml opens it
        #[arg(long, value_name = "URI", value_parser = token_uri)]
        token: Option<TokenUri>,
    },
    /// Print a certificate request for a key, to be sent to the authority 证书申请
    Csr {
        /// The key
        name: String,
        /// Whose it is: "C=CN, O=青岛市电政办, CN=数据签名"
        #[arg(long, value_name = "NAME")]
        subject: String,
    },
    /// Take in what the authority sent: a chain for a key that is here, or a key with its chain 导入
    Import(import::Args),
    /// Every key: kind, whose, until when, which signs now 列表
    List,
    /// Make this the key that signs, from the next batch on 轮换
    Rotate {
        /// The key
        name: String,
    },
    /// Show the certificates of a key, or of the one that signs now 查看
    Show {
        /// The key; the one that signs now when absent
        name: Option<String>,
        /// Print the chain as PEM, for subscribers
        #[arg(long)]
        pem: bool,
    },
    /// The keys that sensitive values are stored under 落盘加密
    #[command(subcommand)]
    Rest(rest::Verb),
    /// Make a development authority with certificates for every purpose, plainly labelled: never for production 开发证书
    DevCa {
        /// Where
        #[arg(long, value_name = "DIR", default_value = "dev-ca")]
        into: PathBuf,
        /// Only this kind: p256, rsa, sm2 (国密)
        #[arg(long, value_parser = suite)]
        suite: Option<Suite>,
    },
}

pub(super) fn token_uri(text: &str) -> Result<TokenUri, String> {
    TokenUri::parse(text)
}

fn suite(word: &str) -> Result<Suite, String> {
    Suite::from_word(word).ok_or_else(|| format!("the kinds are {}", Suite::ALL.map(Suite::word).join(", ")))
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::New { name, suite, token } => new(&name, (suite, token), context).await,
        Verb::Csr { name, subject } => csr(&name, &subject, context),
        Verb::Import(args) => import::run(args, context).await,
        Verb::List => show::list(context),
        Verb::Rotate { name } => rotate(&name, context).await,
        Verb::Show { name, pem } => show::show(name.as_deref(), pem, context),
        Verb::Rest(verb) => rest::run(verb, context).await,
        Verb::DevCa { into, suite } => dev_ca(&context.dir.join(into), suite, context),
    }
}

/// The installation's keys.
struct Keys {
    ring: KeyRing,
    password: Option<Password>,
}

impl Keys {
    fn of(workspace: &Workspace) -> Self {
        let installation = &workspace.installation;
        let ring = KeyRing::below(&engine::state_dir(workspace)).with_pin(installation.token_pin.clone());
        Self { ring, password: installation.key_password.clone() }
    }

    fn password(&self) -> Option<&str> {
        self.password.as_ref().map(Password::reveal)
    }
}

async fn new(name: &str, (suite, token): (Suite, Option<TokenUri>), context: &Context) -> anyhow::Result<Exit> {
    let mut opened = open(context, Access::Write).await?;
    let keys = Keys::of(opened.engine.workspace());
    keys.ring.check_free(name).map_err(problem)?;
    let on_token = token.is_some();
    let key = match token {
        Some(uri) => keys.ring.make_on_token(uri.naming(name), suite),
        None => crate::crypto::PrivateKey::generate(suite),
    };
    let path = keys.ring.keep(name, &key.map_err(problem)?, &[], keys.password()).map_err(problem)?;
    let place = if on_token { ", on a token" } else { "" };
    audit::note(&mut opened.engine, "key.new", &format!("{name}, {}{place}", suite.word()), context).await?;
    if context.json {
        context.print_json(&serde_json::json!({ "key": name, "suite": suite.word(), "file": path }))?;
        return Ok(Exit::Done);
    }
    context.print(&format!("{}\n", path.display()))?;
    if keys.password.is_none() && !on_token {
        context.note(
            "the key is not encrypted: write key_password: env:NAME into huiliu.yaml before making keys 未加密",
        )?;
    }
    context.note(&format!("next: huiliu key csr {name} --subject \"C=CN, O=…, CN=…\""))?;
    Ok(Exit::Done)
}

fn csr(name: &str, subject: &str, context: &Context) -> anyhow::Result<Exit> {
    let (workspace, _) = definitions(context)?;
    let keys = Keys::of(&workspace);
    let subject = distinguished_name(subject).map_err(problem)?;
    let key = keys.ring.key(name, keys.password()).map_err(problem)?;
    let request = new_request(&subject, &key).map_err(problem)?;
    if context.json {
        context.print_json(&serde_json::json!({ "key": name, "request": request }))?;
    } else {
        context.print(&request)?;
    }
    Ok(Exit::Done)
}

async fn rotate(name: &str, context: &Context) -> anyhow::Result<Exit> {
    let mut opened = open(context, Access::Write).await?;
    if opened.engine.workspace().installation.signing.is_some() {
        let refused = Problem::error("HL0710", "signing: in huiliu.yaml names the key that signs");
        return Err(refused.hint("remove it, so that the key chosen here signs").into());
    }
    let keys = Keys::of(opened.engine.workspace());
    let before = keys.ring.rotate(name, keys.password(), context.clock.now()).map_err(problem)?;
    let before = before.unwrap_or_else(|| "the development key".into());
    audit::note(&mut opened.engine, "key.rotate", &format!("{before} → {name}"), context).await?;
    if context.json {
        context.print_json(&serde_json::json!({ "signs": name, "signed_before": before }))?;
    } else {
        context.print(&format!("{name} signs from now on; before: {before} 已轮换\n"))?;
    }
    Ok(Exit::Done)
}

fn dev_ca(into: &std::path::Path, only: Option<Suite>, context: &Context) -> anyhow::Result<Exit> {
    let suites = only.map_or_else(|| Suite::ALL.to_vec(), |suite| vec![suite]);
    let mut made = Vec::new();
    for suite in suites {
        made.extend(dev_set::make(&into.join(suite.word()), suite, context.clock.now()).map_err(problem)?);
    }
    if context.json {
        context.print_json(&serde_json::json!({ "made": made }))?;
        return Ok(Exit::Done);
    }
    context.print(&made.iter().map(|path| format!("{}\n", path.display())).collect::<String>())?;
    context.note("for development only: whoever has these keys can sign in this name 仅供开发测试")?;
    Ok(Exit::Done)
}

fn problem(error: CryptoError) -> Problem {
    Problem::from(&error)
}
