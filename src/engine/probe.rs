//! Reaching a system and comparing what it has with what was promised; nothing is taken, moved or marked.

use std::time::{Duration, Instant};

use arrow::array::{Array as _, AsArray as _};
use serde::Serialize;

use super::backfill::next_decoded;
use super::drift::{Difference, Offer};
use super::{Engine, EngineError};
use crate::config::{Dataset, DatasetRef};
use crate::decode::Decoded;
use crate::error::Problem;
use crate::source::Lag;

/// Rows looked at.
const SAMPLE: usize = 100;

/// What a dataset's system said.
#[derive(Debug, Clone, Serialize)]
pub struct Probed {
    /// `system.dataset`.
    pub dataset: String,
    /// `reached`, `nothing new`, `differs`, `failed`.
    pub outcome: &'static str,
    /// Until the system had said what it has, milliseconds.
    pub milliseconds: u64,
    /// Files or pulls that a run would look at.
    pub items: usize,
    /// How far behind we are, where the system can say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
    /// Contracted columns that are not there.
    pub lost: Vec<String>,
    /// Columns that nobody contracted.
    pub new: Vec<String>,
    /// Rows looked at.
    pub rows: u64,
    /// Of them rows that could not be decoded.
    pub undecodable: u64,
    /// By column: how many of the rows have a value, and the shape of the first (`A` letter, `9` digit, `汉` Han).
    pub columns: Vec<ColumnProbe>,
    /// Code and message, when it failed.
    pub why: Option<String>,
}

/// What the sample says of one column; never a value.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnProbe {
    /// Contract column.
    pub name: String,
    /// Rows with a value.
    pub filled: u64,
    /// Shape of the first value.
    pub shape: Option<String>,
    /// The contract says that it is required, and rows lack it.
    pub breaks: bool,
}

impl Engine {
    /// Probes the datasets of one system, or of all.
    pub async fn probe(&mut self, system: Option<&str>) -> Result<Vec<Probed>, EngineError> {
        if let Some(system) = system
            && !self.workspace.connectors.contains_key(system)
        {
            let names = self.workspace.connectors.keys().map(String::as_str);
            let problem = Problem::error("HL0501", format!("system \"{system}\" is not defined"));
            return Err(EngineError::Definitions(vec![problem.did_you_mean(system, names)]));
        }
        let connectors = self.workspace.connectors.values().filter(|c| system.is_none_or(|system| c.system == system));
        let datasets: Vec<(DatasetRef, Dataset)> = connectors
            .flat_map(|c| {
                c.datasets
                    .values()
                    .map(|d| (DatasetRef { system: c.system.clone(), dataset: d.name.clone() }, d.clone()))
            })
            .collect();
        let mut probed = Vec::new();
        for (from, dataset) in datasets {
            self.check_stop()?;
            let mut seen = Probed::of(&from);
            if let Err(error) = self.probe_dataset(&from, &dataset, &mut seen).await {
                seen.outcome = "failed";
                seen.why = Some(error.to_string());
            }
            probed.push(seen);
        }
        Ok(probed)
    }

    async fn probe_dataset(
        &mut self,
        from: &DatasetRef,
        dataset: &Dataset,
        seen: &mut Probed,
    ) -> Result<(), EngineError> {
        let before = self.pulled(from).await?;
        let started = Instant::now();
        let mut source = crate::source::open(&self.workspace, &self.workspace.connectors[&from.system], dataset)?;
        source.only_look();
        let listing = source.list(before.as_ref()).await;
        seen.milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let listing = listing?;
        seen.lag = source.lag();
        seen.items = listing.items.len() + listing.still_writing.len();
        // The newest says what the system is like today.
        let Some(item) = listing.items.last() else {
            seen.outcome = "nothing new";
            return Ok(());
        };
        let decoder = source.open(item, None).await?;
        let (decoder, decoded) = next_decoded(decoder, SAMPLE).await?;
        let members = decoded.as_ref().and_then(|decoded| decoded.members.as_ref());
        let offer = Offer::of(dataset, decoder.header(), members);
        seen.why = offer.refused();
        let difference = Difference::offered(dataset, offer);
        (seen.lost, seen.new) = (difference.lost, difference.new);
        if let Some(decoded) = decoded {
            seen.look_at(dataset, &decoded);
        }
        let breaks = seen.columns.iter().any(|column| column.breaks);
        let differs =
            seen.why.is_some() || !seen.lost.is_empty() || !seen.new.is_empty() || breaks || seen.undecodable > 0;
        seen.outcome = if differs { "differs" } else { "reached" };
        Ok(())
    }
}

impl Probed {
    fn of(from: &DatasetRef) -> Self {
        Self {
            dataset: from.to_string(),
            outcome: "reached",
            milliseconds: Duration::ZERO.as_secs(),
            items: 0,
            lag: None,
            lost: Vec::new(),
            new: Vec::new(),
            rows: 0,
            undecodable: 0,
            columns: Vec::new(),
            why: None,
        }
    }

    fn look_at(&mut self, dataset: &Dataset, decoded: &Decoded) {
        let rows = decoded.rows.num_rows();
        self.rows = (rows + decoded.undecodable.len()) as u64;
        self.undecodable = decoded.undecodable.len() as u64;
        for (i, column) in dataset.columns.iter().enumerate().take(decoded.rows.num_columns()) {
            let cells = decoded.rows.column(i).as_string::<i32>();
            let values = || (0..rows).filter(|&row| !cells.is_null(row)).map(|row| cells.value(row).trim());
            let filled = values().filter(|text| !text.is_empty()).count() as u64;
            self.columns.push(ColumnProbe {
                name: column.name.clone(),
                filled,
                shape: values().find(|text| !text.is_empty()).map(shape),
                breaks: column.required && filled < rows as u64,
            });
        }
    }
}

/// What a value looks like without what it says, at most 24 characters: `91370202MA3…` is `99999999AA9…`.
fn shape(text: &str) -> String {
    let marks = text.chars().take(24).map(|c| match c {
        c if c.is_ascii_digit() => '9',
        c if c.is_ascii_alphabetic() => 'A',
        '\u{4e00}'..='\u{9fff}' => '汉',
        c if c.is_alphanumeric() => '*',
        c if c.is_control() => '?',
        c => c,
    });
    let mut shape: String = marks.collect();
    if text.chars().nth(24).is_some() {
        shape.push('…');
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::shape;

    #[test]
    fn a_shape_says_nothing_of_the_value() {
        assert_eq!(shape("91370202MA3"), "99999999AA9");
        assert_eq!(shape("青岛(集团) 1,286.5万"), "汉汉(汉汉) 9,999.9汉");
        assert_eq!(shape(&"1".repeat(30)), format!("{}…", "9".repeat(24)));
    }
}
