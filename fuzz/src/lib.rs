//! The parsers of outside bytes, compiled by themselves so that fuzzing needs no database and no planner.
//!
//! The modules are the project's own files. What they name besides each other is here: the types of a dataset's
//! format, and the place of a definition.
#![allow(dead_code, unused_imports, reason = "the modules are compiled without most of their callers")]

#[path = "../../src/decode/mod.rs"]
pub mod decode;
#[path = "../../src/error/mod.rs"]
pub mod error;
#[path = "../../src/record.rs"]
pub mod record;

/// The types of a dataset's format, without what reads them from YAML.
#[path = "../../src/config"]
pub mod config {
    #[path = "format.rs"]
    mod format;
    #[path = "password.rs"]
    mod password;
    #[path = "pattern.rs"]
    mod pattern;
    #[path = "template.rs"]
    mod template;

    pub use format::{Encoding, Format, Layer, Report};
    pub use password::Password;
    pub use pattern::matches;
    pub use template::{Match, Template};
}

/// Conversions of single values.
#[path = "../../src/mapping"]
pub mod mapping {
    pub mod values;
}

/// What reads certificates, signature files, revocation lists and seals, without keys and without what decides whom to
/// believe.
#[path = "../../src/crypto"]
pub mod crypto {
    mod asn1;
    mod certificate;
    mod cms;
    mod crl;
    mod error;
    mod eseal;
    mod ess;
    mod files;
    mod purpose;
    mod sm2;
    mod sm2_opener;
    mod suite;

    pub use certificate::Certificate;
    pub use cms::SignedData;
    pub use crl::Crl;
    pub use error::CryptoError;
    pub use eseal::{Bearers, ElectronicSeal, SealFault};
    pub use purpose::Purpose;
    pub use sm2_opener::Sm2Opener;
    pub use suite::{Digest, DigestAlgorithm, Suite, digest_from_hex, hex};
}

use std::sync::Arc;

use config::Format;
use decode::{Decoded, Limits, Memory, Resume, Wanted};

/// Small limits, so that the fuzzer reaches them.
fn limits() -> Limits {
    Limits { row_bytes: 4096, columns: 64, cells: 10_000, depth: 16 }
}

/// Decodes `bytes` to the end and checks what every decoder promises, whatever the bytes.
pub fn decode_all(bytes: &[u8], format: &Format, wanted: &[Wanted]) {
    let input = Arc::new(Memory::new("fuzz", bytes.to_vec()));
    let Ok(mut decoder) = decode::open(input.clone(), format, wanted, limits(), None) else { return };
    let mut before = Resume::default();
    let mut middle = None;
    let mut rows = Vec::new();
    while let Ok(Some(chunk)) = decoder.next(3) {
        check(&chunk, wanted.len(), before);
        before = chunk.position.resume;
        rows.extend(chunk.places.iter().map(|p| (p.row, p.line, p.byte)));
        middle = middle.or(Some((chunk.position.resume, rows.len())));
    }
    // Resumed after the first chunk, the rest is the same.
    let Some((resume, taken)) = middle else { return };
    let mut again = decode::open(input, format, wanted, limits(), Some(resume)).expect("it could be opened before");
    let mut rest = Vec::new();
    while let Ok(Some(chunk)) = again.next(5) {
        rest.extend(chunk.places.iter().map(|p| (p.row, p.line, p.byte)));
    }
    assert_eq!(rows[taken..], rest, "resumed at {resume:?}");
}

fn check(chunk: &Decoded, columns: usize, before: Resume) {
    let rows = chunk.rows.num_rows();
    assert_eq!((chunk.rows.num_columns(), chunk.places.len(), chunk.raw_ends.len()), (columns, rows, rows));
    assert!(chunk.places.is_sorted_by(|a, b| a.row < b.row && a.line <= b.line && a.byte <= b.byte));
    assert!(chunk.raw_ends.is_sorted() && chunk.raw_ends.last().is_none_or(|end| *end == chunk.raw.len()));
    let taken = rows as u64 + chunk.undecodable.len() as u64 + chunk.dropped;
    assert_eq!(chunk.position.resume.row, before.row + taken);
    assert!(chunk.position.resume.byte >= before.byte && chunk.position.resume.line >= before.line);
    assert!(chunk.undecodable.iter().all(|u| u.raw.len() <= 64 << 10 && !u.code.is_empty()));
}

/// Columns that the seeds have.
pub fn columns() -> Vec<Wanted> {
    let with_path = |name: &str, path: &str| Wanted { name: name.into(), path: Some(path.into()) };
    vec![Wanted::named("a"), Wanted::named("名称"), with_path("deep", "b/c"), with_path("attribute", "@id"), with_path("dotted", "b.c")]
}
