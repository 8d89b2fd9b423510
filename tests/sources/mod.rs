//! Sources of files, wherever they are: one suite that every kind of root runs, and what only some can get wrong.

mod proxy;
mod room;
mod special;

use huiliu::config::Workspace;
use huiliu::decode::{Decode, Position};
use huiliu::source::{self, Source};

use self::proxy::Proxy;
use self::room::Room;
use super::support::{CODES, line, registers};

const ROWS: [[&str; 6]; 3] = [
    [CODES[0], "甲", "", "100万元", "在营", "2026-10-01 00:00:00"],
    [CODES[1], "乙", "", "200万元", "在营", "2026-10-01 00:00:00"],
    [CODES[2], "丙", "", "300万元", "在营", "2026-10-01 00:00:00"],
];

macro_rules! source_suite {
    ($($kind:ident)*) => {$(
        mod $kind {
            use super::Room;

            #[tokio::test(flavor = "multi_thread")]
            async fn files_are_taken_once_whatever_they_are_called() {
                super::taken_once(Room::$kind().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn nothing_empty_and_no_root_are_three_things() {
                super::empty(Room::$kind().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_stopped_file_goes_on_where_it_stopped() {
                super::resumed(Room::$kind().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn settled_and_refused_files_go_where_they_belong() {
                super::settled(Room::$kind().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_file_that_changed_is_not_what_was_listed() {
                super::changed(Room::$kind().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn an_extract_that_shrank_waits_for_a_person() {
                super::shrunk(Room::$kind().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_connection_that_was_cut_or_is_slow_loses_nothing() {
                super::cut(Room::$kind().await).await;
            }
        }
    )*};
}

source_suite!(local sftp ftp ftps webdav s3);

async fn taken_once(room: Room) {
    room.extract("QY_1.csv", &ROWS[..2]).await;
    room.extract("other.txt", &ROWS[..1]).await;
    assert_eq!(line(&room.small.run("qy").await), "succeeded 2/0/0/2/0/0/0/0");
    assert_eq!(room.small.run("qy").await.files[0].outcome, "unchanged");
    room.extract("QY_2.csv", &ROWS[..2]).await;
    let report = room.small.run("qy").await;
    let outcomes: Vec<&str> = report.files.iter().map(|file| file.outcome).collect();
    assert_eq!((report.files[1].name.as_str(), outcomes), ("QY_2.csv", vec!["unchanged", "unchanged"]));
    room.extract("QY_3.csv", &ROWS).await;
    assert_eq!(line(&room.small.run("qy").await), "succeeded 3/0/0/1/0/2/0/0");
}

async fn empty(room: Room) {
    room.extract("other.txt", &ROWS[..1]).await;
    let report = room.small.run("qy").await;
    assert_eq!((report.status, report.files.len()), ("succeeded", 0));
    room.put("QY_1.csv", b"").await;
    let report = room.small.run("qy").await;
    assert_eq!((report.status, report.files[0].outcome), ("failed", "failed"));
    assert!(report.files[0].why.as_deref().unwrap().starts_with("HL0311"));
    room.put("QY_1.csv", "代码,名称,注册号,资本,状态,更新\n".as_bytes()).await;
    assert_eq!(line(&room.small.run("qy").await), "succeeded 0/0/0/0/0/0/0/0");
    if room.has_directories() {
        let error = room.source_below("nowhere").list(None).await.unwrap_err();
        assert_eq!(error.code(), "HL0301", "{error}");
    }
}

/// Rows of a decoder, and the position after each chunk.
fn read(decoder: &mut dyn Decode, rows: usize) -> (Vec<String>, Position) {
    let mut position = Position::default();
    let mut all = Vec::new();
    while all.len() < rows {
        let Some(chunk) = decoder.next(rows - all.len()).unwrap() else { break };
        all.extend((0..chunk.rows.num_rows()).map(|i| String::from_utf8_lossy(chunk.raw_row(i)).into_owned()));
        position = chunk.position;
    }
    (all, position)
}

async fn resumed(room: Room) {
    room.extract("QY_1.csv", &ROWS).await;
    let mut source = room.source();
    let item = source.list(None).await.unwrap().items.remove(0);
    let opened = source.open(&item, None).await.unwrap();
    let ((first, position), whole) = reading(opened, 1).await;
    let again = source.open(&item, Some(&position)).await.unwrap();
    let ((rest, _), _) = reading(again, usize::MAX).await;
    assert_eq!([first, rest].concat(), whole);
    assert_eq!(whole.len(), 3);
}

/// The first rows with the position after them, and all rows.
async fn reading(mut decoder: Box<dyn Decode>, rows: usize) -> ((Vec<String>, Position), Vec<String>) {
    let read = tokio::task::spawn_blocking(move || {
        let (first, position) = read(decoder.as_mut(), rows);
        let (rest, _) = read(decoder.as_mut(), usize::MAX);
        let whole = [first.clone(), rest].concat();
        ((first, position), whole)
    });
    read.await.unwrap()
}

async fn settled(room: Room) {
    room.connect("settle: { quiet: 1s, archive: done, reject: bad }, ");
    room.extract("QY_1.csv", &ROWS[..2]).await;
    room.put("QY_2.csv", "代码,代码\n1,2\n".as_bytes()).await;
    let report = room.small.run("qy").await;
    let outcomes: Vec<&str> = report.files.iter().map(|file| file.outcome).collect();
    assert_eq!(outcomes, ["taken", "failed"], "{report:?}");
    let mut left = room.source_of("*.csv");
    assert_eq!(left.list(None).await.unwrap().items, []);
    for (path, name) in [("done/*.csv", "QY_1.csv"), ("bad/*.csv", "QY_2.csv")] {
        let items = room.source_of(path).list(None).await.unwrap().items;
        assert_eq!(items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), [name]);
        // A crash between the commit and the settling repeats it.
        let listed = huiliu::source::Item { path: name.to_owned(), ..items[0].clone() };
        let mut again = room.source();
        again.settle(&listed).await.unwrap();
        again.refuse(&listed).await.unwrap();
    }
    assert_eq!(room.small.run("qy").await.files.len(), 0);
}

async fn changed(room: Room) {
    room.extract("QY_1.csv", &ROWS[..2]).await;
    let mut source = room.source();
    let item = source.list(None).await.unwrap().items.remove(0);
    room.extract("QY_1.csv", &ROWS).await;
    assert_eq!(source.open(&item, None).await.err().unwrap().code(), "HL0304");
    room.remove("QY_1.csv").await;
    assert_eq!(source.open(&item, None).await.err().unwrap().code(), "HL0304");
    assert_eq!(source.list(None).await.unwrap().items, []);
}

async fn shrunk(room: Room) {
    room.extract("QY_1.csv", &ROWS).await;
    assert_eq!(line(&room.small.run("qy").await), "succeeded 3/0/0/3/0/0/0/0");
    room.extract("QY_2.csv", &ROWS[..1]).await;
    let report = room.small.run("qy").await;
    assert_eq!((report.status, report.files[1].outcome), ("held", "held"));
    assert!(report.why.unwrap().contains("HL0502"));
}

async fn cut(room: Room) {
    let Some(server) = room.server() else { return };
    let rows: Vec<String> =
        (0..6_000).map(|i| format!("{},企业{i},,{i}万元,在营,2026-10-01 00:00:00", CODES[i % 6])).collect();
    let text = format!("代码,名称,注册号,资本,状态,更新\n{}\n", rows.join("\n"));
    room.put("QY_1.csv", text.as_bytes()).await;
    let direct = room.small.run("qy").await;
    assert_eq!(direct.status, "succeeded", "{direct:?}");
    let expect = registers(&mut room.small.engine().await).await;

    let proxy = Proxy::before(&server).await;
    let through = Room::beside(&room, &proxy.address()).await;
    for bytes in [150_000, 500_000] {
        proxy.cut_after(bytes);
        let report = through.small.run("qy").await;
        assert_eq!(report.status, "failed", "{report:?}");
        assert_ne!(report.files.first().map(|file| file.outcome), Some("taken"));
    }
    proxy.trickle();
    let report = through.small.run("qy").await;
    assert_eq!(report.status, "succeeded", "{report:?}");
    assert_eq!(registers(&mut through.small.engine().await).await, expect);
}

/// The source of dataset `gs.qy` of a workspace, with another path.
fn source_of(dir: &std::path::Path, path: Option<&str>) -> Box<dyn Source> {
    let workspace = Workspace::load(dir).unwrap_or_else(|problems| panic!("{}", huiliu::error::render(&problems)));
    let connector = &workspace.connectors["gs"];
    let mut dataset = connector.datasets["qy"].clone();
    if let (Some(path), huiliu::config::Offer::Files { path: own, .. }) = (path, &mut dataset.offer) {
        *own = path.to_owned();
    }
    source::open(&workspace, connector, &dataset).unwrap()
}
