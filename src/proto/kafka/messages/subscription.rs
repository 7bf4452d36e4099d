//! What members of a classic group say to each other by way of the broker, which does not read it:
//! what each wants and has (`ConsumerProtocolSubscription`), and what it is to have
//! (`ConsumerProtocolAssignment`). No version of them is flexible.

use bytes::Bytes;

use crate::proto::kafka::wire::{Malformed, Reader, Writer};

/// Partitions of topics.
pub(in crate::proto::kafka) type Parts = Vec<(String, Vec<i32>)>;

/// A member's description of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Subscription {
    pub(in crate::proto::kafka) topics: Vec<String>,
    /// What it has, and in which generation it got it; below 0 for none.
    pub(in crate::proto::kafka) owned: Parts,
    pub(in crate::proto::kafka) generation: i32,
}

/// The version that is written: the first that names the generation. A reader that knows fewer
/// passes over what stands behind.
const VERSION: i16 = 2;

const NEGATIVE: Malformed = Malformed("a version below 0");

/// Writes it. The generation also stands in the data of the assignor, where Java's clients before
/// 3.4 look for it (`CooperativeStickyAssignor`).
pub(in crate::proto::kafka) fn write(subscription: &Subscription) -> Vec<u8> {
    let mut writer = Writer::new(false);
    writer.i16(VERSION);
    writer.list(&subscription.topics, |writer, topic| writer.text(topic));
    writer.bytes(&subscription.generation.to_be_bytes());
    write_parts(&mut writer, &subscription.owned);
    writer.i32(subscription.generation);
    writer.into_bytes()
}

/// Reads one of any version.
pub(in crate::proto::kafka) fn read(bytes: Bytes) -> Result<Subscription, Malformed> {
    let mut reader = Reader::new(bytes, false);
    let version = reader.i16()?;
    if version < 0 {
        return Err(NEGATIVE);
    }
    let topics = reader.list(Reader::text)?;
    let data = reader.bytes()?;
    let owned = if version >= 1 { read_parts(&mut reader)? } else { Vec::new() };
    // In the data it comes last, in Java's clients and in librdkafka.
    let in_data = data.last_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
    let generation = if version >= 2 { reader.i32()? } else { in_data.unwrap_or(-1) };
    Ok(Subscription { topics, owned, generation })
}

/// Writes what a member is to have.
pub(in crate::proto::kafka) fn write_share(parts: &[(String, Vec<i32>)]) -> Vec<u8> {
    let mut writer = Writer::new(false);
    writer.i16(0);
    write_parts(&mut writer, parts);
    // No data of the assignor.
    writer.i32(-1);
    writer.into_bytes()
}

/// Reads it; a broker gives nothing at all to one that the leader has left out.
pub(in crate::proto::kafka) fn read_share(bytes: Bytes) -> Result<Parts, Malformed> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(bytes, false);
    if reader.i16()? < 0 {
        return Err(NEGATIVE);
    }
    read_parts(&mut reader)
}

fn write_parts(writer: &mut Writer, parts: &[(String, Vec<i32>)]) {
    writer.list(parts, |writer, (topic, parts)| {
        writer.text(topic);
        writer.list(parts, |writer, index| writer.i32(*index));
    });
}

fn read_parts(reader: &mut Reader) -> Result<Parts, Malformed> {
    reader.list(|reader| Ok((reader.text()?, reader.list(Reader::i32)?)))
}
