//! Files of a directory, wherever it is: here, SFTP, FTP, S3, WebDAV.
//!
//! Decides: which files match, which of them are finished, and where they go afterwards. A file is finished when its
//! control file is there (where one is defined) and its size and time stay the same between a first look, a last look
//! after its digest was taken, and, if it was written a moment ago, a look after that moment. Must not know: what is in
//! them. Guarantees: an unfinished file is reported and not taken; a file whose signature or control file does not hold
//! gives no row; a digest takes bounded memory; what was copied while its digest was taken is what is read; the root is never
//! made; settling twice is settling once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::beside::{self, Checks};
use super::copies::{self, Copies};
use super::digests::Digests;
use super::input::FileInput;
use super::place::{self, Look, Place};
use super::{Before, Item, Listing, Source, SourceError};
use crate::config::{At, Beside, Connector, Dataset, Files, Format, Offer, Pattern, Settle, SourceKind, Workspace};
use crate::decode::{self, Decode, Input, Limits, Position, Wanted};

/// Most directories that a pattern may open.
const MOST_DIRECTORIES: usize = 10_000;

/// The files of one dataset.
pub struct FilesSource {
    place: Arc<dyn Place>,
    /// Patterns of the directories below the root and of the name.
    path: Vec<Pattern>,
    format: Format,
    wanted: Vec<Wanted>,
    settle: Settle,
    beside: Beside,
    signers: crate::crypto::Signers,
    /// A person accepted what the control file says.
    accepted: bool,
    digests: Digests,
    copies: Copies,
}

/// A matching file at first look.
#[derive(Debug, Clone)]
struct Seen {
    name: String,
    path: String,
    /// The date in its path.
    date: String,
    look: Look,
}

impl FilesSource {
    /// The files below a root whose path matches `path`: directories and a name, each with `*`, `?` and dates. Nothing is
    /// reached yet. Errors: [`SourceError::Address`], [`SourceError::Unpinned`], certificates that do not read.
    pub fn new(workspace: &Workspace, files: &Files, path: &str, dataset: &Dataset) -> Result<Self, SourceError> {
        let Offer::Files { format, beside, .. } = &dataset.offer else {
            return Err(SourceError::Offer { dataset: dataset.name.clone() });
        };
        let mut source = Self::below(&workspace.dir, files, path, (format.clone(), super::wanted(dataset)))?;
        source.beside = beside.clone();
        if beside.signed {
            source.signers = beside::signers(workspace, files)?;
        }
        Ok(source)
    }

    /// The files of a connector below this root: its own, reached as it says, or another directory of this machine.
    pub fn at(
        workspace: &Workspace,
        connector: &Connector,
        (root, path): (&str, &str),
        dataset: &Dataset,
    ) -> Result<Self, SourceError> {
        match &connector.source {
            SourceKind::Files(own) if own.root.value == root => {
                super::known(workspace, connector)?;
                Self::new(workspace, own, path, dataset)
            }
            SourceKind::Files(own) => {
                let root = At { value: root.to_owned(), place: own.root.place.clone() };
                let files = Files { certificates: own.certificates.clone(), ..Files::at(root) };
                Self::new(workspace, &files, path, dataset)
            }
            SourceKind::Database(_) | SourceKind::Http(_) | SourceKind::Amqp(_) | SourceKind::Cdc(_) => {
                Err(SourceError::Offer { dataset: dataset.name.clone() })
            }
        }
    }

    fn below(
        workspace: &Path,
        files: &Files,
        path: &str,
        (format, wanted): (Format, Vec<Wanted>),
    ) -> Result<Self, SourceError> {
        let segments = path.split('/').filter(|segment| !segment.is_empty() && *segment != ".");
        let unread = |why: &str| SourceError::reading(path, std::io::Error::other(why.to_owned()));
        Ok(Self {
            place: place::open(workspace, files)?,
            path: segments.map(Pattern::parse).collect::<Result<_, _>>().map_err(unread)?,
            format,
            wanted,
            settle: files.settle.clone(),
            beside: Beside::default(),
            signers: crate::crypto::Signers::default(),
            accepted: false,
            digests: Digests::default(),
            copies: Copies::default(),
        })
    }

