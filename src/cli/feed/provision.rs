//! `huiliu feed provision`: what RabbitMQ must hold for the feeds that go there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::workspace::definitions;
use super::super::{Context, Exit, named};
use crate::config::{ByteSize, OutletKind, Workspace};
use crate::error::Problem;
use crate::outlet::rabbitmq::{Address, BrokerError, Limits, Manager, Password, Topology};

/// Bytes of a generated password.
const PASSWORD_BYTES: usize = 24;

/// Arguments of `feed provision`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Feeds; none means all that go to RabbitMQ
    feeds: Vec<String>,
    /// Change nothing: print a RabbitMQ definitions file, for `rabbitmqctl import_definitions`
    #[arg(long)]
    print: bool,
    /// Keep users' passwords here, one file each, made when missing
    #[arg(long, value_name = "DIR")]
    password_dir: Option<PathBuf>,
    /// Batches that a queue holds before it refuses more
    #[arg(long, value_name = "N", default_value_t = Limits::default().messages)]
    max_batches: u64,
    /// Bytes that a queue holds before it refuses more
    #[arg(long, value_name = "SIZE", default_value = "8GiB", value_parser = bytes)]
    max_bytes: u64,
}

fn bytes(text: &str) -> Result<u64, String> {
    ByteSize::parse(text).map(|size| size.0).map_err(|_| format!("expected {}", ByteSize::EXPECTED))
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let (workspace, _) = definitions(context)?;
    let Some(broker) = workspace.installation.broker.as_ref() else {
        let error = BrokerError::Address { what: "none is configured".into() };
        return Err(Problem::from(&error).hint("write broker: env:HUILIU_BROKER in huiliu.yaml").into());
    };
    let address = Address::parse(&broker.url, broker.ca.as_deref()).map_err(|error| Problem::from(&error))?;
    let topology = topology(&workspace, &args, address.vhost())?;
    if args.print {
        context.print_json(&topology.definitions())?;
        let nameless: Vec<String> =
            topology.users().into_iter().filter(|user| !topology.passwords.contains_key(user)).collect();
        if !nameless.is_empty() {
            context.note(&format!("left out, for want of --password-dir: {}", nameless.join(", ")))?;
        }
        return Ok(Exit::Done);
    }
    let manager = Manager::new(&address, broker.api.as_deref()).map_err(|error| Problem::from(&error))?;
    let made = manager.apply(&topology).await.map_err(|error| Problem::from(&error))?;
    if context.json {
        let made: Vec<_> = made.iter().map(|(kind, name)| serde_json::json!({ "kind": kind, "name": name })).collect();
        context.print_json(&made)?;
    } else {
        let lines: String = made.iter().map(|(kind, name)| format!("{kind:8} {name}\n")).collect();
        context.print(&lines)?;
    }
    Ok(Exit::Done)
}

fn topology(workspace: &Workspace, args: &Args, vhost: &str) -> anyhow::Result<Topology> {
    let goes_there =
        |name: &str| workspace.feeds.get(name).is_some_and(|feed| feed.delivery.outlet.value == OutletKind::Rabbitmq);
    for name in &args.feeds {
        named::feed(workspace, name)?;
        if !goes_there(name) {
            let problem = Problem::error("HL0739", format!("feed \"{name}\" does not go to RabbitMQ"));
            return Err(problem.hint("write outlet: rabbitmq in its delivery").into());
        }
    }
    let all: Vec<_> = workspace.feeds.values().filter(|feed| goes_there(&feed.name)).collect();
    let wanted = |name: &String| args.feeds.is_empty() || args.feeds.contains(name);
    let feeds: BTreeSet<String> = all.iter().map(|feed| feed.name.clone()).filter(wanted).collect();
    let mut subscribers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // A user may read all of its subscriber's feeds, also those that are not named now.
    for feed in &all {
        let concerned = all.iter().any(|other| other.subscriber == feed.subscriber && feeds.contains(&other.name));
        if concerned {
            subscribers.entry(feed.subscriber.clone()).or_default().insert(feed.name.clone());
        }
    }
    let limits = Limits { messages: args.max_batches, bytes: args.max_bytes };
    let mut topology = Topology { vhost: vhost.to_owned(), feeds, subscribers, limits, passwords: BTreeMap::new() };
    if let Some(dir) = &args.password_dir {
        for user in topology.users() {
            let password = password(dir, &user)?;
            topology.passwords.insert(user, password);
        }
    }
    Ok(topology)
}

/// The password in `DIR/<user>.password`, made when there is none. The salt follows from it, so that the same password
/// gives the same definitions.
fn password(dir: &Path, user: &str) -> anyhow::Result<Password> {
    use sha2::Digest as _;
    let file = dir.join(format!("{user}.password"));
    let text = match fs::read_to_string(&file) {
        Ok(text) => text.trim_end().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => fresh_password(dir, &file)?,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    anyhow::ensure!(!text.is_empty(), "{} is empty", file.display());
    let digest = sha2::Sha256::new().chain_update("huiliu salt").chain_update(user).chain_update(&text).finalize();
    let mut salt = [0; 4];
    salt.iter_mut().zip(digest).for_each(|(salt, byte)| *salt = byte);
    Ok(Password { text, salt })
}

fn fresh_password(dir: &Path, file: &Path) -> anyhow::Result<String> {
    let mut random = [0_u8; PASSWORD_BYTES];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let text = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let written = made.and_then(|mut file| writeln!(file, "{text}").and_then(|()| file.sync_all()));
    written.with_context(|| format!("cannot write {}", file.display()))?;
    Ok(text)
}
