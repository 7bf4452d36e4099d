//! Each message against another implementation: what we write it reads, what it writes we read.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    self as theirs, ApiVersionsRequest, ApiVersionsResponse, DescribeProducersRequest,
    DescribeProducersResponse, InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse, RequestHeader,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;

use super::*;
use crate::proto::kafka::wire::Uuid;

/// What the other side reads of a body that `write` wrote.
fn read_by_them<T: Decodable>(api: Api, version: i16, write: impl FnOnce(&mut Writer)) -> T {
    let mut writer = Writer::new(api.is_flexible(version));
    write(&mut writer);
    let mut bytes = Bytes::from(writer.into_bytes());
    let read = T::decode(&mut bytes, version).unwrap();
    assert!(bytes.is_empty(), "{} {version}: {} bytes are left", api.name, bytes.len());
    read
}

/// A reader of what the other side writes.
fn written_by_them(api: Api, version: i16, message: &impl Encodable) -> Reader {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).unwrap();
    Reader::new(bytes.freeze(), api.is_flexible(version))
}

fn versions(api: Api) -> impl Iterator<Item = i16> {
    api.versions.0..=api.versions.1
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.into())
}

fn topic_name(name: &str) -> theirs::TopicName {
    theirs::TopicName(text(name))
}

#[test]
fn headers_are_read_in_all_versions() {
    for (api, version, theirs) in [(metadata::API, 4, 1), (metadata::API, 12, 2)] {
        let mut bytes = Bytes::from(header(api, version, 77).into_bytes());
        let read = RequestHeader::decode(&mut bytes, theirs).unwrap();
        assert_eq!(
            (read.request_api_key, read.request_api_version, read.correlation_id),
            (3, version, 77)
        );
        assert_eq!(read.client_id.as_deref(), Some("logweir"));
        assert!(bytes.is_empty());
    }
}

#[test]
fn versions_and_authentication_are_understood() {
    for version in versions(api_versions::API) {
        let read: ApiVersionsRequest =
            read_by_them(api_versions::API, version, |w| api_versions::write(w, version));
        let name = if version >= 3 { "logweir" } else { "" };
        assert_eq!(read.client_software_name.as_str(), name);
        let range = theirs::api_versions_response::ApiVersion::default();
        let range = range.with_api_key(3).with_min_version(1).with_max_version(12);
        let answer = ApiVersionsResponse::default().with_api_keys(vec![range]);
        let mut bytes = BytesMut::new();
        answer.encode(&mut bytes, version).unwrap();
        let ours = api_versions::read(bytes.freeze(), version).unwrap();
        assert_eq!((ours.error, ours.ranges), (0, vec![(3, 1, 12)]));
    }
    let read: SaslHandshakeRequest = read_by_them(authentication::HANDSHAKE, 1, |w| {
        authentication::write_handshake(w, "PLAIN");
    });
    assert_eq!(read.mechanism.as_str(), "PLAIN");
    let answer = SaslHandshakeResponse::default().with_mechanisms(vec![text("A"), text("B")]);
    let mut reader = written_by_them(authentication::HANDSHAKE, 1, &answer);
    let read = authentication::read_handshake(&mut reader).unwrap();
    assert_eq!(read, (0, vec!["A".into(), "B".into()]));
    for version in versions(authentication::AUTHENTICATE) {
        let read: SaslAuthenticateRequest =
            read_by_them(authentication::AUTHENTICATE, version, |w| {
                authentication::write_authenticate(w, b"secret");
            });
        assert_eq!(&read.auth_bytes[..], b"secret");
        let mut answer = SaslAuthenticateResponse::default().with_auth_bytes("yes".into());
        if version >= 1 {
            answer.session_lifetime_ms = 5000;
        }
        let mut reader = written_by_them(authentication::AUTHENTICATE, version, &answer);
        let read = authentication::read_authenticate(&mut reader, version).unwrap();
        let lifetime = if version >= 1 { 5000 } else { 0 };
        assert_eq!((read.error, &read.bytes[..], read.lifetime), (0, &b"yes"[..], lifetime));
    }
}

