//! Opening a workspace: definitions checked, one writer at a time, the store open, an engine over it.
//!
//! Guarantees: a command that changes anything holds the workspace's lock until it ends, whichever way it ends; a
//! command that only reads never makes files in a workspace that has no store yet.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::{Context, Problems};
use crate::clock::Clock;
use crate::config::{Installation, Workspace, load_and_check};
use crate::crypto::KeyRing;
use crate::engine::Engine;
use crate::error::Problem;
use crate::mapping;
use crate::share;
use crate::store::at_rest::{self, AtRestStore};
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// What a command is going to do with the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only ask. Several may, also beside one that writes.
    Read,
    /// Change something. One process at a time.
    Write,
}

/// A workspace at work.
pub struct Opened {
    /// The engine over definitions and store.
    pub engine: Engine,
    /// Warnings about the definitions, which stop nothing.
    pub warnings: Vec<Problem>,
    /// Held until the command ends.
    pub(super) _lock: Option<Lock>,
}

/// Loads and checks the definitions, takes the lock if something will be changed, and opens the store.
///
/// # Errors
/// [`Problems`] of the definitions, all of them; HL0810 when another process works here; HL0811 when the store cannot
/// be opened; HL0401 and HL0402 when the store does not fit the program or the registers.
pub async fn open(context: &Context, access: Access) -> anyhow::Result<Opened> {
    begin(definitions(context)?, access, context).await
}

/// Opens the workspace as it is, to see and to steer what is at work: definitions that do not read are left out, and said.
/// Stopping something must not wait until somebody has mended a file.
///
/// # Errors
/// As [`open`], but [`Problems`] only of huiliu.yaml.
pub async fn open_as_it_is(context: &Context) -> anyhow::Result<Opened> {
    let (workspace, problems) = checked(context);
    let problems = Workspace::needs(problems);
    let wrong: Vec<&Problem> = problems.iter().filter(|problem| problem.is_error()).collect();
    let Some(first) = wrong.first() else { return begin((workspace, problems), Access::Read, context).await };
    if wrong.iter().any(|problem| problem.place.as_ref().is_some_and(|place| place.file.ends_with("huiliu.yaml"))) {
        return Err(Problems(problems).into());
    }
    context.note(&format!(
        "定义有 {n} 处错误，未计入其中各项 {n} errors in the definitions, what they define is left out (huiliu check): {} {}",
        first.code,
        first.message,
        n = wrong.len(),
    ))?;
    let store = open_store(&workspace.installation, Access::Read).await?;
    let engine = Engine::for_questions(workspace, store, context.clock).await?;
    Ok(Opened { engine, warnings: Vec::new(), _lock: None })
}

async fn begin(
    (workspace, warnings): (Workspace, Vec<Problem>),
    access: Access,
    context: &Context,
) -> anyhow::Result<Opened> {
    let lock = match access {
        Access::Read => None,
        Access::Write => Some(Lock::take(&workspace.installation.state_dir)?),
    };
    let store = open_store(&workspace.installation, access).await?;
    let engine = Engine::new(workspace, store, context.clock).await?;
    Ok(Opened { engine, warnings, _lock: lock })
}

/// The definitions over the store as it is, for commands that ask what would happen: no table is made or widened.
///
/// # Errors
/// As [`open`], but for HL0402, which the answer then holds.
pub async fn ask(context: &Context) -> anyhow::Result<Engine> {
    let (workspace, _) = definitions(context)?;
    let store = open_store(&workspace.installation, Access::Read).await?;
    Ok(Engine::for_questions(workspace, store, context.clock).await?)
}

/// The checked definitions and their warnings; for commands that need no store.
///
/// # Errors
/// [`Problems`], all of them, as soon as one is an error.
pub fn definitions(context: &Context) -> anyhow::Result<(Workspace, Vec<Problem>)> {
    let (workspace, problems) = checked(context);
    let problems = Workspace::needs(problems);
    if problems.iter().any(Problem::is_error) {
        return Err(Problems(problems).into());
    }
    Ok((workspace, problems))
}

/// The definitions as far as they read, and every problem they have: files, references, and SQL against contracts.
pub fn checked(context: &Context) -> (Workspace, Vec<Problem>) {
    let (workspace, mut problems) = load_and_check(&context.dir, &context.clock);
    let today = context.clock.today(workspace.installation.zone);
    problems.extend(mapping::check_workspace(&workspace, today));
    problems.extend(share::check_workspace(&workspace, today));
    (workspace, problems)
}

