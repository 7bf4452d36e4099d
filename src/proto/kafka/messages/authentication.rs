//! SaslHandshake and SaslAuthenticate (KIP-43, KIP-152): the messages that carry SASL.

use bytes::Bytes;

use super::{Api, NEVER};
use crate::proto::kafka::wire::{Malformed, Reader, Writer};

pub(in crate::proto::kafka) const HANDSHAKE: Api = Api::new(17, "SaslHandshake", (1, 1), NEVER);
pub(in crate::proto::kafka) const AUTHENTICATE: Api = Api::new(36, "SaslAuthenticate", (0, 2), 2);

/// Writes which mechanism is to be used.
pub(in crate::proto::kafka) fn write_handshake(writer: &mut Writer, mechanism: &str) {
    writer.text(mechanism);
}

/// Reads whether it can be: an error, and the mechanisms that the broker has.
pub(in crate::proto::kafka) fn read_handshake(
    reader: &mut Reader,
) -> Result<(i16, Vec<String>), Malformed> {
    Ok((reader.i16()?, reader.list(Reader::text)?))
}

/// Writes what the mechanism says.
pub(in crate::proto::kafka) fn write_authenticate(writer: &mut Writer, bytes: &[u8]) {
    writer.bytes(bytes);
    writer.tags();
}

/// The broker's answer to that.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Authenticated {
    pub(in crate::proto::kafka) error: i16,
    pub(in crate::proto::kafka) message: Option<String>,
    pub(in crate::proto::kafka) bytes: Bytes,
    /// For how many milliseconds it holds; 0 without an end.
    pub(in crate::proto::kafka) lifetime: i64,
}

/// Reads it.
pub(in crate::proto::kafka) fn read_authenticate(
    reader: &mut Reader,
    version: i16,
) -> Result<Authenticated, Malformed> {
    Ok(Authenticated {
        error: reader.i16()?,
        message: reader.text_or_null()?,
        bytes: reader.bytes()?,
        lifetime: if version >= 1 { reader.i64()? } else { 0 },
    })
}
