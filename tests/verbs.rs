//! The verbs that ask, correct and examine, run as a person runs them: the binary, its output, its exit code.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{CODES, Small};

/// A grant that does not end, so that these tests hold on any day.
const GRANT: &str = "version: 1
subscriber: housing
title: 住房和城乡建设局
register: enterprise
purpose: 资质审查
basis: 条例第三十二条
approved: { by: 数据资源处, on: 2026-03-01, number: 17号 }
valid: { from: 2026-03-01 }
fields: [uscc, name, status]
rows: status = '在营'
mask: { name: name }
delivery: { outlet: spool, every: 1m, batch: { records: 3, bytes: 4MiB } }
";

/// What one command did: exit code, stdout, stderr.
fn huiliu(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_huiliu")).arg("--dir").arg(dir).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn json(dir: &Path, args: &[&str]) -> serde_json::Value {
    let (_, out, err) = huiliu(dir, &[&["--json"], args].concat());
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"))
}

const BAD: [&str; 6] = ["91370283706488757A", "青岛海蓝科技有限公司", "", "500", "在营", "2026-11-01 08:00:00"];

/// One good enterprise known to two departments, one whose code is wrong, and one whose capital is; released.
async fn told_twice() -> Small {
    let small = Small::new();
    small.write("pipelines/feeds/housing.enterprise.yaml", GRANT);
    small.write("pipelines/qy.yaml", "version: 1\nfrom: gs.qy\ninto: [enterprise]\nlimit: { quarantine: 70% }\n");
    let good = [CODES[1], "青岛红瓦贸易有限公司", "", "100", "在营", "2026-11-02 08:00:00"];
    let odd = [CODES[2], "青岛绿树餐饮有限公司", "", "一百左右", "在营", "2026-11-02 08:00:00"];
    small.extract("QY_1.csv", &[good, BAD, odd]);
    small.taxpayers("NSR_1.csv", &[[CODES[1], "", "红瓦贸易公司", "13800000000", "2026-11-03 08:00:00"]]);
    small.run("qy").await;
    small.run("nsr").await;
    small.release().await;
    small
}

