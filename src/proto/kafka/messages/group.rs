//! Groups of consumers: who coordinates one, membership (KIP-848), and the offsets it commits.

use super::Api;
use crate::proto::kafka::wire::{Malformed, Reader, Uuid, Writer};

pub(in crate::proto::kafka) const FIND: Api = Api::new(10, "FindCoordinator", (1, 3), 3);
pub(in crate::proto::kafka) const BEAT: Api = Api::new(68, "ConsumerGroupHeartbeat", (0, 1), 0);
pub(in crate::proto::kafka) const COMMIT: Api = Api::new(8, "OffsetCommit", (2, 9), 8);
pub(in crate::proto::kafka) const OFFSETS: Api = Api::new(9, "OffsetFetch", (1, 7), 6);

/// A group, and not a transaction, is coordinated.
const GROUP: i8 = 0;

/// Asks which broker coordinates a group.
pub(in crate::proto::kafka) fn write_find(writer: &mut Writer, group: &str) {
    writer.text(group);
    writer.i8(GROUP);
    writer.tags();
}

/// Reads the answer: an error, the host and the port.
pub(in crate::proto::kafka) fn read_find(
    reader: &mut Reader,
) -> Result<(i16, String, i32), Malformed> {
    reader.i32()?;
    let error = reader.i16()?;
    reader.text_or_null()?;
    reader.i32()?;
    Ok((error, reader.text()?, reader.i32()?))
}

/// What a member says of itself.
#[derive(Debug)]
pub(in crate::proto::kafka) struct Beat<'b> {
    pub(in crate::proto::kafka) group: &'b str,
    pub(in crate::proto::kafka) member: &'b str,
    /// 0 to join, below 0 to leave.
    pub(in crate::proto::kafka) epoch: i32,
    /// How long it may take to give partitions back, in milliseconds.
    pub(in crate::proto::kafka) patience: i32,
    pub(in crate::proto::kafka) topics: &'b [String],
    pub(in crate::proto::kafka) owned: &'b [(Uuid, Vec<i32>)],
}

/// Writes that.
pub(in crate::proto::kafka) fn write_beat(writer: &mut Writer, version: i16, beat: &Beat<'_>) {
    writer.text(beat.group);
    writer.text(beat.member);
    writer.i32(beat.epoch);
    writer.null_text();
    writer.null_text();
    writer.i32(beat.patience);
    writer.list(beat.topics, |writer, topic| writer.text(topic));
    if version >= 1 {
        writer.null_text();
    }
    writer.null_text();
    writer.list(beat.owned, |writer, (topic, partitions)| {
        writer.uuid(*topic);
        writer.list(partitions, |writer, partition| writer.i32(*partition));
        writer.tags();
    });
    writer.tags();
}

/// What the group says to a member.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Beaten {
    pub(in crate::proto::kafka) error: i16,
    pub(in crate::proto::kafka) message: Option<String>,
    pub(in crate::proto::kafka) epoch: i32,
    /// The time to the next heartbeat, in milliseconds.
    pub(in crate::proto::kafka) interval: i32,
    /// What it is to own, where that has changed.
    pub(in crate::proto::kafka) assigned: Option<Vec<(Uuid, Vec<i32>)>>,
}

/// Reads it.
pub(in crate::proto::kafka) fn read_beat(reader: &mut Reader) -> Result<Beaten, Malformed> {
    reader.i32()?;
    let (error, message) = (reader.i16()?, reader.text_or_null()?);
    reader.text_or_null()?;
    let (epoch, interval) = (reader.i32()?, reader.i32()?);
    // Null is below 0.
    let assigned = match reader.i8()? < 0 {
        true => None,
        false => {
            let topics = reader.list(|reader| {
                let topic = (reader.uuid()?, reader.list(Reader::i32)?);
                reader.tags()?;
                Ok(topic)
            })?;
            reader.tags()?;
            Some(topics)
        }
    };
    reader.tags()?;
    Ok(Beaten { error, message, epoch, interval, assigned })
}

