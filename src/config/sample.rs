//! A workspace for tests: the examples of the design, and what one edit of them brings to light.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::secret::Surroundings;
use super::{Workspace, load};
use crate::error::{Problem, render};

/// Path and text of every file.
pub(super) const FILES: &[(&str, &str)] = &[
    (
        "connectors/market-regulation.yaml",
        "\
version: 1
department: 市场监督管理局              # 2010: 工商行政管理局
contact: 数据处 0532-12345

source:                                # how to reach it
  kind: files
  root: out

datasets:
  enterprise:                          # 企业登记
    path: QYDJ_*.csv
    format: { kind: csv, encoding: auto }      # auto = BOM, then strict UTF-8, then GB18030
    key: [统一社会信用代码]             # the source's own row key
    extract: full
    missing: { retract: true, hold_above: 5% } # a full extract that lost more waits for a person
    columns:                           # the contract: what the department promised
      统一社会信用代码: { type: text, required: true }
      企业名称: text
      注册资本: text
      成立日期: text
    drift:                             # when a file differs from the contract
      new_column: approve              # accept | approve | freeze | ignore
      lost_column: freeze
",
    ),
    (
        "mappings/registers/enterprise.yaml",
        "\
version: 1
title: 企业基础信息库
steward: 市场监督管理局
keys: [uscc]

fields:
  uscc:
    title: 统一社会信用代码
    type: text
    share: unconditional               # 无条件共享 | conditional 有条件共享 | withheld 不予共享
    level: 1                           # 数据安全级别 1–4
    rule: uscc_valid(uscc)             # breaks → quarantine
    from: [market-regulation]
  name: { title: 名称, type: text, share: unconditional, level: 1 }
  status: { title: 状态, type: text, share: unconditional, level: 1 }
  established_on: { title: 成立日期, type: date, share: unconditional, level: 1 }
  legal_representative_id:
    title: 法定代表人证件号
    type: text
    share: conditional
    condition: 履行法定职责且有明确法律依据
    basis: 政务信息资源共享管理暂行办法
    level: 3
  secret: { title: 举报人, type: text, share: withheld, basis: 信访工作条例, level: 4 }
",
    ),
    (
        "mappings/market-regulation/enterprise.enterprise.sql",
        "select uscc(统一社会信用代码) as uscc, code('enterprise_type', 企业类型) as name from source\n",
    ),
    (
        "mappings/market-regulation/enterprise.enterprise.cases.yaml",
        "\
- case: 万元, brackets and a Chinese date
  given:
    - { 统一社会信用代码: 91350100M000100Y43, 注册资本: 500万元人民币, 成立日期: 2015年7月3日 }
  expect:
    - { name: 青岛海蓝科技(集团)有限公司, established_on: 2015-07-03, status: null }

- case: a wrong check digit waits in quarantine
  given_file: cases/bad_uscc.gbk.csv           # from raw bytes, through the real decoder
  clock: 2026-03-01T08:00:00+08:00
  exact: true
  quarantine:
    - { row: 1, column: uscc, code: uscc_check_digit }
",
    ),
    ("mappings/market-regulation/cases/bad_uscc.gbk.csv", "x\n"),
    ("mappings/codes/enterprise_type.csv", "code,name\n1100,有限责任公司\n"),
    (
        "mappings/calendar.yaml",
        "\
version: 1
years:
  - { year: 2026, notice: 国办发明电〔2025〕7号, off: [2026-01-01..2026-01-03], work: [2026-01-04] }
",
    ),
    (
        "pipelines/enterprise-registration.yaml",
        "\
version: 1
from: market-regulation.enterprise
into: [enterprise]
schedule: 0 30 2 * * *                 # cron, Asia/Shanghai
within: 4h                             # freshness promised; late is an alert
check:
  drop_guard: rows >= 0.8 * last.rows  # holds the run
limit:
  quarantine: 0.5%                     # above: hold and tell the department
  rate: 5000 rows/s
  memory: 512MiB
",
    ),
    (
        "pipelines/feeds/housing.enterprise.yaml",
        "\
version: 1
subscriber: housing                    # 住房和城乡建设局
register: enterprise
purpose: 建设工程招投标资格审查
basis: 中华人民共和国招标投标法实施条例 第三十二条
approved: { by: 数据资源处, on: 2026-03-01, number: 青数共〔2026〕17号 }
valid: { from: 2026-03-01, until: 2027-02-28 }

fields: [uscc, name, legal_representative_id, status]
rows: status = 'active'
mask:
  legal_representative_id: id_number

delivery:
  outlet: spool
  every: 1m
  batch: { records: 5000, bytes: 4MiB }
  quota: 200000 records/day
",
    ),
];

/// The sample in a directory of its own.
pub(super) fn write() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    FILES.iter().for_each(|(path, text)| put(dir.path(), path, text.as_bytes()));
    dir
}

/// Writes one file and the directories above it.
pub(super) fn put(dir: &Path, path: &str, bytes: &[u8]) {
    let file = dir.join(path);
    fs::create_dir_all(file.parent().expect("files have a directory")).expect("made");
    fs::write(file, bytes).expect("written");
}

/// Loads and checks on 2026-10-01 with no environment but `SET`.
pub(super) fn load_and_check(dir: &Path) -> (Workspace, Vec<Problem>) {
    let env = |name: &str| (name == "SET").then(|| "out".to_owned());
    let loaded = load::load(&Surroundings { dir, env: &env });
    let today = chrono::NaiveDate::from_ymd_opt(2026, 10, 1).expect("a date");
    let found = super::check::check(&loaded, today);
    let mut problems: Vec<Problem> = loaded.problems.into_iter().chain(found).collect();
    problems.sort_by(|a, b| a.place.cmp(&b.place).then(a.code.cmp(b.code)));
    (loaded.workspace, problems)
}

/// Replaces `from` by `to` in the file whose path contains `file`, and compares all problems, each written
/// `CODE line:column` (`warning` after it for a warning).
pub(super) fn check(file: &str, from: &str, to: &str, expect: &[&str]) -> Vec<Problem> {
    let dir = write();
    let (path, text) = FILES.iter().find(|(path, _)| path.contains(file)).expect("a file of the sample");
    assert!(text.contains(from), "{path} has no {from:?}");
    put(dir.path(), path, text.replacen(from, to, 1).as_bytes());
    let (_, problems) = load_and_check(dir.path());
    assert_eq!(summary(&problems), expect, "{from:?} → {to:?}\n{}", render(&problems));
    problems
}

/// `CODE line:column` of each problem.
pub(super) fn summary(problems: &[Problem]) -> Vec<String> {
    let one = |p: &Problem| {
        let (line, column) = p.place.as_ref().map_or((0, 0), |at| (at.line, at.column));
        format!("{} {line}:{column}{}", p.code, if p.is_error() { "" } else { " warning" })
    };
    problems.iter().map(one).collect()
}
