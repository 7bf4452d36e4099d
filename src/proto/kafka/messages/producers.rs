//! InitProducerId and DescribeProducers: an identity of our own, and what a partition has from it.

use super::Api;
use crate::proto::kafka::wire::{Malformed, Reader, Writer};

pub(in crate::proto::kafka) const INIT: Api = Api::new(22, "InitProducerId", (0, 4), 2);
pub(in crate::proto::kafka) const DESCRIBE: Api = Api::new(61, "DescribeProducers", (0, 0), 0);

/// Asks for a new identity.
pub(in crate::proto::kafka) fn write_init(writer: &mut Writer, version: i16) {
    writer.null_text();
    // The time-out of transactions, which are not used.
    writer.i32(60_000);
    if version >= 3 {
        writer.i64(-1);
        writer.i16(-1);
    }
    writer.tags();
}

/// An identity that a broker gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proto::kafka) struct ProducerId {
    pub(in crate::proto::kafka) id: i64,
    pub(in crate::proto::kafka) epoch: i16,
}

/// Reads it, with an error.
pub(in crate::proto::kafka) fn read_init(
    reader: &mut Reader,
) -> Result<(i16, ProducerId), Malformed> {
    reader.i32()?;
    Ok((reader.i16()?, ProducerId { id: reader.i64()?, epoch: reader.i16()? }))
}

/// Asks what some partitions of one topic have from their producers.
pub(in crate::proto::kafka) fn write_describe(writer: &mut Writer, topics: &[(String, Vec<i32>)]) {
    writer.list(topics, |writer, (topic, partitions)| {
        writer.text(topic);
        writer.list(partitions, |writer, partition| writer.i32(*partition));
        writer.tags();
    });
    writer.tags();
}

/// What a partition has.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Described {
    pub(in crate::proto::kafka) topic: String,
    pub(in crate::proto::kafka) index: i32,
    pub(in crate::proto::kafka) error: i16,
    /// Each producer with its epoch and the sequence of its last record.
    pub(in crate::proto::kafka) producers: Vec<(i64, i32, i32)>,
}

/// Reads it.
pub(in crate::proto::kafka) fn read_describe(
    reader: &mut Reader,
) -> Result<Vec<Described>, Malformed> {
    reader.i32()?;
    let topics = reader.list(|reader| {
        let topic = reader.text()?;
        let parts = reader.list(|reader| described(reader, &topic))?;
        reader.tags()?;
        Ok(parts)
    })?;
    Ok(topics.into_iter().flatten().collect())
}

fn described(reader: &mut Reader, topic: &str) -> Result<Described, Malformed> {
    let (index, error) = (reader.i32()?, reader.i16()?);
    reader.text_or_null()?;
    let producers = reader.list(|reader| {
        let producer = (reader.i64()?, reader.i32()?, reader.i32()?);
        // When it was last heard, and what of a transaction is known.
        reader.i64()?;
        reader.i32()?;
        reader.i64()?;
        reader.tags()?;
        Ok(producer)
    })?;
    reader.tags()?;
    Ok(Described { topic: topic.into(), index, error, producers })
}
