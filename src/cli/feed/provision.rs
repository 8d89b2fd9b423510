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
    /// Keep users' passwords here, one file each, made for users that the broker does not have yet
    #[arg(long, value_name = "DIR")]
    password_dir: Option<PathBuf>,
    /// Give these feeds' users new passwords: whoever has the old ones is locked out
    #[arg(long, requires = "password_dir")]
    reset_passwords: bool,
    /// Batches that a queue holds before it refuses more [default: as it is, at first 10000]; with FEEDS only theirs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_batches: Option<u64>,
    /// Bytes that a queue holds before it refuses more [default: as it is, at first 8GiB]; with FEEDS only theirs
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_bytes: Option<u64>,
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
    let mut topology = topology(&workspace, &args, address.vhost())?;
    if args.print {
        // Nobody is asked: which users there are is not known.
        let new = give_passwords(&mut topology, &args, &BTreeSet::new())?.0;
        if !new.is_empty() {
            context.note(&format!("new passwords, which importing this sets: {}", new.join(", ")))?;
        }
        context.print_json(&topology.definitions())?;
        let nameless: Vec<String> =
            topology.users().into_iter().filter(|user| !topology.passwords.contains_key(user)).collect();
        if !nameless.is_empty() {
            context.note(&format!("left out, for want of --password-dir: {}", nameless.join(", ")))?;
        }
        return Ok(Exit::Done);
    }
    let manager = Manager::new(&address, broker.api.as_deref()).map_err(|error| Problem::from(&error))?;
    let there = manager.users(&topology.users()).await.map_err(|error| Problem::from(&error))?;
    let (_, kept) = give_passwords(&mut topology, &args, &there)?;
    if let Some(dir) = args.password_dir.as_ref().filter(|_| !kept.is_empty()) {
        context.note(&format!(
            "left as they are at the broker, for {} has no password of theirs: {}; new ones with --reset-passwords",
            dir.display(),
            kept.join(", ")
        ))?;
    }
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
    let (vhost, limits_of_these) = (vhost.to_owned(), !args.feeds.is_empty());
    Ok(Topology { vhost, feeds, subscribers, limits, limits_of_these, passwords: BTreeMap::new() })
}

/// Gives every user the password that lies in the directory, or a new one: to those that the broker does not have yet, and
/// to all when they are to be reset. Says who got a new one, and who keeps one that only others know.
fn give_passwords(
    topology: &mut Topology,
    args: &Args,
    there: &BTreeSet<String>,
) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let (mut new, mut kept) = (Vec::new(), Vec::new());
    let Some(dir) = &args.password_dir else { return Ok((new, kept)) };
    for user in topology.users() {
        let file = dir.join(format!("{user}.password"));
        let text = match known_password(&file)?.filter(|_| !args.reset_passwords) {
            Some(text) => text,
            None if there.contains(&user) && !args.reset_passwords => {
                kept.push(user);
                continue;
            }
            None => {
                new.push(user.clone());
                fresh_password(dir, &file)?
            }
        };
        topology.passwords.insert(user.clone(), salted(&user, text));
    }
    Ok((new, kept))
}

/// What a password file has; `None` when there is none.
fn known_password(file: &Path) -> anyhow::Result<Option<String>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text.trim_end().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    anyhow::ensure!(!text.is_empty(), "{} is empty", file.display());
    Ok(Some(text))
}

/// The salt follows from the password, so that the same one gives the same definitions.
fn salted(user: &str, text: String) -> Password {
    use sha2::Digest as _;
    let digest = sha2::Sha256::new().chain_update("huiliu salt").chain_update(user).chain_update(&text).finalize();
    let mut salt = [0; 4];
    salt.iter_mut().zip(digest).for_each(|(salt, byte)| *salt = byte);
    Password { text, salt }
}

/// Makes one, and puts it into the file, in place of one that is there.
fn fresh_password(dir: &Path, file: &Path) -> anyhow::Result<String> {
    let mut random = [0_u8; PASSWORD_BYTES];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let text = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let new = file.with_extension("new");
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    let written = made.and_then(|mut file| writeln!(file, "{text}").and_then(|()| file.sync_all()));
    written.and_then(|()| fs::rename(&new, file)).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(text)
}