    /// Remembers digests of files on servers in this file.
    #[must_use]
    pub(super) fn remembering(mut self, file: std::path::PathBuf) -> Self {
        self.digests = Digests::load(file);
        self
    }

    /// Keeps copies of files on servers below this directory.
    #[must_use]
    pub(super) fn copying(mut self, below: std::path::PathBuf) -> Self {
        self.copies = Copies::below(below);
        self
    }

    /// Takes files that were written at least this long ago without waiting. Zero never waits.
    #[must_use]
    pub fn quiet_for(mut self, quiet: Duration) -> Self {
        self.settle.quiet = quiet;
        self
    }

    /// First look: matching files, by date and name.
    async fn look(&self) -> Result<Vec<Seen>, SourceError> {
        let Some((name, directories)) = self.path.split_last() else { return Ok(Vec::new()) };
        let literal = directories.iter().map_while(Pattern::literal).collect::<Vec<_>>();
        let mut open = vec![(literal.join("/"), String::new())];
        for pattern in directories.iter().skip(literal.len()) {
            let mut next = Vec::new();
            for (directory, date) in open {
                for entry in self.place.list(&directory).await?.into_iter().filter(|entry| entry.directory) {
                    let path = joined(&directory, &entry.name);
                    if let Some(found) = pattern.find(&entry.name).filter(|_| !self.is_aside(&path)) {
                        next.push((path, format!("{date}{found}")));
                    }
                }
            }
            next.truncate(MOST_DIRECTORIES);
            open = next;
        }
        let above = literal.join("/");
        let mut seen = Vec::new();
        for (directory, date) in open {
            let entries = self.place.list(&directory).await?;
            let beside = beside::names(&self.beside, entries.iter().map(|entry| entry.name.as_str()));
            for entry in entries.iter().filter(|entry| !entry.directory && !beside.contains(&entry.name)) {
                let Some(found) = name.find(&entry.name) else { continue };
                let path = joined(&directory, &entry.name);
                // The listing need not have size and time, and does not follow links.
                let Some(look) = self.place.look(&path).await? else { continue };
                let name = path.strip_prefix(&above).unwrap_or(&path).trim_start_matches('/').to_owned();
                seen.push(Seen { name, path, date: format!("{date}{found}"), look });
            }
        }
        seen.sort_by(|a, b| (&a.date, &a.name).cmp(&(&b.date, &b.name)));
        Ok(seen)
    }

    /// Whether a directory is one of ours for files that are done with.
    fn is_aside(&self, path: &str) -> bool {
        let aside = [&self.settle.archive, &self.settle.reject];
        aside.into_iter().flatten().any(|own| own.trim_matches('/') == path)
    }

