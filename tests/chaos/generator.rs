//! Numbered changes to two departments' files, and what the register must say after them.

use std::collections::BTreeMap;
use std::fs;

use chrono::{DateTime, TimeDelta};

use super::dice::Dice;
use crate::runs::valid_code;
use crate::support::Small;

/// Enterprises at most.
const ENTERPRISES: u64 = 400;
/// The first change's business time.
const FIRST: &str = "2026-10-01T00:00:00Z";

/// What the market regulator says of an enterprise.
#[derive(Clone)]
struct Registered {
    name: String,
    open: bool,
    updated: u64,
}

/// Both departments, as they are after so many changes.
pub struct Generator<'a> {
    small: &'a Small,
    /// Changes so far.
    pub changes: u64,
    regulator: BTreeMap<u64, Registered>,
    /// Name and telephone.
    tax: BTreeMap<u64, (String, String)>,
}

/// One enterprise: code, name, status, telephone.
pub type Line = (String, String, Option<String>, Option<String>);

impl<'a> Generator<'a> {
    /// With nothing put out.
    pub fn new(small: &'a Small) -> Self {
        Self { small, changes: 0, regulator: BTreeMap::new(), tax: BTreeMap::new() }
    }

    /// One numbered change: a whole new extract of the regulator, or a few lines of the tax office.
    pub fn change(&mut self, dice: &mut Dice) {
        self.changes += 1;
        if self.changes > 1 && dice.below(3) == 0 { self.tax_lines(dice) } else { self.extract(dice) }
    }

    /// Every extract differs from every other: it says who is enterprise 0 now.
    fn extract(&mut self, dice: &mut Dice) {
        let k = self.changes;
        let touched = if k == 1 { ENTERPRISES / 2 } else { 1 + dice.below(12) };
        self.register(0, true);
        for _ in 0..touched {
            let n = 1 + dice.below(ENTERPRISES - 1);
            match dice.below(8) {
                0 if k > 1 => drop(self.regulator.remove(&n)),
                1 => self.register(n, false),
                _ => self.register(n, true),
            }
        }
        let mut text = String::from("代码,名称,注册号,资本,状态,更新\n");
        for (n, Registered { name, open, updated }) in &self.regulator {
            let status = status(*open);
            text.push_str(&format!("{},{name},,100万元,{status},{}\n", valid_code(*n), at(*updated)));
        }
        self.put_out(&format!("out/gs/QY_{k:06}.csv"), text);
    }

    fn register(&mut self, n: u64, open: bool) {
        let k = self.changes;
        self.regulator.insert(n, Registered { name: format!("企业{n}改{k}"), open, updated: k });
    }

    fn tax_lines(&mut self, dice: &mut Dice) {
        let k = self.changes;
        let mut text = String::from("识别号,登记号,名称,电话,更新\n");
        let touched: BTreeMap<u64, ()> = (0..=dice.below(5)).map(|_| (dice.below(ENTERPRISES), ())).collect();
        for n in touched.into_keys() {
            let (name, phone) = (format!("纳税人{n}改{k}"), format!("138{k:08}"));
            text.push_str(&format!("{},,{name},{phone},{}\n", valid_code(n), at(k)));
            self.tax.insert(n, (name, phone));
        }
        self.put_out(&format!("out/tax/NSR_{k:06}.csv"), text);
    }

    /// Appears as a whole, as a department that moves its files does it.
    fn put_out(&self, path: &str, text: String) {
        let under_way = format!("{path}.part");
        self.small.write(&under_way, text);
        fs::rename(self.small.path().join(under_way), self.small.path().join(path)).unwrap();
    }

    /// What the register must say, by code: the regulator's word first, the tax office's for what it does not say.
    pub fn expected(&self) -> Vec<Line> {
        let known: BTreeMap<u64, ()> = self.regulator.keys().chain(self.tax.keys()).map(|n| (*n, ())).collect();
        let line = |n: u64| {
            let (regulator, tax) = (self.regulator.get(&n), self.tax.get(&n));
            let name = regulator.map(|r| &r.name).or(tax.map(|(name, _)| name)).unwrap().clone();
            (valid_code(n), name, regulator.map(|r| status(r.open).to_owned()), tax.map(|(_, phone)| phone.clone()))
        };
        let mut lines: Vec<Line> = known.into_keys().map(line).collect();
        lines.sort();
        lines
    }
}

fn status(open: bool) -> &'static str {
    if open { "在营" } else { "注销" }
}

fn at(change: u64) -> String {
    let first = DateTime::parse_from_rfc3339(FIRST).unwrap();
    (first + TimeDelta::seconds(change.cast_signed())).format("%Y-%m-%d %H:%M:%S").to_string()
}
