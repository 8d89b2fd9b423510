//! Who lives in the city and what is registered there, as functions of an index and a night.
//!
//! Pure and stateless: enterprise 17 on night 3 is the same for every system that mentions it, so codes, names and
//! certificates agree everywhere except where a flaw or a conflict is put in on purpose.

use chrono::NaiveDate;

use super::identifiers;
use super::random::Dice;
use super::words::{
    BODY_KINDS, BRAND_FIRST, BRAND_SECOND, BodyKind, DISTRICTS, District, GIVEN_FEMALE, GIVEN_MALE, OTHER_REGIONS,
    STATUSES, SURNAMES, TRADES, Trade,
};

/// A seeded city of a size, seen on one night.
#[derive(Debug, Clone, Copy)]
pub(super) struct City {
    pub(super) dice: Dice,
    scale: u64,
    pub(super) night: u32,
}

/// A body corporate as the register knows it.
pub(super) struct Enterprise {
    pub(super) uscc: String,
    pub(super) organization_code: String,
    pub(super) name: String,
    pub(super) former_name: Option<String>,
    pub(super) kind: &'static BodyKind,
    pub(super) trade: &'static Trade,
    pub(super) district: &'static District,
    pub(super) address: String,
    /// Index of the person who represents it.
    pub(super) representative: u64,
    /// Registered capital in 万元.
    pub(super) capital: u64,
    pub(super) established: NaiveDate,
    pub(super) status: &'static str,
    /// Night of the last change; `None` is before the first night.
    pub(super) changed: Option<u32>,
}

/// A person.
pub(super) struct Person {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) male: bool,
    pub(super) born: NaiveDate,
    pub(super) region: &'static str,
    pub(super) address: String,
    pub(super) phone: String,
}

impl City {
    pub(super) fn new(seed: u64, scale: u32, night: u32) -> Self {
        Self { dice: Dice::new(seed), scale: u64::from(scale.max(1)), night }
    }

    /// The same city on another night.
    pub(super) fn on(self, night: u32) -> Self {
        Self { night, ..self }
    }

    /// `base` things per unit of scale on night 0, `nightly` more each night.
    pub(super) fn count(self, base: u64, nightly: u64) -> u64 {
        self.scale * (base + nightly * u64::from(self.night))
    }

    /// The night on which thing `index` of such a series first exists.
    pub(super) fn born_on(self, index: u64, base: u64, nightly: u64) -> u32 {
        let later = index.saturating_sub(base * self.scale) / (nightly * self.scale).max(1);
        let nights = if index < base * self.scale { 0 } else { later + 1 };
        u32::try_from(nights).unwrap_or(u32::MAX)
    }

    /// Nights up to this one on which something with a chance of one in `n` happened to thing `index`.
    pub(super) fn nights_of(self, topic: &'static str, index: u64, n: u64) -> impl Iterator<Item = u32> {
        (1..=self.night).filter(move |night| self.dice.one_in(topic, index << 12 | u64::from(*night), n))
    }

    /// Day of this night's files.
    pub(super) fn today(self) -> NaiveDate {
        self.day(self.night)
    }

