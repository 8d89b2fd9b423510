//! Tokens of time (时间戳) for what was sealed: asked for, kept, handed on.
//!
//! Decides: when an authority is asked again. Guarantees: one that is down, slow or false holds up no batch and loses no
//! token: what wants one is on record from its sealing on, and is asked for until it comes. Only what was verified is kept.

use chrono::{DateTime, TimeDelta, Utc};

use super::super::{Engine, EngineError, FeedReport, premises};
use crate::config::Feed;
use crate::crypto::{CryptoError, StampError};
use crate::pki::{self, Roots};
use crate::store::{StampDue, StampRow};
use crate::tsa::Authority;

/// Batches looked at together.
const PAGE: i64 = 64;
/// A PKCS#11 token that is away is looked for again after this long.
const TOKEN_AGAIN: TimeDelta = TimeDelta::seconds(10);
/// An authority that failed is left alone for so many seconds, and twice as long each time …
const FIRST_REST: i64 = 5;
/// … up to so many times.
const MOST_DOUBLINGS: u32 = 6;

/// How long an authority that failed is left alone.
#[derive(Debug, Default)]
pub(in crate::engine) struct Rest {
    failures: u32,
    until: Option<DateTime<Utc>>,
}

impl Rest {
    fn failed(&mut self, now: DateTime<Utc>) {
        self.until = Some(now + TimeDelta::seconds(FIRST_REST << self.failures.min(MOST_DOUBLINGS)));
        self.failures += 1;
    }

    fn ends_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.until.filter(|until| *until > now)
    }
}

impl Engine {
    /// Releases and delivers everything this feed has waiting, and gets the tokens of time that its batches want.
    #[tracing::instrument(name = "release", skip_all, fields(feed = name))]
    pub async fn release(&mut self, name: &str) -> Result<FeedReport, EngineError> {
        let released = self.release_batches(name).await;
        // Whatever came of this pass, earlier ones sealed batches too.
        let mut report = match released {
            Ok(report) => report,
            // What is not sealed stays where it was: the next pass reads it again.
            Err(error) if error.misses_a_token() => {
                let mut waits = FeedReport::new(name, "waiting", Some(error.to_string()));
                waits.again = Some(self.clock.now() + TOKEN_AGAIN);
                waits
            }
            Err(error) => {
                let mut unread = FeedReport::new(name, "failed", None);
                self.stamp(name, &mut unread).await.ok();
                return Err(error);
            }
        };
        self.stamp(name, &mut report).await?;
        Ok(report)
    }

    /// Asks for every token that this feed's batches want, and hands on those that came.
    async fn stamp(&mut self, name: &str, report: &mut FeedReport) -> Result<(), EngineError> {
        let Some(feed) = self.workspace.feeds.get(name).cloned() else { return Ok(()) };
        if self.workspace.installation.timestamps.is_none() {
            return Ok(());
        }
        let outlet = premises::outlet(&self.workspace, &feed, self.broker.as_ref());
        let (mut authority, mut by) = (None, String::new());
        'all: loop {
            let due = self.store.stamps_due(name, PAGE).await?;
            if due.is_empty() {
                break;
            }
            for StampDue { seq, signature, token } in due {
                let now = self.clock.now();
                if self.check_stop().is_err() {
                    break 'all;
                }
                let token = match token {
                    Some(token) => token,
                    None if self.stamp_rest.ends_after(now).is_some() => {
                        report.again = report.again.or(self.stamp_rest.ends_after(now));
                        break 'all;
                    }
                    None => match self.token(&mut authority, &feed, (seq, &signature)).await? {
                        Ok(stamp) => {
                            report.stamped += 1;
                            by = stamp.authority;
                            stamp.token
                        }
                        Err(error) => {
                            self.not_stamped(report, seq, &error);
                            break 'all;
                        }
                    },
                };
                if let Err(error) = outlet.stamp((name, seq.unsigned_abs()), &token).await {
                    report.unstamped = Some(format!("{} {error}", error.code()));
                    break 'all;
                }
                self.store.stamp_handed_on(name, seq).await?;
            }
        }
        if report.stamped > 0 {
            let at = self.now();
            self.store.audit(at, "feed.stamp", &format!("{name}: {} tokens of time, {by}", report.stamped)).await?;
        }
        Ok(())
    }

    /// One token, asked for, verified and kept.
    async fn token(
        &mut self,
        authority: &mut Option<Authority>,
        feed: &Feed,
        (seq, signature): (i64, &[u8]),
    ) -> Result<Result<StampRow, StampError>, EngineError> {
        let asked = match authority.take().map_or_else(|| self.authority(), Ok) {
            Ok(asked) => authority.insert(asked),
            Err(error) => return Ok(Err(error)),
        };
        let (token, by) = match asked.stamp(signature).await {
            Ok(stamped) => stamped,
            Err(error) => return Ok(Err(error)),
        };
        self.stamp_rest = Rest::default();
        let row = StampRow { seq, token, at: by.at.timestamp_micros(), authority: by.subject, recorded_at: self.now() };
        self.store.keep_stamp(&feed.name, &row).await?;
        Ok(Ok(row))
    }

    fn authority(&self) -> Result<Authority, StampError> {
        let nobody = || CryptoError::BadCertificate { what: "trust.timestamps names no roots".into() };
        let asked = self.workspace.installation.timestamps.as_ref().ok_or_else(nobody)?;
        let trust = pki::trust(&self.workspace, Roots::Timestamps)?.ok_or_else(nobody)?;
        Authority::new(asked, trust, self.clock)
    }

    fn not_stamped(&mut self, report: &mut FeedReport, seq: i64, error: &StampError) {
        let now = self.clock.now();
        self.stamp_rest.failed(now);
        report.again = report.again.or(self.stamp_rest.ends_after(now));
        report.unstamped = Some(format!("{} {error}", error.code()));
        tracing::warn!(feed = report.feed, batch = seq, code = error.code(), %error, "no time stamp; it is asked for again");
    }
}
