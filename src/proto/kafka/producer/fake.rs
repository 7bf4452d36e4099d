//! A broker that is made up: it keeps records and checks sequences as Apache Kafka does
//! (`ProducerAppendInfo.checkSequence`, `ProducerStateEntry`), and answers in its own time.

#![expect(clippy::cast_possible_truncation, reason = "a few partitions and brokers")]

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    self as m, ApiKey, ApiVersionsResponse, DescribeProducersRequest, DescribeProducersResponse,
    InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest,
    ProduceResponse, RequestHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use kafka_protocol::records::RecordBatchDecoder;

use crate::proto::kafka::messages::errors;

/// What a partition has.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) values: Vec<Vec<u8>>,
    /// What is remembered of each producer.
    producers: BTreeMap<i64, Known>,
}

/// The epoch of a producer, and its last batches: first and last sequence, offset.
type Known = (i16, VecDeque<(i32, i32, i64)>);

/// A cluster.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) brokers: i32,
    pub(super) topics: BTreeMap<String, (u128, Vec<Log>)>,
    /// Partition `p` is led by broker `(p + moved) % brokers`.
    pub(super) moved: i32,
    next_producer: i64,
    /// Records that are longer are too large.
    pub(super) max_batch: usize,
    /// Whether it tells what it has from whom.
    pub(super) tells: bool,
    pub(super) id: String,
    /// Errors that the next batches get instead of being taken.
    pub(super) refusals: VecDeque<i16>,
    /// Errors that requests with these keys get.
    pub(super) odd: BTreeMap<i16, i16>,
}

/// A request as it lies in a broker's socket.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) broker: i32,
    header: RequestHeader,
    body: Bytes,
}

impl Request {
    /// Takes a whole request off the front of what was received.
    pub(super) fn take(broker: i32, received: &mut BytesMut) -> Option<Self> {
        if received.len() < 4 {
            return None;
        }
        let len = (&received[..4]).get_i32() as usize;
        if received.len() < 4 + len {
            return None;
        }
        received.advance(4);
        let mut body = received.split_to(len).freeze();
        let key = ApiKey::try_from((&body[..2]).get_i16()).unwrap();
        let version = (&body[2..4]).get_i16();
        let header = RequestHeader::decode(&mut body, key.request_header_version(version)).unwrap();
        Some(Self { broker, header, body })
    }
}

impl Fake {
    pub(super) fn new(brokers: i32) -> Self {
        Self {
            brokers,
            topics: BTreeMap::new(),
            moved: 0,
            next_producer: 1000,
            max_batch: usize::MAX,
            tells: true,
            id: "C".into(),
            refusals: VecDeque::new(),
            odd: BTreeMap::new(),
        }
    }

    pub(super) fn create(&mut self, topic: &str, id: u128, partitions: usize) {
        let logs = (0..partitions).map(|_| Log::default()).collect();
        self.topics.insert(topic.into(), (id, logs));
    }

    /// Answers a request; the bytes of the answer.
    pub(super) fn answer(&mut self, request: Request) -> Vec<u8> {
        let Request { broker, header, mut body } = request;
        let version = header.request_api_version;
        let key = ApiKey::try_from(header.request_api_key).unwrap();
        let mut out = BytesMut::new();
        out.put_i32(header.correlation_id);
        if key.response_header_version(version) == 1 {
            out.put_u8(0);
        }
        match key {
            ApiKey::ApiVersions => self.versions().encode(&mut out, version).unwrap(),
            ApiKey::Metadata => {
                let asked = MetadataRequest::decode(&mut body, version).unwrap();
                self.metadata(asked).encode(&mut out, version).unwrap();
            }
            ApiKey::InitProducerId => {
                self.next_producer += 1;
                let error = self.odd(key);
                let answer = InitProducerIdResponse::default().with_error_code(error);
                let answer = answer.with_producer_id(self.next_producer.into());
                answer.with_producer_epoch(0).encode(&mut out, version).unwrap();
            }
            ApiKey::Produce => {
                let asked = ProduceRequest::decode(&mut body, version).unwrap();
                self.produce(broker, asked).encode(&mut out, version).unwrap();
            }
            ApiKey::DescribeProducers => {
                let asked = DescribeProducersRequest::decode(&mut body, version).unwrap();
                self.describe(broker, asked).encode(&mut out, version).unwrap();
            }
            ApiKey::OffsetForLeaderEpoch => {
                let asked = OffsetForLeaderEpochRequest::decode(&mut body, version).unwrap();
                self.ends(asked).encode(&mut out, version).unwrap();
            }
            ApiKey::ListOffsets => {
                let asked = ListOffsetsRequest::decode(&mut body, version).unwrap();
                self.offsets(asked).encode(&mut out, version).unwrap();
            }
            other => panic!("{other:?} is not asked"),
        }
        let mut frame = (out.len() as i32).to_be_bytes().to_vec();
        frame.extend_from_slice(&out);
        frame
    }