/// Who says something: the group, its generation or the member's epoch, and the member.
pub(in crate::proto::kafka) type Who<'w> = (&'w str, i32, &'w str);

/// Offsets of the partitions of a topic.
#[derive(Debug)]
pub(in crate::proto::kafka) struct Offsets {
    pub(in crate::proto::kafka) topic: String,
    /// Is kept with each of them.
    pub(in crate::proto::kafka) note: String,
    pub(in crate::proto::kafka) parts: Vec<(i32, i64)>,
}

/// Commits offsets.
pub(in crate::proto::kafka) fn write_commit(
    writer: &mut Writer,
    version: i16,
    (group, epoch, member): Who<'_>,
    topics: &[Offsets],
) {
    writer.text(group);
    writer.i32(epoch);
    writer.text(member);
    if version >= 7 {
        writer.null_text();
    }
    if version <= 4 {
        // As long as the broker keeps them by itself.
        writer.i64(-1);
    }
    writer.list(topics, |writer, of| {
        writer.text(&of.topic);
        writer.list(&of.parts, |writer, (index, offset)| {
            writer.i32(*index);
            writer.i64(*offset);
            if version >= 6 {
                writer.i32(-1);
            }
            writer.text(&of.note);
            writer.tags();
        });
        writer.tags();
    });
    writer.tags();
}

/// Reads the answer: the error of each partition.
pub(in crate::proto::kafka) fn read_commit(
    reader: &mut Reader,
    version: i16,
) -> Result<Vec<(String, i32, i16)>, Malformed> {
    if version >= 3 {
        reader.i32()?;
    }
    let topics = reader.list(|reader| {
        let topic = reader.text()?;
        let parts = reader.list(|reader| {
            let part = (topic.clone(), reader.i32()?, reader.i16()?);
            reader.tags()?;
            Ok(part)
        })?;
        reader.tags()?;
        Ok(parts)
    })?;
    Ok(topics.into_iter().flatten().collect())
}

/// Asks for the committed offsets of these partitions.
pub(in crate::proto::kafka) fn write_offsets(
    writer: &mut Writer,
    version: i16,
    group: &str,
    topics: &[(String, Vec<i32>)],
) {
    writer.text(group);
    writer.list(topics, |writer, (topic, parts)| {
        writer.text(topic);
        writer.list(parts, |writer, index| writer.i32(*index));
        writer.tags();
    });
    if version >= 7 {
        // Not what a transaction may still take back.
        writer.boolean(true);
    }
    writer.tags();
}

/// A committed offset; below 0 for none.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Committed {
    pub(in crate::proto::kafka) topic: String,
    pub(in crate::proto::kafka) index: i32,
    pub(in crate::proto::kafka) offset: i64,
    /// What was kept with it.
    pub(in crate::proto::kafka) note: Option<String>,
    pub(in crate::proto::kafka) error: i16,
}

/// Reads them, with an error of all.
pub(in crate::proto::kafka) fn read_offsets(
    reader: &mut Reader,
    version: i16,
) -> Result<(i16, Vec<Committed>), Malformed> {
    if version >= 3 {
        reader.i32()?;
    }
    let topics = reader.list(|reader| {
        let topic = reader.text()?;
        let parts = reader.list(|reader| {
            let (index, offset) = (reader.i32()?, reader.i64()?);
            if version >= 5 {
                reader.i32()?;
            }
            let note = reader.text_or_null()?;
            let error = reader.i16()?;
            reader.tags()?;
            Ok(Committed { topic: topic.clone(), index, offset, note, error })
        })?;
        reader.tags()?;
        Ok(parts)
    })?;
    let error = if version >= 2 { reader.i16()? } else { 0 };
    reader.tags()?;
    Ok((error, topics.into_iter().flatten().collect()))
}
