//! What only some sources can get wrong: keys of servers, control files, signatures, archives, declared counts.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use huiliu::engine::{FileReport, RunOptions, RunReport};

use super::ROWS;
use super::room::Room;
use crate::support::services::service;
use crate::support::{CODES, Small, line, secret};

/// The only file of a report: its outcome and why.
fn only(report: &RunReport) -> (&'static str, String) {
    let [FileReport { outcome, why, .. }] = report.files.as_slice() else { panic!("{report:?}") };
    (outcome, why.clone().unwrap_or_default())
}

/// Replaces lines of the connector's dataset.
fn dataset(small: &Small, from: &str, to: &str) {
    let path = small.path().join("connectors/gs.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_key_is_refused_before_anything_is_sent() {
    let room = Room::sftp().await;
    room.extract("QY_1.csv", &ROWS).await;
    let own = service("SFTP_HOST_KEY");
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    room.connect_to(&room.keys().replace(&own, other));
    let error = room.source().list(None).await.unwrap_err();
    assert_eq!((error.code(), error.disposition()), ("HL0350", huiliu::error::Disposition::Halt), "{error}");
    let report = room.small.run("qy").await;
    assert!(report.status == "failed" && report.why.as_deref().unwrap().starts_with("HL0350"), "{report:?}");
    // The right key, as a fingerprint.
    let keys = service("SFTP_KEYS");
    let shown = Command::new("ssh-keygen").args(["-lf", &format!("{keys}/host_key.pub")]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let fingerprint = shown.split(' ').find(|word| word.starts_with("SHA256:")).unwrap();
    room.connect_to(&format!("settle: {{ quiet: 1s }}, {}", room.keys().replace(&own, fingerprint)));
    assert_eq!(line(&room.small.run("qy").await), "succeeded 3/0/0/3/0/0/0/0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_password_or_address_is_told_apart() {
    let room = Room::sftp().await;
    let rsa = room.keys().replace("user_key", "other_key");
    room.connect_to(&format!("settle: {{ quiet: 1s }}, {rsa}"));
    assert_eq!(room.source().list(None).await.unwrap().items, [], "an RSA key does as well");
    let stranger = room.small.path().join("stranger");
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&stranger).status().unwrap();
    assert!(made.success());
    let own = format!("{}/user_key", service("SFTP_KEYS"));
    room.connect_to(&room.keys().replace(&own, &stranger.to_string_lossy()));
    assert_eq!(room.source().list(None).await.unwrap_err().code(), "HL0351");
    for (room, keys) in [
        (Room::ftp().await, format!("user: huiliu, password: {}, ", secret("wrong"))),
        (Room::webdav().await, format!("user: huiliu, password: {}, ", secret("wrong"))),
    ] {
        let rest = room.keys().split("password: ").nth(1).unwrap().split_once(", ").unwrap().1.to_owned();
        room.connect_to(&format!("{keys}{rest}"));
        let error = room.source().list(None).await.unwrap_err();
        assert_eq!(error.code(), "HL0351", "{error}");
        assert!(!error.to_string().contains("wrong"));
    }
    let nobody = Room::beside(&Room::webdav().await, "127.0.0.1:9").await;
    let error = nobody.source().list(None).await.unwrap_err();
    assert_eq!((error.code(), error.disposition()), ("HL0352", huiliu::error::Disposition::Retry), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_file_is_waited_for_and_held_against_its_file() {
    for room in [Room::local().await, Room::sftp().await] {
        dataset(
            &room.small,
            "    key:",
            "    control: { file: \"{stem}.chk\", says: \"{name}|{rows}|{bytes}\" }\n    key:",
        );
        room.extract("QY_1.csv", &ROWS).await;
        let bytes = 6 * 3 + 3 * 5; // only its length matters below
        assert_eq!(only(&room.small.run("qy").await).0, "writing");
        let say = |rows: usize, bytes: u64| format!("QY_0.csv|9|9\r\nQY_1.csv|{rows}|{bytes}\r\n");
        let item = {
            room.put("QY_1.chk", say(3, bytes).as_bytes()).await;
            room.source().list(None).await.unwrap().items.remove(0)
        };
        assert_eq!(only(&room.small.run("qy").await).0, "held");
        room.put("QY_1.chk", say(103, item.bytes).as_bytes()).await;
        let report = room.small.run("qy").await;
        let (outcome, why) = only(&report);
        assert_eq!((report.status, outcome), ("held", "held"));
        assert_eq!(why, "HL0354 the control file of QY_1.csv disagrees: it says 103 rows, the file has 3");
        assert_eq!(report.registers[0].counts.read, 0);
        room.put("QY_1.chk", b"nothing of the kind").await;
        assert!(only(&room.small.run("qy").await).1.contains("it does not say"));
        // The department sends the right one.
        room.put("QY_1.chk", say(3, item.bytes).as_bytes()).await;
        assert_eq!(line(&room.small.run("qy").await), "succeeded 3/0/0/3/0/0/0/0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_can_accept_what_the_control_file_denies() {
    let room = Room::local().await;
    dataset(&room.small, "    key:", "    control: { file: \"{name}.ok\", says: \"{rows}\" }\n    key:");
    room.extract("QY_1.csv", &ROWS).await;
    room.put("QY_1.csv.ok", b"4\n").await;
    assert_eq!(only(&room.small.run("qy").await).0, "held");
    let accept = RunOptions { accept: Some("the department counts its header".to_owned()) };
    let report = room.small.engine().await.run("qy", &accept).await.unwrap();
    assert_eq!(line(&report), "succeeded 3/0/0/3/0/0/0/0");
}

/// A key and a certificate of a department, by OpenSSL.
fn department(dir: &Path, name: &str, kind: &[&str]) {
    let path = |what: &str| dir.join(format!("{name}.{what}"));
    std::fs::create_dir_all(dir).unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "30", "-subj", &format!("/CN={name}"), "-newkey"])
        .args(kind)
        .args(["-addext", "keyUsage=critical,digitalSignature", "-addext", "basicConstraints=CA:FALSE", "-keyout"])
        .arg(path("key"))
        .arg("-out")
        .arg(path("pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A detached signature over `bytes`, by OpenSSL.
fn signed(dir: &Path, name: &str, bytes: &[u8], form: &str) -> Vec<u8> {
    let file = dir.join("to-sign");
    std::fs::write(&file, bytes).unwrap();
    let made = Command::new("openssl")
        .args(["cms", "-sign", "-binary", "-md", "sha256", "-outform", form, "-in"])
        .arg(&file)
        .arg("-signer")
        .arg(dir.join(format!("{name}.pem")))
        .arg("-inkey")
        .arg(dir.join(format!("{name}.key")))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_taken_only_with_its_departments_own_signature() {
    for (room, kind) in [
        (Room::local().await, &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"][..]),
        (Room::webdav().await, &["rsa:2048"][..]),
    ] {
        let certs = room.small.path().join("certs");
        department(&certs, "gs", kind);
        department(&certs, "tax", kind);
        room.connect("settle: { quiet: 1s, reject: bad }, certificate: certs/gs.pem, ");
        dataset(&room.small, "    key:", "    signature: required\n    key:");
        room.extract("QY_1.csv", &ROWS).await;
        let (outcome, why) = only(&room.small.run("qy").await);
        assert_eq!((outcome, &why.as_bytes()[..6]), ("failed", b"HL0355".as_slice()));
        let text = "代码,名称,注册号,资本,状态,更新\r\n".to_owned()
            + &ROWS.iter().map(|row| row.join(",") + "\r\n").collect::<String>();
        for (name, signature) in [
            ("another department", signed(&certs, "tax", text.as_bytes(), "DER")),
            ("other bytes", signed(&certs, "gs", &text.as_bytes()[1..], "DER")),
            ("no signature", b"-----BEGIN CMS-----\nx\n-----END CMS-----\n".to_vec()),
        ] {
            room.extract("QY_1.csv", &ROWS).await;
            room.put("QY_1.csv.p7s", &signature).await;
            let report = room.small.run("qy").await;
            let (outcome, why) = only(&report);
            assert_eq!(
                (outcome, &why.as_bytes()[..6], report.registers[0].counts.read),
                ("failed", b"HL0356".as_slice(), 0),
                "{name}: {why}"
            );
            assert_eq!(room.source().list(None).await.unwrap().items, [], "{name}: set aside whole");
        }
        for (file, form) in [("QY_2.csv", "DER"), ("QY_3.csv", "PEM")] {
            room.extract(file, &ROWS).await;
            room.put(&format!("{file}.p7s"), &signed(&certs, "gs", text.as_bytes(), form)).await;
            let report = room.small.run("qy").await;
            assert_eq!(report.status, "succeeded", "{report:?}");
        }
        assert_eq!(room.small.engine().await.store().count("enterprise").await.unwrap(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_read_where_they_lie_and_bombs_refused() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 1 << 20]).unwrap();
    let bomb = bomb.finish().unwrap().repeat(80);
    for room in [Room::local().await, Room::sftp().await, Room::s3().await] {
        let text = "代码,名称,注册号,资本,状态,更新\n".to_owned()
            + &ROWS.iter().map(|row| row.join(",") + "\n").collect::<String>();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(text.as_bytes()).unwrap();
        room.put("QY_1.csv", &packed.finish().unwrap()).await;
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        archive.start_file("QY_2.csv", zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(text.replace("甲", "丁").as_bytes()).unwrap();
        room.put("QY_2.csv", &archive.finish().unwrap().into_inner()).await;
        assert_eq!(line(&room.small.run("qy").await), "succeeded 6/0/0/3/1/2/0/0");
        room.put("QY_3.csv", &bomb).await;
        let report = room.small.run("qy").await;
        let file = report.files.last().unwrap();
        assert_eq!((file.outcome, &file.why.as_deref().unwrap().as_bytes()[..6]), ("failed", b"HL0314".as_slice()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconciliation_file_that_was_cut_off_is_refused_whole_with_both_numbers() {
    let small = Small::new();
    let text = std::fs::read_to_string(small.path().join("connectors/gs.yaml")).unwrap();
    let text = text.replace("QY_*.csv", "QY_{yyyyMMdd}.txt").replace(
        "{ kind: csv, encoding: auto }",
        "{ kind: separated, fields: \"|||\", rows: \"###\", head: \"3003{rows:8}{日期:8}\" }",
    );
    small.write("connectors/gs.yaml", text.replace("更新: text", "更新: { type: text, path: head.日期 }"));
    let row = |i: usize| format!("{}|||企业{i}||||||100万元|||在营", CODES[i % 6]);
    let rows: Vec<String> = (0..57).map(row).collect();
    small.write("out/gs/QY_20261120.txt", format!("30030000010320261120{}##\0", rows.join("###")));
    let report = small.run("qy").await;
    let (outcome, why) = only(&report);
    assert_eq!((outcome, report.registers[0].counts.read), ("failed", 0));
    assert!(why.starts_with("HL0322 ") && why.contains("declares 103 rows and holds 57"), "{why}");
    small.write("out/gs/QY_20261121.txt", format!("30030000000620261121{}##\0", rows[..6].join("###")));
    let report = small.run("qy").await;
    let outcomes: Vec<&str> = report.files.iter().map(|file| file.outcome).collect();
    assert_eq!((outcomes, report.registers[0].counts.new), (vec!["failed", "taken"], 6), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_read_in_the_encoding_of_the_file_beside_it() {
    for room in [Room::sftp().await, Room::ftp().await, Room::local().await] {
        let from = "path: QY_*.csv\n    format: { kind: csv, encoding: auto }";
        dataset(&room.small, from, "path: QY_*.dbf\n    format: { kind: dbf }");
        dataset(&room.small, "lost_column: freeze", "lost_column: accept");
        room.put("QY_1.dbf", &table()).await;
        // Without the .cpg the sample is too short to be told from GBK with certainty; with it, it is declared.
        room.put("QY_1.CPG", b"UTF-8").await;
        assert_eq!(line(&room.small.run("qy").await), "succeeded 2/1/0/1/0/0/0/0");
    }
}

/// What has its digest taken is what is read, though another file of the same size and time has taken its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_on_a_server_is_fetched_once() {
    for room in [Room::sftp().await, Room::ftp().await, Room::webdav().await] {
        room.connect("settle: { quiet: 1s }, ");
        room.extract("QY_1.csv", &ROWS[..1]).await;
        let mut source = room.source();
        let item = source.list(None).await.unwrap().items.remove(0);
        let kept: Vec<_> = std::fs::read_dir(room.small.path().join(".huiliu")).unwrap().collect();
        assert!(kept.iter().all(|entry| entry.as_ref().unwrap().path().is_dir()), "a copy has no name: {kept:?}");
        room.extract("QY_1.csv", &[[ROWS[0][0], "乙", ROWS[0][2], ROWS[0][3], ROWS[0][4], ROWS[0][5]]]).await;
        let mut decoder = source.open(&item, None).await.unwrap();
        let rows = tokio::task::spawn_blocking(move || decoder.next(10).unwrap().unwrap()).await.unwrap();
        let raw = String::from_utf8(rows.raw).unwrap();
        assert!(raw.contains("甲") && !raw.contains("乙"), "{raw}");
    }
}

/// `代码 C18`, `名称 C30`, `状态 C6` with one row and one that is deleted.
fn table() -> Vec<u8> {
    let mut bytes = vec![3, 124, 2, 6, 2, 0, 0, 0, 129, 0, 55, 0];
    bytes.resize(32, 0);
    for (name, len) in [("代码", 18u8), ("名称", 30), ("状态", 6)] {
        let mut block = name.as_bytes().to_vec();
        block.resize(11, 0);
        block.push(b'C');
        block.resize(16, 0);
        block.push(len);
        block.resize(32, 0);
        bytes.extend(block);
    }
    bytes.push(0x0D);
    for mark in [b' ', b'*'] {
        bytes.push(mark);
        bytes.extend(CODES[0].as_bytes());
        let mut name = "青岛海蓝科技".as_bytes().to_vec();
        name.resize(30, b' ');
        bytes.extend(name);
        bytes.extend("在营".as_bytes());
    }
    bytes.push(0x1A);
    bytes
}
