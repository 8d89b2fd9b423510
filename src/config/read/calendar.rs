//! `mappings/calendar.yaml`.

use super::super::At;
use super::super::calendar::PublishedYear;
use super::super::scalar;
use super::super::shape::{Key, Kind, Shape};
use super::super::view::View;
use super::VERSION;

pub(in crate::config) const CALENDAR: Shape = Shape {
    title: "工作日历 calendar",
    about: "Which days are working days (工作日), as the State Council publishes it for each year.",
    keys: &[
        VERSION,
        Key::optional("title", "名称 title", Kind::Text, "What people call it."),
        Key::required("years", "年度 years", Kind::List(&Kind::Map(&YEAR)), "The years that were published."),
    ],
};

const YEAR: Shape = Shape {
    title: "年度 year",
    about: "One year, from the notice about its holidays.",
    keys: &[
        Key::required("year", "年 year", Kind::Integer(1949, 9998), "The year."),
        Key::required("notice", "文号 notice", Kind::Text, "The notice's number."),
        Key::optional("off", "放假 off", Kind::List(&Kind::Days), "Holidays, weekends among them or not."),
        Key::optional("work", "调休上班 work", Kind::List(&Kind::Days), "Weekends on which people work."),
    ],
};

/// Reads it.
pub(in crate::config) fn read(view: View<'_>) -> Vec<PublishedYear> {
    let days = |view: View<'_>| {
        let one = |day: View<'_>| Some(At { value: day.parsed(scalar::days)?, place: day.place() });
        view.items().into_iter().filter_map(one).collect()
    };
    let year = |year: View<'_>| {
        let number = year.get("year");
        Some(PublishedYear {
            year: At { value: number.parsed(scalar::integer)?, place: number.place() },
            notice: year.get("notice").text(),
            off: days(year.get("off")),
            work: days(year.get("work")),
        })
    };
    view.get("years").items().into_iter().filter_map(year).collect()
}
