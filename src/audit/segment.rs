//! Segments (归档段): part of the log in a directory that needs nothing else — entries, checkpoints, a signed manifest,
//! the certificates and revocation lists to verify it with — to be kept for twenty years wherever files are kept.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::{AuditError, Checkpoint, Entry, Fault, SignedCheckpoint, Walk};
use crate::crypto::{DigestAlgorithm, Moment, Signer, Trust, hex, verify_detached};

/// What every manifest calls itself.
const FORMAT: &str = "huiliu.audit-segment/1";
const MANIFEST: &str = "segment.json";
const SIGNATURE: &str = "segment.p7s";
const ENTRIES: &str = "entries.ndjson";
const CHECKPOINTS: &str = "checkpoints.ndjson";
const CERTIFICATES: &str = "certificates.pem";

/// What a segment says of itself; signed as its bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// `huiliu.audit-segment/1`.
    pub format: String,
    /// Whose log.
    pub issuer: String,
    /// The log before its first entry: entries, number of the last, its digest.
    pub after: (u64, i64, String),
    /// Number of its first entry.
    pub first: i64,
    /// Number of its last entry.
    pub last: i64,
    /// Instants of the two, microseconds.
    pub span: (i64, i64),
    /// How many.
    pub entries: u64,
    /// Digest of the last one.
    pub digest: String,
    /// Digests of its files, by the algorithm named: name → hex.
    pub files: std::collections::BTreeMap<String, String>,
    /// `sha256` or `sm3`.
    pub algorithm: String,
    /// Digest of the manifest of the segment before it; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previous: Option<String>,
    /// Made, RFC 3339, UTC.
    pub at: String,
}

/// A checkpoint as it stands in a file.
#[derive(Serialize, Deserialize)]
struct Line {
    body: String,
    signature: String,
}

/// A segment that was written.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    /// Its directory.
    pub path: PathBuf,
    /// What it says.
    #[serde(flatten)]
    pub segment: Segment,
}

/// A segment that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentReport {
    /// Its directory's name.
    pub name: String,
    /// Entries found.
    pub entries: u64,
    /// First and last instant, microseconds.
    pub span: (i64, i64),
    /// Who signed it.
    pub signed_by: Option<String>,
    /// Where it is not what it was.
    pub faults: Vec<Fault>,
    /// What is wrong with the segment as a whole: code and sentence.
    pub why: Option<String>,
}

impl SegmentReport {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.why.is_none() && self.faults.is_empty()
    }
}

/// Segments of an archive, oldest first.
fn segments(dir: &Path) -> Result<Vec<PathBuf>, AuditError> {
    if dir.join(MANIFEST).exists() {
        return Ok(vec![dir.to_owned()]);
    }
    let listed = fs::read_dir(dir).map_err(|error| file(dir, &error))?;
    let mut found: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.join(MANIFEST).exists());
    found.sort();
    Ok(found)
}

/// The newest segment of an archive, with the digest of its manifest; `None` when there is none yet.
///
/// # Errors
/// [`AuditError::File`], [`AuditError::Segment`].
pub fn newest(dir: &Path) -> Result<Option<(Segment, String)>, AuditError> {
    if !dir.exists() {
        return Ok(None);
    }
    let Some(path) = segments(dir)?.pop() else { return Ok(None) };
    let bytes = read(&path.join(MANIFEST))?;
    let segment: Segment = serde_json::from_slice(&bytes).map_err(|_| bad(&path, "its manifest does not read"))?;
    let algorithm = algorithm(&path, &segment)?;
    Ok(Some((segment, hex(&algorithm.digest(&[&bytes])))))
}

