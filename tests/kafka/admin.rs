//! What tests ask brokers beside the daemon: topics made and deleted, how long they are, how far
//! groups have come. By the protocol itself: each of Java's tools takes a second to start.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    CreateAclsRequest, CreateTopicsRequest, DeleteTopicsRequest, GroupId, ListOffsetsRequest,
    MetadataRequest, MetadataResponse, OffsetFetchRequest, RequestHeader, ResponseHeader,
    TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use crate::util::wait_for;

/// How long a broker may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.into())
}

fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

/// Sends a request to a broker, and reads the answer.
fn call<Q: Request>(address: &str, version: i16, request: &Q) -> io::Result<Q::Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let header = RequestHeader::default()
        .with_request_api_key(Q::KEY)
        .with_request_api_version(version)
        .with_client_id(Some(text("tests")));
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    header.encode(&mut frame, Q::header_version(version)).unwrap();
    request.encode(&mut frame, version).unwrap();
    let length = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    stream.write_all(&frame)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    let mut answer = Bytes::from(answer);
    ResponseHeader::decode(&mut answer, Q::Response::header_version(version)).unwrap();
    Ok(Q::Response::decode(&mut answer, version).unwrap())
}

/// Makes a topic, with one option of its own.
pub(super) fn create(broker: &str, topic: &str, partitions: u32, option: &str) {
    let (key, value) = option.split_once('=').unwrap();
    let config = CreatableTopicConfig::default().with_name(text(key));
    let made = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions as i32)
        .with_replication_factor(-1)
        .with_configs(vec![config.with_value(Some(text(value)))]);
    let request = CreateTopicsRequest::default().with_topics(vec![made]).with_timeout_ms(30_000);
    let answer = call(broker, 5, &request).unwrap();
    let refused: Vec<_> = answer.topics.iter().filter(|topic| topic.error_code != 0).collect();
    assert!(refused.is_empty(), "{refused:?}");
    wait_for("every partition of the topic to have a leader", || {
        let (_, found) = describe(broker, topic)?;
        (found.partitions.len() == partitions as usize).then_some(())
    });
}

/// Deletes a topic, and waits until it is gone.
pub(super) fn delete(broker: &str, topic: &str) {
    let request = DeleteTopicsRequest::default().with_topic_names(vec![name(topic)]);
    let answer = call(broker, 5, &request.with_timeout_ms(30_000)).unwrap();
    assert_eq!(answer.responses[0].error_code, 0);
    wait_for("the topic to be gone", || {
        let asked = MetadataRequestTopic::default().with_name(Some(name(topic)));
        let asked = MetadataRequest::default().with_topics(Some(vec![asked]));
        let answer = call(broker, 12, &asked).ok()?;
        // UNKNOWN_TOPIC_OR_PARTITION
        (answer.topics[0].error_code == 3).then_some(())
    });
}

/// A topic whose partitions all have a leader, as this broker knows it.
fn describe(broker: &str, topic: &str) -> Option<(MetadataResponse, MetadataResponseTopic)> {
    let asked = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let asked = MetadataRequest::default().with_topics(Some(vec![asked]));
    let answer = call(broker, 12, &asked).ok()?;
    let found = answer.topics.first().filter(|topic| topic.error_code == 0)?.clone();
    let is_led = found.partitions.iter().all(|part| part.error_code == 0 && part.leader_id.0 >= 0);
    is_led.then_some((answer, found))
}

/// Whether every replica of a topic is in sync.
pub(super) fn is_in_sync(broker: &str, topic: &str) -> bool {
    describe(broker, topic).is_some_and(|(_, found)| {
        found.partitions.iter().all(|part| part.isr_nodes.len() == part.replica_nodes.len())
    })
}

/// Where each partition of a topic ends.
pub(super) fn ends(broker: &str, topic: &str) -> BTreeMap<i32, i64> {
    wait_for("the leaders to tell where partitions end", || {
        let (answer, found) = describe(broker, topic)?;
        let end = |part: &MetadataResponsePartition| {
            let leader = answer.brokers.iter().find(|broker| broker.node_id == part.leader_id)?;
            let asked = ListOffsetsPartition::default()
                .with_partition_index(part.partition_index)
                .with_current_leader_epoch(-1)
                .with_timestamp(-1);
            let of = ListOffsetsTopic::default().with_name(name(topic));
            let asked = ListOffsetsRequest::default()
                .with_replica_id((-1).into())
                .with_topics(vec![of.with_partitions(vec![asked])]);
            let address = format!("{}:{}", leader.host, leader.port);
            let answer = call(&address, 7, &asked).ok()?;
            let part = &answer.topics[0].partitions[0];
            (part.error_code == 0).then_some((part.partition_index, part.offset))
        };
        found.partitions.iter().map(end).collect()
    })
}

/// The offsets that a group has committed, by topic and partition.
pub(super) fn committed(broker: &str, group: &str) -> BTreeMap<(String, i32), i64> {
    let asked = OffsetFetchRequest::default().with_group_id(GroupId(text(group)));
    let asked = asked.with_topics(None).with_require_stable(true);
    let answer = wait_for("the group's offsets", || {
        call(broker, 7, &asked).ok().filter(|answer| answer.error_code == 0)
    });
    let topics = answer.topics.iter().flat_map(|topic| {
        topic
            .partitions
            .iter()
            .map(|part| ((topic.name.to_string(), part.partition_index), part.committed_offset))
    });
    topics.filter(|(_, offset)| *offset >= 0).collect()
}

/// What can be allowed on a topic: its name in Kafka's tools and its number.
const OPERATIONS: [(&str, i8); 3] = [("READ", 3), ("WRITE", 4), ("DESCRIBE", 8)];

/// Allows a user something on a topic.
pub(super) fn allow(broker: &str, user: &str, topic: &str, operations: &[&str]) {
    let creation = |operation: &&str| {
        let (_, number) = OPERATIONS.iter().find(|(name, _)| name == operation).unwrap();
        // A topic of exactly this name; from every host; allowed.
        AclCreation::default()
            .with_resource_type(2)
            .with_resource_name(text(topic))
            .with_resource_pattern_type(3)
            .with_principal(text(&format!("User:{user}")))
            .with_host(text("*"))
            .with_operation(*number)
            .with_permission_type(3)
    };
    let asked = CreateAclsRequest::default();
    let asked = asked.with_creations(operations.iter().map(creation).collect());
    let answer = call(broker, 3, &asked).unwrap();
    assert!(answer.results.iter().all(|result| result.error_code == 0), "{answer:?}");
}