#[test]
fn metadata_is_understood() {
    use theirs::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    for version in versions(metadata::API) {
        let topics = ["a".to_string(), "b".to_string()];
        let read: MetadataRequest =
            read_by_them(metadata::API, version, |w| metadata::write(w, version, &topics, true));
        let names = read.topics.unwrap();
        let names: Vec<_> = names.iter().map(|t| t.name.as_ref().unwrap().as_str()).collect();
        assert_eq!((names, read.allow_auto_topic_creation), (vec!["a", "b"], true));
        let broker = MetadataResponseBroker::default();
        let broker = broker.with_node_id(5.into()).with_host(text("k1")).with_port(9092);
        let mut partition = MetadataResponsePartition::default();
        partition.partition_index = 2;
        partition.leader_id = 5.into();
        partition.replica_nodes = vec![5.into(), 6.into()];
        let mut topic = MetadataResponseTopic::default().with_partitions(vec![partition]);
        topic.name = Some(topic_name("a"));
        if version >= 10 {
            topic.topic_id = format!("{:032x}", 9).parse().unwrap();
        }
        let answer = MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(text("C")))
            .with_topics(vec![topic]);
        let mut reader = written_by_them(metadata::API, version, &answer);
        let read = metadata::read(&mut reader, version).unwrap();
        assert_eq!(read.cluster.as_deref(), Some("C"));
        assert_eq!((read.brokers[0].id, read.brokers[0].host.as_str()), (5, "k1"));
        let topic = &read.topics[0];
        assert_eq!(topic.id, Uuid(if version >= 10 { 9 } else { 0 }));
        let partition = topic.partitions[0];
        assert_eq!((partition.index, partition.leader), (2, 5));
    }
}

#[test]
fn produce_is_understood() {
    use theirs::produce_response::{PartitionProduceResponse, TopicProduceResponse};
    for version in versions(produce::API) {
        let writer = Writer::new(produce::API.is_flexible(version));
        let parts = [
            ("a", 0, Bytes::from_static(b"one")),
            ("a", 7, Bytes::from_static(b"two")),
            ("b", 1, Bytes::from_static(b"three")),
        ];
        let pieces = produce::write(writer, Duration::from_secs(30), &parts);
        let mut bytes: Bytes = pieces.concat().into();
        let read = ProduceRequest::decode(&mut bytes, version).unwrap();
        assert!(bytes.is_empty());
        assert_eq!((read.acks, read.timeout_ms), (-1, 30_000));
        let found: Vec<_> = read
            .topic_data
            .iter()
            .flat_map(|topic| topic.partition_data.iter().map(move |part| (topic, part)))
            .map(|(topic, part)| (topic.name.as_str(), part.index, part.records.clone().unwrap()))
            .collect();
        assert_eq!(found, parts);
        let part = PartitionProduceResponse::default();
        let part = part.with_index(7).with_error_code(45).with_base_offset(1 << 40);
        let topic = TopicProduceResponse::default().with_name(topic_name("a"));
        let answer = ProduceResponse::default()
            .with_responses(vec![topic.with_partition_responses(vec![part])])
            .with_throttle_time_ms(250);
        let mut reader = written_by_them(produce::API, version, &answer);
        let (read, throttle) = produce::read(&mut reader, version).unwrap();
        assert_eq!(throttle, Duration::from_millis(250));
        let produced = &read[0];
        assert_eq!((produced.index, produced.error, produced.offset), (7, 45, 1 << 40));
    }
}

#[test]
fn producers_are_understood() {
    use theirs::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
    for version in versions(producers::INIT) {
        let read: InitProducerIdRequest =
            read_by_them(producers::INIT, version, |w| producers::write_init(w, version));
        assert_eq!(read.transactional_id, None);
        let answer = InitProducerIdResponse::default().with_producer_epoch(4);
        let answer = answer.with_producer_id(99.into());
        let mut reader = written_by_them(producers::INIT, version, &answer);
        let read = producers::read_init(&mut reader).unwrap();
        assert_eq!(read, (0, producers::ProducerId { id: 99, epoch: 4 }));
    }
    let asked = [("a".to_string(), vec![0, 3])];
    let read: DescribeProducersRequest =
        read_by_them(producers::DESCRIBE, 0, |w| producers::write_describe(w, &asked));
    assert_eq!(read.topics[0].partition_indexes, [0, 3]);
    let producer = ProducerState::default().with_producer_id(99.into());
    let producer = producer.with_producer_epoch(4).with_last_sequence(1233);
    let part = PartitionResponse::default().with_partition_index(3);
    let part = part.with_active_producers(vec![producer]);
    let topic = TopicResponse::default().with_name(topic_name("a")).with_partitions(vec![part]);
    let answer = DescribeProducersResponse::default().with_topics(vec![topic]);
    let mut reader = written_by_them(producers::DESCRIBE, 0, &answer);
    let read = producers::read_describe(&mut reader).unwrap();
    assert_eq!((read[0].index, &read[0].producers[..]), (3, &[(99, 4, 1233)][..]));
}

