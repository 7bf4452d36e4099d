//! Metadata: the brokers, and which of them leads which partition.

use super::Api;
use crate::proto::kafka::wire::{Malformed, Reader, Uuid, Writer};

pub(in crate::proto::kafka) const API: Api = Api::new(3, "Metadata", (4, 12), 9);

/// Asks for these topics. `create` lets the broker make those that are not there, where its own
/// configuration allows it.
pub(in crate::proto::kafka) fn write(
    writer: &mut Writer,
    version: i16,
    topics: &[String],
    create: bool,
) {
    writer.list(topics, |writer, topic| {
        if version >= 10 {
            writer.uuid(Uuid::default());
        }
        writer.text(topic);
        writer.tags();
    });
    writer.boolean(create);
    if (8..=10).contains(&version) {
        writer.boolean(false);
    }
    if version >= 8 {
        writer.boolean(false);
    }
    writer.tags();
}

/// What the cluster is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Metadata {
    pub(in crate::proto::kafka) brokers: Vec<Broker>,
    pub(in crate::proto::kafka) cluster: Option<String>,
    pub(in crate::proto::kafka) topics: Vec<Topic>,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Broker {
    pub(in crate::proto::kafka) id: i32,
    pub(in crate::proto::kafka) host: String,
    pub(in crate::proto::kafka) port: i32,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Topic {
    pub(in crate::proto::kafka) error: i16,
    pub(in crate::proto::kafka) name: String,
    /// All zeros where the broker tells none.
    pub(in crate::proto::kafka) id: Uuid,
    pub(in crate::proto::kafka) partitions: Vec<Partition>,
}

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Partition {
    pub(in crate::proto::kafka) error: i16,
    pub(in crate::proto::kafka) index: i32,
    /// The broker that leads it; below 0 for none.
    pub(in crate::proto::kafka) leader: i32,
    /// -1 where the broker tells none.
    pub(in crate::proto::kafka) epoch: i32,
}

/// Reads the answer.
pub(in crate::proto::kafka) fn read(
    reader: &mut Reader,
    version: i16,
) -> Result<Metadata, Malformed> {
    reader.i32()?;
    let brokers = reader.list(|reader| {
        let broker = Broker { id: reader.i32()?, host: reader.text()?, port: reader.i32()? };
        reader.text_or_null()?;
        reader.tags()?;
        Ok(broker)
    })?;
    let cluster = reader.text_or_null()?;
    reader.i32()?;
    let topics = reader.list(|reader| topic(reader, version))?;
    Ok(Metadata { brokers, cluster, topics })
}

fn topic(reader: &mut Reader, version: i16) -> Result<Topic, Malformed> {
    let error = reader.i16()?;
    let name = reader.text_or_null()?.unwrap_or_default();
    let id = if version >= 10 { reader.uuid()? } else { Uuid::default() };
    reader.boolean()?;
    let partitions = reader.list(|reader| partition(reader, version))?;
    if version >= 8 {
        reader.i32()?;
    }
    reader.tags()?;
    Ok(Topic { error, name, id, partitions })
}

fn partition(reader: &mut Reader, version: i16) -> Result<Partition, Malformed> {
    let (error, index, leader) = (reader.i16()?, reader.i32()?, reader.i32()?);
    let epoch = if version >= 7 { reader.i32()? } else { -1 };
    // Replicas, those in sync, those offline.
    for _ in 0..if version >= 5 { 3 } else { 2 } {
        reader.list(Reader::i32)?;
    }
    reader.tags()?;
    Ok(Partition { error, index, leader, epoch })
}
