//! The requests that we make and their answers. Each is written and read for a range of versions;
//! a connection uses the highest that the broker knows too.

pub(super) mod api_versions;
pub(super) mod authentication;
pub(super) mod classic;
pub(super) mod errors;
pub(super) mod fetch;
pub(super) mod group;
pub(super) mod metadata;
pub(super) mod offsets;
pub(super) mod produce;
pub(super) mod producers;
pub(super) mod subscription;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::wire::{Malformed, Reader, Writer};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Api {
    /// Its number in the protocol.
    pub(super) key: i16,
    /// Its name in the protocol guide.
    pub(super) name: &'static str,
    /// The versions that are written and read here.
    pub(super) versions: (i16, i16),
    /// The first flexible version.
    pub(super) flexible_from: i16,
    /// How much longer than others its answer may take.
    pub(super) patience: Duration,
}

/// No version of such a request is flexible.
pub(super) const NEVER: i16 = i16::MAX;

impl Api {
    const fn new(key: i16, name: &'static str, versions: (i16, i16), flexible_from: i16) -> Self {
        Self { key, name, versions, flexible_from, patience: Duration::ZERO }
    }

    const fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Whether a version is flexible.
    pub(super) fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_from
    }
}

/// The name that brokers log and count us by.
pub(super) const CLIENT: &str = "logweir";

/// The start of a request (`RequestHeader`, versions 1 and 2).
pub(super) fn header(api: Api, version: i16, correlation: i32) -> Writer {
    // The client's name is in the old form in every version.
    let mut header = Writer::new(false);
    header.i16(api.key);
    header.i16(version);
    header.i32(correlation);
    header.text(CLIENT);
    let mut writer = header.continued(api.is_flexible(version));
    writer.tags();
    writer
}

/// Reads the start of an answer behind its correlation id (`ResponseHeader`, versions 0 and 1).
pub(super) fn after_correlation(
    api: Api,
    version: i16,
    body: bytes::Bytes,
) -> Result<Reader, Malformed> {
    let mut reader = Reader::new(body, api.is_flexible(version));
    // A broker that does not know the version answers so that any client can read it.
    if api.key != api_versions::API.key {
        reader.tags()?;
    }
    Ok(reader)
}
