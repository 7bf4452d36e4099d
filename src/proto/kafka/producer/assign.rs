//! Which topic and which partition a line goes to.
//!
//! After a restart the same lines must go to the same partitions, for what a partition already has
//! of them is known by a count. So nothing decides but the line itself and the number of lines that
//! were assigned before it.

use bytes::Bytes;

use super::chunk::Chunk;
use crate::batch::Batch;
use crate::filter::key::Key;
use crate::format::Formatter;
use crate::limits::RUN;
use crate::parse::field::Field;
use crate::parse::syslog::Message;
use crate::proto::kafka::murmur2;
use crate::proto::kafka::topic_name::TopicName;

/// Which partition of its topic a line goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitioning {
    /// Runs of lines take turns.
    Runs,
    /// Lines with the same key go to the same partition, as Java's clients place it.
    Hash {
        /// A field in braces, or a regex with one group.
        key: String,
    },
    /// All lines of this output go to one partition.
    Sticky,
}

/// Assigns lines.
#[derive(Debug)]
pub(in crate::proto::kafka) struct Assigner {
    topic: TopicName,
    how: How,
    headers: bool,
    formatter: Formatter,
    /// This host's name.
    host: String,
}

#[derive(Debug)]
enum How {
    Runs,
    Hash(Key),
    Sticky,
}

/// What is asked of a topic: it is `None` while its partitions are not known.
pub(super) trait Topics {
    /// The place of a topic among all; the lines wait where it is `None`.
    fn place(&mut self, name: &str) -> Option<usize>;
    /// How many partitions it has, at least one.
    fn partitions(&self, topic: usize) -> u32;
    /// How many lines were assigned to it, or with which hash all are.
    fn assigned(&self, topic: usize) -> u64;
    /// Puts a chunk into a partition.
    fn put(&mut self, topic: usize, partition: u32, chunk: Chunk);
}

impl Assigner {
    pub(in crate::proto::kafka) fn new(
        topic: TopicName,
        how: &Partitioning,
        headers: bool,
        formatter: Formatter,
        host: String,
    ) -> Result<Self, String> {
        let how = match how {
            Partitioning::Runs => How::Runs,
            Partitioning::Hash { key } => How::Hash(Key::new(key)?),
            Partitioning::Sticky => How::Sticky,
        };
        Ok(Self { topic, how, headers, formatter, host })
    }

    /// Whether all lines go to one partition, for good.
    pub(super) fn is_sticky(&self) -> bool {
        matches!(self.how, How::Sticky)
    }

    /// The name of the topic, where there is only one.
    pub(super) fn only_topic(&self) -> Option<&str> {
        self.topic.fixed()
    }

    /// The topic for lines that would need one too many.
    pub(super) fn common_topic(&self) -> String {
        self.topic.common()
    }

    /// Assigns the lines of a batch, which are those of a piece. Returns false, and has assigned
    /// none, while the partitions of a topic are not known.
    pub(super) fn assign(&mut self, batch: &Batch, piece: u64, topics: &mut dyn Topics) -> bool {
        let places = match self.topic.fixed() {
            Some(name) => topics.place(name).map(|place| vec![place]),
            None => self.places(batch, topics),
        };
        let Some(places) = places else { return false };
        let (lines, _) = self.formatter.batch(batch);
        let time = batch.first_received().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let chunk = Chunk { lines, count: batch.lines, piece, time, key: None, headers: None };
        match (places.as_slice(), &self.how) {
            ([topic], How::Runs) if !self.headers => runs(*topic, chunk, topics),
            ([topic], How::Sticky) if !self.headers => {
                let partition = sticky(*topic, topics);
                topics.put(*topic, partition, chunk);
            }
            _ => self.by_line(batch, &places, &chunk, topics),
        }
        true
    }

    /// The topic of each line.
    fn places(&self, batch: &Batch, topics: &mut dyn Topics) -> Option<Vec<usize>> {
        let mut start = 0;
        let mut known = true;
        let mut places = Vec::with_capacity(batch.lines as usize);
        for line in batch.iter() {
            let source = batch.sources.as_ref().and_then(|sources| sources.of(start));
            // All topics are asked for before any is waited for.
            match topics.place(&self.topic.of(batch, line, source)) {
                Some(place) => places.push(place),
                None => known = false,
            }
            start += line.len() + 1;
        }
        known.then_some(places)
    }

    fn by_line(&mut self, batch: &Batch, places: &[usize], whole: &Chunk, topics: &mut dyn Topics) {
        let (mut start, mut written) = (0, 0);
        for (at, line) in batch.iter().enumerate() {
            let end = memchr::memchr(b'\n', &whole.lines[written..]);
            let end = end.map_or(whole.lines.len(), |end| written + end + 1);
            let topic = places[at.min(places.len() - 1)];
            let source = batch.sources.as_ref().and_then(|sources| sources.of(start));
            let mut chunk = whole.part(written, end);
            if self.headers {
                let message = Message::parse_header(line);
                let host = Field::Host.value(line, &message, source);
                let host = host.map_or_else(
                    || Bytes::copy_from_slice(self.host.as_bytes()),
                    |host| Bytes::copy_from_slice(&host),
                );
                chunk.headers = Some(Box::new([
                    ("host", host),
                    ("input", Bytes::copy_from_slice(batch.input.as_bytes())),
                ]));
            }
            let count = topics.partitions(topic);
            let partition = match &mut self.how {
                How::Runs => turn(topics.assigned(topic), count),
                How::Sticky => sticky(topic, topics),
                How::Hash(key) => match key.find(line, source) {
                    Some(key) => {
                        let partition = murmur2::partition(&key, count);
                        chunk.key = Some(Bytes::copy_from_slice(&key));
                        partition
                    }
                    None => turn(topics.assigned(topic), count),
                },
            };
            topics.put(topic, partition, chunk);
            (start, written) = (start + line.len() + 1, end);
        }
    }
}

/// The partition whose turn it is when so many lines were assigned.
fn turn(assigned: u64, partitions: u32) -> u32 {
    u32::try_from(assigned / RUN % u64::from(partitions)).unwrap_or(0)
}

fn sticky(topic: usize, topics: &dyn Topics) -> u32 {
    let hash = topics.assigned(topic) % u64::from(topics.partitions(topic));
    u32::try_from(hash).unwrap_or(0)
}

/// Cuts lines into runs.
fn runs(topic: usize, mut rest: Chunk, topics: &mut dyn Topics) {
    loop {
        let assigned = topics.assigned(topic);
        let partition = turn(assigned, topics.partitions(topic));
        let room = RUN - assigned % RUN;
        let first = rest.take_front(room);
        topics.put(topic, partition, first);
        if rest.count == 0 {
            return;
        }
    }
}
