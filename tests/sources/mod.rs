//! Sources of files, wherever they are: what every kind of root does beside what all sources do (`conformance`), and what
//! only some can get wrong.

pub mod room;
mod special;

use huiliu::config::Workspace;
use huiliu::source::{self, Source};

use self::room::Room;
use super::support::{CODES, line};

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
            async fn nothing_empty_and_no_root_are_three_things() {
                super::empty(Room::$kind().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn settled_and_refused_files_go_where_they_belong() {
                super::settled(Room::$kind().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_file_that_changed_is_not_what_was_listed() {
                super::changed(Room::$kind().await).await;
            }
        }
    )*};
}

source_suite!(local sftp ftp ftps webdav s3);

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
