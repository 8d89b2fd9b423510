//! What registers say beyond single rows: courses of states, links, uniqueness, totals.

use huiliu::demo;
use huiliu::engine::{ReviewLine, RunReport};

use super::support::{Small, seals_as_files};

/// The city's definitions, and no files; the seal registry delivers files.
fn city() -> Small {
    let small = Small::empty();
    for (path, text) in demo::definitions() {
        small.write(path, text);
    }
    seals_as_files(&small);
    small
}

/// A delivery of the seal registry: (esID, status, successor, business time).
fn seals(small: &Small, name: &str, rows: &[(&str, &str, &str, &str)]) {
    let row = |(id, status, successor, at): &(&str, &str, &str, &str)| {
        format!(
            r#"{{"esID":"{id}","yzmc":"印章","yzlx":"1","ssdwdm":"91350100M000100Y43","zt":"{status}","xzbs":"{successor}","gxsj":"{at}"}}"#
        )
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    small.write(&format!("outbox/e-seal/{name}"), format!(r#"{{"data":{{"list":[{}]}}}}"#, rows.join(",")));
}

async fn status(small: &Small, register: &str, key: &str, field: &str) -> Option<String> {
    let mut engine = small.engine().await;
    let entity = engine.store().entity(register, key).await.unwrap().unwrap();
    entity.fields.into_iter().find(|(name, ..)| name == field).and_then(|(_, value, _)| value)
}

async fn review(small: &Small, register: &str, name: &str) -> ReviewLine {
    let lines = small.engine().await.review(Some(register), 10).await.unwrap();
    lines.into_iter().find(|line| line.name == name).unwrap()
}

fn note(report: &RunReport, code: &str) -> u64 {
    report.registers[0].notes_by.iter().find(|(known, _)| known == code).map_or(0, |(_, n)| *n)
}

#[tokio::test]
async fn a_seal_ends_in_the_same_state_whatever_arrives_first() {
    let records = [
        ("1", "有效", "", "2026-10-01 08:00:00"),
        ("1", "冻结", "", "2026-10-02 08:00:00"),
        ("1", "注销", "", "2026-10-03 08:00:00"),
        ("1", "有效", "", "2026-10-04 08:00:00"),
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
        let small = city();
        let (mut late, mut refused) = (0, 0);
        for (nth, record) in order.into_iter().enumerate() {
            seals(&small, &format!("YZ_{nth}.json"), &[records[record]]);
            let report = small.run("seals").await;
            assert_eq!(report.status, "succeeded", "{report:?}");
            late += note(&report, "business_time:late_record");
            refused += note(&report, "status_code:state_refused");
        }
        assert_eq!(status(&small, "seal", "1", "status_code").await.as_deref(), Some("3"), "{order:?}");
        let before = |nth: usize| order[..nth].iter().any(|earlier| *earlier > order[nth]);
        assert_eq!(late, (0..4).filter(|nth| before(*nth)).count() as u64, "{order:?}");
        assert_eq!(refused, 1, "{order:?}");
        let doctor = small.engine().await.doctor().await.unwrap();
        assert_eq!(doctor.disagreements, 0, "{:?}", doctor.findings);
    }
}

#[tokio::test]
async fn a_late_old_record_changes_no_field() {
    let small = city();
    let card = |name: &str, bank: &str, state: &str, at: &str| {
        let text = format!(
            "AAZ500|AAC002|AAC003|AAZ503|AAZ502|AAE008|AAE005|AAE036\r\n\
             A1|11010519491231002X|王伟|20240506|{state}|{bank}||{at}\r\n"
        );
        small.write(&format!("outbox/citizen-card/{name}"), encoding_rs::GB18030.encode(&text).0);
    };
    card("SBK_1.txt", "新银行", "挂失", "2026-10-02 08:00:00");
    small.run("citizen-cards").await;
    card("SBK_2.txt", "旧银行", "正常", "2026-10-01 08:00:00");
    let report = small.run("citizen-cards").await;
    assert_eq!(note(&report, "business_time:late_record"), 1, "{report:?}");
    assert_eq!(report.registers[0].counts.changed, 0, "{report:?}");
    let id = "11010519491231002X";
    assert_eq!(status(&small, "person", id, "card_bank").await.as_deref(), Some("新银行"));
    assert_eq!(status(&small, "person", id, "card_status_code").await.as_deref(), Some("2"));
    // The same time again is not late: a department may restate a record.
    card("SBK_3.txt", "更正银行", "挂失", "2026-10-02 08:00:00");
    small.run("citizen-cards").await;
    assert_eq!(status(&small, "person", id, "card_bank").await.as_deref(), Some("更正银行"));
}

#[tokio::test]
async fn a_dangling_link_resolves_itself() {
    let small = city();
    seals(&small, "YZ_1.json", &[("1", "有效", "", "2026-10-01 08:00:00"), ("2", "注销", "3", "2026-10-01 08:00:00")]);
    small.run("seals").await;
    let holder = review(&small, "seal", "holder").await;
    assert_eq!((holder.looked, holder.broken, holder.examples.len()), (2, 2, 2));
    let successor = review(&small, "seal", "successor").await;
    assert_eq!((successor.looked, successor.broken), (1, 1));

    seals(&small, "YZ_2.json", &[("3", "待审", "", "2026-10-02 08:00:00")]);
    small.run("seals").await;
    let text = "统一社会信用代码,企业名称,法定代表人,企业类型,注册资本,成立日期,经营范围,登记机关,住所,登记状态,更新时间\r\n\
                91350100M000100Y43,青岛甲有限公司,,,,,,,,存续,2026-10-01 00:00:00\r\n";
    small.write("outbox/market-regulation/QYDJ_1.csv", text);
    assert_eq!(small.run("enterprise-registration").await.status, "succeeded");
    assert_eq!(review(&small, "seal", "holder").await.broken, 0);
    assert_eq!(review(&small, "seal", "successor").await.broken, 0);

    let mut engine = small.engine().await;
    let register = engine.workspace().registers["seal"].clone();
    let seal = engine.store().entity("seal", "1").await.unwrap().unwrap();
    let value =
        |name: &str| seal.fields.iter().find(|(field, ..)| field == name).and_then(|(_, value, _)| value.clone());
    let links = engine.follow(&register.bonds.links, value).await.unwrap();
    let enterprise = engine.store().entity("enterprise", "91350100M000100Y43").await.unwrap().unwrap();
    assert_eq!(links[0].to, Some(("enterprise".to_owned(), enterprise.id)), "{links:?}");
}

/// Made on a day, filed on another; the working days of 2026 are known, and those of 2027 are not.
#[tokio::test]
async fn a_term_in_working_days_ends_as_the_calendar_says() {
    let small = city();
    let register = std::fs::read_to_string(small.path().join("mappings/registers/seal.yaml")).unwrap();
    let term = "due: { from: made_at, within: 5 working days, excluding: stopped_days }, basis: 条例第八条";
    let days = "  stopped_days: { title: 不计时天数, type: integer, share: unconditional, level: 1, from: [e-seal] }\n";
    small.write("mappings/registers/seal.yaml", register.replace("due: filing_due_at", term) + days);
    let edit = |path: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(small.path().join(path)).unwrap();
        assert!(text.contains(from), "{text}");
        small.write(path, text.replace(from, to));
    };
    edit("connectors/e-seal.yaml", "zzdw: text", "zzdw: integer");
    edit("mappings/e-seal/seal.seal.sql", "org_name(zzdw)                            as maker", "zzdw as stopped_days");
    let seals = [
        ("kept", "2026-09-24 09:00:00", "2026-10-09 23:00:00", "null"), // 中秋 and 国庆 lie between
        ("late", "2026-09-24 09:00:00", "2026-10-10 00:30:00", "0"),
        ("open", "2026-11-16 09:00:00", "", "-3"), // less than nothing is nothing
        ("overdue", "2026-11-10 09:00:00", "", "null"),
        ("unpublished", "2026-12-29 09:00:00", "", "null"),
        ("not_made", "", "", "null"),
        // A hearing of so many working days does not count.
        ("kept 2", "2026-09-24 09:00:00", "2026-10-12 23:30:00", "2"),
        ("late 2", "2026-09-24 09:00:00", "2026-10-13 00:30:00", "2"),
        ("open 2", "2026-11-10 09:00:00", "", "20"),
        ("unpublished 2", "2026-11-10 09:00:00", "", "9999999"),
    ];
    let row = |(id, made, filed, stopped): (&str, &str, &str, &str)| {
        format!(
            r#"{{"esID":"{id}","yzmc":"印章","yzlx":"1","ssdwdm":"91350100M000100Y43","zt":"有效","zzdw":{stopped},"zzsj":"{made}","basj":"{filed}","gxsj":"2026-10-01 08:00:00"}}"#
        )
    };
    let rows = seals.map(row).join(",");
    small.write("outbox/e-seal/YZ_1.json", format!(r#"{{"data":{{"list":[{rows}]}}}}"#));
    let report = small.run("seals").await;
    assert_eq!(report.status, "succeeded", "{report:?}");

    let mut engine = small.engine().await;
    let register = engine.workspace().registers["seal"].clone();
    let mut missed = Vec::new();
    for (id, made, ..) in seals {
        let entity = engine.store().entity("seal", id).await.unwrap().unwrap();
        let value = |name: &str| entity.fields.iter().find(|(field, ..)| field == name).and_then(|(_, v, _)| v.clone());
        let clocks = engine.deadlines(&register, value);
        assert_eq!(clocks.is_empty(), made.is_empty(), "{id}: {clocks:?}");
        if let [clock] = clocks.as_slice() {
            let state = serde_json::to_value(clock).unwrap()["state"].as_str().unwrap().to_owned();
            assert_eq!(state, id.trim_end_matches(" 2"), "{clock:?}");
            assert_eq!(clock.basis.as_deref(), Some("条例第八条"));
        }
        if ["late", "late 2", "overdue"].contains(&id) {
            missed.push(entity.id);
        }
    }
    drop(engine);
    missed.sort_unstable();
    let line = review(&small, "seal", "filing").await;
    assert_eq!((line.looked, line.broken, line.overdue, line.unpublished), (9, 3, 1, 2), "{line:?}");
    assert_eq!(line.examples, missed);
}

#[tokio::test]
async fn a_unit_has_one_seal_with_its_legal_name() {
    let small = city();
    let at = "2026-10-01 08:00:00";
    seals(&small, "YZ_1.json", &[("1", "有效", "", at), ("2", "冻结", "", at), ("3", "注销", "", at)]);
    small.run("seals").await;
    let single = review(&small, "seal", "legal_name").await;
    assert_eq!((single.looked, single.broken), (2, 1));
    seals(&small, "YZ_2.json", &[("2", "注销", "", "2026-10-02 08:00:00")]);
    small.run("seals").await;
    assert_eq!(review(&small, "seal", "legal_name").await.broken, 0);
}

#[tokio::test]
async fn details_add_up_to_their_receipt() {
    let small = city();
    let levies = |name: &str, rows: &[(&str, &str, &str, &str)]| {
        let mut text = String::from(
            "YZPZXH,YZPZMXXH,DJXH,NSRSBH,TYSHXYDM,NSRMC,ZSXM_DM,SKSSQQ,SKSSQZ,SE,PZHJ,RKRQ,YSJC,SWJGMC,SJTB_SJ\r\n",
        );
        for (receipt, detail, amount, total) in rows {
            text += &format!(
                "{receipt},{detail},1,,,甲,增值税,2026-09-01,2026-09-30,{amount},{total},2026-10-15,,,2026-10-16 02:00:00\r\n"
            );
        }
        small.write(&format!("outbox/tax/{name}"), encoding_rs::GB18030.encode(&text).0);
    };
    levies(
        "ZSXX_1.csv",
        &[
            ("1", "1", "100.10", "300.30"),
            ("1", "2", "200.20", "300.30"),
            ("2", "1", "50", "80"),
            ("3", "1", "-5", "-5"),
            ("4", "1", "1", "2"),
            ("4", "2", "1", "3"),
        ],
    );
    assert_eq!(small.run("tax-levies").await.status, "succeeded");
    let bills = review(&small, "fiscal", "bill").await;
    assert_eq!((bills.looked, bills.broken), (4, 2), "one lacks a detail, one says two totals: {bills:?}");
    levies("ZSXX_2.csv", &[("2", "2", "30", "80")]);
    small.run("tax-levies").await;
    assert_eq!(review(&small, "fiscal", "bill").await.broken, 1);
}

#[tokio::test]
async fn a_state_nobody_knows_is_set_aside() {
    let small = city();
    let codes = "# source: test\ncode,name\n0,有效\n7,借出\n";
    small.write("mappings/codes/seal_status.csv", codes);
    seals(&small, "YZ_1.json", &[("1", "借出", "", "2026-10-01 08:00:00"), ("2", "有效", "", "2026-10-01 08:00:00")]);
    let report = small.engine().await.run("seals", &huiliu::engine::RunOptions { accept: Some("test".into()) }).await;
    let report = report.unwrap();
    assert_eq!(report.registers[0].quarantined_by, [("status_code:state_unknown".to_owned(), 1)], "{report:?}");
}

#[tokio::test]
async fn a_seal_is_filed_within_a_day() {
    let small = city();
    let seal = |id: &str, made: &str, filed: &str| {
        format!(r#"{{"esID":"{id}","zt":"有效","zzsj":"{made}","basj":"{filed}","gxsj":"2026-11-21 00:00:00"}}"#)
    };
    // The tests' clock says 2026-11-21 16:30.
    let rows = [
        seal("1", "2026-10-01 10:00:00", "2026-10-02 10:00:00"),
        seal("2", "2026-10-01 10:00:00", "2026-10-02 10:00:01"),
        seal("3", "2026-11-20 16:29:00", ""),
        seal("4", "2026-11-20 16:31:00", ""),
        seal("5", "", ""),
    ];
    small.write("outbox/e-seal/YZ_1.json", format!(r#"{{"data":{{"list":[{}]}}}}"#, rows.join(",")));
    assert_eq!(small.run("seals").await.status, "succeeded");
    let filing = review(&small, "seal", "filing").await;
    assert_eq!((filing.looked, filing.broken, filing.overdue), (4, 2, 1), "{filing:?}");
}