    /// Waits until every file has been left alone for the quiet time, once for all of them.
    #[expect(clippy::disallowed_methods, reason = "another machine's writing ends without an event to wait for")]
    async fn wait(&self, seen: &[Seen]) {
        /// Longer than this nobody waits: the next run will find the file rested.
        const PATIENCE: Duration = Duration::from_secs(5);
        let now = SystemTime::now();
        let quiet = self.settle.quiet;
        if quiet > PATIENCE {
            return;
        }
        let youngest = seen.iter().filter_map(|s| s.look.age(now)).min().unwrap_or(quiet);
        if let Some(left) = quiet.checked_sub(youngest).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left).await;
        }
    }

    /// Later looks: digests of the files that have not changed since the first, and are not waiting for anything.
    async fn confirm(&mut self, seen: Vec<Seen>) -> Result<Listing, SourceError> {
        let mut listing = Listing::default();
        self.copies.clear();
        for file in seen {
            let young = file.look.age(SystemTime::now()).is_some_and(|age| age < self.settle.quiet);
            let Some(before) = self.place.look(&file.path).await? else { continue };
            if young || before != file.look || !self.has_control(&file.path).await? {
                listing.still_writing.push(file.name);
                continue;
            }
            let digest = match self.digests.find(&file.path, &file.look) {
                Some(digest) => digest,
                None => {
                    let (digest, copy) = self.digest(&file).await?;
                    if self.place.look(&file.path).await? != Some(file.look) {
                        listing.still_writing.push(file.name);
                        continue;
                    }
                    self.digests.keep(&file.path, &file.look, &digest);
                    if let Some(copy) = copy {
                        self.copies.keep(&file.path, copy, file.look.bytes);
                    }
                    digest
                }
            };
            listing.items.push(Item {
                name: file.name,
                path: file.path,
                bytes: file.look.bytes,
                modified: file.look.modified,
                digest,
                ..Item::default()
            });
        }
        self.digests.store();
        Ok(listing)
    }

    async fn has_control(&self, path: &str) -> Result<bool, SourceError> {
        match beside::control_path(&self.beside, path) {
            Some(control) => Ok(self.place.look(&control).await?.is_some()),
            None => Ok(true),
        }
    }

    /// The bytes of an item, if they are still those that were listed.
    async fn bytes(&self, item: &Item) -> Result<Arc<dyn Input>, SourceError> {
        let now = self.place.look(&item.path).await?;
        if !now.is_some_and(|now| now.is_of(item.bytes, item.modified)) {
            return Err(SourceError::Changed { name: item.name.clone() });
        }
        Ok(self.input(&item.name, &item.path, item.bytes))
    }

    /// The digest of a file, and its copy if one is kept.
    async fn digest(&self, file: &Seen) -> Result<(String, Option<std::fs::File>), SourceError> {
        let input = self.input(&file.name, &file.path, file.look.bytes);
        let here = input.local_path().is_some();
        let copy = if here { None } else { self.copies.begin(file.look.bytes) };
        let done = tokio::task::spawn_blocking(move || copies::digest(input.read_from(0)?, copy)).await;
        match done {
            Ok(Ok(digest)) => Ok(digest),
            Ok(Err(e)) => Err(SourceError::reading(&file.name, e)),
            Err(e) => Err(SourceError::reading(&file.name, std::io::Error::other(e))),
        }
    }

    fn input(&self, name: &str, path: &str, bytes: u64) -> Arc<dyn Input> {
        Arc::new(FileInput {
            place: Arc::clone(&self.place),
            path: path.to_owned(),
            name: name.to_owned(),
            bytes,
            local: self.place.local(path),
            copy: self.copies.of(path),
            runtime: tokio::runtime::Handle::current(),
        })
    }

    /// Whether a control file for several still has to speak for another file than this one: one that lies there, or one that
    /// it names and that has not come yet.
    async fn speaks_for_others(&self, control: &str, item: &Item) -> Result<bool, SourceError> {
        let (directory, own) = item.path.rsplit_once('/').unwrap_or(("", &item.path));
        let bytes = self.fetch(control).await?.unwrap_or_default();
        let named = beside::named(&self.beside, &bytes);
        for name in named.iter().filter(|name| *name != own) {
            let here = self.place.look(&joined(directory, name)).await?.is_some();
            if here || !self.lies_aside(name).await? {
                return Ok(true);
            }
        }
        let each_its_own = |file: &str| file.contains("{name}") || file.contains("{stem}");
        if !named.is_empty() || self.beside.control.as_ref().is_none_or(|control| each_its_own(&control.file)) {
            return Ok(false);
        }
        let entries = self.place.list(directory).await?;
        let other = |name: &str| name != own && self.path.last().is_some_and(|pattern| pattern.find(name).is_some());
        Ok(entries
            .iter()
            .any(|entry| !entry.directory && joined(directory, &entry.name) != control && other(&entry.name)))
    }

    /// Whether a file of this name was put aside.
    async fn lies_aside(&self, name: &str) -> Result<bool, SourceError> {
        for directory in [&self.settle.archive, &self.settle.reject].into_iter().flatten() {
            if self.place.look(&joined(directory.trim_matches('/'), name)).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves a file and what belongs to it into a directory below the root.
    async fn put_aside(&self, item: &Item, directory: &str) -> Result<(), SourceError> {
        let mut paths = vec![item.path.clone()];
        if let Some(control) = beside::control_path(&self.beside, &item.path)
            && !self.speaks_for_others(&control, item).await?
        {
            paths.push(control);
        }
        if self.beside.signed {
            paths.push(beside::signature_path(&item.path));
        }
        for path in paths.iter().rev() {
            if self.place.look(path).await?.is_none() {
                continue; // it went before, or was never there
            }
            let name = path.strip_prefix(item.path.rsplit_once('/').map_or("", |(above, _)| above)).unwrap_or(path);
            let mut to = joined(directory.trim_matches('/'), name.trim_start_matches('/'));
            let free = to.clone();
            for time in 1.. {
                if self.place.look(&to).await?.is_none() {
                    break;
                }
                let digest = item.digest.get(..8).unwrap_or("again");
                to = if time == 1 { format!("{free}~{digest}") } else { format!("{free}~{digest}.{time}") };
            }
            self.place.rename(path, &to).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Source for FilesSource {
    async fn list(&mut self, _before: Option<&Before>) -> Result<Listing, SourceError> {
        let seen = self.look().await?;
        self.wait(&seen).await;
        self.confirm(seen).await
    }

    async fn open(&self, item: &Item, at: Option<&Position>) -> Result<Box<dyn Decode>, SourceError> {
        let input = self.bytes(item).await?;
        let resume = at.map(|at| at.resume).filter(|at| at.row > 0);
        // What was begun was found good before; its digest says that it is the same file.
        let checks = if resume.is_some() { Checks::default() } else { self.checks(item).await? };
        let (format, wanted) = (self.format.clone(), self.wanted.clone());
        let opening = tokio::task::spawn_blocking(move || {
            checks.hold(&input, &format)?;
            Ok(decode::open(input, &format, &wanted, Limits::default(), resume)?)
        });
        match opening.await {
            Ok(opened) => opened,
            Err(panic) => Err(SourceError::reading(&item.name, std::io::Error::other(panic))),
        }
    }

    fn accept(&mut self) {
        self.accepted = true;
    }

    async fn settle(&mut self, item: &Item) -> Result<(), SourceError> {
        match &self.settle.archive {
            Some(directory) => self.put_aside(item, directory).await,
            None => Ok(()),
        }
    }

    async fn refuse(&mut self, item: &Item) -> Result<(), SourceError> {
        match &self.settle.reject {
            Some(directory) => self.put_aside(item, directory).await,
            None => Ok(()),
        }
    }
}

impl FilesSource {
    /// What must hold of a file before its first row is read.
    async fn checks(&self, item: &Item) -> Result<Checks, SourceError> {
        let signature = match self.beside.signed {
            true => Some((self.fetch(&beside::signature_path(&item.path)).await?, self.signers.clone())),
            false => None,
        };
        let control = match beside::control_path(&self.beside, &item.path) {
            Some(path) => self.fetch(&path).await?,
            None => None,
        };
        let says = self.beside.control.as_ref().filter(|_| !self.accepted).and_then(|control| control.says.clone());
        Ok(Checks { name: item.name.clone(), signature, control: says.map(|says| (says, control)) })
    }

    /// A small file; `None` when it is not there.
    async fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(look) = self.place.look(path).await? else { return Ok(None) };
        let (place, name) = (Arc::clone(&self.place), path.to_owned());
        let most = look.bytes.min(beside::MOST);
        let reading = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut place.read(&name, 0, most)?, &mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        });
        match reading.await {
            Ok(Ok(bytes)) => Ok(Some(bytes)),
            Ok(Err(e)) => Err(SourceError::reading(path, e)),
            Err(panic) => Err(SourceError::reading(path, std::io::Error::other(panic))),
        }
    }
}

fn joined(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

#[cfg(test)]
mod tests;
