//! What was run with: the definitions that every pipeline and feed last worked with, and the mapping versions that
//! runs used. From it follows what an edit would change.

use std::collections::BTreeMap;

use super::Note;
use crate::error::Problem;
use crate::linking::StreamId;
use crate::record::FieldType;

/// A pipeline or feed begins to work with these files.
#[derive(Debug, Clone)]
pub struct WorkedWith {
    /// `pipeline/qy`, `feed/housing.enterprise`.
    pub owner: String,
    /// By path: digest and text. All that it depends on, and nothing else.
    pub files: BTreeMap<String, (String, String)>,
    /// Microseconds.
    pub at: i64,
}

/// One file that a pipeline or feed last worked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// `pipeline/qy`, `feed/housing.enterprise`.
    pub owner: String,
    /// Path relative to the workspace.
    pub path: String,
    /// SHA-256 of its bytes, in hexadecimal.
    pub digest: String,
    /// The text.
    pub text: String,
    /// Since when it has been worked with, microseconds.
    pub since: i64,
}

/// What the audit log says of a change: every file that is new, other or gone, by digest.
pub(super) fn change(known: &[Definition], with: &WorkedWith) -> Note {
    let short = |digest: &str| digest.chars().take(16).collect::<String>();
    let before = |path: &str| known.iter().find(|definition| definition.path == path);
    let present = with.files.iter().filter_map(|(path, (digest, _))| match before(path) {
        None => Some(format!("{path} new {}", short(digest))),
        Some(old) if old.digest != *digest => Some(format!("{path} {} → {}", short(&old.digest), short(digest))),
        Some(_) => None,
    });
    let gone = known.iter().filter(|old| !with.files.contains_key(&old.path));
    let gone = gone.map(|old| format!("{} {} gone", old.path, short(&old.digest)));
    let told: Vec<String> = present.chain(gone).collect();
    Note::new(with.at, "definitions", format!("{}: {}", with.owner, told.join(", ")))
}

/// Claims of one stream that one run wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimsMade {
    /// The run that wrote their present state.
    pub run: i64,
    /// The version of the mapping that made them; `None` when the run used several, or is older than this record.
    pub mapping: Option<String>,
    /// How many.
    pub claims: u64,
    /// Earliest business time, microseconds.
    pub from: i64,
    /// Latest business time, microseconds.
    pub to: i64,
}

/// A register as it is stored, beside what its file asks for.
#[derive(Debug, Clone, Default)]
pub struct Surveyed {
    /// Stored fields, oldest first; none when there is no such register yet.
    pub fields: Vec<(String, FieldType)>,
    /// Why the store would not take the file: it would lose data.
    pub refused: Option<Problem>,
}

/// Claims by run, each with the one mapping version that its run used for the stream.
pub(super) fn claims_made(
    counted: Vec<(i64, u64, i64, i64)>,
    used: impl IntoIterator<Item = (i64, String)>,
) -> Vec<ClaimsMade> {
    let mut versions: BTreeMap<i64, Option<String>> = BTreeMap::new();
    for (run, mapping) in used {
        versions.entry(run).and_modify(|known| *known = None).or_insert(Some(mapping));
    }
    let made =
        |(run, claims, from, to)| ClaimsMade { run, mapping: versions.get(&run).cloned().flatten(), claims, from, to };
    counted.into_iter().map(made).collect()
}

/// Streams of a run with the mapping version that it uses for each.
pub type Versions<'a> = &'a [(StreamId, &'a str)];
