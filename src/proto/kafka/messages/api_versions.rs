//! ApiVersions: which versions of which requests a broker knows.

use super::{Api, errors};
use crate::proto::kafka::wire::{Malformed, Reader, Writer};

pub(in crate::proto::kafka) const API: Api = Api::new(18, "ApiVersions", (0, 3), 3);

/// Writes the request.
pub(in crate::proto::kafka) fn write(writer: &mut Writer, version: i16) {
    if version >= 3 {
        writer.text(super::CLIENT);
        writer.text(env!("CARGO_PKG_VERSION"));
    }
    writer.tags();
}

/// What a broker knows: the number of a request and its lowest and highest version.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto::kafka) struct ApiVersions {
    pub(in crate::proto::kafka) error: i16,
    pub(in crate::proto::kafka) ranges: Vec<(i16, i16, i16)>,
}

/// Reads the answer. One that says that the version is not known is in version 0.
pub(in crate::proto::kafka) fn read(
    body: bytes::Bytes,
    version: i16,
) -> Result<ApiVersions, Malformed> {
    let mut peek = Reader::new(body.clone(), false);
    let error = peek.i16()?;
    let old = error == errors::UNSUPPORTED_VERSION;
    let mut reader = Reader::new(body, !old && API.is_flexible(version));
    reader.i16()?;
    let ranges = reader.list(|reader| {
        let range = (reader.i16()?, reader.i16()?, reader.i16()?);
        reader.tags()?;
        Ok(range)
    })?;
    Ok(ApiVersions { error, ranges })
}
