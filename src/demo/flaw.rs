//! What is wrong with the city's files, on purpose and counted.
//!
//! Each dataset has a plan: in every stretch of `period` rows, one row for each listed flaw. A row has at most one
//! flaw. Nights mend some flaws and bring one new one, so a run can be compared with the counts exactly.

use std::collections::BTreeMap;

use super::city::City;

/// What must become of a row with a flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Refused by the decoder, kept with its bytes.
    Undecodable,
    /// Refused by the mapping or a rule of the register.
    Quarantined,
    /// Left out by the mapping's `where`, or by the declared layout.
    Filtered,
    /// Repaired or read leniently, and noted.
    Noted,
    /// Loaded as it is; another row or department wins over it, or it is linked by another key.
    Outvoted,
}

/// One kind of flaw in one dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Defect {
    /// `market-regulation.enterprise`.
    pub dataset: &'static str,
    /// Snake-case name of the flaw: `bad_check_digit`.
    pub kind: &'static str,
    /// What must become of the rows.
    pub fate: Fate,
}

/// How many rows have which defect.
pub type Defects = BTreeMap<Defect, u64>;

/// The flaws of one dataset.
pub(super) struct Plan {
    pub(super) dataset: &'static str,
    /// Rows in which each flaw occurs once; more than there are flaws.
    pub(super) period: u64,
    pub(super) flaws: &'static [(&'static str, Fate)],
    /// The flaw that each night adds to one row, if any.
    pub(super) nightly: Option<(&'static str, Fate)>,
}

/// The flaw of one row, and since when there is none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Never had one.
    Sound,
    /// Has this one.
    Flawed(&'static str, Fate),
    /// Had one; the department mended it on this night.
    Mended(u32),
}

impl State {
    /// The kind of flaw, if there is one now.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Flawed(kind, _) => kind,
            Self::Sound | Self::Mended(_) => "",
        }
    }

    /// The later of a row's own last change and the night its flaw was mended.
    pub(super) fn changed(self, own: Option<u32>) -> Option<u32> {
        match self {
            Self::Mended(night) => own.max(Some(night)),
            Self::Sound | Self::Flawed(..) => own,
        }
    }
}

impl Plan {
    /// The state of row `index` of a series that had `base` rows on night 0.
    pub(super) fn state(&self, city: City, index: u64, base: u64) -> State {
        if let Some((kind, fate)) = self.nightly
            && (1..=city.night).any(|night| city.dice.below(self.dataset, u64::from(night), base) == index)
        {
            return State::Flawed(kind, fate);
        }
        let slot = (index + city.dice.below("offset", self.period, self.period)) % self.period;
        match self.flaws.get(slot as usize) {
            Some((kind, fate)) if index < base => match city.nights_of(self.dataset, index, 3).next() {
                Some(night) => State::Mended(night),
                None => State::Flawed(kind, *fate),
            },
            _ => State::Sound,
        }
    }

    /// The rows of an append dataset that go out tonight: on night 0 all, later those that are new or mended. Each with
    /// its state and the night of its last change.
    pub(super) fn tonight(&self, city: City, (base, nightly): (u64, u64)) -> Vec<(u64, State, Option<u32>)> {
        let first = city.on(0).count(base, nightly);
        let row = |index: u64| {
            let state = self.state(city, index, first);
            let born = city.born_on(index, base, nightly);
            let changed = state.changed((born > 0).then_some(born));
            (city.night == 0 || changed == Some(city.night)).then_some((index, state, changed))
        };
        (0..city.count(base, nightly)).filter_map(row).collect()
    }

    /// Adds the flaw of a row that was written to the counts.
    pub(super) fn count(&self, state: State, defects: &mut Defects) {
        if let State::Flawed(kind, fate) = state {
            *defects.entry(Defect { dataset: self.dataset, kind, fate }).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        dataset: "test.rows",
        period: 50,
        flaws: &[("bad_check_digit", Fate::Quarantined), ("ragged_row", Fate::Undecodable)],
        nightly: Some(("unknown_code", Fate::Quarantined)),
    };

    #[test]
    fn every_stretch_of_rows_has_each_flaw_once() {
        let city = City::new(3, 1, 0);
        let kinds: Vec<_> = (0..200).map(|i| PLAN.state(city, i, 200).kind()).filter(|k| !k.is_empty()).collect();
        assert_eq!(kinds.iter().filter(|k| **k == "bad_check_digit").count(), 4);
        assert_eq!(kinds.iter().filter(|k| **k == "ragged_row").count(), 4);
    }

    #[test]
    fn nights_mend_flaws_and_bring_new_ones() {
        let city = City::new(3, 1, 4);
        let states: Vec<_> = (0..200).map(|i| PLAN.state(city, i, 200)).collect();
        assert!(states.iter().any(|s| matches!(s, State::Mended(_))));
        let fresh = states.iter().filter(|s| s.kind() == "unknown_code").count();
        assert!((1..=4).contains(&fresh), "{fresh}");
    }

    #[test]
    fn rows_of_later_nights_are_sound() {
        let city = City::new(3, 1, 1);
        assert!((200..300).all(|i| PLAN.state(city, i, 200) == State::Sound));
    }
}
