use super::*;

/// The project's own definitions with one schedule, or several, written otherwise.
fn workspace(edits: &[(&str, &str, &str)]) -> Workspace {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in crate::demo::definitions() {
        let file = dir.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let edit = edits.iter().filter(|(edited, _, _)| edited == path);
        std::fs::write(file, edit.fold((*text).to_owned(), |text, (_, from, to)| text.replace(from, to))).unwrap();
    }
    Workspace::load(dir.path()).unwrap()
}

const NIGHT: &str = "pipelines/enterprise-registration.yaml"; // 0 30 2 * * *

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(&format!("{text}+08:00")).unwrap().to_utc()
}

fn schedule(edits: &[(&str, &str, &str)], now: &str) -> Schedule {
    let mut schedule = Schedule::new(&workspace(edits), 7, at(now));
    schedule.turns.retain(|job, _| matches!(job, Job::Pipeline(name) if name == "enterprise-registration"));
    schedule
}

/// Runs of the pipeline, newest first, as `(status, why, started)`.
fn runs(told: &[(&str, Option<&str>, &str)]) -> Vec<RunView> {
    let view = |(status, why, started): &(&str, Option<&str>, &str)| RunView {
        id: 1,
        pipeline: "enterprise-registration".into(),
        kind: "run".into(),
        status: (*status).into(),
        why: why.map(str::to_owned),
        started: at(started).timestamp_micros(),
        ended: None,
        read: 1,
        mapped: 1,
        lag: None,
    };
    told.iter().map(view).collect()
}

fn night() -> Job {
    Job::Pipeline("enterprise-registration".into())
}

#[test]
fn a_pipeline_comes_at_its_time_once_and_never_twice_at_a_time() {
    let mut s = schedule(&[], "2026-11-21T10:00:00");
    assert_eq!(s.next(at("2026-11-21T10:00:00")), Some(at("2026-11-22T02:30:00")));
    assert_eq!(s.take(at("2026-11-22T02:29:59")), None);
    assert_eq!(s.take(at("2026-11-22T02:30:01")), Some(night()));
    assert_eq!(s.take(at("2026-11-23T02:30:01")), None, "it still runs");
    s.ended(&night(), Ended::Done, at("2026-11-23T02:31:00"));
    assert_eq!(s.take(at("2026-11-23T02:31:00")), Some(night()), "what passed meanwhile is made up for, once");
    s.ended(&night(), Ended::Done, at("2026-11-23T02:40:00"));
    assert_eq!(s.next(at("2026-11-23T02:40:00")), Some(at("2026-11-24T02:30:00")));
}

#[test]
fn a_missed_time_is_made_up_for_once_or_skipped() {
    let last = runs(&[("succeeded", None, "2026-11-18T02:30:05")]);
    let now = "2026-11-21T10:00:00";
    let mut run = schedule(&[], now);
    run.recall("enterprise-registration", &last, at(now));
    assert_eq!(run.take(at(now)), Some(night()), "three nights passed, one run makes up for them");
    run.ended(&night(), Ended::Done, at(now));
    assert_eq!(run.take(at(now)), None);
    let skipping = [(NIGHT, "within:", "missed: skip\nwithin:")];
    let mut skip = schedule(&skipping, now);
    skip.recall("enterprise-registration", &last, at(now));
    assert_eq!((skip.take(at(now)), skip.next(at(now))), (None, Some(at("2026-11-22T02:30:00"))));
    assert_eq!(skip.take(at("2026-11-22T02:30:00")), Some(night()));
    skip.ended(&night(), Ended::Done, at("2026-11-24T03:00:00"));
    assert_eq!(skip.next(at("2026-11-24T03:00:00")), Some(at("2026-11-25T02:30:00")), "it ran over two of its times");
    let mut fresh = schedule(&[], now);
    fresh.recall("enterprise-registration", &[], at(now));
    assert_eq!(fresh.take(at(now)), None, "what never ran has missed nothing");
}

#[test]
fn what_was_broken_off_goes_on_at_once_and_failures_are_remembered() {
    let now = "2026-11-22T02:40:00";
    let recalled = |told: &[(&str, Option<&str>, &str)]| {
        let mut s = schedule(&[], now);
        s.recall("enterprise-registration", &runs(told), at(now));
        (s.failures(&night()), s.take(at(now)).is_some())
    };
    assert_eq!(recalled(&[("running", None, "2026-11-22T02:30:00")]), (0, true));
    assert_eq!(recalled(&[("failed", Some("HL0506 the process ended"), "2026-11-22T02:30:00")]), (1, true));
    let failed = ("failed", Some("HL0301 there is no directory"), "2026-11-22T02:30:00");
    assert_eq!(recalled(&[failed, failed, ("succeeded", None, "2026-11-21T02:30:00")]), (2, false));
}

