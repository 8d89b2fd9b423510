//! 电子印章归档: the seal files (.esl) of seals that the registry knows, of both standards, each signed by its maker with SM2.

use std::io;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

use super::file::put;
use super::flaw::{Fate, Plan};
use super::{Writing, e_seal};
use crate::crypto::{CryptoError, SealForm, SealMaker, SealText};

const FILES: Plan = Plan {
    dataset: "e-seal-archive.seal",
    period: 12,
    flaws: &[("altered", Fate::Undecodable), ("cut_off", Fate::Undecodable)],
    nightly: None,
};
/// One of so many seals of the registry is in the archive.
const EVERY: u64 = 7;

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let first = city.day(0) - Days::new(1_000);
    let valid = (midnight(first), midnight(first + Days::new(7_300)));
    let maker = SealMaker::of_words("HUILIU.DEMO", "the demo city's seals", valid).map_err(io::Error::other)?;
    for (nth, state, _) in FILES.tonight(city, (24, 1)) {
        FILES.count(state, &mut writing.defects);
        let index = nth * EVERY;
        let mut seal = made(writing, &maker, index).map_err(io::Error::other)?;
        match state.kind() {
            "altered" => {
                if let Some(last) = seal.last_mut() {
                    *last ^= 1;
                }
            }
            "cut_off" => seal.truncate(seal.len() / 2),
            _ => {}
        }
        let file = put(writing.dir, (FILES.dataset, &format!("{}.esl", e_seal::id(index))), 1, &seal)?;
        writing.files.push(file);
    }
    Ok(())
}

fn made(writing: &Writing<'_>, maker: &SealMaker, index: u64) -> Result<Vec<u8>, CryptoError> {
    let city = writing.city;
    let unit = city.on(0).enterprise(e_seal::holder(city, index)).name;
    let bearer = maker.bearer(&unit, &e_seal::certificate_number(index).to_be_bytes())?;
    let day = e_seal::made(city, index);
    let form = if index.is_multiple_of(3) { SealForm::Gmt0031 } else { SealForm::Gbt38540 };
    // 10 o'clock in the city; good for five years.
    let times = [morning(day), midnight(day), midnight(day + Days::new(1_825))];
    let (id, picture) = (e_seal::id(index), e_seal::picture(index));
    let kind = [1, 1, 2][(index % 3) as usize];
    maker.make(form, &SealText { id: &id, kind, name: &unit, bearer: &bearer, times, picture: &picture })
}

/// The beginning of a day in the city.
fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc() - chrono::TimeDelta::hours(8)
}

fn morning(day: NaiveDate) -> DateTime<Utc> {
    midnight(day) + chrono::TimeDelta::hours(10)
}
