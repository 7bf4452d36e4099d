//! Reading batches: against another implementation's, and of anything.

#![allow(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use bytes::BytesMut;
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::records::{
    Compression, Record as Theirs, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

type Row = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

/// What another implementation writes of records from offset `base` on, each `step` behind the
/// one before.
fn encode(rows: &[Row], (base, step): (i64, i64), codec: Compression) -> Bytes {
    let records: Vec<_> = (0_i64..)
        .zip(rows)
        .map(|(at, (time, key, value, headers))| Theirs {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 3,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset: base + at * step,
            sequence: (at * step) as i32,
            timestamp: *time,
            key: key.clone().map(Bytes::from),
            value: value.clone().map(Bytes::from),
            headers: headers
                .iter()
                .map(|(name, value)| (name.clone().into(), value.clone().map(Bytes::from)))
                .collect::<IndexMap<_, _>>(),
        })
        .collect();
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: codec };
    RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.freeze()
}

/// All records of some batches.
fn read(mut bytes: Bytes) -> Result<Vec<(i64, Row)>, Fault> {
    let mut rows = Vec::new();
    while let Some((head, packed)) = split(&mut bytes)? {
        let mut records = Records::open(head, packed)?;
        let bytes = records.bytes.clone();
        while let Some((record, next)) = records.peek(&bytes)? {
            let owned = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
            let headers = record.headers.map(|(name, value)| {
                (String::from_utf8_lossy(name).into_owned(), Some(value.to_vec()))
            });
            let row = (record.time, owned(record.key), owned(record.value), headers.collect());
            rows.push((record.offset, row));
            records.pass(record.offset, next);
        }
    }
    Ok(rows)
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let header = ("[a-z]{1,9}", vec(any::<u8>(), 0..20).prop_map(Some));
    let row = (
        0..1_i64 << 45,
        option::of(vec(any::<u8>(), 0..40)),
        option::of(vec(any::<u8>(), 0..300)),
        vec(header, 0..3),
    );
    vec(row, 1..30)
}

fn distinct(mut row: Row) -> Row {
    let mut seen = std::collections::BTreeSet::new();
    row.3.retain(|(name, _)| seen.insert(name.clone()));
    row
}

proptest! {
    #[test]
    fn what_another_implementation_writes_is_read(
        rows in rows(),
        base in 0..1_i64 << 40,
        step in 1..3_i64,
    ) {
        let rows: Vec<_> = rows.into_iter().map(distinct).collect();
        let whole = encode(&rows, (base, step), Compression::None);
        let read = read(whole.clone()).unwrap();
        let offsets: Vec<_> = read.iter().map(|(offset, _)| *offset).collect();
        let expected: Vec<_> = (0..rows.len() as i64).map(|at| base + at * step).collect();
        prop_assert_eq!(offsets, expected);
        prop_assert_eq!(read.into_iter().map(|(_, row)| row).collect::<Vec<_>>(), rows);
    }

    #[test]
    fn anything_is_read_or_refused(bytes in vec(any::<u8>(), 0..400), sum in any::<bool>()) {
        let mut bytes = bytes;
        if sum && bytes.len() > HEAD {
            bytes[MAGIC] = 2;
            let len = i32::try_from(bytes.len() - LENGTH_END).unwrap();
            bytes[8..LENGTH_END].copy_from_slice(&len.to_be_bytes());
            bytes[57..HEAD].copy_from_slice(&3_i32.to_be_bytes());
            let sum = crc32c::crc32c(&bytes[SUM + 4..]);
            bytes[SUM..SUM + 4].copy_from_slice(&sum.to_be_bytes());
        }
        if let Ok(rows) = read(bytes.into()) {
            prop_assert!(rows.windows(2).all(|two| two[0].0 < two[1].0));
        }
    }
}

fn some() -> Bytes {
    let row = |text: &[u8]| (1000, None, Some(text.to_vec()), Vec::new());
    encode(&[row(b"one"), row(b"two")], (10, 1), Compression::None)
}

#[test]
fn half_a_batch_at_the_end_is_none_and_a_flipped_bit_is_seen() {
    let whole = some();
    for len in 0..whole.len() {
        let mut two = BytesMut::from(&whole[..]);
        two.extend_from_slice(&whole[..len]);
        assert_eq!(read(two.freeze()).unwrap().len(), 2, "{len}");
    }
    for at in SUM..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 4;
        assert_eq!(read(bytes.into()), Err(Fault::Damaged), "{at}");
    }
}

#[test]
fn older_formats_are_refused_by_name() {
    for magic in [0, 1] {
        let mut bytes = some().to_vec();
        bytes[MAGIC] = magic;
        let error = read(bytes.into()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("the records are in message format {magic}, from")));
    }
}

#[test]
fn a_count_of_records_that_cannot_be_there_takes_no_memory() {
    let mut bytes = some().to_vec();
    bytes[57..HEAD].copy_from_slice(&i32::MAX.to_be_bytes());
    let sum = crc32c::crc32c(&bytes[SUM + 4..]);
    bytes[SUM..SUM + 4].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(read(bytes.into()), Err(Fault::Malformed("it has fewer records than it says")));
}