#[test]
fn offsets_are_understood() {
    use theirs::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    use theirs::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
    let asks = [("a".to_string(), 4, -1)];
    for version in versions(offsets::LIST) {
        let read: ListOffsetsRequest =
            read_by_them(offsets::LIST, version, |w| offsets::write_list(w, version, &asks));
        let part = &read.topics[0].partitions[0];
        assert_eq!((part.partition_index, part.timestamp), (4, -1));
        let part = ListOffsetsPartitionResponse::default().with_partition_index(4);
        let topic = ListOffsetsTopicResponse::default().with_name(topic_name("a"));
        let topic = topic.with_partitions(vec![part.with_offset(1 << 33)]);
        let answer = ListOffsetsResponse::default().with_topics(vec![topic]);
        let mut reader = written_by_them(offsets::LIST, version, &answer);
        let read = offsets::read_list(&mut reader, version).unwrap();
        assert_eq!((read[0].index, read[0].offset), (4, 1 << 33));
    }
    for version in versions(offsets::EPOCH_END) {
        let read: OffsetForLeaderEpochRequest = read_by_them(offsets::EPOCH_END, version, |w| {
            offsets::write_epoch_end(w, version, &[("a".into(), 4, 12)]);
        });
        let (_, part) = (&read.topics[0], &read.topics[0].partitions[0]);
        assert_eq!((part.partition, part.leader_epoch), (4, 12));
        let part = EpochEndOffset::default().with_partition(4).with_end_offset(77);
        let topic = OffsetForLeaderTopicResult::default().with_topic(topic_name("a"));
        let topic = topic.with_partitions(vec![part]);
        let answer = OffsetForLeaderEpochResponse::default().with_topics(vec![topic]);
        let mut reader = written_by_them(offsets::EPOCH_END, version, &answer);
        let read = offsets::read_epoch_end(&mut reader).unwrap();
        assert_eq!((read[0].index, read[0].error, read[0].offset), (4, 0, 77));
    }
}

proptest! {
    /// Any bytes are read or refused, by every reader in every version.
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let reader = |api: Api, version| Reader::new(bytes.clone(), api.is_flexible(version));
        for v in versions(metadata::API) {
            let _ = metadata::read(&mut reader(metadata::API, v), v);
        }
        for v in versions(produce::API) {
            let _ = produce::read(&mut reader(produce::API, v), v);
        }
        for v in versions(api_versions::API) {
            let _ = api_versions::read(bytes.clone(), v);
        }
        for v in versions(offsets::LIST) {
            let _ = offsets::read_list(&mut reader(offsets::LIST, v), v);
        }
        let _ = offsets::read_epoch_end(&mut reader(offsets::EPOCH_END, 4));
        let _ = producers::read_describe(&mut reader(producers::DESCRIBE, 0));
        for v in versions(classic::JOIN) {
            let _ = classic::read_join(&mut reader(classic::JOIN, v), v);
        }
        for v in versions(classic::SYNC) {
            let _ = classic::read_sync(&mut reader(classic::SYNC, v));
            let _ = classic::read_beat(&mut reader(classic::BEAT, v));
        }
        let _ = subscription::read(bytes.clone());
        let _ = subscription::read_share(bytes.clone());
        let _ = authentication::read_authenticate(&mut reader(authentication::AUTHENTICATE, 2), 2);
    }
}

