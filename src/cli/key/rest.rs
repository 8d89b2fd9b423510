//! `huiliu key rest`: the master key (主密钥) and the data keys (数据密钥) of the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::Subcommand;
use serde::Serialize;

use super::{Keys, problem};
use crate::cli::table::{local, rfc3339, table, text};
use crate::cli::workspace::{Access, Opened, definitions, open};
use crate::cli::{Context, Exit, audit};
use crate::config::TokenUri;
use crate::crypto::at_rest::{Wrapper, make_master};
use crate::error::Problem;
use crate::store::at_rest::{data_keys, encrypted_fields, master, on_token, renew, rotate};

/// What is done with them.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a master key: `huiliu key rest new /etc/huiliu/master.key` 生成主密钥
    New {
        /// The file, which must not exist; or the key on a token: 'pkcs11:token=NAME;object=KEY?module-path=LIBRARY'
        #[arg(value_name = "FILE")]
        place: String,
    },
    /// Wrap the store's data keys under another master key; no value is written anew 轮换主密钥
    Rotate {
        /// File with the new master key, or the key on a token, from `huiliu key rest new`
        #[arg(long, value_name = "FILE")]
        to: String,
    },
    /// Make a new data key for whatever is written from now on 更新数据密钥
    Renew,
    /// Which keys there are, and which fields are encrypted 查看
    Show,
}

/// Runs the verb.
pub async fn run(verb: Verb, context: &Context) -> anyhow::Result<Exit> {
    match verb {
        Verb::New { place } => new(&place, context),
        Verb::Rotate { to } => rotated(&to, context).await,
        Verb::Renew => renewed(context).await,
        Verb::Show => show(context).await,
    }
}

fn new(place: &str, context: &Context) -> anyhow::Result<Exit> {
    if TokenUri::is_meant_by(place) {
        let (workspace, _) = definitions(context)?;
        let made = Keys::of(&workspace).ring.make_master_on_token(on_token(place)?).map_err(problem)?;
        return said(place, &serde_json::json!({ "token": place, "master": made.id() }), context);
    }
    let path = context.dir.join(place);
    make_master(&path).map_err(problem)?;
    said(&path.display().to_string(), &serde_json::json!({ "file": path }), context)
}

/// Says where the new key is.
fn said(place: &str, shown: &serde_json::Value, context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        context.print_json(shown)?;
        return Ok(Exit::Done);
    }
    context.print(&format!("{place}\n"))?;
    context.note("keep a copy in a safe, apart from the database's backups: without it nothing opens 请另行保管")?;
    context.note(&format!("next: at_rest: {{ master_key: {} }} in huiliu.yaml", written(place)))?;
    Ok(Exit::Done)
}

/// As huiliu.yaml names it.
fn written(place: &str) -> String {
    if TokenUri::is_meant_by(place) { format!("\"{place}\"") } else { format!("file:{place}") }
}

/// The workspace, and the master key that its store is opened with.
async fn opened(context: &Context, access: Access) -> anyhow::Result<(Opened, Box<dyn Wrapper>)> {
    let opened = open(context, access).await?;
    let at_rest = opened.engine.workspace().installation.at_rest.clone();
    let at_rest = at_rest.ok_or_else(|| {
        Problem::error("HL0414", "nothing is encrypted at rest here: huiliu.yaml has no at_rest:")
            .hint("huiliu key rest new FILE makes a master key; docs/at-rest.md says what to do with it")
    })?;
    let master = master(at_rest.master_key.reveal(), &Keys::of(opened.engine.workspace()).ring)?;
    Ok((opened, master))
}

async fn rotated(to: &str, context: &Context) -> anyhow::Result<Exit> {
    let (mut opened, from) = opened(context, Access::Write).await?;
    let text = if TokenUri::is_meant_by(to) { to.to_owned() } else { read(&context.dir.join(to))? };
    let next = master(text.trim(), &Keys::of(opened.engine.workspace()).ring)?;
    let at = context.clock.now().timestamp_micros();
    rotate(opened.engine.store(), (from.as_ref(), next.as_ref()), at).await?;
    let (before, now) = (from.id(), next.id());
    audit::note(&mut opened.engine, "key.rest.rotate", &format!("{before} → {now}"), context).await?;
    if context.json {
        context.print_json(&serde_json::json!({ "master": now, "before": before }))?;
        return Ok(Exit::Done);
    }
    context.print(&format!("the data keys are wrapped by master key {now}; before: {before} 已轮换\n"))?;
    context.note(&format!("now: at_rest: {{ master_key: {} }} in huiliu.yaml", written(to)))?;
    context.note("destroy the old master key once no backup is needed that was wrapped by it")?;
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<String, Problem> {
    fs::read_to_string(path).map_err(|error| {
        let problem = Problem::error("HL0406", format!("the master key {} cannot be read", path.display()));
        problem.detail(error.kind().to_string()).hint("make one: huiliu key rest new FILE")
    })
}

async fn renewed(context: &Context) -> anyhow::Result<Exit> {
    let (mut opened, master) = opened(context, Access::Write).await?;
    let at = context.clock.now().timestamp_micros();
    let made = renew(opened.engine.store(), master.as_ref(), at).await?;
    audit::note(&mut opened.engine, "key.rest.renew", &format!("data key {made}"), context).await?;
    if context.json {
        context.print_json(&serde_json::json!({ "generation": made }))?;
    } else {
        context.print(&format!("data key {made} takes what is written from now on 已更新\n"))?;
        context.note("start other daemons of this installation again; older values stay under the older keys")?;
    }
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Shown {
    /// The master key that huiliu.yaml names.
    master: String,
    data_keys: Vec<ShownKey>,
    /// Encrypted fields by register.
    fields: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Serialize)]
struct ShownKey {
    generation: u8,
    made: String,
    wrapped: String,
    #[serde(skip)]
    made_micros: i64,
    #[serde(skip)]
    wrapped_micros: i64,
}

async fn show(context: &Context) -> anyhow::Result<Exit> {
    let (mut opened, master) = opened(context, Access::Read).await?;
    let zone = opened.engine.workspace().installation.zone;
    let keys = data_keys(opened.engine.store()).await?;
    let fields = encrypted_fields(opened.engine.store()).await?;
    let fields = fields.into_iter().map(|(register, fields)| (register, fields.into_keys().collect::<Vec<_>>()));
    let shown = Shown {
        master: master.id(),
        data_keys: keys
            .iter()
            .map(|key| ShownKey {
                generation: key.generation,
                made: rfc3339(key.made),
                wrapped: rfc3339(key.wrapped_at),
                made_micros: key.made,
                wrapped_micros: key.wrapped_at,
            })
            .collect(),
        fields: fields.filter(|(_, fields)| !fields.is_empty()).collect(),
    };
    if context.json {
        context.print_json(&shown)?;
        return Ok(Exit::Done);
    }
    let columns = [text("数据密钥 data key"), text("生成 made"), text("封装 wrapped")];
    let rows = shown
        .data_keys
        .iter()
        .map(|key| [key.generation.to_string(), local(zone, key.made_micros), local(zone, key.wrapped_micros)]);
    let mut out = format!("主密钥 master key {}\n{}", shown.master, table(&columns, rows));
    let columns = [text("基础库 register"), text("加密字段 encrypted fields")];
    out += &table(&columns, shown.fields.iter().map(|(register, fields)| [register.clone(), fields.join(", ")]));
    context.print(&out)?;
    Ok(Exit::Done)
}
