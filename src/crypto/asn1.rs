//! DER elements, read as slices of the original bytes and written canonically (X.690).
//!
//! Decides: what is acceptable DER. Must not know: certificates or CMS. Guarantees: a reader never copies, so what is
//! verified is exactly what was received; it refuses indefinite and non-minimal lengths and never panics.

use chrono::{DateTime, Datelike, NaiveDateTime, Utc};
use der::asn1::ObjectIdentifier;
use der::{Decode, Header, Reader, SliceReader, Tag, TagNumber};

/// These bytes are not the DER that was expected. Says nothing more: the caller knows what it was reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotDer;

impl From<der::Error> for NotDer {
    fn from(_: der::Error) -> Self {
        Self
    }
}

/// One element: its tag, all its bytes, and the bytes of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub tag: Tag,
    pub raw: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> Element<'a> {
    /// A reader over the elements inside.
    pub fn inside(&self) -> Result<Elements<'a>, NotDer> {
        Elements::new(self.value)
    }

    /// The value as an object identifier.
    pub fn oid(&self) -> Result<ObjectIdentifier, NotDer> {
        if self.tag != Tag::ObjectIdentifier {
            return Err(NotDer);
        }
        Ok(ObjectIdentifier::from_der(self.raw)?)
    }

    /// The value as a small non-negative integer.
    pub fn small(&self) -> Result<u8, NotDer> {
        match (self.tag, self.value) {
            (Tag::Integer, [byte]) if *byte < 0x80 => Ok(*byte),
            _ => Err(NotDer),
        }
    }

    /// The value as a time: UTCTime (years 1950–2049) or GeneralizedTime, both in the forms of RFC 5280 §4.1.2.5.
    pub fn time(&self) -> Result<DateTime<Utc>, NotDer> {
        let text = std::str::from_utf8(self.value).map_err(|_| NotDer)?;
        let (digits, full) = match self.tag {
            Tag::UtcTime => (12, format!("{}{text}", if text < "50" { "20" } else { "19" })),
            Tag::GeneralizedTime => (14, text.to_owned()),
            _ => return Err(NotDer),
        };
        let plain = text.strip_suffix('Z').is_some_and(|t| t.len() == digits && t.bytes().all(|b| b.is_ascii_digit()));
        if !plain {
            return Err(NotDer);
        }
        NaiveDateTime::parse_from_str(&full, "%Y%m%d%H%M%SZ").map(|at| at.and_utc()).map_err(|_| NotDer)
    }
}

/// Elements one after the other.
#[derive(Clone)]
pub(super) struct Elements<'a>(SliceReader<'a>);

impl<'a> Elements<'a> {
    /// Over these bytes.
    pub fn new(bytes: &'a [u8]) -> Result<Self, NotDer> {
        Ok(Self(SliceReader::new(bytes)?))
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_finished()
    }

    /// The next element, whatever it is.
    pub fn any(&mut self) -> Result<Element<'a>, NotDer> {
        let header = Header::peek(&self.0)?;
        let raw = self.0.tlv_bytes()?;
        let length = usize::try_from(header.length())?;
        let value = raw.get(raw.len() - length..).ok_or(NotDer)?;
        Ok(Element { tag: header.tag(), raw, value })
    }

    /// The next element, which must have this tag.
    pub fn expect(&mut self, tag: Tag) -> Result<Element<'a>, NotDer> {
        let element = self.any()?;
        if element.tag == tag { Ok(element) } else { Err(NotDer) }
    }

    /// The next element if it has this tag.
    pub fn optional(&mut self, tag: Tag) -> Result<Option<Element<'a>>, NotDer> {
        if self.is_empty() || Header::peek(&self.0)?.tag() != tag {
            return Ok(None);
        }
        self.any().map(Some)
    }

    /// Nothing may follow.
    pub fn end(self) -> Result<(), NotDer> {
        if self.is_empty() { Ok(()) } else { Err(NotDer) }
    }
}

/// The one element that these bytes are, with this tag and nothing after it.
pub(super) fn single(bytes: &[u8], tag: Tag) -> Result<Element<'_>, NotDer> {
    let mut elements = Elements::new(bytes)?;
    let element = elements.expect(tag)?;
    elements.end()?;
    Ok(element)
}

/// `[number]`, constructed.
pub(super) const fn context(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

/// `[number]`, primitive.
pub(super) const fn context_primitive(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: false, number: TagNumber(number) }
}