#[test]
fn fetch_is_understood() {
    use theirs::fetch_response::{
        AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
    };
    use theirs::{FetchRequest, FetchResponse};
    let id = Uuid(7);
    let uuid = format!("{:032x}", 7).parse().unwrap();
    for version in versions(fetch::API) {
        let part = fetch::Part { index: 3, epoch: 4, offset: 500, last_epoch: 2 };
        let topics = [fetch::Topic { name: "a".into(), id, parts: vec![part] }];
        let bounds = fetch::Bounds { wait: 500, all: 4000, part: 1000 };
        let read: FetchRequest = read_by_them(fetch::API, version, |writer| {
            fetch::write(writer, version, bounds, &topics);
        });
        assert_eq!((read.max_wait_ms, read.min_bytes, read.max_bytes), (500, 1, 4000));
        assert_eq!((read.isolation_level, read.replica_id.0), (1, -1));
        let topic = &read.topics[0];
        match version >= fetch::BY_ID {
            true => assert_eq!(topic.topic_id, uuid),
            false => assert_eq!(topic.topic.as_str(), "a"),
        }
        let part = &topic.partitions[0];
        let asked = (part.partition, part.fetch_offset, part.partition_max_bytes);
        assert_eq!(asked, (3, 500, 1000));
        assert_eq!(part.current_leader_epoch, if version >= 9 { 4 } else { -1 });
        assert_eq!(part.last_fetched_epoch, if version >= 12 { 2 } else { -1 });
        let mut part = PartitionData::default()
            .with_partition_index(3)
            .with_high_watermark(900)
            .with_last_stable_offset(800)
            .with_records(Some(Bytes::from_static(b"records")));
        let aborted = AbortedTransaction::default().with_producer_id(5.into());
        part.aborted_transactions = Some(vec![aborted.with_first_offset(600)]);
        if version >= 12 {
            part.diverging_epoch = EpochEndOffset::default().with_epoch(1).with_end_offset(400);
        }
        let mut topic = FetchableTopicResponse::default().with_partitions(vec![part]);
        match version >= fetch::BY_ID {
            true => topic.topic_id = uuid,
            false => topic.topic = topic_name("a"),
        }
        let answer = FetchResponse::default().with_throttle_time_ms(9).with_responses(vec![topic]);
        let mut reader = written_by_them(fetch::API, version, &answer);
        let read = fetch::read(&mut reader, version).unwrap();
        assert_eq!((read.throttle, read.error, reader.left()), (9, 0, 0));
        let part = &read.parts[0];
        assert_eq!((part.index, part.error, part.stable), (3, 0, 800));
        assert_eq!((&part.records[..], &part.aborted[..]), (&b"records"[..], &[(5, 600)][..]));
        assert_eq!(part.diverges, (version >= 12).then_some(400));
        let by_id = version >= fetch::BY_ID;
        let named = if by_id { ("", id) } else { ("a", Uuid::default()) };
        assert_eq!((part.topic.as_str(), part.id), named);
    }
}