/// Writes one segment: `entries` in order, and the checkpoints that end within them. `after` is the log before them,
/// `previous` the digest of the last segment's manifest. The directory appears under its name when it is whole.
///
/// # Errors
/// [`AuditError::File`], [`AuditError::Crypto`].
pub fn export(
    dir: &Path,
    (issuer, after, previous): (&str, (u64, i64, String), Option<String>),
    (entries, checkpoints): (&[Entry], &[SignedCheckpoint]),
    (signer, certificates, crls): (&Signer, &str, &[Vec<u8>]),
    now: DateTime<Utc>,
) -> Result<Option<Exported>, AuditError> {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(None) };
    let name = format!("{:012}-{:012}", first.id, last.id);
    let (part, path) = (dir.join(format!(".{name}.part")), dir.join(&name));
    fs::create_dir_all(&part).map_err(|error| file(&part, &error))?;
    let mut lines = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut lines, entry).expect("an entry is plain data");
        lines.push(b'\n');
    }
    let mut seen = Vec::new();
    for checkpoint in checkpoints {
        let line = Line {
            body: BASE64_STANDARD.encode(&checkpoint.body),
            signature: BASE64_STANDARD.encode(&checkpoint.signature),
        };
        serde_json::to_writer(&mut seen, &line).expect("a checkpoint is plain data");
        seen.push(b'\n');
    }
    let algorithm = signer.suite().digest();
    let mut files = std::collections::BTreeMap::new();
    let mut keep = |name: String, bytes: &[u8]| {
        files.insert(name.clone(), hex(&algorithm.digest(&[bytes])));
        write(&part.join(name), bytes)
    };
    keep(ENTRIES.to_owned(), &lines)?;
    keep(CHECKPOINTS.to_owned(), &seen)?;
    keep(CERTIFICATES.to_owned(), certificates.as_bytes())?;
    for (n, crl) in crls.iter().enumerate() {
        keep(format!("crl-{}.crl", n + 1), crl)?;
    }
    let segment = Segment {
        format: FORMAT.to_owned(),
        issuer: issuer.to_owned(),
        after,
        first: first.id,
        last: last.id,
        span: (first.at, last.at),
        entries: entries.len() as u64,
        digest: last.digest.clone(),
        files,
        algorithm: algorithm.name().to_owned(),
        previous,
        at: now.to_rfc3339_opts(SecondsFormat::Millis, true),
    };
    let manifest = serde_json::to_vec_pretty(&segment).expect("a manifest is plain data");
    write(&part.join(SIGNATURE), &signer.sign_detached(&manifest, now)?)?;
    write(&part.join(MANIFEST), &manifest)?;
    fs::rename(&part, &path).map_err(|error| file(&path, &error))?;
    Ok(Some(Exported { path, segment }))
}