/// Identifier octets used when writing.
pub(super) mod octet {
    pub const BOOLEAN: u8 = 0x01;
    pub const INTEGER: u8 = 0x02;
    pub const BIT_STRING: u8 = 0x03;
    pub const OCTET_STRING: u8 = 0x04;
    pub const NULL: u8 = 0x05;
    pub const ENUMERATED: u8 = 0x0A;
    pub const UTF8_STRING: u8 = 0x0C;
    pub const PRINTABLE_STRING: u8 = 0x13;
    pub const UTC_TIME: u8 = 0x17;
    pub const GENERALIZED_TIME: u8 = 0x18;
    pub const SEQUENCE: u8 = 0x30;
    pub const SET: u8 = 0x31;
    pub const CONTEXT_0: u8 = 0xA0;
    pub const CONTEXT_1: u8 = 0xA1;
    pub const CONTEXT_2: u8 = 0xA2;
    pub const CONTEXT_3: u8 = 0xA3;
    pub const CONTEXT_0_PRIMITIVE: u8 = 0x80;
}

/// Writes one element from the parts of its value.
pub(super) fn element(identifier: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(identifier);
    if length < 0x80 {
        out.push(length.to_le_bytes()[0]);
    } else {
        let bytes = length.to_be_bytes();
        let significant: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
        out.push(0x80 | significant.len().to_le_bytes()[0]);
        out.extend_from_slice(&significant);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// SEQUENCE.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(octet::SEQUENCE, parts)
}

/// SET OF under this identifier, its elements in DER order (X.690 §11.6).
pub(super) fn set_of(identifier: u8, mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    elements.sort();
    let parts: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
    element(identifier, &parts)
}

/// OBJECT IDENTIFIER.
pub(super) fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    element(0x06, &[oid.as_bytes()])
}

/// INTEGER from big-endian magnitude.
pub(super) fn unsigned(magnitude: &[u8]) -> Vec<u8> {
    let start = magnitude.iter().position(|byte| *byte != 0).unwrap_or(magnitude.len());
    let digits = magnitude.get(start..).unwrap_or_default();
    match digits.first() {
        None => element(octet::INTEGER, &[&[0]]),
        Some(first) if *first >= 0x80 => element(octet::INTEGER, &[&[0], digits]),
        Some(_) => element(octet::INTEGER, &[digits]),
    }
}

/// BIT STRING of whole octets.
pub(super) fn bits(octets: &[u8]) -> Vec<u8> {
    element(octet::BIT_STRING, &[&[0], octets])
}

/// UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5, RFC 5652 §11.3).
pub(super) fn time(at: DateTime<Utc>) -> Vec<u8> {
    let (identifier, format) = if (1950..2050).contains(&at.year()) {
        (octet::UTC_TIME, "%y%m%d%H%M%SZ")
    } else {
        (octet::GENERALIZED_TIME, "%Y%m%d%H%M%SZ")
    };
    element(identifier, &[at.format(format).to_string().as_bytes()])
}

/// The bytes of an element under another identifier octet; `raw` is a complete element.
pub(super) fn retagged(identifier: u8, raw: &[u8]) -> Vec<u8> {
    let mut out = raw.to_vec();
    if let Some(first) = out.first_mut() {
        *first = identifier;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let value = vec![7; length];
            let written = element(octet::OCTET_STRING, &[&value]);
            let read = single(&written, Tag::OctetString).unwrap();
            assert_eq!((read.value, read.raw), (value.as_slice(), written.as_slice()));
        }
        assert_eq!(unsigned(&[0, 0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[0]), [2, 1, 0]);
    }

    #[test]
    fn times_cross_2050_and_read_back() {
        for text in ["1999-12-31T23:59:59Z", "2026-11-21T08:30:05Z", "2049-12-31T00:00:00Z", "2050-01-01T00:00:00Z"] {
            let at: DateTime<Utc> = text.parse().unwrap();
            let written = time(at);
            assert_eq!(Elements::new(&written).unwrap().any().unwrap().time(), Ok(at), "{text}");
        }
    }

    #[test]
    fn odd_lengths_and_times_are_refused() {
        assert!(single(&[0x30, 0x81, 0x01, 0x00], Tag::Sequence).is_err(), "non-minimal length");
        assert!(single(&[0x30, 0x80, 0x00, 0x00], Tag::Sequence).is_err(), "indefinite length");
        assert!(single(&[0x30, 0x00, 0x00], Tag::Sequence).is_err(), "trailing byte");
        for bad in ["261121083005", "2611210830+05Z", "261321083005Z", "26112108300５Z"] {
            let written = element(octet::UTC_TIME, &[bad.as_bytes()]);
            assert!(Elements::new(&written).unwrap().any().unwrap().time().is_err(), "{bad}");
        }
    }
}
