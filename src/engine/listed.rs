//! What a source lists: which of it was taken before, which waits for a person, which has been superseded.
//!
//! Decides: whether content that was taken once is taken again. Guarantees: of whole extracts (全量) the newest stands, also
//! when its bytes are those of an older one; a whole extract that waits for a person stands in no newer one's way.

use super::flow::Flow;
use super::run::{Held, Pass, RunOptions};
use super::{Engine, EngineError, FileReport};
use crate::config::Extract;
use crate::source::{Fate, Item, Listing, Source};
use crate::store::{FileEnd, FileState, FileStatus, Note, RunStatus};

/// What is to be done with a listed item.
pub(super) enum Known {
    /// Nothing: `unchanged` or `superseded`.
    Over(&'static str),
    /// It waits for a person.
    Held(FileState),
    /// It is taken, `again` if its content was taken before.
    Due {
        /// From its beginning, as if it were new.
        again: bool,
    },
}

/// A whole extract that was held while a newer one is there.
struct Passed {
    item: Item,
    file: i64,
    why: Option<String>,
}

impl Flow {
    /// Whether a listed item, being a file with everything there is, replaces the one before it.
    pub(super) fn replaces(&self, item: &Item) -> bool {
        self.dataset.extract == Extract::Full && !item.path.is_empty()
    }
}

impl Engine {
    /// What is known about an item, given the digest of what was taken last and what is listed behind the item.
    pub(super) async fn known(
        &mut self,
        flow: &Flow,
        (item, later): (&Item, &[Item]),
        newest: Option<&str>,
    ) -> Result<Known, EngineError> {
        let dataset = flow.from.to_string();
        let Some(file) = self.store.file(&dataset, &item.digest).await? else {
            return Ok(Known::Due { again: false });
        };
        let over = match file.status {
            FileStatus::Held => return Ok(Known::Held(file)),
            FileStatus::Taking | FileStatus::Failed => return Ok(Known::Due { again: false }),
            FileStatus::Taken => "unchanged",
            FileStatus::Superseded => "superseded",
        };
        if !flow.replaces(item) || newest == Some(item.digest.as_str()) {
            return Ok(Known::Over(over));
        }
        let stands = match self.store.named_file(&dataset, &item.name).await? {
            Some(named) => named == item.digest,
            // A name that nobody noted: what was taken last says whether it is older than that.
            None => later.iter().any(|later| newest == Some(later.digest.as_str())),
        };
        Ok(if stands { Known::Over(over) } else { Known::Due { again: true } })
    }

    /// The digest of what was taken last.
    pub(super) async fn newest(&mut self, flow: &Flow) -> Result<Option<String>, EngineError> {
        Ok(self.store.newest_file(&flow.from.to_string()).await?.map(|(digest, _)| digest))
    }

    pub(super) async fn take_listed(
        &mut self,
        flow: &Flow,
        pass: &mut Pass,
        (source, listing, options): (&mut dyn Source, Listing, &RunOptions),
        status: &mut RunStatus,
    ) -> Result<(), EngineError> {
        for waiting in listing.still_writing {
            pass.report.files.push(FileReport { name: waiting, outcome: "writing", why: None, rows: 0 });
        }
        let mut passed = Vec::new();
        for (i, item) in listing.items.iter().enumerate() {
            self.check_stop()?;
            let later = &listing.items[i + 1..];
            let newest = self.newest(flow).await?;
            let newer = options.accept.is_none() && flow.replaces(item);
            let again = match self.known(flow, (item, later), newest.as_deref()).await? {
                Known::Over(word) => {
                    self.pass_over(flow, pass, (item, &mut *source), word).await?;
                    self.supersede(flow, pass, (item, &mut *source), &mut passed).await?;
                    continue;
                }
                Known::Held(file) if newer && self.counts_on(flow, later).await? => {
                    passed.push(Passed { item: item.clone(), file: file.id, why: file.why });
                    continue;
                }
                Known::Held(_) => false,
                Known::Due { again } => again,
            };
            let before = pass.read();
            let outcome = self.take_file(flow, pass, (item, &*source, again), options).await;
            let rows = pass.read() - before;
            let (word, why) = self.file_outcome(flow, (pass.run, item), outcome).await?;
            match word {
                "held" if newer && self.counts_on(flow, later).await? => {
                    if let Some(file) = self.store.file(&flow.from.to_string(), &item.digest).await? {
                        passed.push(Passed { item: item.clone(), file: file.id, why });
                    }
                    continue;
                }
                "held" => *status = RunStatus::Held,
                "failed" => {
                    *status = if *status == RunStatus::Succeeded { RunStatus::Failed } else { *status };
                    source.refuse(item).await?;
                }
                _ => {
                    self.remember_name(flow, item).await?;
                    source.settle(item).await?;
                    self.supersede(flow, pass, (item, &mut *source), &mut passed).await?;
                }
            }
            let why = why.or_else(|| pass.kept.take());
            pass.tell(FileReport { name: item.name.clone(), outcome: word, why, rows });
            if *status == RunStatus::Held {
                break; // later extracts build on this one
            }
        }
        for Passed { item, why, .. } in passed {
            *status = RunStatus::Held;
            pass.tell(FileReport { name: item.name, outcome: "held", why, rows: 0 });
        }
        Ok(())
    }