    fn versions(&self) -> ApiVersionsResponse {
        let known = [(0, 3, 12), (2, 1, 10), (3, 0, 13), (18, 0, 4), (22, 0, 5), (23, 2, 4)];
        let tells = self.tells.then_some((61, 0, 0));
        let range = |(key, min, max)| {
            let range = m::api_versions_response::ApiVersion::default().with_api_key(key);
            range.with_min_version(min).with_max_version(max)
        };
        ApiVersionsResponse::default()
            .with_api_keys(known.into_iter().chain(tells).map(range).collect())
    }

    fn odd(&self, key: ApiKey) -> i16 {
        self.odd.get(&(key as i16)).copied().unwrap_or_default()
    }

    fn leader(&self, partition: usize) -> i32 {
        (partition as i32 + self.moved) % self.brokers
    }

    fn metadata(&self, asked: MetadataRequest) -> MetadataResponse {
        use m::metadata_response::{
            MetadataResponseBroker as Broker, MetadataResponsePartition as Partition,
            MetadataResponseTopic as Topic,
        };
        let broker = |id: i32| {
            let host = StrBytes::from_string(format!("k{id}"));
            Broker::default().with_node_id(id.into()).with_host(host).with_port(9092)
        };
        let topic = |asked: m::metadata_request::MetadataRequestTopic| {
            let name = asked.name.unwrap();
            let topic = Topic::default().with_name(Some(name.clone()));
            let odd = self.odd(ApiKey::Metadata);
            if odd != 0 {
                return topic.with_error_code(odd);
            }
            let Some((id, logs)) = self.topics.get(name.as_str()) else {
                return topic.with_error_code(3);
            };
            let partition = |at: usize| {
                let leader = self.leader(at).into();
                Partition::default()
                    .with_partition_index(at as i32)
                    .with_leader_id(leader)
                    .with_leader_epoch(self.moved)
            };
            let id = format!("{id:032x}").parse().unwrap();
            topic.with_topic_id(id).with_partitions((0..logs.len()).map(partition).collect())
        };
        MetadataResponse::default()
            .with_brokers((0..self.brokers).map(broker).collect())
            .with_cluster_id(Some(StrBytes::from_string(self.id.clone())))
            .with_topics(asked.topics.unwrap_or_default().into_iter().map(topic).collect())
    }

    fn produce(&mut self, broker: i32, asked: ProduceRequest) -> ProduceResponse {
        use m::produce_response::{PartitionProduceResponse, TopicProduceResponse};
        assert_eq!(asked.acks, -1);
        let mut topics = Vec::new();
        for topic in asked.topic_data {
            let mut parts = Vec::new();
            for part in topic.partition_data {
                let records = part.records.unwrap();
                let (error, offset) = self.append(broker, &topic.name, part.index, records);
                let part = PartitionProduceResponse::default().with_index(part.index);
                parts.push(part.with_error_code(error).with_base_offset(offset));
            }
            let answer = TopicProduceResponse::default().with_name(topic.name);
            topics.push(answer.with_partition_responses(parts));
        }
        ProduceResponse::default().with_responses(topics)
    }

