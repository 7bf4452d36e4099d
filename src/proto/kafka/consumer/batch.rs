//! Batches of records as a partition has them (message format 2, from Kafka 0.11 on), read.
//!
//! Nothing is taken on trust: every length is checked against the bytes that are there, the
//! checksum is checked before anything is decompressed, and that has a bound.

use bytes::{Buf, Bytes};

use super::unpack::{self, Codec};

/// What a batch says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Head {
    /// The offset of its first record, present or not.
    pub(in crate::proto::kafka) base: i64,
    /// The offset of its last record, present or not.
    pub(in crate::proto::kafka) last: i64,
    /// The epoch of the leader that took it in.
    pub(in crate::proto::kafka) epoch: i32,
    attributes: i16,
    base_time: i64,
    max_time: i64,
    pub(in crate::proto::kafka) producer: i64,
    pub(in crate::proto::kafka) count: usize,
}

/// Why a batch cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proto::kafka) enum Fault {
    /// Its format is older.
    Old(i8),
    /// Its bytes are not those that were written.
    Damaged,
    /// It does not follow the format.
    Malformed(&'static str),
    /// It cannot be decompressed.
    Packed(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Old(magic) => write!(
                f,
                "the records are in message format {magic}, from before Kafka 0.11, which is not \
                 read; have them written anew, or let the topic's retention remove them"
            ),
            Self::Damaged => f.write_str(
                "the checksum of the records is wrong: the replica is damaged; let another broker \
                 lead the partition, or remove the records with kafka-delete-records.sh",
            ),
            Self::Malformed(what) => write!(
                f,
                "the records are malformed ({what}); remove them with kafka-delete-records.sh, and \
                 look at who writes them"
            ),
            Self::Packed(why) => write!(
                f,
                "the records cannot be read: {why}; remove them with kafka-delete-records.sh, and \
                 look at who writes them"
            ),
        }
    }
}

/// The bytes before the length ends, those before the records, and where the checksum stands.
const LENGTH_END: usize = 12;
const HEAD: usize = 61;
const SUM: usize = 17;
/// Where the format's number stands, in every format.
const MAGIC: usize = 16;

const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
/// The broker's time of arrival counts, not the record's own.
const LOG_APPEND_TIME: i16 = 1 << 3;

impl Head {
    /// Whether its records count only if their transaction was committed.
    pub(in crate::proto::kafka) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it has a mark of the brokers instead of records.
    pub(in crate::proto::kafka) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}

/// Takes the next whole batch off the front: its head and its records, still compressed. `None`
/// where there is none; half of one at the end is as good as none.
pub(in crate::proto::kafka) fn split(bytes: &mut Bytes) -> Result<Option<(Head, Bytes)>, Fault> {
    if bytes.len() <= MAGIC {
        bytes.clear();
        return Ok(None);
    }
    let magic = bytes[MAGIC].cast_signed();
    if magic != 2 {
        return Err(Fault::Old(magic));
    }
    let mut length = &bytes[8..LENGTH_END];
    let length = usize::try_from(length.get_i32()).unwrap_or(0);
    if length < HEAD - LENGTH_END {
        return Err(Fault::Malformed("a batch is shorter than its head"));
    }
    if bytes.len() < LENGTH_END + length {
        bytes.clear();
        return Ok(None);
    }
    let batch = bytes.split_to(LENGTH_END + length);
    let mut head = &batch[..HEAD];
    let base = head.get_i64();
    head.advance(4);
    let epoch = head.get_i32();
    head.advance(1);
    let sum = head.get_u32();
    if crc32c::crc32c(&batch[SUM + 4..]) != sum {
        return Err(Fault::Damaged);
    }
    let attributes = head.get_i16();
    let delta = head.get_i32();
    let (base_time, max_time) = (head.get_i64(), head.get_i64());
    let producer = head.get_i64();
    head.advance(6);
    let count = usize::try_from(head.get_i32()).map_err(|_| Fault::Malformed("its count"))?;
    let last = base
        .checked_add(i64::from(delta))
        .filter(|last| base >= 0 && delta >= 0 && *last < i64::MAX);
    let Some(last) = last else { return Err(Fault::Malformed("its offsets")) };
    let head = Head { base, last, epoch, attributes, base_time, max_time, producer, count };
    Ok(Some((head, batch.slice(HEAD..))))
}

/// The records of a batch, decompressed, and how far they are read.
#[derive(Debug)]
pub(in crate::proto::kafka) struct Records {
    pub(in crate::proto::kafka) head: Head,
    pub(in crate::proto::kafka) bytes: Bytes,
    pub(in crate::proto::kafka) at: usize,
    left: usize,
    last: Option<i64>,
}

impl Records {
    /// The records of a batch.
    pub(in crate::proto::kafka) fn open(head: Head, packed: Bytes) -> Result<Self, Fault> {
        let bytes = match Codec::of(head.attributes)? {
            None => packed,
            Some(codec) => unpack::unpack(codec, &packed).map_err(Fault::Packed)?.into(),
        };
        // A record takes at least seven bytes: its length and six fields.
        if head.count > bytes.len() / 7 {
            return Err(Fault::Malformed("it has fewer records than it says"));
        }
        Ok(Self { head, bytes, at: 0, left: head.count, last: None })
    }

