//! Batches of records (message format 2, from Kafka 0.11 on), as they are sent and stored.

use bytes::Bytes;

use super::compress::Compression;
use super::messages::producers::ProducerId;

/// One record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'r> {
    /// When it was made, in milliseconds since 1970.
    pub(super) time: i64,
    /// What its partition was chosen by, if by anything.
    pub(super) key: Option<&'r [u8]>,
    /// The line.
    pub(super) value: &'r [u8],
    /// Names and values beside it.
    pub(super) headers: &'r [(&'r str, &'r [u8])],
}

/// The bytes before the records: offset, length, leader's epoch, format, checksum, attributes,
/// last offset, first and last time, producer, epoch, sequence, number of records.
const HEAD: usize = 61;
/// Where the checksum stands, which is of all that is behind it.
const SUM: usize = 17;

/// The modulus of sequences: after 2³¹ − 1 comes 0.
pub(super) const SEQUENCES: u64 = 1 << 31;

/// A sequence as a batch has it.
pub(super) fn sequence(count: u64) -> i32 {
    i32::try_from(count % SEQUENCES).unwrap_or(0)
}

/// Makes batches, and keeps its memory for the next one.
#[derive(Debug, Default)]
pub(super) struct Builder {
    records: Vec<u8>,
    count: i32,
    first_time: i64,
    last_time: i64,
}

impl Builder {
    /// Adds a record.
    pub(super) fn push(&mut self, record: &Record<'_>) {
        if self.count == 0 {
            // What is not compressed stays where it is.
            self.records.clear();
            self.records.resize(HEAD, 0);
            (self.first_time, self.last_time) = (record.time, record.time);
        }
        self.last_time = self.last_time.max(record.time);
        let (delta, offset) = (record.time - self.first_time, i64::from(self.count));
        let size = |bytes: &[u8]| len_of(bytes.len() as i64) + bytes.len();
        let headers =
            record.headers.iter().map(|(name, value)| size(name.as_bytes()) + size(value));
        let key = record.key.map_or(1, size);
        let length = 1
            + len_of(delta)
            + len_of(offset)
            + key
            + size(record.value)
            + len_of(record.headers.len() as i64)
            + headers.sum::<usize>();
        let out = &mut self.records;
        variable(out, length as i64);
        out.push(0);
        variable(out, delta);
        variable(out, offset);
        match record.key {
            Some(key) => sized(out, key),
            None => variable(out, -1),
        }
        sized(out, record.value);
        variable(out, record.headers.len() as i64);
        for (name, value) in record.headers {
            sized(out, name.as_bytes());
            sized(out, value);
        }
        self.count += 1;
    }

    /// The batch of all records since the last one, with the sequence of its first.
    ///
    /// # Errors
    /// What the compressor says.
    pub(super) fn finish(
        &mut self,
        compression: Compression,
        producer: ProducerId,
        first: i32,
    ) -> std::io::Result<Bytes> {
        let count = std::mem::take(&mut self.count);
        let mut batch = match compression {
            Compression::None => {
                let next = Vec::with_capacity(self.records.len());
                std::mem::replace(&mut self.records, next)
            }
            _ => {
                let mut batch = vec![0; HEAD];
                compression.compress(&self.records[HEAD..], &mut batch)?;
                batch
            }
        };
        let length = i32::try_from(batch.len() - 12).unwrap_or(i32::MAX);
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(&0_i64.to_be_bytes());
        head.extend_from_slice(&length.to_be_bytes());
        head.extend_from_slice(&(-1_i32).to_be_bytes());
        head.push(2);
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&compression.bits().to_be_bytes());
        head.extend_from_slice(&(count - 1).to_be_bytes());
        head.extend_from_slice(&self.first_time.to_be_bytes());
        head.extend_from_slice(&self.last_time.to_be_bytes());
        head.extend_from_slice(&producer.id.to_be_bytes());
        head.extend_from_slice(&producer.epoch.to_be_bytes());
        head.extend_from_slice(&first.to_be_bytes());
        head.extend_from_slice(&count.to_be_bytes());
        batch[..HEAD].copy_from_slice(&head);
        let sum = crc32c::crc32c(&batch[SUM + 4..]);
        batch[SUM..SUM + 4].copy_from_slice(&sum.to_be_bytes());
        Ok(batch.into())
    }
}

/// Folds a number so that small ones are short, below 0 or not.
fn folded(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// How many bytes [`variable`] writes.
fn len_of(value: i64) -> usize {
    let bits = 64 - (folded(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes a number of seven bits a byte.
fn variable(out: &mut Vec<u8>, value: i64) {
    let mut rest = folded(value);
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    variable(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use kafka_protocol::records::RecordBatchDecoder;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    const PRODUCER: ProducerId = ProducerId { id: 4_000_000_007, epoch: 3 };

    type Row = (i64, Option<Vec<u8>>, Vec<u8>, Vec<(String, Vec<u8>)>);

    fn build(rows: &[Row], first: i32) -> Bytes {
        let mut builder = Builder::default();
        for (time, key, value, headers) in rows {
            let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
            let key = key.as_deref();
            builder.push(&Record { time: *time, key, value, headers: &headers });
        }
        builder.finish(Compression::None, PRODUCER, first).unwrap()
    }

    proptest! {
        #[test]
        fn a_batch_is_what_another_implementation_reads(
            rows in vec(
                (0..1_i64 << 45, option::of(vec(any::<u8>(), 0..40)), vec(any::<u8>(), 0..300),
                 vec(("[a-z]{1,9}", vec(any::<u8>(), 0..20)), 0..3)),
                1..30,
            ),
            first in 0..i32::MAX - 40,
        ) {
            let mut bytes = build(&rows, first);
            let set = RecordBatchDecoder::decode(&mut bytes).unwrap();
            prop_assert_eq!(set.records.len(), rows.len());
            for (at, (record, row)) in set.records.iter().zip(&rows).enumerate() {
                prop_assert_eq!(record.timestamp, row.0);
                prop_assert_eq!(record.key.as_deref(), row.1.as_deref());
                prop_assert_eq!(record.value.as_deref(), Some(&row.2[..]));
                let there: std::collections::BTreeMap<_, _> = row.3.iter().cloned().collect();
                prop_assert_eq!(record.headers.len(), there.len());
                prop_assert_eq!(record.sequence, first + i32::try_from(at).unwrap());
                prop_assert_eq!((record.producer_id, record.producer_epoch), (PRODUCER.id, 3));
            }
        }
    }

    #[test]
    fn numbers_take_the_bytes_that_were_counted() {
        for shift in 0..63 {
            for value in [1_i64 << shift, -(1_i64 << shift), (1_i64 << shift) - 1] {
                let mut out = Vec::new();
                variable(&mut out, value);
                assert_eq!(out.len(), len_of(value), "{value}");
            }
        }
    }

    #[test]
    fn sequences_begin_again_behind_the_highest() {
        assert_eq!((sequence(SEQUENCES - 1), sequence(SEQUENCES)), (i32::MAX, 0));
    }
}