    fn append(&mut self, broker: i32, topic: &str, at: i32, mut records: Bytes) -> (i16, i64) {
        if self.leader(at as usize) != broker {
            return (6, -1);
        }
        let odd = Some(self.odd(ApiKey::Produce)).filter(|error| *error != 0);
        if let Some(error) = odd.or_else(|| self.refusals.pop_front()) {
            return (error, -1);
        }
        if records.len() > self.max_batch {
            return (errors::MESSAGE_TOO_LARGE, -1);
        }
        let Some((_, logs)) = self.topics.get_mut(topic) else { return (3, -1) };
        let Some(log) = logs.get_mut(at as usize) else { return (3, -1) };
        let set = RecordBatchDecoder::decode(&mut records).unwrap();
        let (front, back) = (set.records.first().unwrap(), set.records.last().unwrap());
        let (first, last) = (front.sequence, back.sequence);
        let known = log.producers.contains_key(&front.producer_id);
        let (epoch, batches) = log.producers.entry(front.producer_id).or_default();
        *epoch = front.producer_epoch;
        if let Some((_, _, offset)) = batches.iter().find(|(f, l, _)| (*f, *l) == (first, last)) {
            return (0, *offset);
        }
        if known
            && batches.back().is_some_and(|(_, last, _)| last.wrapping_add(1) & i32::MAX != first)
        {
            return (errors::OUT_OF_ORDER_SEQUENCE, -1);
        }
        let offset = log.values.len() as i64;
        batches.push_back((first, last, offset));
        if batches.len() > 5 {
            batches.pop_front();
        }
        log.values.extend(set.records.iter().map(|record| record.value.clone().unwrap().to_vec()));
        (0, offset)
    }

    fn describe(&self, broker: i32, asked: DescribeProducersRequest) -> DescribeProducersResponse {
        use m::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
        let mut topics = Vec::new();
        for topic in asked.topics {
            let part = |at: i32| {
                let part = PartitionResponse::default().with_partition_index(at);
                let odd = self.odd(ApiKey::DescribeProducers);
                if odd != 0 {
                    return part.with_error_code(odd);
                }
                let log = self.topics.get(topic.name.as_str());
                let log = log.and_then(|(_, logs)| logs.get(at as usize));
                let Some(log) = log.filter(|_| self.leader(at as usize) == broker) else {
                    return part.with_error_code(6);
                };
                let state = |(id, (epoch, batches)): (&i64, &Known)| {
                    let last = batches.back().map_or(-1, |(_, last, _)| *last);
                    ProducerState::default()
                        .with_producer_id((*id).into())
                        .with_producer_epoch(i32::from(*epoch))
                        .with_last_sequence(last)
                };
                part.with_active_producers(log.producers.iter().map(state).collect())
            };
            let parts = topic.partition_indexes.iter().map(|at| part(*at)).collect();
            topics.push(TopicResponse::default().with_name(topic.name).with_partitions(parts));
        }
        DescribeProducersResponse::default().with_topics(topics)
    }

    fn end_of(&self, topic: &str, at: i32) -> i64 {
        self.topics[topic].1[at as usize].values.len() as i64
    }

    fn ends(&self, asked: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
        use m::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
        let topic = |topic: m::offset_for_leader_epoch_request::OffsetForLeaderTopic| {
            let part = |part: m::offset_for_leader_epoch_request::OffsetForLeaderPartition| {
                let end = self.end_of(topic.topic.as_str(), part.partition);
                EpochEndOffset::default()
                    .with_partition(part.partition)
                    .with_end_offset(end)
                    .with_error_code(self.odd(ApiKey::OffsetForLeaderEpoch))
            };
            let parts = topic.partitions.clone().into_iter().map(part).collect();
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic.clone())
                .with_partitions(parts)
        };
        OffsetForLeaderEpochResponse::default()
            .with_topics(asked.topics.into_iter().map(topic).collect())
    }

    fn offsets(&self, asked: ListOffsetsRequest) -> ListOffsetsResponse {
        use m::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
        let topic = |topic: m::list_offsets_request::ListOffsetsTopic| {
            let part = |part: m::list_offsets_request::ListOffsetsPartition| {
                let end = self.end_of(topic.name.as_str(), part.partition_index);
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(part.partition_index)
                    .with_offset(end)
                    .with_error_code(self.odd(ApiKey::ListOffsets))
            };
            let parts = topic.partitions.clone().into_iter().map(part).collect();
            ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(parts)
        };
        ListOffsetsResponse::default().with_topics(asked.topics.into_iter().map(topic).collect())
    }
}