#[test]
fn membership_is_understood() {
    use theirs::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
    use theirs::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FindCoordinatorRequest,
        FindCoordinatorResponse,
    };
    for version in versions(group::FIND) {
        let read: FindCoordinatorRequest =
            read_by_them(group::FIND, version, |w| group::write_find(w, "g"));
        assert_eq!((read.key.as_str(), read.key_type), ("g", 0));
        let answer = FindCoordinatorResponse::default().with_host(text("k1")).with_port(9092);
        let mut reader = written_by_them(group::FIND, version, &answer.with_error_code(15));
        assert_eq!(group::read_find(&mut reader).unwrap(), (15, "k1".into(), 9092));
    }
    let uuid = format!("{:032x}", 7).parse().unwrap();
    for version in versions(group::BEAT) {
        let beat = group::Beat {
            group: "g",
            member: "m",
            epoch: 5,
            patience: 60_000,
            topics: &["a".to_string()],
            owned: &[(Uuid(7), vec![1, 2])],
        };
        let read: ConsumerGroupHeartbeatRequest =
            read_by_them(group::BEAT, version, |w| group::write_beat(w, version, &beat));
        assert_eq!((read.group_id.as_str(), read.member_id.as_str()), ("g", "m"));
        assert_eq!((read.member_epoch, read.rebalance_timeout_ms), (5, 60_000));
        assert_eq!((read.instance_id, read.rack_id, read.server_assignor), (None, None, None));
        assert_eq!(read.subscribed_topic_names.unwrap()[0].as_str(), "a");
        let owned = &read.topic_partitions.unwrap()[0];
        assert_eq!((owned.topic_id, &owned.partitions[..]), (uuid, &[1, 2][..]));
        let parts = TopicPartitions::default().with_topic_id(uuid).with_partitions(vec![3]);
        let assignment = Assignment::default().with_topic_partitions(vec![parts]);
        for assignment in [None, Some(assignment)] {
            let assigned = assignment.as_ref().map(|_| vec![(Uuid(7), vec![3])]);
            let answer = ConsumerGroupHeartbeatResponse::default()
                .with_member_epoch(6)
                .with_heartbeat_interval_ms(5000)
                .with_assignment(assignment);
            let mut reader = written_by_them(group::BEAT, version, &answer);
            let read = group::read_beat(&mut reader).unwrap();
            assert_eq!((read.error, read.epoch, read.interval), (0, 6, 5000));
            assert_eq!((read.assigned, reader.left()), (assigned, 0));
        }
    }
}

#[test]
fn committed_offsets_are_understood() {
    use theirs::offset_commit_response::{
        OffsetCommitResponsePartition, OffsetCommitResponseTopic,
    };
    use theirs::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
    use theirs::{
        OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
    };
    for version in versions(group::COMMIT) {
        let (topic, note, parts) = ("a".to_string(), "note".to_string(), vec![(3, 900)]);
        let topics = [group::Offsets { topic, note, parts }];
        let read: OffsetCommitRequest = read_by_them(group::COMMIT, version, |writer| {
            group::write_commit(writer, version, ("g", 5, "m"), &topics);
        });
        assert_eq!((read.group_id.as_str(), read.member_id.as_str()), ("g", "m"));
        assert_eq!(read.generation_id_or_member_epoch, 5);
        let part = &read.topics[0].partitions[0];
        assert_eq!((part.partition_index, part.committed_offset), (3, 900));
        assert_eq!(part.committed_metadata.as_deref(), Some("note"));
        let part = OffsetCommitResponsePartition::default().with_partition_index(3);
        let topic = OffsetCommitResponseTopic::default()
            .with_name(topic_name("a"))
            .with_partitions(vec![part.with_error_code(113)]);
        let answer = OffsetCommitResponse::default().with_topics(vec![topic]);
        let mut reader = written_by_them(group::COMMIT, version, &answer);
        let read = group::read_commit(&mut reader, version).unwrap();
        assert_eq!(read, [("a".into(), 3, 113)]);
    }
    for version in versions(group::OFFSETS) {
        let topics = [("a".to_string(), vec![3, 4])];
        let read: OffsetFetchRequest = read_by_them(group::OFFSETS, version, |writer| {
            group::write_offsets(writer, version, "g", &topics);
        });
        assert_eq!((read.group_id.as_str(), read.require_stable), ("g", version >= 7));
        assert_eq!(read.topics.unwrap()[0].partition_indexes, [3, 4]);
        let part = OffsetFetchResponsePartition::default()
            .with_partition_index(3)
            .with_metadata(Some(text("note")))
            .with_committed_offset(900);
        let topic = OffsetFetchResponseTopic::default()
            .with_name(topic_name("a"))
            .with_partitions(vec![part]);
        let answer = OffsetFetchResponse::default().with_topics(vec![topic]);
        let mut reader = written_by_them(group::OFFSETS, version, &answer);
        let (error, parts) = group::read_offsets(&mut reader, version).unwrap();
        let (topic, note) = ("a".into(), Some("note".into()));
        let committed = group::Committed { topic, index: 3, offset: 900, note, error: 0 };
        assert_eq!((error, parts, reader.left()), (0, vec![committed], 0));
    }
}