/// Opens the installation's store.
///
/// # Errors
/// HL0811 when it cannot be reached or opened; HL0401, HL0403 and HL0404 when it is not one that this program and this
/// installation may use; HL0406, HL0407, HL0408 and HL0409 when its encryption is not the installation's.
pub async fn open_store(installation: &Installation, access: Access) -> anyhow::Result<Box<dyn Store>> {
    let ring = KeyRing::below(&installation.state_dir).with_pin(installation.token_pin.clone());
    let master = installation.at_rest.as_ref().map(|at_rest| at_rest::master(at_rest.master_key.reveal(), &ring));
    let master = master.transpose()?;
    let store = open_bare(installation, access).await?;
    Ok(match master {
        None => at_rest::plain(store).await?,
        Some(master) => {
            let now = Clock::System.now().timestamp_micros();
            Box::new(AtRestStore::open(store, master.as_ref(), now).await?)
        }
    })
}

/// The store as its database has it.
async fn open_bare(installation: &Installation, access: Access) -> anyhow::Result<Box<dyn Store>> {
    let written = &installation.store;
    if written.starts_with("postgres://") || written.starts_with("postgresql://") {
        return open_postgres(installation).await;
    }
    let path = written.strip_prefix("sqlite:").map(PathBuf::from).ok_or_else(|| {
        let kind = written.split(':').next().unwrap_or_default();
        let problem = Problem::error("HL0811", format!("there is no kind of store called \"{kind}\""));
        problem.hint("write store: postgres://USER@HOST/DATABASE or store: sqlite:PATH, or leave it out")
    })?;
    if access == Access::Read && !path.exists() {
        // Nothing was ever run here: the answer is "nothing", without a file made for it.
        return Ok(Box::new(SqliteStore::open(Path::new(":memory:")).await?));
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| cannot_open(&path, &error.to_string()))?;
    }
    match SqliteStore::open(&path).await {
        Ok(store) => Ok(Box::new(store)),
        Err(StoreError::Unavailable(why)) => Err(cannot_open(&path, &why).into()),
        Err(other) => Err(other.into()),
    }
}

async fn open_postgres(installation: &Installation) -> anyhow::Result<Box<dyn Store>> {
    let name = match &installation.name {
        Some(name) => name.clone(),
        None => installation_id(&installation.state_dir)?,
    };
    match PostgresStore::open(&installation.store, &name).await {
        Ok(store) => Ok(Box::new(store)),
        Err(StoreError::Unavailable(why)) => {
            let problem = Problem::error("HL0811", "the PostgreSQL store cannot be opened").detail(why);
            Err(problem.hint("is the server there, and are user, password and database right?").into())
        }
        Err(other) => Err(other.into()),
    }
}

/// What tells this workspace from others, made on first use; `name:` in `huiliu.yaml` takes its place.
fn installation_id(state_dir: &Path) -> anyhow::Result<String> {
    let path = state_dir.join("installation-id");
    fs::create_dir_all(state_dir).map_err(|error| cannot_open(&path, &error.to_string()))?;
    let secret = crate::crypto::secret(&path)?;
    Ok(secret.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn cannot_open(path: &Path, why: &str) -> Problem {
    Problem::error("HL0811", format!("the store {} cannot be opened", path.display()))
        .detail(why.to_owned())
        .hint("the directory must be writable for the user who runs huiliu, and its disk must not be full")
}

/// `<state_dir>/lock`, held. The operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes it, or says who has it (HL0810).
    pub(super) fn take(state_dir: &Path) -> Result<Self, Problem> {
        let path = state_dir.join("lock");
        let refused = |error: io::Error| cannot_open(&path, &error.to_string());
        fs::create_dir_all(state_dir).map_err(refused)?;
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(refused)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(busy(&mut file, &path)),
            Err(TryLockError::Error(error)) => return Err(refused(error)),
        }
        let noted = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
        noted.map_err(refused)?;
        Ok(Self { _file: file })
    }
}

fn busy(file: &mut File, path: &Path) -> Problem {
    let mut noted = String::new();
    let pid: Option<u32> = match file.read_to_string(&mut noted) {
        Ok(_) => noted.trim().parse().ok(),
        Err(_) => None, // where locks forbid reading, too, the other process stays nameless
    };
    let who =
        pid.map_or_else(|| "another huiliu process".to_owned(), |pid| format!("another huiliu process (pid {pid})"));
    Problem::error("HL0810", format!("{who} works on this workspace"))
        .detail(format!("it holds {}", path.display()))
        .hint("wait until it has ended; commands that only read work meanwhile")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_writer_is_told_who_the_first_is_and_may_come_later() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        let refused = Lock::take(dir.path()).unwrap_err();
        assert_eq!(refused.code, "HL0810");
        assert!(refused.message.contains(&format!("pid {}", std::process::id())), "{refused}");
        drop(first);
        Lock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_state_directory_that_cannot_be_made_is_a_problem_with_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        fs::write(&file, "not a directory").unwrap();
        assert_eq!(Lock::take(&file).unwrap_err().code, "HL0811");
    }
}
