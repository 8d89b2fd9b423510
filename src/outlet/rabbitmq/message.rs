//! A batch as a message, and back.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, FieldTable, LongString, ShortString};

use super::{BrokerError, SPARE};
use crate::batch::SealedBatch;

const MANIFEST: &str = "manifest";
const SIGNATURE: &str = "signature";
/// Bytes of a frame around what it carries.
const AROUND: usize = 8;

/// Manifest and signature of a message, as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// JSON, as signed.
    pub manifest: Vec<u8>,
    /// Detached CMS.
    pub signature: Vec<u8>,
}

/// A name that AMQP can carry.
pub(super) fn short(name: &str) -> Result<ShortString, BrokerError> {
    ShortString::try_new(name)
        .map_err(|_| BrokerError::Address { what: format!("a name has {} bytes, 255 are possible", name.len()) })
}

/// The properties of a batch's message. The same batch has the same.
pub(super) fn properties(batch: &SealedBatch) -> Result<BasicProperties, BrokerError> {
    let mut headers = FieldTable::default();
    headers.insert(MANIFEST.into(), AMQPValue::LongString(LongString::from(batch.manifest.clone())));
    headers.insert(SIGNATURE.into(), AMQPValue::ByteArray(ByteArray::from(batch.signature.clone())));
    Ok(BasicProperties::default()
        .with_content_type("application/avro".into())
        .with_delivery_mode(2)
        .with_message_id(short(&batch.id())?)
        .with_type(crate::batch::FORMAT.into())
        .with_headers(headers))
}

/// Bytes that the headers of this batch may need in one frame, and the bytes there are.
pub(super) fn room(batch: &SealedBatch, frame_max: usize) -> (usize, usize) {
    (batch.manifest.len() + batch.signature.len() + SPARE, frame_max.saturating_sub(AROUND))
}

/// Manifest and signature of a message that was received; `None` when it is none of ours.
pub fn parts(properties: &BasicProperties) -> Option<Parts> {
    let headers = properties.headers().as_ref()?;
    Some(Parts { manifest: bytes(headers, MANIFEST)?, signature: bytes(headers, SIGNATURE)? })
}

/// The bytes of a header, whichever way a client library or a shovel wrote them.
pub(super) fn bytes(headers: &FieldTable, name: &str) -> Option<Vec<u8>> {
    match headers.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.as_bytes().to_vec()),
        AMQPValue::ByteArray(bytes) => Some(bytes.as_slice().to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::chain;
    use crate::crypto::tests::CaAndSigner;

    #[test]
    fn a_message_carries_the_very_bytes() {
        let batch = chain(&CaAndSigner::new(), 1).remove(0);
        let properties = properties(&batch).unwrap();
        let found = parts(&properties).unwrap();
        assert_eq!((found.manifest, found.signature), (batch.manifest.clone(), batch.signature.clone()));
        assert_eq!(properties.message_id().as_ref().map(ShortString::as_str), Some("housing.enterprise/1"));
        assert_eq!(properties.delivery_mode(), &Some(2));
        assert_eq!(parts(&BasicProperties::default()), None);
        let (needed, allowed) = room(&batch, 4096);
        assert_eq!((needed > batch.manifest.len() + batch.signature.len(), allowed), (true, 4088));
    }
}