#[test]
fn joining_a_classic_group_is_understood() {
    use theirs::join_group_response::JoinGroupResponseMember;
    use theirs::{JoinGroupRequest, JoinGroupResponse};
    for version in versions(classic::JOIN) {
        let join = classic::Join {
            group: "g",
            session: 45_000,
            patience: 60_000,
            member: "m",
            offers: &[("range", vec![1, 2]), ("cooperative-sticky", vec![])],
        };
        let read: JoinGroupRequest =
            read_by_them(classic::JOIN, version, |w| classic::write_join(w, version, &join));
        assert_eq!((read.group_id.as_str(), read.member_id.as_str()), ("g", "m"));
        assert_eq!((read.session_timeout_ms, read.rebalance_timeout_ms), (45_000, 60_000));
        assert_eq!((read.protocol_type.as_str(), read.group_instance_id), ("consumer", None));
        let offers: Vec<_> =
            read.protocols.iter().map(|one| (one.name.as_str(), one.metadata.to_vec())).collect();
        assert_eq!(offers, join.offers);
        let member = JoinGroupResponseMember::default().with_member_id(text("m"));
        let member = member.with_metadata(Bytes::from_static(b"data"));
        let answer = JoinGroupResponse::default()
            .with_error_code(79)
            .with_generation_id(6)
            .with_protocol_name(Some(text("range")))
            .with_leader(text("l"))
            .with_member_id(text("m"))
            .with_members(vec![member]);
        let mut reader = written_by_them(classic::JOIN, version, &answer);
        let read = classic::read_join(&mut reader, version).unwrap();
        let members = vec![("m".to_string(), Bytes::from_static(b"data"))];
        let (protocol, leader, member) = ("range".into(), "l".into(), "m".into());
        let joined =
            classic::Joined { error: 79, generation: 6, protocol, leader, member, members };
        assert_eq!(read, joined);
    }
}

#[test]
fn shares_heartbeats_and_leaving_of_a_classic_group_are_understood() {
    use theirs::{
        HeartbeatRequest, HeartbeatResponse, LeaveGroupRequest, LeaveGroupResponse,
        SyncGroupRequest, SyncGroupResponse,
    };
    for version in versions(classic::SYNC) {
        let shares = [("a".to_string(), vec![1]), ("b".to_string(), vec![])];
        let read: SyncGroupRequest = read_by_them(classic::SYNC, version, |writer| {
            classic::write_sync(writer, version, ("g", 6, "m"), &shares);
        });
        let who = (read.group_id.as_str(), read.generation_id, read.member_id.as_str());
        assert_eq!(who, ("g", 6, "m"));
        let found: Vec<_> = read
            .assignments
            .iter()
            .map(|one| (one.member_id.to_string(), one.assignment.to_vec()))
            .collect();
        assert_eq!(found, shares);
        let answer = SyncGroupResponse::default().with_error_code(27);
        let answer = answer.with_assignment(Bytes::from_static(b"share"));
        let mut reader = written_by_them(classic::SYNC, version, &answer);
        let read = classic::read_sync(&mut reader).unwrap();
        assert_eq!(read, (27, Bytes::from_static(b"share")));
    }
    for version in versions(classic::BEAT) {
        let read: HeartbeatRequest = read_by_them(classic::BEAT, version, |writer| {
            classic::write_beat(writer, version, ("g", 6, "m"));
        });
        let who = (read.group_id.as_str(), read.generation_id, read.member_id.as_str());
        assert_eq!(who, ("g", 6, "m"));
        let answer = HeartbeatResponse::default().with_error_code(22);
        let mut reader = written_by_them(classic::BEAT, version, &answer);
        assert_eq!(classic::read_beat(&mut reader), Ok(22));
    }
    for version in versions(classic::LEAVE) {
        let read: LeaveGroupRequest = read_by_them(classic::LEAVE, version, |writer| {
            classic::write_leave(writer, version, "g", "m");
        });
        let id = read.members.first().map_or(&read.member_id, |member| &member.member_id);
        assert_eq!((read.group_id.as_str(), id.as_str()), ("g", "m"));
        let answer = LeaveGroupResponse::default().with_error_code(25);
        let mut reader = written_by_them(classic::LEAVE, version, &answer);
        assert_eq!(classic::read_beat(&mut reader), Ok(25));
    }
}

