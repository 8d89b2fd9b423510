//! A table cut into chunks by ranges of its key.

use super::plan::{Chunking, FilesRequest, MOST_CHUNKS, Piece, Plan, kept, too_many};
use super::refused;
use crate::config::{Connector, Dataset, DatasetRef, Offer};
use crate::decode::Resume;
use crate::engine::{Engine, EngineError};
use crate::error::Problem;
use crate::source::{KeyedTable, Range};

impl Engine {
    /// Whether a dataset's rows lie in a table.
    pub(super) fn is_table(&self, from: &DatasetRef) -> bool {
        self.defined(from).is_ok_and(|(_, dataset)| matches!(dataset.offer, Offer::Table(_) | Offer::Changes(_)))
    }

    fn defined(&self, from: &DatasetRef) -> Result<(&Connector, &Dataset), EngineError> {
        let connector = self.workspace.connectors.get(&from.system);
        let both = connector.and_then(|connector| Some((connector, connector.datasets.get(&from.dataset)?)));
        both.ok_or_else(|| EngineError::Internal(format!("{from} is not defined")))
    }

    pub(super) fn keyed(&self, from: &DatasetRef) -> Result<KeyedTable, EngineError> {
        let (connector, dataset) = self.defined(from)?;
        crate::source::known(&self.workspace, connector)?;
        KeyedTable::new(&self.workspace.dir, connector, dataset).ok_or_else(|| refused(not_keyed(from, dataset)))
    }

    /// Plans the reading of a table: chunks of so many rows, in the order of its key.
    pub(super) async fn plan_table(
        &mut self,
        request: &FilesRequest,
        (pipeline, from): (String, &DatasetRef),
    ) -> Result<Plan, EngineError> {
        let table = self.keyed(from)?;
        let rows = match request.chunk {
            Chunking::Rows(rows) => rows,
            Chunking::Span(_) => {
                let problem = Problem::error("HL0384", format!("the rows of {from} are cut by their key, not by days"));
                return Err(refused(problem.hint("write --chunk as a number of rows: --chunk 100000")));
            }
        };
        if (request.from.is_some() || request.to.is_some()) && !request.by_updated {
            let problem = Problem::error("HL0384", format!("{from} is a table: it has no files that are of a day"));
            return Err(refused(problem.hint("say --by-updated, then the days are those of the rows")));
        }
        let ranges = table.cut(rows, MOST_CHUNKS).await?;
        if ranges.len() > MOST_CHUNKS {
            return Err(refused(too_many(ranges.len())));
        }
        if ranges.is_empty() {
            return Err(refused(Problem::error("HL0922", format!("{from} has no rows to read again"))));
        }
        let (mut chunks, mut row) = (Vec::new(), 0);
        for range in ranges {
            let (first, rows) = (row + 1, range.rows);
            row += rows;
            // Numbers, not keys: a key may be somebody's.
            let label = format!("{} · {first}–{row}", table.shown());
            let piece = piece(&label, range, self.now());
            chunks.push((label, rows, vec![piece]));
        }
        let (chunks, rows) = kept(chunks)?;
        Ok(Plan { kind: "files", target: pipeline, spec: self.spec_of(request, "all rows"), chunks, rows, sources: 1 })
    }
}

/// A range as a piece; its digest tells it from the other ranges of the table.
fn piece(name: &str, range: Range, at: i64) -> Piece {
    let said = format!("{:?}\n{:?}", range.after, range.until);
    Piece {
        root: String::new(),
        pattern: String::new(),
        name: name.to_owned(),
        path: String::new(),
        bytes: 0,
        modified: None,
        digest: blake3::hash(said.as_bytes()).to_hex().to_string(),
        at,
        outdated: false,
        from: Resume::default(),
        to: None,
        keys: Some(range),
    }
}

/// Why a table is not cut by its key.
fn not_keyed(from: &DatasetRef, dataset: &Dataset) -> Problem {
    if matches!(dataset.offer, Offer::Changes(_)) {
        let why = format!("the rows of {from} come from a log, which is not read again");
        return Problem::error("HL0385", why).hint(
            "huiliu run … --accept copies the table anew once its log has a gap; or define it as kind: database",
        );
    }
    let why = format!("{from} is an exchange table: which of its rows are taken, its flag says");
    Problem::error("HL0385", why)
        .hint("the department sets the flag of the rows back to unread, then the next run takes them")
}
