//! A small fictional city: its departments' systems, and the project's own definitions that load from them.
//!
//! Decides: who lives in the city, what its systems put out each night and how they hand it over — files, exchange
//! tables in a database, services — and what is wrong with it. Must not know: decoders, mappings, registers, sources.
//! Guarantees: the same seed, scale and night give the same bytes; codes, names and numbers agree across systems; every
//! flaw is counted; memory does not grow with scale (the workbook's rows, 60 per unit of scale, excepted). Nobody in it
//! is real.

mod approval;
mod certificates;
mod citizen_card;
mod city;
mod dbf;
mod definitions;
mod e_license;
mod e_seal;
mod e_seal_archive;
mod environment;
mod exchange;
mod file;
mod finance;
mod flaw;
mod housing_construction;
mod identifiers;
mod levies;
mod licence;
mod market_regulation;
mod nontax;
mod random;
mod real_estate;
mod science;
mod services;
mod social_security;
mod state_assets;
mod statistics;
mod tax;
mod words;
mod workbook;
mod xls;

use std::io;
use std::path::Path;

pub use definitions::{definitions, definitions_at};
pub use file::OutboxFile;
pub use flaw::{Defect, Defects, Fate};
pub use services::{SERVICES, Services};

/// What one night put into the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// The files, in the order they were written.
    pub files: Vec<OutboxFile>,
    /// What is wrong with them, in rows.
    pub defects: Defects,
}

impl Outbox {
    /// Rows of `dataset` that must meet `fate`.
    pub fn rows_with(&self, dataset: &str, fate: Fate) -> u64 {
        self.defects.iter().filter(|(d, _)| d.dataset == dataset && d.fate == fate).map(|(_, rows)| rows).sum()
    }
}

/// Files under way.
struct Writing<'a> {
    dir: &'a Path,
    city: city::City,
    files: Vec<OutboxFile>,
    defects: Defects,
}

/// Writes what one night brings into `dir/<system>/…`, beside that of earlier nights: files, the exchange tables of the
/// approval system (SQLite in place of its Oracle), and what [`Services`] answer with.
///
/// `scale` 1 is about 2,000 enterprises, 3,000 persons and 1,500 certificates; larger scales multiply. Night 0 is
/// the first full delivery (2026-11-20); each later night changes, adds, loses and mends a few records and brings
/// one new flaw. Files appear under their names only when complete.
///
/// # Errors
/// When `dir` cannot be written.
pub async fn write_outbox(dir: &Path, seed: u64, scale: u32, night: u32) -> io::Result<Outbox> {
    let city = city::City::new(seed, scale, night);
    let mut writing = Writing { dir, city, files: Vec::new(), defects: Defects::new() };
    market_regulation::write(&mut writing)?;
    tax::write(&mut writing)?;
    social_security::write(&mut writing)?;
    approval::write(&mut writing).await?;
    e_license::write(&mut writing)?;
    science::write(&mut writing)?;
    levies::write(&mut writing)?;
    levies::write_local(&mut writing)?;
    finance::write(&mut writing)?;
    nontax::write(&mut writing)?;
    e_seal::write(&mut writing)?;
    e_seal_archive::write(&mut writing)?;
    certificates::write(&mut writing)?;
    citizen_card::write(&mut writing)?;
    state_assets::write(&mut writing)?;
    housing_construction::write(&mut writing)?;
    real_estate::write(&mut writing)?;
    statistics::write(&mut writing)?;
    environment::write(&mut writing)?;
    Ok(Outbox { files: writing.files, defects: writing.defects })
}

#[cfg(test)]
mod tests;
