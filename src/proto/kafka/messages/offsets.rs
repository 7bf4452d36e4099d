//! ListOffsets and OffsetForLeaderEpoch: where a partition begins and ends.

use super::Api;
use crate::proto::kafka::wire::{Malformed, Reader, Writer};

pub(in crate::proto::kafka) const LIST: Api = Api::new(2, "ListOffsets", (2, 7), 6);
pub(in crate::proto::kafka) const EPOCH_END: Api = Api::new(23, "OffsetForLeaderEpoch", (2, 4), 4);

/// The time that stands for the end: what every replica in sync has.
pub(in crate::proto::kafka) const LATEST: i64 = -1;
/// The time that stands for the first record that is still there.
pub(in crate::proto::kafka) const EARLIEST: i64 = -2;

/// We are no replica.
const CLIENT: i32 = -1;

/// A partition of a topic, and a number that the question is about.
pub(in crate::proto::kafka) type Ask = (String, i32, i64);

/// The answer for a partition: an error and an offset.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Offset {
    pub(in crate::proto::kafka) topic: String,
    pub(in crate::proto::kafka) index: i32,
    pub(in crate::proto::kafka) error: i16,
    pub(in crate::proto::kafka) offset: i64,
}

/// Asks for the offset of the first record of this time or later, in milliseconds, or for
/// [`LATEST`].
pub(in crate::proto::kafka) fn write_list(writer: &mut Writer, version: i16, asks: &[Ask]) {
    writer.i32(CLIENT);
    // Transactions that are not over do not matter.
    writer.i8(0);
    writer.list(asks, |writer, (topic, index, time)| {
        writer.text(topic);
        writer.list_follows(1);
        writer.i32(*index);
        if version >= 4 {
            writer.i32(-1);
        }
        writer.i64(*time);
        writer.tags();
        writer.tags();
    });
    writer.tags();
}

/// Reads the answer.
pub(in crate::proto::kafka) fn read_list(
    reader: &mut Reader,
    version: i16,
) -> Result<Vec<Offset>, Malformed> {
    reader.i32()?;
    topics(reader, |reader, topic| {
        let (index, error) = (reader.i32()?, reader.i16()?);
        reader.i64()?;
        let offset = reader.i64()?;
        if version >= 4 {
            reader.i32()?;
        }
        Ok(Offset { topic, index, error, offset })
    })
}

/// Asks where the leader's own log ends in an epoch: for the current one that is its last record,
/// whether or not other replicas have it.
pub(in crate::proto::kafka) fn write_epoch_end(writer: &mut Writer, version: i16, asks: &[Ask]) {
    if version >= 3 {
        writer.i32(CLIENT);
    }
    writer.list(asks, |writer, (topic, index, epoch)| {
        writer.text(topic);
        writer.list_follows(1);
        writer.i32(*index);
        writer.i32(-1);
        writer.i32(i32::try_from(*epoch).unwrap_or(-1));
        writer.tags();
        writer.tags();
    });
    writer.tags();
}

/// Reads the answer.
pub(in crate::proto::kafka) fn read_epoch_end(
    reader: &mut Reader,
) -> Result<Vec<Offset>, Malformed> {
    reader.i32()?;
    topics(reader, |reader, topic| {
        let (error, index) = (reader.i16()?, reader.i32()?);
        reader.i32()?;
        Ok(Offset { topic, index, error, offset: reader.i64()? })
    })
}

fn topics(
    reader: &mut Reader,
    mut part: impl FnMut(&mut Reader, String) -> Result<Offset, Malformed>,
) -> Result<Vec<Offset>, Malformed> {
    let topics = reader.list(|reader| {
        let topic = reader.text()?;
        let parts = reader.list(|reader| {
            let offset = part(reader, topic.clone())?;
            reader.tags()?;
            Ok(offset)
        })?;
        reader.tags()?;
        Ok(parts)
    })?;
    Ok(topics.into_iter().flatten().collect())
}