fn their_parts<T>(parts: &subscription::Parts, make: impl Fn(&str, Vec<i32>) -> T) -> Vec<T> {
    parts.iter().map(|(topic, parts)| make(topic, parts.clone())).collect()
}

proptest! {
    /// What members say to each other, in the versions of Java's clients and librdkafka.
    #[test]
    fn what_members_say_to_each_other_is_understood(
        topics in proptest::collection::vec("[a-z]{1,9}", 0..4),
        owned in proptest::collection::vec(
            ("[a-z]{1,9}", proptest::collection::vec(0..99, 0..4)),
            0..4,
        ),
        generation in -1..1000,
    ) {
        use theirs::consumer_protocol_assignment::TopicPartition as Assigned;
        use theirs::consumer_protocol_subscription::TopicPartition as Owned;
        use theirs::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
        let ours = subscription::Subscription { topics, owned, generation };
        let written = Bytes::from(subscription::write(&ours));
        prop_assert_eq!(&subscription::read(written.clone()).unwrap(), &ours);
        let version = i16::from_be_bytes(*written.first_chunk().unwrap());
        let read = ConsumerProtocolSubscription::decode(&mut written.slice(2..), version).unwrap();
        let topics: Vec<_> = read.topics.iter().map(ToString::to_string).collect();
        let parts = |part: &Owned| (part.topic.to_string(), part.partitions.clone());
        let parts: Vec<_> = read.owned_partitions.iter().map(parts).collect();
        prop_assert_eq!((&topics, &parts), (&ours.topics, &ours.owned));
        prop_assert_eq!(read.generation_id, generation);
        // An assignor of Java before 3.4 looks for the generation here.
        prop_assert_eq!(&read.user_data.unwrap()[..], generation.to_be_bytes());
        for version in 0..=3_i16 {
            let data = [&[9, 9][..], &generation.to_be_bytes()].concat();
            let theirs = ConsumerProtocolSubscription::default()
                .with_topics(ours.topics.iter().map(|topic| text(topic)).collect())
                .with_user_data(Some(data.into()));
            let owned = their_parts(&ours.owned, |topic, parts| {
                Owned::default().with_topic(topic_name(topic)).with_partitions(parts)
            });
            let theirs = if version >= 1 { theirs.with_owned_partitions(owned) } else { theirs };
            let theirs = if version >= 2 { theirs.with_generation_id(generation) } else { theirs };
            let mut bytes = BytesMut::from(&version.to_be_bytes()[..]);
            theirs.encode(&mut bytes, version).unwrap();
            let read = subscription::read(bytes.freeze()).unwrap();
            let owned = if version >= 1 { ours.owned.clone() } else { Vec::new() };
            prop_assert_eq!(&read, &subscription::Subscription { owned, ..ours.clone() });
        }
        let share = Bytes::from(subscription::write_share(&ours.owned));
        prop_assert_eq!(&subscription::read_share(share.clone()).unwrap(), &ours.owned);
        let read = ConsumerProtocolAssignment::decode(&mut share.slice(2..), 0).unwrap();
        let parts = |part: &Assigned| (part.topic.to_string(), part.partitions.clone());
        let parts: Vec<_> = read.assigned_partitions.iter().map(parts).collect();
        prop_assert_eq!(parts, ours.owned.clone());
        for version in 0..=3_i16 {
            let assigned = their_parts(&ours.owned, |topic, parts| {
                Assigned::default().with_topic(topic_name(topic)).with_partitions(parts)
            });
            let theirs = ConsumerProtocolAssignment::default().with_assigned_partitions(assigned);
            let mut bytes = BytesMut::from(&version.to_be_bytes()[..]);
            theirs.encode(&mut bytes, version).unwrap();
            prop_assert_eq!(&subscription::read_share(bytes.freeze()).unwrap(), &ours.owned);
        }
    }
}

#[test]
fn nothing_at_all_is_no_share_and_a_version_below_zero_is_refused() {
    assert_eq!(subscription::read_share(Bytes::new()), Ok(Vec::new()));
    assert!(subscription::read_share(Bytes::from_static(&[0xff; 12])).is_err());
    assert!(subscription::read(Bytes::from_static(&[0xff; 20])).is_err());
}
