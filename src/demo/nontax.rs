//! 财政非税: receipts of fees and fines as the city's treasury sends them (一条报文 = ZIP of Base64 of GBK XML, a receipt with its
//! details), and the bank's file of what it booked (3003 对账文件: `|||` between fields, `###` between rows), whose last
//! separator is cut short as the bank really writes it.

use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::GB18030;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::file::{OutboxFile, put};
use super::flaw::{Fate, Plan, State};
use super::words::DISTRICTS;
use super::{Writing, identifiers};

const RECEIPTS: Plan = Plan {
    dataset: "finance.nontax",
    period: 80,
    flaws: &[
        ("lost_detail", Fate::Outvoted),
        ("account_as_name", Fate::Quarantined),
        ("bad_check_digit", Fate::Quarantined),
        ("no_amount", Fate::Quarantined),
        ("reversal", Fate::Outvoted),
    ],
    nightly: None,
};
/// What the bank makes wrong of a receipt's first detail.
const BOOKED: Plan = Plan {
    dataset: "finance.reconciliation",
    period: 90,
    flaws: &[("field_lost", Fate::Undecodable), ("amount_with_letter", Fate::Quarantined)],
    nightly: None,
};
const BASE: (u64, u64) = (240, 4);
/// 收入项目: code of the budget's subject, and name.
const ITEMS: [(&str, &str); 3] =
    [("103043205", "道路占用费"), ("103050199", "罚没收入"), ("103044606", "城市基础设施配套费")];

/// One receipt, and what makes it wrong.
struct Receipt {
    kind: &'static str,
    no: String,
    item: u64,
    sign: &'static str,
    yuan: Vec<u64>,
    total: u64,
    district: usize,
    level: &'static str,
    payer: (String, String),
    paid: String,
}

pub(super) fn write(writing: &mut Writing<'_>) -> io::Result<()> {
    let city = writing.city;
    let (mut xml, mut details) =
        ("<?xml version=\"1.0\" encoding=\"GBK\"?><ROOT><HEAD TYPE=\"1\" CODE=\"3001\"></HEAD><BODY>".to_owned(), 0);
    let (mut booked, mut lines) = (Vec::new(), 0);
    for (index, state, changed) in RECEIPTS.tonight(city, BASE) {
        RECEIPTS.count(state, &mut writing.defects);
        let receipt = Receipt::of(writing, index, state.kind());
        xml += &receipt.xml(state.kind(), &city.updated(RECEIPTS.dataset, index, changed));
        details += receipt.yuan.len() as u64;
        // The bank has booked what was paid; whoever refused a message has asked it about nothing yet.
        if !matches!(state, State::Flawed(_, Fate::Quarantined)) {
            let flaw = BOOKED.state(city, index, city.on(0).count(BASE.0, BASE.1));
            BOOKED.count(flaw, &mut writing.defects);
            lines += receipt.yuan.len() as u64;
            booked.extend(receipt.booked(flaw.kind()));
        }
    }
    xml += "</BODY></ROOT>";
    let name = format!("FSJK_{}.dat", city.today().format("%Y%m%d"));
    let sent = put(writing.dir, (RECEIPTS.dataset, &name), details, &enveloped(&xml)?)?;
    writing.files.push(sent);
    let file = reconciliation(writing, &booked, lines)?;
    writing.files.push(file);
    Ok(())
}

/// ZIP with one entry `data`, Base64, GBK.
fn enveloped(xml: &str) -> io::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.start_file("data", SimpleFileOptions::default()).map_err(io::Error::other)?;
    zip.write_all(STANDARD.encode(GB18030.encode(xml).0).as_bytes())?;
    Ok(zip.finish().map_err(io::Error::other)?.into_inner())
}

/// `3003`, the length of what follows the opening record, 区划, 日期, and the rows.
fn reconciliation(writing: &Writing<'_>, rows: &[String], lines: u64) -> io::Result<OutboxFile> {
    let day = writing.city.today().format("%Y%m%d").to_string();
    let rows = format!("{}##\0", rows.join("###"));
    let rows = GB18030.encode(&rows).0;
    let mut bytes = format!("3003{:08}370200{day}", rows.len()).into_bytes();
    bytes.extend_from_slice(&rows);
    put(writing.dir, (BOOKED.dataset, &format!("300301370200{day}203000")), lines, &bytes)
}

