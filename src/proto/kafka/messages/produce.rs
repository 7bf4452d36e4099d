//! Produce: batches of records to the partitions that one broker leads.

use std::time::Duration;

use bytes::Bytes;

use super::Api;
use crate::proto::kafka::wire::{Malformed, Reader, Writer};

pub(in crate::proto::kafka) const API: Api = Api::new(0, "Produce", (3, 11), 9);

/// Every replica that is in sync must have the records.
const ACKS_ALL: i16 = -1;

/// One partition's batch, with the name of its topic.
pub(in crate::proto::kafka) type Part<'p> = (&'p str, i32, Bytes);

/// The request in pieces: `writer` has its header, and no batch is copied. All parts of a topic
/// stand together.
pub(in crate::proto::kafka) fn write(
    mut writer: Writer,
    timeout: Duration,
    parts: &[Part<'_>],
) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    writer.null_text();
    writer.i16(ACKS_ALL);
    writer.i32(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
    let topics = || parts.chunk_by(|one, other| one.0 == other.0);
    writer.list_follows(topics().count());
    for topic in topics() {
        writer.text(topic[0].0);
        writer.list_follows(topic.len());
        for (_, index, records) in topic {
            writer.i32(*index);
            writer.bytes_follow(records.len());
            let next = writer.continued_anew();
            pieces.push(std::mem::replace(&mut writer, next).into_bytes().into());
            pieces.push(records.clone());
            writer.tags();
        }
        writer.tags();
    }
    writer.tags();
    pieces.push(writer.into_bytes().into());
    pieces
}

/// What became of one partition's batch.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Produced {
    pub(in crate::proto::kafka) topic: String,
    pub(in crate::proto::kafka) index: i32,
    pub(in crate::proto::kafka) error: i16,
    /// The offset of its first record.
    pub(in crate::proto::kafka) offset: i64,
    pub(in crate::proto::kafka) message: Option<String>,
}

/// Reads the answer: what became of each batch, and for how long the broker wants no more.
pub(in crate::proto::kafka) fn read(
    reader: &mut Reader,
    version: i16,
) -> Result<(Vec<Produced>, Duration), Malformed> {
    let topics = reader.list(|reader| {
        let topic = reader.text()?;
        let parts = reader.list(|reader| part(reader, version, &topic))?;
        reader.tags()?;
        Ok(parts)
    })?;
    let throttle = Duration::from_millis(u64::try_from(reader.i32()?).unwrap_or(0));
    Ok((topics.into_iter().flatten().collect(), throttle))
}

fn part(reader: &mut Reader, version: i16, topic: &str) -> Result<Produced, Malformed> {
    let (index, error, offset) = (reader.i32()?, reader.i16()?, reader.i64()?);
    reader.i64()?;
    if version >= 5 {
        reader.i64()?;
    }
    let mut message = None;
    if version >= 8 {
        reader.list(|reader| {
            reader.i32()?;
            reader.text_or_null()?;
            reader.tags()
        })?;
        message = reader.text_or_null()?;
    }
    reader.tags()?;
    Ok(Produced { topic: topic.into(), index, error, offset, message })
}