    /// Day of a night; night 0 is 2026-11-20.
    pub(super) fn day(self, night: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, 20).unwrap_or_default() + chrono::Days::new(u64::from(night))
    }

    /// When services put out what they have new tonight.
    pub(super) fn put_out(self) -> String {
        format!("{} 01:15:00", self.today())
    }

    /// Business time of a row that last changed on `changed`, written as `2026-10-07 14:05:00`.
    pub(super) fn updated(self, topic: &str, index: u64, changed: Option<u32>) -> String {
        match changed {
            Some(night) => format!("{} 01:15:00", self.day(night)),
            None => {
                let when = self.dice.roll(topic, index);
                format!("2026-10-{:02} {:02}:{:02}:00", 1 + when % 28, 8 + when / 28 % 10, when / 280 % 60)
            }
        }
    }

    /// How many enterprises there are.
    pub(super) fn enterprises(self) -> u64 {
        self.count(2_000, 8)
    }

    /// How many persons there are; the first of them represent the enterprises.
    pub(super) fn persons(self) -> u64 {
        self.count(3_000, 10)
    }

    /// Enterprise `index` as it is on this night.
    pub(super) fn enterprise(self, index: u64) -> Enterprise {
        let dice = self.dice;
        let kind = &BODY_KINDS[dice.below("body kind", index, BODY_KINDS.len() as u64) as usize];
        let trade = self.trade(index);
        let district = &DISTRICTS[dice.below("district", index, DISTRICTS.len() as u64) as usize];
        let organization_code = identifiers::organization_code(index);
        let born = self.born_on(index, 2_000, 8);
        let age = Days(dice.below("age", index, 12_000));
        let mut enterprise = Enterprise {
            uscc: identifiers::uscc(kind.class, district.code, &organization_code),
            organization_code,
            name: self.enterprise_name(index, kind, trade, district),
            former_name: None,
            kind,
            trade,
            district,
            address: self.address("address", index, district),
            representative: index,
            capital: 10 * (1 + dice.below("capital", index, 20)) * dice.pick("capital size", index, &[1, 1, 5, 10, 50]),
            established: if born == 0 { age.before(self.day(0)) } else { self.day(born) },
            status: if born == 0 { dice.pick("status", index, STATUSES) } else { STATUSES[0] },
            changed: (born > 0).then_some(born),
        };
        for night in self.nights_of("change", index, 150).filter(|night| *night > born) {
            self.change(&mut enterprise, index, night);
        }
        enterprise
    }

    /// Line of business of enterprise `index`; it never changes.
    pub(super) fn trade(self, index: u64) -> &'static Trade {
        &TRADES[self.dice.below("trade", index, TRADES.len() as u64) as usize]
    }

    /// One night's change of one enterprise.
    fn change(self, enterprise: &mut Enterprise, index: u64, night: u32) {
        let key = index << 12 | u64::from(night);
        enterprise.changed = Some(night);
        match self.dice.below("what changed", key, 5) {
            0 => enterprise.capital *= 2,
            1 => enterprise.status = "注销",
            2 => enterprise.representative = self.dice.below("new representative", key, 3_000 * self.scale),
            3 if enterprise.former_name.is_none() => {
                let renamed = enterprise.name.replacen("青岛", "青岛新", 1);
                enterprise.former_name = Some(std::mem::replace(&mut enterprise.name, renamed));
            }
            _ => enterprise.address = self.address("new address", key, enterprise.district),
        }
    }

    fn enterprise_name(self, index: u64, kind: &BodyKind, trade: &Trade, district: &District) -> String {
        let pairs = (BRAND_FIRST.len() * BRAND_SECOND.len()) as u64;
        let pair = (index.wrapping_mul(523).wrapping_add(71) % pairs) as usize;
        let brand = (BRAND_FIRST[pair % BRAND_FIRST.len()], BRAND_SECOND[pair / BRAND_FIRST.len()]);
        let third = match index / pairs {
            0 => "",
            block => BRAND_SECOND[(block as usize - 1) % BRAND_SECOND.len()],
        };
        let place = if kind.class == "92" { district.name } else { "" };
        let suffix = match kind.suffix {
            "集团有限公司" => "（集团）有限公司",
            other => other,
        };
        format!("青岛{place}{}{}{third}{}{suffix}", brand.0, brand.1, trade.word)
    }

    fn address(self, topic: &str, index: u64, district: &District) -> String {
        let street = self.dice.pick(topic, index, district.streets);
        let number = 1 + self.dice.below(topic, index ^ 0xa5a5, 399);
        let room = self.dice.below(topic, index ^ 0x5a5a, 900);
        let room = if room < 300 { String::new() } else { format!("{}号楼{room}室", 1 + room % 9) };
        format!("山东省青岛市{}{street}{number}号{room}", district.name)
    }

    /// Person `index`; persons do not change.
    pub(super) fn person(self, index: u64) -> Person {
        let dice = self.dice;
        let male = dice.one_in("gender", index, 2);
        let given = if male { GIVEN_MALE } else { GIVEN_FEMALE };
        let second = if dice.below("short name", index, 5) < 2 { "" } else { dice.pick("second given", index, given) };
        let home = &DISTRICTS[dice.below("home", index, DISTRICTS.len() as u64) as usize];
        let region =
            if dice.one_in("moved here", index, 8) { dice.pick("origin", index, OTHER_REGIONS) } else { home.code };
        let phone = dice.roll("phone", index);
        Person {
            id: identifiers::citizen_id(region, index, male),
            name: format!("{}{}{second}", dice.pick("surname", index, SURNAMES), dice.pick("given", index, given)),
            male,
            born: identifiers::birthday(index),
            region,
            address: self.address("home address", index, home),
            phone: format!(
                "1{}{}0000{:04}",
                ["3", "5", "7", "8"][(phone % 4) as usize],
                phone / 4 % 10,
                phone / 40 % 10_000
            ),
        }
    }

    /// The person's employer, if there is one, as an index of the enterprises of night 0.
    pub(super) fn employer_of(self, person: u64) -> Option<u64> {
        let employed = !self.dice.one_in("out of work", person, 8);
        employed.then(|| self.dice.below("employer", person, 2_000 * self.scale))
    }
}

/// Some days.
struct Days(u64);

impl Days {
    fn before(&self, day: NaiveDate) -> NaiveDate {
        day - chrono::Days::new(30 + self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_of_later_nights_are_counted_from_the_base() {
        let city = City::new(1, 2, 3);
        assert_eq!(city.count(10, 3), 38);
        let born: Vec<u32> = (18..26).map(|index| city.born_on(index, 10, 3)).collect();
        assert_eq!(born, [0, 0, 1, 1, 1, 1, 1, 1]);
        assert_eq!(city.born_on(26, 10, 3), 2);
    }

    #[test]
    fn an_enterprise_keeps_its_code_whatever_changes() {
        let city = City::new(7, 1, 0);
        for index in 0..2_000 {
            let (before, after) = (city.enterprise(index), city.on(30).enterprise(index));
            assert_eq!(before.uscc, after.uscc);
            assert_eq!(before.changed, None);
            if after.changed.is_none() {
                assert_eq!((before.name, before.address), (after.name, after.address));
            }
        }
    }

    #[test]
    fn a_night_changes_some_and_only_some() {
        let city = City::new(7, 1, 1);
        let changed = (0..2_000).filter(|i| city.enterprise(*i).changed.is_some()).count();
        assert!((3..60).contains(&changed), "{changed}");
    }
}