#[test]
fn a_failure_waits_longer_each_time_and_success_forgets_it() {
    let mut s = schedule(&[], "2026-11-22T02:00:00");
    let mut now = at("2026-11-22T02:30:00");
    let mut waits = Vec::new();
    for failures in 1..=4 {
        assert_eq!(s.take(now), Some(night()));
        s.ended(&night(), Ended::Failed, now);
        assert_eq!(s.failures(&night()), failures);
        let next = s.next(now).unwrap();
        waits.push(next - now);
        now = next;
    }
    assert!(waits.is_sorted() && waits[3] > TimeDelta::seconds(20) && waits[3] < TimeDelta::seconds(60), "{waits:?}");
    assert_eq!(s.take(now), Some(night()));
    s.ended(&night(), Ended::Done, now);
    assert_eq!((s.failures(&night()), s.next(now)), (0, Some(at("2026-11-23T02:30:00"))));
    assert_eq!(s.take(at("2026-11-23T02:30:00")), Some(night()));
    s.ended(&night(), Ended::Broken, at("2026-11-23T02:30:00"));
    assert_eq!((s.failures(&night()), s.next(now)), (1, Some(at("2026-11-24T02:30:00"))), "no early return");
}

#[test]
fn feeds_come_on_their_own_time_and_right_after_a_change() {
    let now = at("2026-11-21T10:00:00");
    let mut s = Schedule::new(&workspace(&[]), 7, now);
    s.turns.retain(|job, _| matches!(job, Job::Feed(_)));
    let housing = Job::Feed("housing.enterprise".into());
    assert_eq!(s.take(now), None);
    s.changed("enterprise", now);
    let mut both = [s.take(now), s.take(now)];
    both.sort();
    assert_eq!(both, [Some(Job::Feed("civil-affairs.enterprise".into())), Some(housing.clone())]);
    assert_eq!(s.take(now), None, "the person feed has nothing to do with it");
    s.changed("enterprise", now);
    s.ended(&housing, Ended::Failed, now);
    s.changed("enterprise", now);
    assert!(s.next_of(&housing) > Some(now), "after a failure it waits all the same");
    let later = now + TimeDelta::minutes(2);
    assert_eq!(s.take(later), Some(housing));
}

impl Schedule {
    /// As a single worker is given work.
    fn take(&mut self, now: DateTime<Utc>) -> Option<Job> {
        self.take_live(now).or_else(|| self.take_beside(now))
    }
}

#[test]
fn backfills_take_turns() {
    let mut s = schedule(&[], "2026-11-21T10:00:00");
    let noon = at("2026-11-21T12:00:00");
    let beside = |name: &str| Job::Pipeline(name.to_owned());
    let lane = |id: i64, name: &str| BackfillLane { id, beside: beside(name), window: None };
    s.set_backfills(vec![lane(1, "a"), lane(2, "b"), lane(3, "b")]);
    let mut order = Vec::new();
    for _ in 0..4 {
        let Some(job @ Job::Backfill(id)) = s.take_beside(noon) else { panic!("one may work") };
        order.push(id);
        s.ended(&job, Ended::Done, noon);
    }
    assert_eq!(order, [1, 2, 3, 1]);
    assert_eq!((s.take_beside(noon), s.take_beside(noon)), (Some(Job::Backfill(2)), Some(Job::Backfill(1))));
    assert_eq!(s.take_beside(noon), None, "the third is of the same pipeline as the second");
}

#[test]
fn a_backfill_gives_way_keeps_its_hours_and_never_meets_its_pipeline() {
    let mut s = schedule(&[], "2026-11-21T10:00:00");
    let noon = at("2026-11-21T12:00:00");
    let lane = |window: Option<&str>| BackfillLane {
        id: 3,
        beside: night(),
        window: window.map(|window| window.parse().unwrap()),
    };
    s.set_backfills(vec![lane(Some("22:00-06:00"))]);
    assert_eq!((s.take(noon), s.next(noon)), (None, Some(at("2026-11-21T22:00:00"))));
    s.set_backfills(vec![lane(None)]);
    assert_eq!(s.take(noon), Some(Job::Backfill(3)));
    assert_eq!(s.take(noon), None);
    let due = at("2026-11-22T02:30:00");
    assert_eq!((s.take(due), s.presses(due)), (None, true), "its own pipeline waits for it to give way");
    assert!(s.waits_for(3, due) && !s.waits_for(3, noon) && !s.waits_for(4, due));
    s.ended(&Job::Backfill(3), Ended::Stopped, due);
    assert_eq!(s.take(due), Some(night()));
    assert_eq!(s.take(due), None, "and it waits for the pipeline");
    s.ended(&night(), Ended::Done, due);
    assert_eq!(s.take(due), Some(Job::Backfill(3)));
    s.ended(&Job::Backfill(3), Ended::Failed, due);
    assert!(s.take(due).is_none() && s.next(due).is_some_and(|next| next > due));
}

