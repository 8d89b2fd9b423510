//! What one source row says about one entity, and how its values are packed.

use std::sync::Arc;

use super::Statement;
use crate::record::Value;

/// An entity, unique over all registers of an installation; assigned in commit order.
pub type EntityId = i64;
/// A claim, unique over all registers; assigned in commit order.
pub type ClaimId = i64;
/// One dataset's flow into one register.
pub type StreamId = i64;
/// A stored [`Layout`].
pub type LayoutId = i64;

/// What names a row in its own source: the contracted key cells, joined; or the digest of the whole row.
pub type SourceKey = Arc<str>;

/// Register fields that a mapping sets, in the order in which a claim's values are packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Stored id.
    pub id: LayoutId,
    /// For each packed value, the index of its field in the register.
    pub fields: Vec<usize>,
}

/// Where a claim came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The file it was last read from.
    pub file: i64,
    /// Data row in that file, from 1.
    pub row: i64,
    /// The run that committed this state of the claim.
    pub run: i64,
}

/// One claim in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Stored id.
    pub id: ClaimId,
    /// Dataset and register.
    pub stream: StreamId,
    /// The source's own key of the row.
    pub key: SourceKey,
    /// Further rows with the same key in one extract: 0, 1, …
    pub occurrence: i64,
    /// Business time (更新时间) in microseconds; the file's own time where the dataset has none.
    pub updated: i64,
    /// Values in register field order.
    pub values: super::Row,
    /// What it said about status fields before, in order of business time.
    pub past: Vec<Statement>,
    /// Where it was read.
    pub origin: Origin,
}

/// Packs the values of `layout` out of a register-ordered row: a tag byte, then the payload, value by value.
pub fn encode_values(layout: &Layout, row: &super::Row) -> Vec<u8> {
    let mut out = Vec::with_capacity(layout.fields.len() * 16);
    for &field in &layout.fields {
        match row.get(field).and_then(Option::as_ref) {
            None => out.push(0),
            Some(Value::Text(text)) => {
                out.push(1);
                put_length(&mut out, text.len());
                out.extend_from_slice(text.as_bytes());
            }
            Some(Value::Integer(n)) => put(&mut out, 2, &n.to_le_bytes()),
            Some(Value::Decimal(n)) => put(&mut out, 3, &n.to_le_bytes()),
            Some(Value::Date(n)) => put(&mut out, 4, &n.to_le_bytes()),
            Some(Value::Timestamp(n)) => put(&mut out, 5, &n.to_le_bytes()),
            Some(Value::Boolean(b)) => put(&mut out, 6, &[u8::from(*b)]),
        }
    }
    out
}

/// Appends earlier statements to packed values; nothing when there are none.
pub fn encode_past(layout: &Layout, past: &[Statement], out: &mut Vec<u8>) {
    let places = past.iter().filter_map(|said| Some((layout.fields.iter().position(|f| *f == said.field)?, said)));
    let places: Vec<(usize, &Statement)> = places.collect();
    if places.is_empty() {
        return;
    }
    out.push(PAST);
    put_length(out, places.len());
    for (place, said) in places {
        put_length(out, place);
        out.extend_from_slice(&said.at.to_le_bytes());
        put_length(out, said.state.len());
        out.extend_from_slice(said.state.as_bytes());
    }
}

/// Before the earlier statements.
const PAST: u8 = 7;

/// Unpacks what [`encode_values`] packed into a row of `width` fields, and the earlier statements behind it; `None` when
/// the bytes are not that.
pub fn decode_values(layout: &Layout, width: usize, bytes: &[u8]) -> Option<(super::Row, Vec<Statement>)> {
    let mut row: super::Row = vec![None; width];
    let mut rest = bytes;
    for &field in &layout.fields {
        let (&tag, after) = rest.split_first()?;
        rest = after;
        let value = match tag {
            0 => None,
            1 => {
                let length = take_length(&mut rest)?;
                let text = std::str::from_utf8(take(&mut rest, length)?).ok()?;
                Some(Value::Text(text.to_owned()))
            }
            2 => Some(Value::Integer(i64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?))),
            3 => Some(Value::Decimal(i128::from_le_bytes(take(&mut rest, 16)?.try_into().ok()?))),
            4 => Some(Value::Date(i32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?))),
            5 => Some(Value::Timestamp(i64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?))),
            6 => Some(Value::Boolean(take(&mut rest, 1)? == [1])),
            _ => return None,
        };
        *row.get_mut(field)? = value;
    }
    let past = decode_past(layout, &mut rest)?;
    rest.is_empty().then_some((row, past))
}

fn decode_past(layout: &Layout, rest: &mut &[u8]) -> Option<Vec<Statement>> {
    let Some((&PAST, after)) = rest.split_first() else { return Some(Vec::new()) };
    *rest = after;
    let mut past = Vec::new();
    for _ in 0..take_length(rest)? {
        let field = *layout.fields.get(take_length(rest)?)?;
        let at = i64::from_le_bytes(take(rest, 8)?.try_into().ok()?);
        let length = take_length(rest)?;
        let state = std::str::from_utf8(take(rest, length)?).ok()?.into();
        past.push(Statement { at, field, state });
    }
    Some(past)
}

fn put(out: &mut Vec<u8>, tag: u8, payload: &[u8]) {
    out.push(tag);
    out.extend_from_slice(payload);
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let mut length = 0_usize;
    for shift in (0..35).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_values_read_back_and_broken_bytes_do_not() {
        let layout = Layout { id: 1, fields: vec![2, 0, 3] };
        let long = "企".repeat(200);
        let row: super::super::Row =
            vec![Some(Value::Decimal(-5)), None, Some(Value::Text(long)), Some(Value::Boolean(true))];
        let mut bytes = encode_values(&layout, &row);
        let bare = bytes.len();
        assert_eq!(decode_values(&layout, 4, &bytes), Some((row.clone(), vec![])));
        let past = vec![Statement { at: -7, field: 0, state: "注销".into() }];
        encode_past(&layout, &past, &mut bytes);
        assert_eq!(decode_values(&layout, 4, &bytes), Some((row, past)));
        for cut in (0..bytes.len()).filter(|cut| *cut != bare) {
            assert_eq!(decode_values(&layout, 4, &bytes[..cut]), None, "cut at {cut}");
        }
    }
}
