//! Digests of files, remembered from look to look: without them every look would read, and from servers fetch, every file
//! that lies there, to learn that it is an old one.
//!
//! Decides: when a remembered digest may be believed: size and time are the same, and here the state in the file
//! system, and the time was at least a minute past when the digest was taken, so that nobody can have written since within
//! the same tick of the clock. Must not
//! know: where files lie. Guarantees: what cannot be read or written is as if it had never been; losing it costs a fetch.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::place::{Look, Node};

/// A time younger than this may come again.
const TICK: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Digests {
    file: Option<PathBuf>,
    known: BTreeMap<String, Known>,
    seen: BTreeMap<String, Known>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    bytes: u64,
    /// Since 1970.
    modified: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<Node>,
    digest: String,
}

impl Digests {
    /// Those of a file of the state directory.
    pub(super) fn load(file: PathBuf) -> Self {
        let text = std::fs::read(&file).unwrap_or_default();
        Self { known: serde_json::from_slice(&text).unwrap_or_default(), file: Some(file), seen: BTreeMap::new() }
    }

    /// The digest of the file at `path`, if it is still what it was.
    pub(super) fn find(&mut self, path: &str, look: &Look) -> Option<String> {
        let modified = since(look)?;
        let same = |k: &&Known| (k.bytes, k.modified, k.node) == (look.bytes, modified, look.node);
        let known = self.known.get(path).filter(same)?.clone();
        self.seen.insert(path.to_owned(), known.clone());
        Some(known.digest)
    }

    /// Remembers a digest that was just taken.
    pub(super) fn keep(&mut self, path: &str, look: &Look, digest: &str) {
        let rested = look.age(SystemTime::now()).is_some_and(|age| age >= TICK);
        if let Some(modified) = since(look).filter(|_| rested) {
            let known = Known { bytes: look.bytes, modified, node: look.node, digest: digest.to_owned() };
            self.seen.insert(path.to_owned(), known);
        }
    }

    /// After a look: what was not seen is forgotten.
    pub(super) fn store(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        let (Some(file), false) = (&self.file, seen == self.known) else { return };
        let written = || {
            std::fs::create_dir_all(file.parent()?).ok()?;
            let new = file.with_extension("new");
            std::fs::write(&new, serde_json::to_vec(&seen).ok()?).ok()?;
            std::fs::rename(new, file).ok()
        };
        if written().is_none() {
            tracing::debug!(file = %file.display(), "digests of files could not be kept");
        }
        self.known = seen;
    }
}

fn since(look: &Look) -> Option<Duration> {
    look.modified?.duration_since(SystemTime::UNIX_EPOCH).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_believed_only_of_the_same_file_that_had_rested() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("digests/gs.qy.json");
        let time = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let node = |path: &std::path::Path| Some(Node::from(std::fs::metadata(path).unwrap()));
        let at = |seconds| Look { bytes: 3, modified: time(seconds), node: node(dir.path()) };
        let old = at(1_700_000_000);
        let young = Look { modified: Some(SystemTime::now()), ..old };
        let mut digests = Digests::load(file.clone());
        assert_eq!(digests.find("a", &old), None);
        digests.keep("a", &old, "d");
        digests.keep("b", &young, "e");
        digests.store();
        let mut again = Digests::load(file.clone());
        assert_eq!((again.find("a", &old).as_deref(), again.find("b", &young)), (Some("d"), None));
        assert_eq!(again.find("a", &at(1_700_000_001)), None);
        assert_eq!(again.find("a", &Look { bytes: 4, ..old }), None);
        assert_eq!(again.find("a", &Look { node: node("/proc".as_ref()), ..old }), None, "another file under its name");
        again.store();
        // What a look did not see is forgotten.
        again.store();
        assert_eq!(Digests::load(file.clone()).find("a", &old), None);
        std::fs::write(&file, "{ not json").unwrap();
        assert_eq!(Digests::load(file).find("a", &old), None);
    }
}
