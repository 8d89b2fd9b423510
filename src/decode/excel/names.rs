//! Names of columns that stand in one row or, as in statistical reports, in several with merged cells.
//!
//! A merged cell holds its text in its first cell; the others are blank. So a blank in an upper row belongs to the cell on
//! its left, if that cell is over a group (has something below it) and both are under the same cell one row higher. A
//! cell that is merged downwards has nothing below it and is a name by itself.

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Sheet column and name of every named column.
    named: Vec<(usize, String)>,
    /// The header's rows as they stand: cells that are not blank.
    rows: Vec<Vec<(usize, String)>>,
}

impl Names {
    /// The names that these rows give together.
    pub(super) fn of(rows: Vec<Vec<(usize, String)>>, join: &str) -> Self {
        let width = rows.iter().flatten().map(|(column, _)| column + 1).max().unwrap_or(0);
        let at = |row: usize, column: usize| {
            let row = rows.get(row)?;
            row.binary_search_by_key(&column, |(c, _)| *c).ok().and_then(|i| row.get(i)).map(|(_, text)| text.as_str())
        };
        let below = |row: usize, column: usize| (row + 1..rows.len()).any(|r| at(r, column).is_some());
        // For each row, the column whose cell is over each column.
        let mut over: Vec<Vec<Option<usize>>> = Vec::new();
        for row in 0..rows.len() {
            let mut origins: Vec<Option<usize>> = Vec::with_capacity(width);
            for column in 0..width {
                let left = column.checked_sub(1).and_then(|l| origins.get(l).copied().flatten());
                let same_parent = |l: usize| {
                    over.iter().all(|above| above.get(l).copied().flatten() == above.get(column).copied().flatten())
                };
                origins.push(match at(row, column) {
                    Some(_) => Some(column),
                    None => left.filter(|l| row + 1 < rows.len() && below(row, *l) && same_parent(*l)),
                });
            }
            over.push(origins);
        }
        let has_own = |column: &usize| (0..rows.len()).any(|row| at(row, *column).is_some());
        let name = |column: usize| {
            let mut parts: Vec<&str> = Vec::new();
            for (row, origins) in over.iter().enumerate() {
                let text = origins.get(column).copied().flatten().and_then(|origin| at(row, origin));
                parts.extend(text.filter(|text| parts.last() != Some(text)));
            }
            (column, parts.join(join))
        };
        let named = (0..width).filter(has_own).map(name).collect();
        Self { named, rows }
    }

    /// The names in sheet order.
    pub(super) fn names(&self) -> Vec<String> {
        self.named.iter().map(|(_, name)| name.clone()).collect()
    }

    /// The sheet column of this name.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.named.iter().find(|(_, own)| own == name).map(|(column, _)| *column)
    }

    /// Whether a row says what a row of the header says.
    pub(super) fn repeated_by<'c>(&self, cells: impl Iterator<Item = (usize, &'c str)>) -> bool {
        let cells: Vec<(usize, &str)> =
            cells.map(|(c, text)| (c, text.trim())).filter(|(_, t)| !t.is_empty()).collect();
        let several = self.rows.len() > 1;
        self.rows.iter().any(|row| {
            let mut rest = cells.iter();
            let all = row.iter().all(|(column, text)| rest.any(|(c, t)| c == column && t == text));
            all && !row.is_empty() && (!several || row.len() == cells.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_cells_name_the_columns_below_them() {
        let check = |rows: &[&str], expect: &[&str]| {
            let cells = |row: &&str| {
                let cells = row.split('|').enumerate().filter(|(_, text)| !text.is_empty());
                cells.map(|(column, text)| (column, text.to_owned())).collect()
            };
            assert_eq!(Names::of(rows.iter().map(cells).collect(), "_").names(), expect);
        };
        check(&["a|b||c"], &["a", "b", "c"]);
        check(&["序号|资产||备注", "|年初|年末|"], &["序号", "资产_年初", "资产_年末", "备注"]);
        check(
            &["指标|本月||累计|", "|实绩|增长|实绩|增长", "|万元|%|万元|%"],
            &["指标", "本月_实绩_万元", "本月_增长_%", "累计_实绩_万元", "累计_增长_%"],
        );
        check(&["甲|A||||乙", "|B||C||", "|1|2|3|4|"], &["甲", "A_B_1", "A_B_2", "A_C_3", "A_C_4", "乙"]);
        check(&["甲||乙", "|独|"], &["甲", "独", "乙"]);
    }
}
