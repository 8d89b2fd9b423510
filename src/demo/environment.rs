//! 环保: hourly frames of pollution sources as a recorder keeps them (HJ/T 212-2005 and HJ 212-2017 mixed, some damaged, some
//! twice, some late), and permits to discharge.

use std::io;

use super::city::City;
use super::file::{Charset, Draft};
use super::flaw::{Fate, Plan, State};
use super::{Writing, identifiers};

const SAMPLES: Plan = Plan {
    dataset: "environment.sample",
    period: 40,
    flaws: &[
        ("bad_crc", Fate::Undecodable),
        ("wrong_length", Fate::Undecodable),
        ("codes_of_2005", Fate::Outvoted),
        ("frame_without_qn", Fate::Outvoted),
        ("sent_twice", Fate::Outvoted),
        ("unknown_factor", Fate::Quarantined),
        ("negative_value", Fate::Quarantined),
        ("zero_of_an_outage", Fate::Outvoted),
    ],
    nightly: None,
};
const PERMITS: Plan = Plan {
    dataset: "environment.permit",
    period: 15,
    flaws: &[
        ("bad_check_digit", Fate::Quarantined),
        ("short_number", Fate::Quarantined),
        ("impossible_date", Fate::Quarantined),
        ("unknown_status", Fate::Quarantined),
        ("lower_case", Fate::Noted),
    ],
    nightly: None,
};
/// Outlets with a monitor, per unit of scale.
const OUTLETS: u64 = 40;
/// Hours of a day that are kept.
const HOURS: [u64; 4] = [0, 6, 12, 18];
/// Factors of waste water and of waste gas: code of 2017, code of 2005.
const WATER: [(&str, &str); 3] = [("w01018", "011"), ("w21003", "060"), ("w00000", "B01")];
const GAS: [(&str, &str); 3] = [("a21026", "02"), ("a21002", "03"), ("a34013", "01")];

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    samples(writing)?;
    permits(writing)
}

fn samples(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("HJ212_{}.txt", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, SAMPLES.dataset, &name, Charset::Utf8)?;
    let outlets = city.on(0).count(OUTLETS, 0);
    let base = outlets * HOURS.len() as u64;
    if city.night > 0 {
        // The connection was down: what was measured a night ago comes once more.
        for index in base - 2..base {
            SAMPLES.count(State::Flawed("late_frame", Fate::Outvoted), &mut writing.defects);
            put(&mut file, city.on(city.night - 1), index, "")?;
        }
    }
    for index in 0..base {
        let state = if city.night == 0 { SAMPLES.state(city, index, base) } else { State::Sound };
        SAMPLES.count(state, &mut writing.defects);
        put(&mut file, city, index, state.kind())?;
        if index % outlets == 0 {
            SAMPLES.count(State::Flawed("heartbeat", Fate::Filtered), &mut writing.defects);
            let heartbeat = format!("ST=91;CN=9015;PW=123456;MN={};Flag=5;CP=&&&&", monitor(index));
            file.row(&Frame::of(&heartbeat).written())?;
        }
    }
    writing.files.push(file.finish()?);
    Ok(())
}

/// 设备唯一标识 of an outlet's monitor, 24 characters.
fn monitor(outlet: u64) -> String {
    format!("370200A8900016F0{outlet:08X}")
}

/// Writes frame `index` of a night.
fn put(file: &mut Draft, city: City, index: u64, flaw: &str) -> io::Result<()> {
    let segment = segment(city, index, flaw);
    let mut frame = Frame::of(&segment);
    match flaw {
        "bad_crc" => frame.crc ^= 1,
        "wrong_length" => frame.length += 1,
        _ => return file.several(WATER.len() as u64 * if flaw == "sent_twice" { 2 } else { 1 }, &frame.sent(flaw)),
    }
    file.row(&frame.written())
}