#[test]
fn other_definitions_keep_what_is_still_defined() {
    let now = at("2026-11-22T02:30:00");
    let mut s = Schedule::new(&workspace(&[]), 7, at("2026-11-22T02:29:00"));
    s.turns.retain(|job, _| *job == night());
    assert_eq!(s.take(now), Some(night()));
    s.redefine(&workspace(&[(NIGHT, "0 30 2", "0 40 2")]), now);
    assert!(s.turns.get(&night()).unwrap().running, "it still runs");
    s.ended(&night(), Ended::Done, now);
    assert_eq!(s.next_of(&night()), Some(at("2026-11-22T02:40:00")), "the new time counts");
}

#[test]
fn what_another_daemon_did_or_does_is_not_done_again() {
    let mut s = schedule(&[], "2026-11-21T10:00:00");
    let now = at("2026-11-22T02:30:01");
    assert_eq!(s.take(now), Some(night()));
    s.ended(&night(), Ended::Elsewhere(now + TimeDelta::seconds(8)), now);
    assert_eq!(s.take(now), None);
    let then = now + TimeDelta::seconds(8);
    assert_eq!(s.take(then), Some(night()), "it looks again");
    assert!(s.done_by(&night(), then) && !s.done_by(&night(), now));
    s.ran_elsewhere("enterprise-registration", now);
    assert_eq!(s.next(then), Some(at("2026-11-23T02:30:00")));
}

#[test]
fn a_feed_that_waits_for_a_time_stamp_comes_again_before_its_time_and_has_not_failed() {
    let mut s = Schedule::new(&workspace(&[]), 7, at("2026-11-21T10:00:00"));
    let feed = s.turns.keys().find(|job| matches!(job, Job::Feed(_))).unwrap().clone();
    s.turns.retain(|job, _| *job == feed);
    s.turns.get_mut(&feed).unwrap().next = Some(at("2026-11-21T10:00:00"));
    assert_eq!(s.take(at("2026-11-21T10:00:00")).as_ref(), Some(&feed));
    s.ended(&feed, Ended::DoneBut(at("2026-11-21T10:00:05")), at("2026-11-21T10:00:00"));
    assert_eq!((s.next_of(&feed), s.failures(&feed)), (Some(at("2026-11-21T10:00:05")), 0));
    assert_eq!(s.take(at("2026-11-21T10:00:05")).as_ref(), Some(&feed));
    let regular = s.next_of(&feed);
    s.ended(&feed, Ended::DoneBut(at("2026-11-22T10:00:05")), at("2026-11-21T10:00:06"));
    assert_eq!(s.next_of(&feed), regular, "never later than its time");
    let Job::Feed(name) = &feed else { unreachable!("a feed") };
    s.hurry(name, at("2026-11-21T10:00:07"));
    assert_eq!(s.next_of(&feed), Some(at("2026-11-21T10:00:07")));
}

#[test]
fn a_clock_that_went_back_keeps_nothing_waiting() {
    let mut s = schedule(&[], "2026-11-21T10:00:00");
    let (ahead, right) = (at("2026-12-24T02:30:01"), at("2026-11-21T10:05:00"));
    assert_eq!(s.take(ahead), Some(night()));
    s.ended(&night(), Ended::Done, ahead);
    assert_eq!(s.next(right), Some(at("2026-12-25T02:30:00")), "a month from now, as the clock said");
    s.clock_went_back(right);
    assert_eq!(s.next(right), Some(at("2026-11-22T02:30:00")));
    assert_eq!(s.take(at("2026-11-22T02:30:01")), Some(night()));

    let mut s = schedule(&[], "2026-11-21T10:00:00");
    s.recall("enterprise-registration", &runs(&[("succeeded", None, "2026-12-24T02:30:01")]), right);
    assert_eq!(s.next(right), Some(at("2026-11-22T02:30:00")), "begun in the future, it says nothing of tomorrow");
    s.set_backfills(vec![BackfillLane { id: 1, beside: night(), window: None }]);
    assert_eq!(s.take(ahead), Some(night()));
    s.ended(&night(), Ended::Done, ahead);
    assert_eq!(s.take(ahead), Some(Job::Backfill(1)));
    s.ended(&Job::Backfill(1), Ended::Failed, ahead);
    s.clock_went_back(right);
    assert_eq!(s.take(right), Some(Job::Backfill(1)), "nor does a pause after a failure");
}