#[tokio::test]
async fn explain_goes_back_to_the_row_and_forward_to_the_holder() {
    let small = told_twice().await;
    let (code, out, err) = huiliu(small.path(), &["register", "explain", "enterprise", CODES[1]]);
    assert_eq!((code, err.as_str()), (0, ""));
    insta::assert_snapshot!(out, @r#"
    企业基础信息库 enterprise · #1 · 版本 version 2 · 自 since 2026-11-21 16:30:00

    统一社会信用代码 uscc = 91370203163787952M
      ✓ gs.qy 市场监督管理局 · 2026-11-02 08:00:00 · QY_1.csv row 1, run 1
        mappings/gs/qy.enterprise.sql:2  uscc(代码)  version 1aff87cb4ada9665
      ✗ 91370203163787952M ← tax.nsr 税务局 · 2026-11-03 08:00:00 · NSR_1.csv row 1, run 2
        来源次序 source order: gs stands before tax
      → 提供 released: housing.enterprise

    名称 name = 青岛红瓦贸易有限公司
      ✓ gs.qy 市场监督管理局 · 2026-11-02 08:00:00 · QY_1.csv row 1, run 1
        mappings/gs/qy.enterprise.sql:4  org_name(名称)  version 1aff87cb4ada9665
      ✗ 红瓦贸易公司 ← tax.nsr 税务局 · 2026-11-03 08:00:00 · NSR_1.csv row 1, run 2
        来源次序 source order: gs stands before tax
      → 脱敏 masked (name): housing.enterprise

    注册资本 capital = 1000000
      ✓ gs.qy 市场监督管理局 · 2026-11-02 08:00:00 · QY_1.csv row 1, run 1
        mappings/gs/qy.enterprise.sql:5  cn_amount(资本, '万元')  version 1aff87cb4ada9665
      → 不予 withheld (not granted): housing.enterprise

    状态 status = 在营
      ✓ gs.qy 市场监督管理局 · 2026-11-02 08:00:00 · QY_1.csv row 1, run 1
        mappings/gs/qy.enterprise.sql:6  状态  version 1aff87cb4ada9665
      → 提供 released: housing.enterprise

    电话 phone = 13800000000
      ✓ tax.nsr 税务局 · 2026-11-03 08:00:00 · NSR_1.csv row 1, run 2
        mappings/tax/nsr.enterprise.sql:5  or_null(phone(电话))  version 3de5e0cb9456ad0d
      → 不予 withheld (not granted): housing.enterprise

    无来源 nobody claims: 注册号

    持有 who holds it
      housing.enterprise 住房和城乡建设局: version 2 since batch 1
    "#);
    let told = json(small.path(), &["register", "explain", "enterprise", CODES[1], "--field", "phone"]);
    let phone = &told["fields"][0];
    assert_eq!(told["fields"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(phone["winner"]["mapping"]["expression"], "or_null(phone(电话))", "{phone}");
    assert_eq!(phone["feeds"][0]["decision"], "withheld", "{phone}");
    assert_eq!(told["feeds"][0]["holds"]["batch"], 1, "{told}");
}

#[tokio::test]
async fn the_quarantine_is_counted_by_reason_and_every_row_can_be_looked_at() {
    let small = told_twice().await;
    let (code, out, err) = huiliu(small.path(), &["quarantine", "list"]);
    assert_eq!((code, err.as_str()), (0, ""));
    insta::assert_snapshot!(out, @r#"
    ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
     行数 rows   数据集 dataset   基础库 register   字段 column   原因 code           说明
    ═════════════════════════════════════════════════════════════════════════════════════════════════════════════
             1   gs.qy            enterprise        capital       amount_unreadable   不是可识别的金额
             1   gs.qy            enterprise        uscc          uscc_check_digit    统一社会信用代码校验位不符
    ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    ─────────────────────────────────────────────────────────────────────────────────────────
     编号 id   数据集 dataset   文件 file   行 row   状态 status   原因 reasons
    ═════════════════════════════════════════════════════════════════════════════════════════
           1   gs.qy            QY_1.csv         2   open          uscc:uscc_check_digit
           2   gs.qy            QY_1.csv         3   open          capital:amount_unreadable
    ─────────────────────────────────────────────────────────────────────────────────────────
    "#);
    let (code, out, _) = huiliu(small.path(), &["quarantine", "show", "1"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(out.lines().filter(|line| !line.contains("version")).collect::<Vec<_>>().join("\n"), @r#"
    问题数据 #1 · gs.qy → enterprise · open
    文件 file: QY_1.csv · 行 row 2 (line 3, byte 129)
    批次 runs: first 1, last 1

    原因 reasons
      ✗ uscc: 统一社会信用代码校验位不符 the check character of the code is wrong (GB 32100) (uscc_check_digit)
        mappings/gs/qy.enterprise.sql:2

    ──────────────────────────────────────
         列 column   内容 cell
    ══════════════════════════════════════
     ✗   代码        91370283706488757A
         名称        青岛海蓝科技有限公司
         注册号
         资本        500
         状态        在营
         更新        2026-11-01 08:00:00
    ──────────────────────────────────────

    原文 raw: 81 bytes, shown as utf-8
      91370283706488757A,青岛海蓝科技有限公司,,500,在营,2026-11-01 08:00:00
    "#);
}

#[tokio::test]
async fn a_corrected_row_comes_back_and_the_same_bad_row_does_not_undo_it() {
    let small = told_twice().await;
    let dir = small.path();
    let file = dir.join("back.csv");
    let name = file.to_str().unwrap();
    let (code, _, err) = huiliu(dir, &["quarantine", "export", name, "--code", "uscc_check_digit", "--why", "第7号函"]);
    assert_eq!(code, 0, "{err}");
    let noted = json(dir, &["audit", "search", "--action", "quarantine.export"])[0]["detail"].to_string();
    assert!(noted.contains("1 rows of gs.qy, why: 第7号函, by "), "{noted}");
    let listed = json(dir, &["quarantine", "list"]);
    assert!(!listed["entries"].as_array().unwrap().is_empty() && !listed.to_string().contains(BAD[0]), "{listed}");
    let exported = fs::read_to_string(&file).unwrap();
    assert!(exported.starts_with('\u{feff}') && exported.contains("代码: 统一社会信用代码校验位不符"), "{exported}");
    let (unchanged, ..) = huiliu(dir, &["quarantine", "import", name]);
    assert_eq!(unchanged, 3, "a row that nobody corrected still waits");

    fs::write(&file, exported.replace(BAD[0], CODES[0])).unwrap();
    let (code, out, err) = huiliu(dir, &["quarantine", "import", name]);
    assert_eq!(code, 0, "{out}{err}");
    let entry = json(dir, &["quarantine", "show", "1"]);
    assert_eq!(entry["status"], "corrected");
    assert_eq!(entry["cells"][0]["text"], BAD[0], "the entry keeps what was delivered");
    let row = json(dir, &["register", "get", "enterprise", CODES[0]]);
    assert_eq!(row["fields"]["name"], BAD[1]);

    let good = [CODES[1], "青岛红瓦贸易有限公司", "", "100", "歇业", "2026-11-04 08:00:00"];
    small.extract("QY_2.csv", &[good, BAD]);
    small.run("qy").await;
    assert_eq!(json(dir, &["quarantine", "show", "1"])["status"], "corrected");
    assert_eq!(json(dir, &["register", "get", "enterprise", CODES[0]])["fields"]["name"], BAD[1]);
    let (code, out, _) = huiliu(dir, &["doctor"]);
    assert_eq!(code, 0, "{out}");
}

#[tokio::test]
async fn a_correction_that_is_still_wrong_changes_nothing_and_says_why() {
    let small = told_twice().await;
    let dir = small.path();
    let file = dir.join("back.xlsx");
    let (code, _, err) = huiliu(dir, &["quarantine", "export", file.to_str().unwrap(), "--dataset", "gs.qy"]);
    assert_eq!(code, 0, "{err}");
    let csv = dir.join("still.csv");
    fs::write(&csv, format!("问题编号 id,代码\r\n1,{}\r\n", BAD[0].replace('A', "B"))).unwrap();
    let report = json(dir, &["quarantine", "import", csv.to_str().unwrap()]);
    assert_eq!(report["replay"]["refusals"][0]["reasons"][0]["code"], "uscc_check_digit", "{report}");
    let entry = json(dir, &["quarantine", "show", "1"]);
    assert_eq!((&entry["status"], &entry["cells"][0]["text"]), (&"open".into(), &BAD[0].into()));

    fs::write(&csv, "问题编号 id,代码\r\n1,9.13702E+17\r\n").unwrap();
    let (code, _, err) = huiliu(dir, &["quarantine", "import", csv.to_str().unwrap()]);
    assert!(code == 1 && err.contains("HL0817") && err.contains("rounded"), "{err}");
    fs::write(&csv, "问题编号 id,代号\r\n1,x\r\n").unwrap();
    let (code, _, err) = huiliu(dir, &["quarantine", "import", csv.to_str().unwrap()]);
    assert!(code == 1 && err.contains("HL0817") && err.contains("代号"), "{err}");
}

#[tokio::test]
async fn a_better_mapping_empties_the_quarantine_and_what_nobody_will_correct_is_dismissed() {
    let small = told_twice().await;
    let dir = small.path();
    let sql = fs::read_to_string(dir.join("mappings/gs/qy.enterprise.sql")).unwrap();
    small.write(
        "mappings/gs/qy.enterprise.sql",
        sql.replace("cn_amount(资本, '万元')", "or_null(cn_amount(资本, '万元'))"),
    );
    let (code, out, _) = huiliu(dir, &["quarantine", "replay"]);
    assert_eq!(code, 3, "{out}");
    assert_eq!(json(dir, &["quarantine", "show", "2"])["status"], "replayed");
    let (code, _, err) = huiliu(dir, &["quarantine", "dismiss", "1", "2", "--why", "企业已迁出"]);
    assert!(code == 1 && err.contains("HL0815"), "{err}");
    let (code, ..) = huiliu(dir, &["quarantine", "dismiss", "1", "--why", "企业已迁出"]);
    assert_eq!(code, 0);
    assert_eq!(json(dir, &["quarantine", "show", "1"])["status"], "dismissed");
    assert_eq!(json(dir, &["quarantine", "list"])["total"], 0);
}

#[tokio::test]
async fn a_real_failure_becomes_a_case_with_nothing_real_in_it() {
    let small = told_twice().await;
    let dir = small.path();
    let cases = dir.join("mappings/gs/qy.enterprise.cases.yaml");
    let (code, _, err) = huiliu(dir, &["quarantine", "export", cases.to_str().unwrap(), "--as-case"]);
    assert_eq!(code, 0, "{err}");
    let text = fs::read_to_string(&cases).unwrap();
    insta::assert_snapshot!(text, @r#"
    # mappings/gs/qy.enterprise.cases.yaml

    - case: "uscc: 统一社会信用代码校验位不符 (uscc_check_digit)"
      given:
        - { "代码": "00000000000000000X", "状态": "" }
      quarantine:
        - { row: 1, column: "uscc", code: uscc_check_digit }

    - case: "capital: 不是可识别的金额 (amount_unreadable)"
      given:
        - { "代码": "91350100M000100Y43", "状态": "", "资本": "某某某某" }
      quarantine:
        - { row: 1, column: "capital", code: amount_unreadable }
    "#);
    for cell in [BAD[0], "海蓝", CODES[2], "绿树"] {
        assert!(!text.contains(cell), "{cell} is in {text}");
    }
    let (code, _, err) = huiliu(dir, &["check"]);
    assert_eq!(code, 0, "{err}");
}

#[tokio::test]
async fn history_shows_what_each_version_changed() {
    let small = told_twice().await;
    small.extract("QY_2.csv", &[[CODES[1], "青岛红瓦贸易有限公司", "", "100", "歇业", "2026-11-04 08:00:00"], BAD]);
    small.run("qy").await;
    let told = json(small.path(), &["register", "history", "enterprise", CODES[1]]);
    let changes = &told["versions"][0]["changes"];
    let expect = serde_json::json!([{ "field": "status", "was": "在营", "is": "歇业" }]);
    assert_eq!(changes, &expect, "{told}");
}

#[tokio::test]
async fn status_and_scope_say_where_things_stand() {
    let small = told_twice().await;
    let status = json(small.path(), &["status"]);
    assert_eq!(status["registers"][0]["rows"], 1, "{status}");
    assert_eq!(status["feeds"][0]["holding"], 1, "{status}");
    assert_eq!(status["feeds"][0]["behind"], 0, "{status}");
    assert_eq!(status["quarantine"][0]["open"], 2, "{status}");
    let scope = json(small.path(), &["scope", "explain", "--feed", "housing.enterprise"]);
    let decision = |field: &str| {
        let fields = scope[0]["fields"].as_array().unwrap();
        let found = fields.iter().find(|decided| decided["field"] == field).unwrap();
        (found["decision"].clone(), found.get("how").cloned().unwrap_or_default())
    };
    assert_eq!(decision("uscc"), ("released".into(), serde_json::Value::Null));
    assert_eq!(decision("name"), ("masked".into(), "name".into()));
    assert_eq!(decision("phone"), ("withheld".into(), "not granted".into()));
}

#[tokio::test]
async fn drift_is_shown_and_approved_and_status_says_so() {
    let small = Small::new();
    let row = format!("{},甲,,100万元,在营,2026-10-01 00:00:00", CODES[0]);
    small.write("out/gs/QY_1.csv", format!("代码,名称,注册号,资本,状态,更新\n{row}\n"));
    assert_eq!(huiliu(small.path(), &["run", "qy"]).0, 0);
    let (code, out, _) = huiliu(small.path(), &["drift"]);
    assert!(code == 0 && out.contains("every dataset fits"), "{out}");
    small.write("out/gs/QY_2.csv", format!("代码,名称,注册号,资本,状态,更新,行业\n{row},制造业\n"));
    assert_eq!(huiliu(small.path(), &["run", "qy"]).0, 3);
    let (code, out, _) = huiliu(small.path(), &["drift"]);
    assert!(code == 3 && out.contains("待批准") && out.contains("新增 new: 行业") && out.contains("HL0511"), "{out}");
    let (_, out, _) = huiliu(small.path(), &["status"]);
    assert!(out.contains("结构变化 drift") && out.contains("新增 new: 行业"), "{out}");
    assert_eq!(json(small.path(), &["status"])["drift"][0]["new"][0], "行业");
    let (_, out, _) = huiliu(small.path(), &["drift", "show", "gs.qy"]);
    assert!(out.contains("+行业") && out.contains("6 列"), "{out}");
    let (code, _, said) = huiliu(small.path(), &["drift", "approve", "gs.qy", "--why", "not used"]);
    assert_eq!(code, 0, "{said}");
    let (code, _, said) = huiliu(small.path(), &["drift", "approve", "gs.qy", "--why", "again"]);
    assert!(code == 1 && said.contains("HL0515"), "{said}");
    assert_eq!(huiliu(small.path(), &["run", "qy"]).0, 0);
    assert_eq!(json(small.path(), &["drift"])[0]["state"], "approved");
}

#[tokio::test]
async fn doctor_sees_a_batch_that_was_altered_in_the_spool() {
    let small = told_twice().await;
    let body = small.path().join(".huiliu/spool/housing.enterprise/000000000001.avro");
    let mut bytes = fs::read(&body).unwrap();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    fs::write(&body, bytes).unwrap();
    let (code, out, _) = huiliu(small.path(), &["doctor"]);
    assert!(code == 1 && out.contains("its body in the spool is not the sealed one"), "{out}");
}

#[tokio::test]
async fn one_process_writes_and_others_may_still_ask() {
    let small = told_twice().await;
    let dir = small.path();
    let lock = fs::File::options().create(true).write(true).truncate(false).open(dir.join(".huiliu/lock")).unwrap();
    lock.try_lock().unwrap();
    let (code, _, err) = huiliu(dir, &["quarantine", "replay"]);
    assert!(code == 1 && err.starts_with("error[HL0810]: another huiliu process"), "{err}");
    let (code, ..) = huiliu(dir, &["status"]);
    assert_eq!(code, 0);
}

#[test]
fn asking_a_workspace_that_never_ran_makes_no_files_in_it() {
    let small = Small::new();
    for args in [&["status"][..], &["register", "list"], &["quarantine", "list"], &["doctor"]] {
        let (code, _, err) = huiliu(small.path(), args);
        assert_eq!(code, 0, "{args:?} {err}");
    }
    assert!(!small.path().join(".huiliu").exists());
}

#[tokio::test]
async fn whoever_looks_something_up_is_in_the_audit_log_and_what_they_asked_for_is_not() {
    let small = told_twice().await;
    let dir = small.path();
    let asked = ["register", "get", "enterprise", CODES[1], "--why", "信访件 12"];
    assert_eq!(huiliu(dir, &asked).0, 0);
    assert_eq!(huiliu(dir, &["register", "get", "enterprise", CODES[5]]).0, 1, "nobody");
    assert_eq!(huiliu(dir, &["register", "find", "enterprise", "name", "红瓦"]).0, 0);
    assert_eq!(huiliu(dir, &["quarantine", "show", "1"]).0, 0);
    let all = json(dir, &["audit", "search"]);
    let whole = all.to_string();
    for value in [CODES[1], CODES[5], "红瓦", BAD[0]] {
        assert!(!whole.contains(value), "{whole}");
    }
    let of_key = |key: &str| json(dir, &["audit", "search", "--key", key]).as_array().unwrap().clone();
    let found = of_key(CODES[1]);
    let detail = found[0]["detail"].as_str().unwrap();
    assert!(found.len() == 1 && detail.contains(": #1, why: 信访件 12, by "), "{detail}");
    let nobody = of_key(CODES[5]);
    assert!(nobody[0]["detail"].as_str().unwrap().contains(": nothing, by "), "{nobody:?}");
    assert_eq!(of_key("红瓦")[0]["action"], "register.find");
    assert!(of_key(CODES[0]).is_empty());
}

#[tokio::test]
async fn sensitive_values_are_shown_only_to_whoever_says_why() {
    let small = told_twice().await;
    let (dir, phone, other) = (small.path(), "13800000000", "13900000000");
    let register = fs::read_to_string(dir.join("mappings/registers/enterprise.yaml")).unwrap();
    small.taxpayers("NSR_2.csv", &[["X1", "", "无号贸易公司", other, "2026-11-04 08:00:00"]]);
    small.run("nsr").await;
    small.write("mappings/registers/enterprise.yaml", register.replace("level: 2", "level: 3"));
    let why = ["--why", "信访件 12"];
    for asked in [
        &["register", "get", "enterprise", CODES[1]][..],
        &["register", "explain", "enterprise", CODES[1]],
        &["register", "explain", "enterprise", CODES[1], "--field", "phone"],
        &["register", "history", "enterprise", CODES[1]],
        &["register", "find", "enterprise", "phone", "1380"],
    ] {
        for form in [&[][..], &["--json"]] {
            let asked = [form, asked].concat();
            let (code, out, err) = huiliu(dir, &asked);
            assert!(code == 0 && !out.contains(phone) && out.contains("***") && err.contains("--why"), "{out}{err}");
            let (code, out, err) = huiliu(dir, &[&asked[..], &why].concat());
            assert!(code == 0 && out.contains(phone) && !out.contains("***") && err.is_empty(), "{out}{err}");
        }
    }
    let open = ["register", "explain", "enterprise", CODES[1], "--field", "name"];
    let (_, out, err) = huiliu(dir, &open);
    assert!(out.contains("红瓦") && err.is_empty(), "a field below level 3 needs no reason: {err}");
    assert_eq!(huiliu(dir, &["register", "get", "enterprise", CODES[1], "--why", ""]).0, 2, "nothing is no reason");

    let entry = ["quarantine", "show", "3"];
    for form in [&[][..], &["--json"]] {
        let asked = [form, &entry].concat();
        let (code, out, err) = huiliu(dir, &asked);
        assert!(code == 0 && !out.contains(other) && out.contains("无号贸易公司"), "{out}");
        assert!(out.contains("hidden") && err.contains("--why"), "the raw bytes too: {out}{err}");
        let (code, out, err) = huiliu(dir, &[&asked[..], &["--why", "核对电话"]].concat());
        assert!(code == 0 && out.matches(other).count() == 2 && err.is_empty(), "cell and raw bytes: {out}{err}");
    }
    // What no mapping reads may be anything.
    let sql = fs::read_to_string(dir.join("mappings/tax/nsr.enterprise.sql")).unwrap();
    small.write("mappings/tax/nsr.enterprise.sql", sql.replace(",\n    or_null(phone(电话)) as phone", ""));
    let (code, out, err) = huiliu(dir, &entry);
    assert!(code == 0 && !out.contains(other) && out.contains("无号贸易公司"), "{out}{err}");

    let log = json(dir, &["audit", "search"]).to_string();
    assert!(log.contains("entry 3 of tax.nsr, with its raw bytes, why: 核对电话, by "), "{log}");
    assert!(log.contains("why: 信访件 12, by ") && !log.contains(phone) && !log.contains(other), "{log}");
}

#[test]
fn a_wrong_record_is_chased_from_the_command_line() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let small = runtime.block_on(told_twice());
    let dir = small.path();
    let demand = ["--why", "误登记", "--reference", "99号"];
    let (code, out, err) = huiliu(dir, &[&["feed", "recall", "enterprise", CODES[1]], &demand[..]].concat());
    assert!(code == 0 && err.contains("housing.enterprise"), "{out}{err}");
    let holders = |expect: i32| {
        let (code, out, err) = huiliu(dir, &["--json", "feed", "holders", "enterprise", CODES[1]]);
        assert_eq!(code, expect, "{err}");
        serde_json::from_str::<serde_json::Value>(&out).unwrap()
    };
    let waiting = holders(3);
    assert_eq!((&waiting[0]["copy"], &waiting[0]["chased"]["state"]), (&"holds".into(), &"waits".into()));
    let (_, status, _) = huiliu(dir, &["status"]);
    assert!(status.contains("更正撤回未结 1 unsettled"), "{status}");
    assert_eq!(huiliu(dir, &["feed", "release"]).0, 0);
    let settled = holders(0);
    assert_eq!((&settled[0]["copy"], &settled[0]["chased"]["state"]), (&"held".into(), &"settled".into()));
    let spool = format!("spool:{}", dir.join(".huiliu/spool").display());
    let ca = dir.join(".huiliu/dev-ca.pem");
    let to = format!("sqlite:{}", dir.join("subscriber.db").display());
    let (code, out, err) = huiliu(dir, &["receive", "--from", &spool, "--to", &to, "--trust", ca.to_str().unwrap()]);
    assert!(code == 0 && out.contains("撤回 recall housing.enterprise/2: 1 records, 误登记, 99号"), "{out}{err}");
}

#[test]
fn a_store_that_cannot_be_opened_and_names_that_do_not_exist_have_pages() {
    let small = Small::new();
    let check = |args: &[&str], expect: &str| {
        let (code, _, err) = huiliu(small.path(), args);
        assert!(code == 1 && err.contains(expect), "{args:?} {err}");
    };
    check(&["register", "get", "enterprize", "x"], "did you mean enterprise?");
    check(&["register", "find", "enterprise", "nam", "x"], "did you mean name?");
    check(&["register", "get", "enterprise", "no such key"], "error[HL0813]");
    check(&["scope", "explain", "--feed", "housing.enterprises"], "did you mean housing.enterprise?");
    check(&["quarantine", "list", "--dataset", "gs.qx"], "did you mean gs.qy?");
    check(&["quarantine", "show", "7"], "error[HL0815]");
    fs::create_dir_all(small.path().join(".huiliu/huiliu.db")).unwrap();
    check(&["status"], "error[HL0811]");
}

#[test]
fn a_feed_that_fails_does_not_hide_what_the_others_and_the_pipelines_did() {
    let small = Small::new();
    small.extract("QY_1.csv", &[[CODES[0], "海蓝", "", "100万元", "在营", "2026-10-01 00:00:00"]]);
    small.write("pipelines/feeds/housing.enterprise.yaml", GRANT);
    let pseudonyms =
        GRANT.replace("{ name: name }", "{ name: pseudonym }").replace("subscriber: housing", "subscriber: civil");
    small.write("pipelines/feeds/civil.enterprise.yaml", pseudonyms);
    small.write(".huiliu/pseudonym.key", "not a key");
    let (code, out, _) = huiliu(small.path(), &["--json", "run"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 1);
    assert_eq!(report["runs"][1]["registers"][0]["new"], 1, "{report}");
    let feeds = report["feeds"].as_array().unwrap();
    let status = |feed: &str| feeds.iter().find(|f| f["feed"] == feed).map(|f| f["status"].clone()).unwrap();
    assert_eq!((status("civil.enterprise"), status("housing.enterprise")), ("failed".into(), "released".into()));
    let (code, _, said) = huiliu(small.path(), &["run", "qyy"]);
    assert_eq!((code, said.contains("HL0501"), said.contains("did you mean qy?")), (1, true, true), "{said}");
}

#[test]
fn certificates_that_feeds_name_are_looked_at() {
    let small = Small::new();
    let encrypted = GRANT.replace("outlet: spool,", "outlet: spool, encrypt_to: certs/housing.pem,");
    small.write("pipelines/feeds/housing.enterprise.yaml", encrypted);
    let check = || huiliu(small.path(), &["check"]);
    let (code, _, err) = check();
    assert!(code == 1 && err.contains("error[HL0711]") && err.contains("housing.enterprise.yaml:"), "{err}");
    small.write("certs/housing.pem", "no certificate");
    let (code, _, err) = check();
    assert!(code == 1 && err.contains("error[HL0708]") && err.contains("certs/housing.pem"), "{err}");
}

#[tokio::test]
async fn nothing_is_coloured_that_goes_into_a_pipe() {
    let small = told_twice().await;
    for args in [&["run"][..], &["status"], &["check"], &["register", "explain", "enterprise", CODES[0]], &["nonsense"]]
    {
        let (_, out, err) = huiliu(small.path(), args);
        assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "{args:?}: {out}{err}");
    }
}

/// What is at work can be seen and stopped while a definition is being mended.
#[tokio::test]
async fn what_is_at_work_is_steered_while_definitions_have_errors() {
    let small = told_twice().await;
    let dir = small.path();
    small.release().await;
    for broken in ["pipelines/qy.yaml", "pipelines/feeds/housing.enterprise.yaml", "mappings/registers/enterprise.yaml"]
    {
        let sound = fs::read_to_string(dir.join(broken)).unwrap();
        small.write(broken, format!("{sound}\nzzz: 1\n"));
        assert_eq!(huiliu(dir, &["run", "qy"]).0, 1, "nothing new is begun");
        let seen =
            [&["status"][..], &["feed", "status"], &["feed", "list"], &["backfill", "list"], &["audit", "search"]];
        for verb in seen {
            let (code, out, err) = huiliu(dir, verb);
            assert!(code == 0 && err.contains("HL0106"), "{broken} {verb:?}: {code} {out}{err}");
        }
        let (code, _, err) = huiliu(dir, &["feed", "suspend", "housing.enterprise", "--why", "a leak"]);
        assert!(code == 0 && err.contains("已中止"), "{broken}: {err}");
        assert_eq!(huiliu(dir, &["feed", "suspend", "nobody.enterprise", "--why", "a leak"]).0, 1);
        assert_eq!(huiliu(dir, &["feed", "resume", "housing.enterprise", "--why", "mended"]).0, 0);
        small.write(broken, sound);
    }
    small.write("huiliu.yaml", "version: 1\nname: test\nzzz: 1\n");
    assert_eq!(huiliu(dir, &["status"]).0, 1, "without the installation nobody knows which store");
}

#[test]
fn a_secret_that_is_not_there_stops_what_needs_it_and_nothing_else() {
    let small = Small::new();
    let good = [CODES[1], "青岛红瓦贸易有限公司", "", "100", "在营", "2026-11-02 08:00:00"];
    small.extract("QY_1.csv", &[good]);
    let tax = fs::read_to_string(small.path().join("connectors/tax.yaml")).unwrap();
    let server = "{ kind: files, root: \"ftp://127.0.0.1:9/out\", user: tax, password: env:HUILIU_NO_SUCH_SECRET }";
    small.write("connectors/tax.yaml", tax.replace("{ kind: files, root: out/tax }", server));
    let (code, out, err) = huiliu(small.path(), &["check"]);
    assert!(code == 0 && format!("{out}{err}").contains("warning[HL0118]"), "{out}{err}");
    assert!(json(small.path(), &["check"]).to_string().contains("HL0118"));
    for (args, expect) in [
        (&["run", "qy"][..], 0),
        (&["status"], 0),
        (&["register", "get", "enterprise", CODES[1]], 0),
        (&["run", "nsr"], 1),
    ] {
        let (code, out, err) = huiliu(small.path(), args);
        assert_eq!(code, expect, "{args:?}: {out}{err}");
        let told = format!("{out}{err}");
        assert_eq!(told.contains("HL0118") && told.contains("connectors/tax.yaml:3"), expect == 1, "{args:?}: {told}");
    }
    // What everything rests on is missed by everything.
    small.write("huiliu.yaml", "version: 1\nstore: env:HUILIU_NO_SUCH_STORE\n");
    let (code, out, err) = huiliu(small.path(), &["check"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = huiliu(small.path(), &["status"]);
    assert!(code == 1 && format!("{out}{err}").contains("HL0118"), "{out}{err}");
}