/// The data segment: head, time, and what the monitor says of each factor.
fn segment(city: City, index: u64, flaw: &str) -> String {
    let outlets = city.on(0).count(OUTLETS, 0);
    let (outlet, hour) = (index % outlets, HOURS[(index / outlets) as usize % HOURS.len()]);
    let water = outlet.is_multiple_of(2);
    let day = city.today().format("%Y%m%d");
    let mut items = Vec::new();
    for (nth, (new, old)) in (0_u64..).zip(if water { WATER } else { GAS }) {
        let roll = city.dice.below("emission", (index * 3 + nth) << 12 | u64::from(city.night), 9_000);
        let mut code = if flaw == "codes_of_2005" { old } else { new };
        let (mut value, mut mark) = (format!("{}.{:02}", roll / 100, roll % 100), "N");
        match flaw {
            "unknown_factor" if nth == 0 => code = "x99999",
            "negative_value" if nth == 0 => value = format!("-1{value}"),
            "zero_of_an_outage" => (value, mark) = ("0.00".to_owned(), "D"),
            _ => {}
        }
        items.push(format!("{code}-Avg={value},{code}-Cou={}.{:02},{code}-Flag={mark}", roll / 10, roll % 100));
    }
    let (number, flag) = match flaw {
        "frame_without_qn" => (String::new(), ""),
        _ => (format!("QN={day}{hour:02}0500{:03};", index % 1_000), "Flag=5;"),
    };
    format!(
        "{number}ST={};CN=2061;PW=123456;MN={};{flag}CP=&&DataTime={day}{hour:02}0000;{}&&",
        if water { 32 } else { 31 },
        monitor(outlet),
        items.join(";")
    )
}

/// A data segment with what stands around it.
struct Frame<'a> {
    segment: &'a str,
    length: usize,
    crc: u16,
}

impl<'a> Frame<'a> {
    /// HJ 212-2017 appendix A: each byte is taken into the high half of the register, moved down.
    fn of(segment: &'a str) -> Self {
        let mut crc = 0xFFFF_u16;
        for byte in segment.bytes() {
            crc = (crc >> 8) ^ u16::from(byte);
            for _ in 0..8 {
                let out = crc & 1;
                crc >>= 1;
                if out == 1 {
                    crc ^= 0xA001;
                }
            }
        }
        Self { segment, length: segment.len(), crc }
    }

    fn written(&self) -> String {
        format!("##{:04}{}{:04X}\r\n", self.length, self.segment, self.crc)
    }

    fn sent(&self, flaw: &str) -> String {
        self.written().repeat(if flaw == "sent_twice" { 2 } else { 1 })
    }
}

fn permits(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let name = format!("PWXK_{}.csv", city.today().format("%Y%m%d"));
    let mut file = Draft::create(writing.dir, PERMITS.dataset, &name, Charset::Gb18030)?;
    file.layout("许可证编号,单位名称,统一社会信用代码,管理类别,发证日期,有效期起,有效期止,发证机关,状态,更新时间\r\n")?;
    for (index, state, changed) in PERMITS.tonight(city, (45, 1)) {
        PERMITS.count(state, &mut writing.defects);
        let updated = city.updated(PERMITS.dataset, index, changed);
        file.row(&permit(city, index, (state.kind(), &updated)))?;
    }
    writing.files.push(file.finish()?);
    Ok(())
}

fn permit(city: City, index: u64, (flaw, updated): (&str, &str)) -> String {
    let enterprise = city.on(0).enterprise(index.wrapping_mul(17) % city.on(0).enterprises());
    let (kind, letter) = [("重点管理", 'P'), ("简化管理", 'Q')][(index % 2) as usize];
    let mut number = format!("{}{:03}{letter}", enterprise.uscc, 1 + index % 3);
    let mut code = enterprise.uscc;
    let day = city.day(0) - chrono::Days::new(5 + city.dice.below("discharge permitted", index, 1_500));
    let (mut issued, mut status) = (day.format("%Y年%-m月%-d日").to_string(), "有效");
    match flaw {
        "bad_check_digit" => code = identifiers::spoil_last(&code),
        "short_number" => drop(number.pop()),
        "impossible_date" => issued = day.format("%Y年13月%-d日").to_string(),
        "unknown_status" => status = "整改中",
        "lower_case" => code = code.to_lowercase(),
        _ => {}
    }
    format!(
        "{number},{},{code},{kind},{issued},{day},{},青岛市生态环境局,{status},{updated}\r\n",
        enterprise.name,
        day + chrono::Days::new(1_826),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_that_of_the_standard() {
        // The example of HJ 212-2017, appendix A.
        let segment =
            "QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&";
        assert_eq!(Frame::of(segment).written(), format!("##0101{segment}1C80\r\n"));
    }
}