/// Verifies an archive, or one segment, with nothing but its files and the roots in `trust`: each segment in itself, and
/// that each follows the one before it. `most`: at most so many of the oldest.
///
/// # Errors
/// [`AuditError::File`] when the directory cannot be listed; everything else is in the reports.
pub fn verify_archive(
    dir: &Path,
    trust: &Trust,
    now: DateTime<Utc>,
    most: usize,
) -> Result<Vec<SegmentReport>, AuditError> {
    let mut reports = Vec::new();
    let mut before = Before::Nothing;
    let whole = !dir.join(MANIFEST).exists();
    for (n, path) in segments(dir)?.into_iter().take(most).enumerate() {
        if n == 0 && !whole {
            before = Before::Unknown;
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut report =
            SegmentReport { name, entries: 0, span: (0, 0), signed_by: None, faults: Vec::new(), why: None };
        match verify(&path, (trust, now), &before, &mut report) {
            Ok((segment, digest)) => before = Before::Segment(Box::new(segment), digest),
            Err(error) => {
                report.why = Some(format!("{} {error}", error.code()));
                before = Before::Unknown;
            }
        }
        reports.push(report);
    }
    Ok(reports)
}

/// What a segment must follow.
enum Before {
    /// It is the first of all.
    Nothing,
    /// Nobody can say: it was asked about alone, or the one before it does not hold.
    Unknown,
    /// This one, whose manifest has this digest.
    Segment(Box<Segment>, String),
}

impl Before {
    fn is_followed_by(&self, next: &Segment) -> bool {
        match self {
            Self::Nothing => next.previous.is_none() && next.after.0 == 0,
            Self::Unknown => true,
            Self::Segment(before, digest) => {
                let end = (before.after.0 + before.entries, before.last, before.digest.clone());
                next.previous.as_ref() == Some(digest) && next.after == end
            }
        }
    }
}

fn verify(
    path: &Path,
    (trust, now): (&Trust, DateTime<Utc>),
    before: &Before,
    report: &mut SegmentReport,
) -> Result<(Segment, String), AuditError> {
    let manifest = read(&path.join(MANIFEST))?;
    let signed = verify_detached(&read(&path.join(SIGNATURE))?, &manifest, trust, Moment::Signing { now })?;
    report.signed_by = Some(signed.subject);
    let segment: Segment = serde_json::from_slice(&manifest).map_err(|_| bad(path, "its manifest does not read"))?;
    if segment.format != FORMAT {
        return Err(bad(path, format!("its format is {}, this program reads {FORMAT}", segment.format)));
    }
    report.span = segment.span;
    let algorithm = algorithm(path, &segment)?;
    for (name, digest) in &segment.files {
        if Path::new(name).components().count() != 1 {
            return Err(bad(path, "its manifest names a file outside of it"));
        }
        let mut found = fs::File::open(path.join(name)).map_err(|error| file(&path.join(name), &error))?;
        let found = algorithm.digest_of(&mut found).map_err(|error| file(&path.join(name), &error))?;
        if hex(&found) != *digest {
            return Err(bad(path, format!("{name} is not what was signed")));
        }
    }
    if !before.is_followed_by(&segment) {
        return Err(bad(path, "it does not follow the segment before it: one is missing, or was replaced"));
    }
    let checkpoints = checkpoints(path)?;
    let ends: HashMap<i64, &Checkpoint> = checkpoints.iter().map(|(said, _)| (said.last, said)).collect();
    let mut walk = Walk::after(segment.after.0, segment.after.1, &segment.after.2);
    let lines = fs::File::open(path.join(ENTRIES)).map_err(|error| file(&path.join(ENTRIES), &error))?;
    for line in BufReader::new(lines).lines() {
        let line = line.map_err(|error| file(&path.join(ENTRIES), &error))?;
        let entry: Entry = serde_json::from_str(&line).map_err(|_| bad(path, "an entry does not read"))?;
        walk.step(&entry, ends.contains_key(&entry.id));
        report.entries += 1;
    }
    for (said, signed) in &checkpoints {
        match signed.signed_by(trust, now) {
            Ok(_) => walk.compare(said),
            Err(error) => walk.doubt(said, format!("{} {error}", error.code())),
        }
    }
    report.faults = walk.faults().to_vec();
    if walk.end() != (segment.last, &segment.digest) || report.entries != segment.entries {
        return Err(bad(path, "its entries are not those that its manifest counts"));
    }
    let digest = hex(&algorithm.digest(&[&manifest]));
    Ok((segment, digest))
}

fn checkpoints(path: &Path) -> Result<Vec<(Checkpoint, SignedCheckpoint)>, AuditError> {
    let unreadable = || bad(path, "a checkpoint does not read");
    let text = String::from_utf8(read(&path.join(CHECKPOINTS))?).map_err(|_| unreadable())?;
    let mut all = Vec::new();
    for line in text.lines() {
        let line: Line = serde_json::from_str(line).map_err(|_| unreadable())?;
        let bytes = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| unreadable());
        let signed = SignedCheckpoint { body: bytes(&line.body)?, signature: bytes(&line.signature)? };
        all.push((signed.read().ok_or_else(unreadable)?, signed));
    }
    Ok(all)
}

fn algorithm(path: &Path, segment: &Segment) -> Result<DigestAlgorithm, AuditError> {
    let known = [DigestAlgorithm::Sha256, DigestAlgorithm::Sm3].into_iter().find(|one| one.name() == segment.algorithm);
    known.ok_or_else(|| bad(path, format!("its digests are {}, which this program does not know", segment.algorithm)))
}

fn read(path: &Path) -> Result<Vec<u8>, AuditError> {
    fs::read(path).map_err(|error| file(path, &error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), AuditError> {
    let done = || {
        let mut out = BufWriter::new(fs::File::create(path)?);
        out.write_all(bytes)?;
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    };
    done().map_err(|error| file(path, &error))
}

fn file(path: &Path, error: &std::io::Error) -> AuditError {
    AuditError::File { path: path.display().to_string(), why: error.to_string() }
}

fn bad(path: &Path, what: impl Into<String>) -> AuditError {
    AuditError::Segment { segment: path.display().to_string(), what: what.into() }
}
