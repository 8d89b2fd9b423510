//! Frames: CRC, both standards' codes, damage, places, and the published vectors.

use super::*;
use crate::config::Format;
use crate::decode::testing::{All, memory, read, resume_everywhere, shared_input};

const COLUMNS: [&str; 7] = ["站点=MN", "时间=DataTime", "factor", "新码=factor_2017", "实测=-Rtd", "标记=-Flag", "CN"];

fn frame(segment: &str) -> String {
    format!("##{:04}{segment}{:04X}\r\n", segment.len(), crc_of(segment.as_bytes()))
}

fn check(text: impl AsRef<[u8]>, expect: &[&str]) -> All {
    let input = memory(text);
    let all = read(&input, &Format::Hj212, &COLUMNS, Limits::default());
    assert_eq!(all.lines(), expect);
    resume_everywhere(&input, &Format::Hj212, &COLUMNS, Limits::default());
    all
}

const WATER: &str = "ST=32;CN=2011;PW=123456;MN=LD130133000015;CP=&&DataTime=20160824003817;\
                     011-Rtd=231.0,011-Flag=N;B01-Rtd=36.91&&";

#[test]
fn a_frame_gives_one_row_per_factor() {
    let all = check(
        frame(WATER),
        &[
            "LD130133000015|20160824003817|011|w01018|231.0|N|2011",
            "LD130133000015|20160824003817|B01|w00000|36.91|␀|2011",
        ],
    );
    assert_eq!(all.places, ["1:1:0", "2:1:0"]);
    let gas = "QN=20260801085857223;ST=31;CN=2051;PW=1;MN=3702;Flag=5;CP=&&DataTime=20260801085800;\
               a21026-Min=1.1,a21026-Avg=2.2,a21026-Flag=N&&";
    check(frame(gas), &["3702|20260801085800|a21026|a21026|␀|N|2051"]);
}

#[test]
fn frames_without_factors_are_dropped_and_counted() {
    let command =
        "QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&";
    // The example of HJ 212-2017, appendix A.
    assert_eq!(frame(command), format!("##0101{command}1C80\r\n"));
    assert_eq!(check(frame(command), &[]).dropped, 1);
}

#[test]
fn damaged_frames_are_set_aside_whole() {
    let good = frame(WATER);
    let text = [
        good.replace("231.0", "231.1"),
        good.replace("36.91&&", "36.9&&"),
        "##01x2ST=32\r\n".to_owned(),
        "hello\r\n\r\n".to_owned(),
        frame("ST=32;CN=2011"),
        frame("ST=32;CP=&&011-Rtd&&"),
        good.chars().take(60).collect(),
    ];
    let all = check(text.concat(), &[]);
    let said: Vec<&str> = all.aside.iter().map(|a| a.split_once(' ').unwrap().1).collect();
    assert_eq!(
        said,
        [
            "bad_crc the CRC is not that of the 111 bytes it stands after",
            "bad_length 111 bytes declared, 110 present",
            "bad_frame the length is not four digits",
            "bad_frame there is no ## in the line",
            "bad_frame there is no CP=&& in the data segment",
            "bad_frame an item of the data part has no =",
            "bad_length 111 bytes declared, 50 present",
        ]
    );
    assert_eq!(all.aside_raw[2], b"##01x2ST=32");
}

#[test]
fn a_recorders_time_before_a_frame_is_layout() {
    let all = check(format!("2016-08-24 00:38:20 {}\n", frame(WATER).to_lowercase()), &[]);
    assert_eq!(all.aside.len(), 1, "a frame in other letters has another CRC");
    let text = format!("2016-08-24 00:38:20 {}", frame(WATER));
    assert_eq!(read(&memory(text), &Format::Hj212, &COLUMNS, Limits::default()).rows.len(), 2);
}

#[test]
fn the_published_frames_are_read_and_those_with_a_bad_crc_set_aside() {
    let Some(input) = shared_input("data/hj212/messages.txt") else { return };
    let all = read(&input, &Format::Hj212, &COLUMNS, Limits::default());
    assert_eq!(all.rows.len(), 6, "three factors in each of two good frames");
    assert_eq!(all.lines()[2], "LD130133000015|20160824003817|060|w21003|1.803|N|2011");
    assert!(all.aside.len() == 2 && all.aside.iter().all(|a| a.contains(" bad_crc ")), "{:?}", all.aside);
}