    /// The next record, and where the one behind it begins. `bytes` are [`Self::bytes`].
    pub(in crate::proto::kafka) fn peek<'b>(
        &self,
        bytes: &'b [u8],
    ) -> Result<Option<(Record<'b>, usize)>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut cursor = Cursor { bytes, at: self.at };
        let record = cursor.record(&self.head)?;
        let is_in_order = self.last.is_none_or(|last| record.offset > last);
        if !is_in_order || !(self.head.base..=self.head.last).contains(&record.offset) {
            return Err(Fault::Malformed("the offset of a record"));
        }
        Ok(Some((record, cursor.at)))
    }

    /// The record of this offset is done with.
    pub(in crate::proto::kafka) fn pass(&mut self, offset: i64, next: usize) {
        self.at = next;
        self.left -= 1;
        self.last = Some(offset);
    }
}

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Record<'b> {
    pub(in crate::proto::kafka) offset: i64,
    /// When it was made, in milliseconds since 1970; below 0 where that is not known.
    pub(in crate::proto::kafka) time: i64,
    pub(in crate::proto::kafka) key: Option<&'b [u8]>,
    /// `None` in compacted topics for a key that was deleted.
    pub(in crate::proto::kafka) value: Option<&'b [u8]>,
    pub(in crate::proto::kafka) headers: Headers<'b>,
}

/// The headers of a record, which were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Headers<'b> {
    bytes: &'b [u8],
    count: usize,
}

impl<'b> Iterator for Headers<'b> {
    type Item = (&'b [u8], &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let mut cursor = Cursor { bytes: self.bytes, at: 0 };
        let name = cursor.sized().ok()??;
        let value = cursor.sized().ok()?;
        self.bytes = &self.bytes[cursor.at..];
        Some((name, value.unwrap_or_default()))
    }
}

struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

const CUT: Fault = Fault::Malformed("a record ends too early");

impl<'b> Cursor<'b> {
    /// A number of seven bits a byte, folded so that small ones are short, below 0 or not. Nearly
    /// all have one byte or two.
    #[inline]
    fn number(&mut self) -> Result<i64, Fault> {
        let (value, len) = match *self.bytes.get(self.at..).unwrap_or_default() {
            [one @ 0..0x80, ..] => (u64::from(one), 1),
            [one, two @ 0..0x80, ..] => (u64::from(one & 0x7f) | u64::from(two) << 7, 2),
            _ => self.long_number()?,
        };
        self.at += len;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// One of any length, and how many bytes it has.
    fn long_number(&self) -> Result<(u64, usize), Fault> {
        let mut value = 0_u64;
        for shift in 0..10 {
            let byte = *self.bytes.get(self.at + shift).ok_or(CUT)?;
            value |= u64::from(byte & 0x7f) << (7 * shift);
            if byte & 0x80 == 0 {
                return Ok((value, shift + 1));
            }
        }
        Err(Fault::Malformed("a number is too long"))
    }

    fn take(&mut self, len: i64) -> Result<&'b [u8], Fault> {
        let len = usize::try_from(len).map_err(|_| Fault::Malformed("a length below 0"))?;
        let end = self.at.checked_add(len).ok_or(CUT)?;
        let taken = self.bytes.get(self.at..end).ok_or(CUT)?;
        self.at = end;
        Ok(taken)
    }

    fn sized(&mut self) -> Result<Option<&'b [u8]>, Fault> {
        match self.number()? {
            -1 => Ok(None),
            len => self.take(len).map(Some),
        }
    }

    fn record(&mut self, head: &Head) -> Result<Record<'b>, Fault> {
        let len = self.number()?;
        let body = self.take(len)?;
        let mut own = Self { bytes: body, at: 0 };
        own.take(1)?;
        let time = own.number()?;
        let offset = own.number()?;
        let (key, value) = (own.sized()?, own.sized()?);
        let count = usize::try_from(own.number()?).map_err(|_| Fault::Malformed("headers"))?;
        let start = own.at;
        for _ in 0..count {
            own.sized()?.ok_or(Fault::Malformed("a header without a name"))?;
            own.sized()?;
        }
        if own.at != body.len() {
            return Err(Fault::Malformed("a record is longer than its fields"));
        }
        let time = match head.attributes & LOG_APPEND_TIME {
            0 => head.base_time.saturating_add(time),
            _ => head.max_time,
        };
        let headers = Headers { bytes: &body[start..], count };
        Ok(Record { offset: head.base.saturating_add(offset), time, key, value, headers })
    }
}

/// Whether a control batch ends a transaction without its records (the mark's type, in the key of
/// its record, is then 0).
pub(in crate::proto::kafka) fn is_abort(records: &Records) -> Result<bool, Fault> {
    let record = records.peek(&records.bytes)?;
    let key = record.and_then(|(record, _)| record.key).unwrap_or_default();
    Ok(key.len() >= 4 && key[2..4] == [0, 0])
}

#[cfg(test)]
mod tests;
