//! A crash at every boundary between "not yet" and "for good": after the restart everything is as if nobody had crashed.

use std::collections::BTreeSet;
use std::process::Command;

use huiliu::failpoint::Boundary;

use super::scene::{Crash, Scene, Servers, Told};
use crate::support::{OnPostgres, Small};

/// Nights, and rows of an extract: rows that make several chunks, and rows that do not.
type Size = (u64, u64);
const MANY: Size = (1, 9_000);
const FEW: Size = (3, 60);

/// Where, in which verb, after how many times, in which nights.
const CRASHES: &[(Boundary, &str, u32, Size)] = &[
    (Boundary::ChunkWritten, "run", 0, FEW),
    (Boundary::ChunkWritten, "run", 1, MANY),
    (Boundary::ChunkCommitted, "run", 0, MANY),
    (Boundary::ChunkWritten, "backfill", 1, FEW),
    (Boundary::ChunkCommitted, "backfill", 0, FEW),
    (Boundary::Retracted, "run", 0, FEW),
    (Boundary::FileEnding, "run", 0, FEW),
    (Boundary::FileEnded, "run", 0, FEW),
    (Boundary::FileEnding, "backfill", 0, FEW),
    (Boundary::BatchSealing, "run", 0, FEW),
    (Boundary::BatchSealing, "run", 1, FEW),
    (Boundary::BatchSealed, "run", 1, FEW),
    (Boundary::BatchLeaving, "run", 0, FEW),
    (Boundary::BatchConfirmed, "run", 1, FEW),
    (Boundary::BatchDurable, "run", 1, FEW),
    (Boundary::LoadWritten, "receive", 1, FEW),
    (Boundary::LoadCommitted, "receive", 1, FEW),
    (Boundary::ReadAhead, "backfill", 1, FEW),
    (Boundary::BackfillWorked, "backfill", 0, FEW),
    (Boundary::BackfillDone, "backfill", 0, FEW),
    (Boundary::BackfillDone, "backfill", 1, FEW),
];

/// What a spool has no place for.
const QUEUE_CRASHES: &[(Boundary, &str, u32, Size)] = &[
    (Boundary::ReceiptSent, "receive", 1, FEW),
    (Boundary::LoadAcknowledged, "receive", 0, FEW),
    (Boundary::ReceiptKept, "feed", 1, FEW),
];

#[test]
fn every_boundary_is_tried_and_each_has_a_name_of_its_own() {
    let tried: Vec<Boundary> = CRASHES.iter().chain(QUEUE_CRASHES).map(|(boundary, ..)| *boundary).collect();
    for boundary in Boundary::ALL {
        assert!(tried.contains(&boundary), "nobody crashes at {boundary:?}");
    }
    let names: BTreeSet<&str> = Boundary::ALL.iter().map(|boundary| boundary.name()).collect();
    assert_eq!(names.len(), Boundary::ALL.len());
}

#[test]
fn no_build_but_that_of_tests_has_failpoints() {
    let features = |edges: &str| {
        let tree = ["tree", "--locked", "--offline", "-i", "fail", "-e", edges];
        let out = Command::new(env!("CARGO")).args(tree).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    assert!(!features("features,no-dev").contains("failpoints"));
    assert!(features("features").contains("failpoints"), "the question finds what is there");
    assert!(fail::has_failpoints());
}

#[tokio::test]
async fn on_sqlite_and_a_spool_a_crash_changes_nothing() {
    for size in [FEW, MANY] {
        let undisturbed = on_sqlite(None, size).await;
        for (boundary, during, after, _) in CRASHES.iter().filter(|(.., of)| *of == size) {
            let crash = Crash { at: boundary.name(), during, after: *after };
            on_sqlite(Some(crash), size).await.must_equal(&undisturbed, &format!("{crash:?}"));
        }
    }
}

/// Where a crash on servers differs most from one on files; `make chaos` tries all boundaries there, too.
const ON_SERVERS: &[Boundary] = &[
    Boundary::ChunkWritten,
    Boundary::BatchConfirmed,
    Boundary::LoadCommitted,
    Boundary::ReceiptSent,
    Boundary::LoadAcknowledged,
    Boundary::ReceiptKept,
];

#[tokio::test]
async fn on_postgresql_and_rabbitmq_a_crash_changes_nothing() {
    let all = std::env::var_os("HUILIU_CHAOS").is_some();
    for size in if all { &[FEW, MANY][..] } else { &[FEW] } {
        let undisturbed = on_servers(None, *size).await;
        let crashes = CRASHES.iter().chain(QUEUE_CRASHES).filter(|(.., of)| of == size);
        for (boundary, during, after, _) in crashes.filter(|(at, ..)| all || ON_SERVERS.contains(at)) {
            let crash = Crash { at: boundary.name(), during, after: *after };
            on_servers(Some(crash), *size).await.must_equal(&undisturbed, &format!("{crash:?}"));
        }
    }
}

async fn on_sqlite(crash: Option<Crash>, size: Size) -> Told {
    let small = Small::new();
    played(&Scene::new(&small, None, size).await, crash).await
}

async fn on_servers(crash: Option<Crash>, size: Size) -> Told {
    let (small, servers) = (OnPostgres::new(), Servers::new().await);
    played(&Scene::new(&small, Some(&servers), size).await, crash).await
}

async fn played(scene: &Scene<'_>, crash: Option<Crash>) -> Told {
    assert_eq!(scene.play(crash).await, usize::from(crash.is_some()), "it died where it should: {crash:?}");
    scene.told().await
}