    /// Whether something that is listed may yet take the place of what is held before it.
    async fn counts_on(&mut self, flow: &Flow, later: &[Item]) -> Result<bool, EngineError> {
        for item in later {
            let known = self.store.file(&flow.from.to_string(), &item.digest).await?;
            if known.is_none_or(|file| file.status != FileStatus::Superseded) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An item of which nothing is taken.
    async fn pass_over(
        &mut self,
        flow: &Flow,
        pass: &mut Pass,
        (item, source): (&Item, &mut dyn Source),
        word: &'static str,
    ) -> Result<(), EngineError> {
        pass.report.files.push(FileReport { name: item.name.clone(), outcome: word, why: None, rows: 0 });
        self.remember_name(flow, item).await?;
        match word {
            "superseded" => source.refuse(item).await?,
            _ => source.settle(item).await?,
        }
        Ok(())
    }

    /// What was held before this item, and need not be decided any more.
    async fn supersede(
        &mut self,
        flow: &Flow,
        pass: &mut Pass,
        (by, source): (&Item, &mut dyn Source),
        passed: &mut Vec<Passed>,
    ) -> Result<(), EngineError> {
        for Passed { item, file, why } in passed.drain(..) {
            let why = why.map_or_else(String::new, |why| format!(" ({why})"));
            let told = format!("{}: {}{why}: superseded by {}", flow.from, item.name, by.name);
            let note = Some(Note::new(self.now(), "pull", told));
            let why = format!("by {}{why}", by.name);
            let end = FileEnd { status: FileStatus::Superseded, why: Some(why.clone()), run: None, note };
            self.store.end_file(file, end).await?;
            self.remember_name(flow, &item).await?;
            source.refuse(&item).await?;
            pass.report.files.push(FileReport { name: item.name, outcome: "superseded", why: Some(why), rows: 0 });
        }
        Ok(())
    }

    /// Notes what a whole extract's name stands for, where somebody may list it again.
    async fn remember_name(&mut self, flow: &Flow, item: &Item) -> Result<(), EngineError> {
        let dataset = flow.from.to_string();
        if flow.replaces(item) && self.store.named_file(&dataset, &item.name).await?.as_ref() != Some(&item.digest) {
            self.store.name_file(&dataset, &item.name, &item.digest).await?;
        }
        Ok(())
    }

    /// What became of one file, written down.
    async fn file_outcome(
        &mut self,
        flow: &Flow,
        (run, item): (i64, &Item),
        outcome: Result<Option<Held>, EngineError>,
    ) -> Result<(&'static str, Option<String>), EngineError> {
        let file = self.store.file(&flow.from.to_string(), &item.digest).await?;
        let (status, why) = match outcome {
            Ok(None) => (FileStatus::Taken, None),
            Ok(Some(Held(why))) => (FileStatus::Held, Some(why)),
            Err(EngineError::Source(error)) if error.fate() == Some(Fate::Held) => {
                (FileStatus::Held, Some(error.to_string()))
            }
            Err(error) if refuses(&error) => (FileStatus::Failed, Some(error.to_string())),
            Err(error) => return Err(error),
        };
        let word = status.name();
        if let Some(file) = file {
            let digest: String = item.digest.chars().take(16).collect();
            let told = format!("{}: {}, {} bytes, digest {digest}: {word}", flow.from, item.name, item.bytes);
            let note = Some(Note::new(self.now(), "pull", told));
            self.store.end_file(file.id, FileEnd { status, why: why.clone(), run: Some(run), note }).await?;
        }
        Ok((word, why))
    }
}

impl Pass {
    /// Rows read so far.
    fn read(&self) -> u64 {
        self.report.registers.first().map_or(0, |register| register.counts.read)
    }

    /// Reports a file, and why the run is not as it should be.
    fn tell(&mut self, file: FileReport) {
        if let Some(why) = &file.why {
            self.report.why.get_or_insert(format!("{}: {why}", file.name));
        }
        self.report.files.push(file);
    }
}

/// Whether an error is about this one file, which is then refused whole.
fn refuses(error: &EngineError) -> bool {
    match error {
        EngineError::Decode(error) => error.disposition() == crate::error::Disposition::Halt,
        EngineError::Source(error) => error.fate() == Some(Fate::Refused),
        _ => false,
    }
}
