//! Signs of life: when the daemon last went round, and when each worker last moved something.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::engine::Progress;
use crate::engine::schedule::Job;

/// A round takes a second; after this many without one the daemon hangs, microseconds.
const ROUND: i64 = 60 * 1_000_000;
/// A worker that moves nothing for so long hangs, microseconds. Taking the digest of a very large file moves nothing.
const WORK: i64 = 30 * 60 * 1_000_000;

/// The daemon's own pulse and its workers'.
pub(super) struct Pulse {
    round: AtomicI64,
    workers: Vec<Beat>,
}

/// One worker's pulse.
pub(super) struct Beat {
    clock: crate::clock::Clock,
    moved: AtomicI64,
    job: Mutex<Option<Job>>,
}

impl Pulse {
    pub(super) fn new(workers: usize, clock: crate::clock::Clock) -> Self {
        let beat = || Beat { clock, moved: AtomicI64::new(0), job: Mutex::new(None) };
        let now = clock.now().timestamp_micros();
        Self { round: AtomicI64::new(now), workers: (0..workers).map(|_| beat()).collect() }
    }

    /// The daemon went round.
    pub(super) fn round(&self, now: i64) {
        self.round.store(now, Ordering::Relaxed);
    }

    /// One worker's.
    pub(super) fn worker(&self, n: usize) -> Option<&Beat> {
        self.workers.get(n)
    }

    /// What hangs, in words; empty when all is well.
    pub(super) fn stuck(&self, now: i64) -> Vec<String> {
        let mut stuck = Vec::new();
        if now - self.round.load(Ordering::Relaxed) > ROUND {
            stuck.push("the daemon has not gone round for a minute".to_owned());
        }
        for worker in &self.workers {
            let job = worker.job.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(job) = job.as_ref().filter(|_| now - worker.moved.load(Ordering::Relaxed) > WORK) {
                stuck.push(format!("{job} has moved nothing for half an hour"));
            }
        }
        stuck
    }
}

impl Beat {
    /// The worker begins or ends a job.
    pub(super) fn at(&self, job: Option<Job>) {
        self.moved();
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = job;
    }

    fn moved(&self) {
        self.moved.store(self.clock.now().timestamp_micros(), Ordering::Relaxed);
    }
}

/// A worker's engine, telling its pulse.
pub(super) struct Pulsing {
    pub(super) pulse: std::sync::Arc<Pulse>,
    pub(super) worker: usize,
}

impl Pulsing {
    fn moved(&self) {
        if let Some(beat) = self.pulse.worker(self.worker) {
            beat.moved();
        }
    }
}

impl Progress for Pulsing {
    fn file(&self, pipeline: &str, file: &str, bytes: u64) {
        tracing::info!(pipeline, file, bytes, "taking file");
        self.moved();
    }

    fn rows(&self, rows: u64, byte: u64) {
        tracing::debug!(rows, byte, "chunk committed");
        self.moved();
    }

    fn records(&self, feed: &str, records: u64) {
        tracing::debug!(feed, records, "batch delivered");
        self.moved();
    }

    fn done(&self) {
        self.moved();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_daemon_that_does_not_go_round_and_a_worker_that_moves_nothing_hang() {
        let start = chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let pulse = Pulse::new(2, Clock::Frozen(start));
        let micros = start.timestamp_micros();
        pulse.worker(1).unwrap().at(Some(Job::Pipeline("qy".into())));
        assert!(pulse.stuck(micros + ROUND).is_empty());
        pulse.round(micros + WORK + 1);
        assert_eq!(pulse.stuck(micros + WORK + 1), ["pipeline/qy has moved nothing for half an hour"]);
        assert_eq!(pulse.stuck(micros + 2 * WORK).len(), 2);
        pulse.worker(1).unwrap().at(None);
        assert_eq!(pulse.stuck(micros + WORK + 1).len(), 0);
    }
}
