//! The same batches into every kind of table: what one database holds, the other holds too.

use std::fs;
use std::sync::Arc;

use chrono::DateTime;
use huiliu::clock::Clock;
use huiliu::crypto::{DigestAlgorithm, Trust};
use huiliu::receive::{Question, Spool, Target, receive_feed, take_stock};
use huiliu::record::FieldType;
use sqlx::{Connection as _, PgConnection, Row as _, SqliteConnection};

use crate::interop::{FEED, Fixture};
use crate::support::services::Database;

async fn load(fixture: &Fixture, target: &str) -> (u64, Option<String>) {
    let trust = Arc::new(Trust::from_pem(&fs::read(fixture.path("dev-ca.pem")).unwrap()).unwrap().into());
    let spool = Spool::parse(&format!("spool:{}", fixture.path("spool").display())).unwrap();
    let mut sink = Target::parse(target).unwrap().open(None).await.unwrap();
    let received = receive_feed(&mut spool.feed(FEED), FEED, &trust, sink.as_mut(), Clock::System).await;
    (received.batches, received.stopped.map(|problem| problem.to_string()))
}

/// Numbers, dates and digests as text, the instant in microseconds, and the text.
type Line = (String, Option<i64>, Option<String>);

#[tokio::test]
async fn sqlite_and_postgresql_hold_the_same_values_of_every_type() {
    let (fixture, database) = (Fixture::new().await, Database::new().await);
    let file = fixture.path("out.db");
    let sqlite = format!("sqlite:{}", file.display());
    for target in [&sqlite, &database.url()] {
        assert_eq!(load(&fixture, target).await, (3, None));
        assert_eq!(load(&fixture, target).await, (0, None), "again is nothing new");
    }

    let mut connection = SqliteConnection::connect(&sqlite).await.unwrap();
    let rows = sqlx::query(
        r#"select concat_ws('|', _id, _version, _seq, lower(hex(_digest)),
           coalesce("integer", '-'), coalesce("decimal", '-'), coalesce("date", '-'), coalesce("boolean", '-')),
           "timestamp", "text" from enterprise order by _id"#,
    );
    let instant = |text: String| DateTime::parse_from_rfc3339(&text).unwrap().timestamp_micros();
    let held: Vec<Line> = rows
        .fetch_all(&mut connection)
        .await
        .unwrap()
        .iter()
        // PostgreSQL has no room for U+0000, and gets the sign for it.
        .map(|row| (row.get(0), row.get::<Option<String>, _>(1).map(instant), row.get::<Option<String>, _>(2)))
        .map(|(line, at, text)| (line, at, text.map(|text| text.replace('\0', "␀"))))
        .collect();

    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let rows = sqlx::query(
        r#"select concat_ws('|', _id, _version, _seq, encode(_digest, 'hex'),
           coalesce("integer"::text, '-'), coalesce("decimal"::text, '-'), coalesce("date"::text, '-'),
           coalesce("boolean"::int::text, '-')),
           (extract(epoch from "timestamp") * 1000000)::bigint, "text" from enterprise order by _id"#,
    );
    let also: Vec<Line> =
        rows.fetch_all(&mut connection).await.unwrap().iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(held.len(), 2_999, "3000 upserts, one of them withdrawn");
    assert_eq!(held, also);
    let counted: i64 = sqlx::query_scalar("select held from huiliu_cursor").fetch_one(&mut connection).await.unwrap();
    assert_eq!(counted, 2_999);
}

#[tokio::test]
async fn taking_stock_finds_every_value_of_every_type_as_it_was_sent() {
    let (fixture, database) = (Fixture::new().await, Database::new().await);
    let sent = fixture.held();
    let question = Question {
        feed: FEED.into(),
        register: "enterprise".into(),
        fields: FieldType::ALL.iter().map(|kind| (kind.name().to_owned(), *kind)).collect(),
        algorithm: DigestAlgorithm::Sha256,
    };
    for target in [format!("sqlite:{}", fixture.path("out.db").display()), database.url()] {
        load(&fixture, &target).await;
        let stock = take_stock(&Target::parse(&target).unwrap(), &question).await.unwrap();
        assert_eq!(stock.cursor.map(|cursor| cursor.seq), Some(3));
        assert_eq!(stock.records, sent, "{target}");
    }
}
