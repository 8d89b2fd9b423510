//! Why a feed may not release (不予提供), told once to the audit log, and until when it stays so.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::engine::{Engine, EngineError, FeedReport};
use crate::share::asked_and_withheld;
use crate::store::Note;

impl Engine {
    /// Keeps why a pass was refused, in whole or in part, and says so in the audit log when it was not so before.
    pub(super) async fn tell_refusal(
        &mut self,
        name: &str,
        suspended: Option<String>,
        done: &Result<FeedReport, EngineError>,
    ) -> Result<(), EngineError> {
        let mut why: Vec<String> = self.withheld_and_asked_for(name);
        why.extend(suspended);
        match done {
            Ok(report) if report.status == "refused" => why.extend(report.why.clone()),
            Ok(report) => {
                why.extend(report.why.as_ref().filter(|why| why.starts_with("HL0610")).cloned());
            }
            Err(error @ (EngineError::Crypto(_) | EngineError::Definitions(_))) => why.push(error.to_string()),
            Err(_) => return Ok(()),
        }
        let why = (!why.is_empty()).then(|| why.join("; "));
        if !self.workspace.feeds.contains_key(name) || self.refusals.get(name) == Some(&why) {
            return Ok(()); // no feed, or told by this process already
        }
        let known = self.store.feed(name).await?.refused;
        self.refusals.insert(name.to_owned(), why.clone());
        if known == why {
            return Ok(());
        }
        let at = self.now();
        let note = match &why {
            Some(why) => Note::new(at, "feed.refused", format!("{name}: {why}")),
            None => Note::new(at, "feed.allowed", format!("{name}: no longer refused")),
        };
        Ok(self.store.note_refusal(name, why.as_deref(), note).await?)
    }

    /// Fields that the grant names and the catalogue keeps.
    fn withheld_and_asked_for(&self, name: &str) -> Vec<String> {
        let Some(feed) = self.workspace.feeds.get(name) else { return Vec::new() };
        let Some(register) = self.workspace.registers.get(&feed.register.value) else { return Vec::new() };
        let withheld = asked_and_withheld(feed, register).into_iter();
        withheld.map(|(field, why)| format!("HL0652 {field} is asked for: {why}")).collect()
    }

    /// That nothing more goes out today, and when it does again.
    pub(super) fn quota_is_used_up(&self) -> String {
        let zone = self.workspace.installation.zone;
        let until = quota_day(self.clock.now(), zone).map(|(_, until)| until.format("%Y-%m-%d %H:%M %:z").to_string());
        format!("HL0610 the day's quota is used up; it resets at {}", until.unwrap_or_else(|| "midnight".to_owned()))
    }
}

/// The day of a quota: from when, and when the next one begins.
pub(super) fn quota_day(now: DateTime<Utc>, zone: Tz) -> Option<(DateTime<Tz>, DateTime<Tz>)> {
    let today = now.with_timezone(&zone).date_naive();
    let midnight = |day: chrono::NaiveDate| day.and_time(chrono::NaiveTime::MIN).and_local_timezone(zone).earliest();
    Some((midnight(today)?, midnight(today.succ_opt()?)?))
}
