//! Fetch: records of some partitions, from an offset on.

use bytes::Bytes;

use super::Api;
use crate::proto::kafka::wire::{Malformed, Reader, Uuid, Writer};

pub(in crate::proto::kafka) const API: Api = Api::new(1, "Fetch", (4, 13), 12);

/// From this version on a topic is named by its identity.
pub(in crate::proto::kafka) const BY_ID: i16 = 13;

/// We are no replica.
const CLIENT: i32 = -1;
/// Only what no open or aborted transaction can take back.
const READ_COMMITTED: i8 = 1;

/// What one request may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Bounds {
    /// How long the broker waits for the first byte, in milliseconds.
    pub(in crate::proto::kafka) wait: i32,
    /// Bytes in all; a first batch that is larger comes all the same.
    pub(in crate::proto::kafka) all: i32,
    /// Bytes of one partition.
    pub(in crate::proto::kafka) part: i32,
}

/// A topic, and the partitions of it that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Topic {
    pub(in crate::proto::kafka) name: String,
    pub(in crate::proto::kafka) id: Uuid,
    pub(in crate::proto::kafka) parts: Vec<Part>,
}

/// A partition that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Part {
    pub(in crate::proto::kafka) index: i32,
    /// The leader's epoch as we know it; -1 for none.
    pub(in crate::proto::kafka) epoch: i32,
    pub(in crate::proto::kafka) offset: i64,
    /// The epoch of the last record that was read; -1 for none.
    pub(in crate::proto::kafka) last_epoch: i32,
}

/// Writes the request.
pub(in crate::proto::kafka) fn write(
    writer: &mut Writer,
    version: i16,
    bounds: Bounds,
    topics: &[Topic],
) {
    writer.i32(CLIENT);
    writer.i32(bounds.wait);
    writer.i32(1);
    writer.i32(bounds.all);
    writer.i8(READ_COMMITTED);
    if version >= 7 {
        // No session: each request says all.
        writer.i32(0);
        writer.i32(-1);
    }
    writer.list(topics, |writer, topic| {
        if version >= BY_ID {
            writer.uuid(topic.id);
        } else {
            writer.text(&topic.name);
        }
        writer.list(&topic.parts, |writer, part| {
            writer.i32(part.index);
            if version >= 9 {
                writer.i32(part.epoch);
            }
            writer.i64(part.offset);
            if version >= 12 {
                writer.i32(part.last_epoch);
            }
            if version >= 5 {
                writer.i64(-1);
            }
            writer.i32(bounds.part);
            writer.tags();
        });
        writer.tags();
    });
    if version >= 7 {
        writer.list_follows(0);
    }
    if version >= 11 {
        writer.text("");
    }
    writer.tags();
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Fetched {
    pub(in crate::proto::kafka) throttle: i32,
    pub(in crate::proto::kafka) error: i16,
    pub(in crate::proto::kafka) parts: Vec<FetchedPart>,
}

/// What came of a partition.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto::kafka) struct FetchedPart {
    /// Empty where the topic is named by its identity.
    pub(in crate::proto::kafka) topic: String,
    pub(in crate::proto::kafka) id: Uuid,
    pub(in crate::proto::kafka) index: i32,
    pub(in crate::proto::kafka) error: i16,
    /// The end of what may be read.
    pub(in crate::proto::kafka) stable: i64,
    /// Producers whose transactions were aborted, with the first offset of each.
    pub(in crate::proto::kafka) aborted: Vec<(i64, i64)>,
    pub(in crate::proto::kafka) records: Bytes,
    /// The log has other records from this offset on than those that were read.
    pub(in crate::proto::kafka) diverges: Option<i64>,
}

/// Reads the answer.
pub(in crate::proto::kafka) fn read(
    reader: &mut Reader,
    version: i16,
) -> Result<Fetched, Malformed> {
    let throttle = reader.i32()?;
    let mut error = 0;
    if version >= 7 {
        error = reader.i16()?;
        reader.i32()?;
    }
    let topics = reader.list(|reader| {
        let by_id = version >= BY_ID;
        let topic = if by_id { String::new() } else { reader.text()? };
        let id = if by_id { reader.uuid()? } else { Uuid::default() };
        let parts = reader.list(|reader| part(reader, version, (&topic, id)))?;
        reader.tags()?;
        Ok(parts)
    })?;
    reader.tags()?;
    Ok(Fetched { throttle, error, parts: topics.into_iter().flatten().collect() })
}

fn part(
    reader: &mut Reader,
    version: i16,
    (topic, id): (&str, Uuid),
) -> Result<FetchedPart, Malformed> {
    let (index, error) = (reader.i32()?, reader.i16()?);
    let _high = reader.i64()?;
    let stable = reader.i64()?;
    if version >= 5 {
        reader.i64()?;
    }
    let aborted = reader.list(|reader| {
        let aborted = (reader.i64()?, reader.i64()?);
        reader.tags()?;
        Ok(aborted)
    })?;
    if version >= 11 {
        reader.i32()?;
    }
    let records = reader.bytes()?;
    let diverges = match reader.tagged(0)? {
        Some(mut tag) => {
            let (epoch, end) = (tag.i32()?, tag.i64()?);
            (epoch >= 0 && end >= 0).then_some(end)
        }
        None => None,
    };
    let topic = topic.to_string();
    Ok(FetchedPart { topic, id, index, error, stable, aborted, records, diverges })
}
