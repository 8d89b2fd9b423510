//! Layers of answers that a department's service encrypts to us (国密, 证照共享).

use std::io::Read;
use std::sync::Arc;

use super::super::{DecodeError, Input, Memory, broken, read_error};
use super::MOST_TEXT;
use crate::crypto::Sm2Opener;

/// All that is in a layer that is no larger than a text of an envelope may be.
fn whole(outer: &Arc<dyn Input>) -> Result<Vec<u8>, DecodeError> {
    let failed = |e| read_error(outer.as_ref(), e);
    let mut bytes = Vec::new();
    outer.read_from(0).map_err(failed)?.take(MOST_TEXT as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MOST_TEXT {
        return Err(broken(outer.as_ref(), "HL0314", format!("more than {MOST_TEXT} bytes in one envelope")));
    }
    Ok(bytes)
}

/// The text of the member at `path`.
pub(super) fn member(outer: &Arc<dyn Input>, path: &str) -> Result<Arc<dyn Input>, DecodeError> {
    let document: serde_json::Value = serde_json::from_slice(&whole(outer)?)
        .map_err(|error| broken(outer.as_ref(), "HL0317", format!("the envelope is not JSON: {}", where_in(&error))))?;
    let text = path.split('.').try_fold(&document, |inside, name| inside.get(name)).and_then(serde_json::Value::as_str);
    match text {
        Some(text) => Ok(Arc::new(Memory::new(format!("{}!{path}", outer.name()), text.as_bytes().to_vec()))),
        None => Err(broken(outer.as_ref(), "HL0319", format!("there is no text at {path}"))),
    }
}

/// Without what the document says there.
fn where_in(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// What was encrypted to this key.
pub(super) fn opened(outer: &Arc<dyn Input>, key: &str) -> Result<Arc<dyn Input>, DecodeError> {
    let refuse = |why: &str| broken(outer.as_ref(), "HL0324", why.to_owned());
    let opener = Sm2Opener::from_text(key).ok_or_else(|| refuse("what `sm2` names is no private key of SM2"))?;
    let bytes = whole(outer)?;
    let open = || opener.open(&unhexed(&bytes)?);
    let text = open().ok_or_else(|| refuse("it does not open with the private key that `sm2` names"))?;
    Ok(Arc::new(Memory::new(outer.name(), text)))
}

/// Bytes that are written in hexadecimal, or as they are.
fn unhexed(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = bytes.trim_ascii();
    if text.is_empty() || !text.iter().all(u8::is_ascii_hexdigit) {
        return Some(bytes.to_vec());
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.chunks(2).map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect()
}
