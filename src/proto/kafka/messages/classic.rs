//! The classic protocol of groups: members join, one of them shares partitions out, each hears what
//! it gets, and all say regularly that they are there.

use bytes::Bytes;

use super::Api;
use super::group::Who;
use crate::limits::GROUP_PATIENCE;
use crate::proto::kafka::wire::{Malformed, Reader, Writer};

// The answers to these two wait for other members.
pub(in crate::proto::kafka) const JOIN: Api =
    Api::new(11, "JoinGroup", (1, 7), 6).patient(GROUP_PATIENCE);
pub(in crate::proto::kafka) const SYNC: Api =
    Api::new(14, "SyncGroup", (1, 4), 4).patient(GROUP_PATIENCE);
pub(in crate::proto::kafka) const BEAT: Api = Api::new(12, "Heartbeat", (1, 4), 4);
pub(in crate::proto::kafka) const LEAVE: Api = Api::new(13, "LeaveGroup", (1, 4), 4);

/// The kind of group that consumers make up.
const CONSUMERS: &str = "consumer";

/// What a member says that wants to join.
#[derive(Debug)]
pub(in crate::proto::kafka) struct Join<'j> {
    pub(in crate::proto::kafka) group: &'j str,
    /// Without a heartbeat for so long it is out, in milliseconds.
    pub(in crate::proto::kafka) session: i32,
    /// How long it may take to give partitions back, in milliseconds.
    pub(in crate::proto::kafka) patience: i32,
    /// Empty for one that the group does not know.
    pub(in crate::proto::kafka) member: &'j str,
    /// Ways to share partitions out, the preferred one first, each with its own description of the
    /// member.
    pub(in crate::proto::kafka) offers: &'j [(&'static str, Vec<u8>)],
}

/// Writes that.
pub(in crate::proto::kafka) fn write_join(writer: &mut Writer, version: i16, join: &Join<'_>) {
    writer.text(join.group);
    writer.i32(join.session);
    writer.i32(join.patience);
    writer.text(join.member);
    if version >= 5 {
        writer.null_text();
    }
    writer.text(CONSUMERS);
    writer.list(join.offers, |writer, (name, metadata)| {
        writer.text(name);
        writer.bytes(metadata);
        writer.tags();
    });
    writer.tags();
}

/// What the group answers.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Joined {
    pub(in crate::proto::kafka) error: i16,
    pub(in crate::proto::kafka) generation: i32,
    /// The way to share partitions out that all members know.
    pub(in crate::proto::kafka) protocol: String,
    /// The member that does it.
    pub(in crate::proto::kafka) leader: String,
    pub(in crate::proto::kafka) member: String,
    /// All members and their descriptions, for the leader.
    pub(in crate::proto::kafka) members: Vec<(String, Bytes)>,
}

/// Reads it.
pub(in crate::proto::kafka) fn read_join(
    reader: &mut Reader,
    version: i16,
) -> Result<Joined, Malformed> {
    if version >= 2 {
        reader.i32()?;
    }
    let (error, generation) = (reader.i16()?, reader.i32()?);
    if version >= 7 {
        reader.text_or_null()?;
    }
    let protocol = reader.text_or_null()?.unwrap_or_default();
    let (leader, member) = (reader.text()?, reader.text()?);
    let members = reader.list(|reader| {
        let id = reader.text()?;
        if version >= 5 {
            reader.text_or_null()?;
        }
        let member = (id, reader.bytes()?);
        reader.tags()?;
        Ok(member)
    })?;
    Ok(Joined { error, generation, protocol, leader, member, members })
}

fn write_who(writer: &mut Writer, version: i16, (group, generation, member): Who<'_>) {
    writer.text(group);
    writer.i32(generation);
    writer.text(member);
    if version >= 3 {
        writer.null_text();
    }
}

/// Asks what the member gets; the leader says what each is to get.
pub(in crate::proto::kafka) fn write_sync(
    writer: &mut Writer,
    version: i16,
    who: Who<'_>,
    shares: &[(String, Vec<u8>)],
) {
    write_who(writer, version, who);
    writer.list(shares, |writer, (member, share)| {
        writer.text(member);
        writer.bytes(share);
        writer.tags();
    });
    writer.tags();
}

/// Reads the answer: an error, and what the member gets.
pub(in crate::proto::kafka) fn read_sync(reader: &mut Reader) -> Result<(i16, Bytes), Malformed> {
    reader.i32()?;
    Ok((reader.i16()?, reader.bytes()?))
}

/// Says that the member is there.
pub(in crate::proto::kafka) fn write_beat(writer: &mut Writer, version: i16, who: Who<'_>) {
    write_who(writer, version, who);
    writer.tags();
}

/// Reads the answer, an error; that to the last word of a member begins in the same way.
pub(in crate::proto::kafka) fn read_beat(reader: &mut Reader) -> Result<i16, Malformed> {
    reader.i32()?;
    reader.i16()
}

/// Says that the member leaves.
pub(in crate::proto::kafka) fn write_leave(
    writer: &mut Writer,
    version: i16,
    group: &str,
    member: &str,
) {
    writer.text(group);
    if version < 3 {
        return writer.text(member);
    }
    writer.list(&[member], |writer, member| {
        writer.text(member);
        writer.null_text();
        writer.tags();
    });
    writer.tags();
}