impl Receipt {
    fn of(writing: &Writing<'_>, index: u64, flaw: &str) -> Self {
        let city = writing.city;
        let dice = city.dice;
        let payer = city.on(0).enterprise(dice.below("fee payer", index, city.on(0).enterprises()));
        let payer = match flaw {
            "account_as_name" => (format!("380302{index:013}"), payer.uscc),
            "bad_check_digit" => (payer.name, identifiers::spoil_last(&payer.uscc)),
            _ => (payer.name, payer.uscc),
        };
        // What makes a row wrong stands alone on its receipt.
        let alone = matches!(flaw, "account_as_name" | "bad_check_digit" | "no_amount");
        let details = if alone { 1 } else { 1 + dice.below("fees", index, 3) };
        let yuan: Vec<u64> = (0..details).map(|n| 20 + dice.below("fee", index * 4 + n, 30_000)).collect();
        let day = city.day(0) - chrono::Days::new(1 + dice.below("fee paid", index, 200));
        Self {
            kind: ["01", "02", "03"][(index % 3) as usize],
            no: format!("3702{index:010}"),
            item: index,
            sign: if flaw == "reversal" { "-" } else { "" },
            // The message was cut off: what it declares is more than what it holds.
            total: yuan.iter().sum::<u64>() + if flaw == "lost_detail" { 1_379 } else { 0 },
            yuan,
            district: (index % DISTRICTS.len() as u64) as usize,
            level: ["市级", "区县级"][(index % 2) as usize],
            payer,
            paid: day.format("%Y%m%d").to_string(),
        }
    }

    fn item(&self, n: usize) -> (&'static str, &'static str) {
        ITEMS[(self.item as usize + n) % ITEMS.len()]
    }

    /// As a message; amounts are padded with blanks as the banks send them.
    fn xml(&self, flaw: &str, updated: &str) -> String {
        let district = &DISTRICTS[self.district];
        let Self { kind, no, level, payer: (name, code), paid, sign, total, .. } = self;
        let detail = |(n, yuan): (usize, &u64)| {
            let (code, name) = self.item(n);
            let amount =
                if flaw == "no_amount" { String::new() } else { format!("{:<20}", format!("{sign}{yuan}.00")) };
            let nth = n + 1;
            format!(
                "<XMMX><XMSX>{nth}</XMSX><SRXMBM>{code}</SRXMBM><SRXMMC>{name}</SRXMMC><SL>1.00</SL><JE>{amount}</JE></XMMX>"
            )
        };
        let details: String = self.yuan.iter().enumerate().map(detail).collect();
        format!(
            "<DATA><PJZL>{kind}</PJZL><JKSBH>{no}</JKSBH><XZQH>{}</XZQH><ZSDWMC>青岛市{}城市管理局</ZSDWMC><FKRMC>{name}</FKRMC>\
             <FKRDM>{code}</FKRDM><ZJE>{:<20}</ZJE><JKRQ>{paid}</JKRQ><YSJC>{level}</YSJC><GXSJ>{updated}</GXSJ>{details}</DATA>\r\n",
            district.code,
            district.name,
            format!("{sign}{total}.00"),
        )
    }

    /// As rows of the bank's file: 票据种类, 缴款书编号, 执收单位, 收入项目, 数量, 金额, 明细序号, and five that are empty.
    fn booked(&self, flaw: &'static str) -> impl Iterator<Item = String> {
        let wrong = move |n: usize, kind: &str| n == 0 && flaw == kind;
        self.yuan.iter().enumerate().map(move |(n, yuan)| {
            let mut amount = format!("{}{yuan}.00", self.sign);
            if wrong(n, "amount_with_letter") {
                amount = amount.replacen('0', "O", 1);
            }
            let nth = (n + 1).to_string();
            let empty = if wrong(n, "field_lost") { 4 } else { 5 };
            let cells = [self.kind, &self.no, "001001", self.item(n).0, "1.00", &amount, &nth];
            format!("{}{}", cells.join("|||"), "|||".repeat(empty))
        })
    }
}
