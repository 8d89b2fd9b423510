//! Seal files (.esl): one electronic seal (电子印章), one row.
//!
//! Decides: the names of what a seal says; times are those of the country's zone. Must not know: contracts beyond names and
//! paths. Guarantees: a seal whose maker did not sign it so gives no row; it is set aside whole.

use std::io::Read as _;

use chrono::{DateTime, FixedOffset, Utc};

use super::chunk::Chunk;
use super::records::Records;
use super::{DecodeError, Header, Job, Resume, RowPlace, Wanted, read_error};
use crate::crypto::{Bearers, Certificate, DigestAlgorithm, ElectronicSeal, SealFault, hex};

/// China Standard Time.
const ZONE: FixedOffset = FixedOffset::east_opt(8 * 3600).expect("less than a day");

/// See the module.
pub(super) struct EsealFile {
    bytes: Vec<u8>,
    header: Header,
    wanted: Vec<Wanted>,
    limit: usize,
    ended: bool,
}

impl EsealFile {
    /// Reads the file, as far as a row may be long.
    pub(super) fn open(job: Job) -> Result<Self, DecodeError> {
        let failed = |e| read_error(job.input.as_ref(), e);
        let mut bytes = Vec::new();
        let limit = job.limits.row_bytes;
        job.input.read_from(0).map_err(failed)?.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Self {
            bytes,
            header: Header { columns: None, kinds: Vec::new(), encoding: "der".to_owned() },
            limit,
            ended: job.resume.is_some(),
            wanted: job.wanted,
        })
    }

    fn take(&self, chunk: &mut Chunk) {
        let place = RowPlace { row: 1, line: 1, byte: 0 };
        if self.bytes.len() > self.limit {
            return chunk.set_aside(place, &self.bytes, "row_too_long", format!("longer than {} bytes", self.limit));
        }
        match ElectronicSeal::read(&self.bytes) {
            Ok(seal) => {
                for (column, wanted) in self.wanted.iter().enumerate() {
                    let cell = self.cell(&seal, wanted.path.as_deref().unwrap_or(&wanted.name));
                    chunk.cell(column, cell.as_deref());
                }
                chunk.end_row(place, &self.bytes);
            }
            Err(fault) => chunk.set_aside(place, &self.bytes, code(fault), fault.to_string()),
        }
    }

    /// What the seal says under a name.
    fn cell(&self, seal: &ElectronicSeal, name: &str) -> Option<String> {
        let of_bearer = |say: fn(&Certificate) -> String| match &seal.bearers {
            Bearers::Certificates(all) => all.first().map(say),
            Bearers::Digests(_) => None,
        };
        Some(match name {
            "standard" => seal.form.standard().to_owned(),
            "version" => seal.version.to_string(),
            "vendor" => seal.vendor.clone(),
            "esID" => seal.id.clone(),
            "type" => seal.kind.to_string(),
            "name" => seal.name.clone(),
            "made" => local(seal.made),
            "from" => local(seal.from),
            "until" => local(seal.until),
            "picture" => seal.picture.clone(),
            "picture_sm3" => hex(&seal.picture_digest),
            "bearer_serial" => return of_bearer(Certificate::serial),
            "bearer_subject" => return of_bearer(Certificate::subject),
            "bearer_issuer" => return of_bearer(Certificate::issuer),
            "bearers_sm3" => bearers(&seal.bearers),
            "maker_serial" => seal.maker.serial(),
            "maker_subject" => seal.maker.subject(),
            "maker_issuer" => seal.maker.issuer(),
            "sm3" => hex(&DigestAlgorithm::Sm3.digest(&[&self.bytes])),
            _ => return None,
        })
    }
}

/// SM3 of every certificate that may sign with the seal, as GB/T 38540 lists them, joined by `;`.
fn bearers(bearers: &Bearers) -> String {
    let digests: Vec<String> = match bearers {
        Bearers::Certificates(all) => all.iter().map(|one| hex(&DigestAlgorithm::Sm3.digest(&[one.der()]))).collect(),
        Bearers::Digests(all) => all.iter().map(|digest| hex(digest)).collect(),
    };
    digests.join(";")
}

fn local(at: DateTime<Utc>) -> String {
    at.with_timezone(&ZONE).format("%Y-%m-%d %H:%M:%S").to_string()
}

const fn code(fault: SealFault) -> &'static str {
    match fault {
        SealFault::Structure => "bad_seal",
        SealFault::Certificate => "bad_seal_certificate",
        SealFault::Algorithm => "bad_seal_algorithm",
        SealFault::Signature => "bad_seal_signature",
    }
}

impl Records for EsealFile {
    fn header(&self) -> &Header {
        &self.header
    }

    fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    fn step(&mut self, chunk: &mut Chunk) -> Result<bool, DecodeError> {
        if std::mem::replace(&mut self.ended, true) || self.bytes.is_empty() {
            return Ok(false);
        }
        self.take(chunk);
        Ok(true)
    }

    fn resume(&self) -> Resume {
        if !self.ended {
            return Resume::default();
        }
        Resume { row: 1, byte: self.bytes.len() as u64, line: 1 }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Format;
    use crate::decode::Limits;
    use crate::decode::testing::{memory, read, resume_everywhere, shared_input};

    const COLUMNS: [&str; 6] = ["标识=esID", "name", "standard", "止=until", "bearer_issuer", "nonsense"];

    #[test]
    fn a_real_seal_is_one_row() {
        let Some(input) = shared_input("eseal/zibo_zhoucun_Sign_1_Seal.esl") else { return };
        let all = read(&input, &Format::Eseal, &COLUMNS, Limits::default());
        assert_eq!(all.rows.len(), 1);
        let cells: Vec<&str> = all.rows[0].iter().map(String::as_str).collect();
        let name = "淄博市周村区自然资源局(不动产登记专用章)";
        assert_eq!(cells[..4], ["37030000001721", name, "GB/T 38540-2020", "2021-05-26 00:00:00"]);
        assert!(cells[4].contains("CEGN") && cells[5] == "␀", "{cells:?}");
        resume_everywhere(&input, &Format::Eseal, &COLUMNS, Limits::default());
    }

    #[test]
    fn a_seal_of_the_older_standard_is_read_too() {
        let Some(input) = shared_input("eseal/UserV1.esl") else { return };
        let all = read(&input, &Format::Eseal, &COLUMNS, Limits::default());
        assert_eq!(all.rows[0][2], "GM/T 0031-2014");
    }

    #[test]
    fn what_is_no_seal_is_set_aside() {
        let all = read(&memory(b"\x30\x03\x02\x01\x04"), &Format::Eseal, &COLUMNS, Limits::default());
        assert_eq!(all.aside, ["1:1:0 bad_seal this is no seal of GB/T 38540 or GM/T 0031"]);
        let limits = Limits { row_bytes: 3, ..Limits::default() };
        let all = read(&memory(b"\x30\x03\x02\x01\x04"), &Format::Eseal, &COLUMNS, limits);
        assert_eq!(all.aside, ["1:1:0 row_too_long longer than 3 bytes"]);
        assert!(read(&memory(b""), &Format::Eseal, &COLUMNS, Limits::default()).rows.is_empty());
    }
}
