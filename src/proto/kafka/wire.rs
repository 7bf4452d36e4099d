//! The primitive types of the protocol, read and written.
//!
//! A message is *flexible* from some version on: lengths are then variable in size and one more
//! than they say, and each structure ends with tagged fields. [`Reader`] and [`Writer`] know which
//! it is, so that a message is described once for all of its versions.

use bytes::{Buf, Bytes};

/// An answer that does not follow the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the broker's answer is malformed: {}", self.0)
    }
}

type Read<T> = Result<T, Malformed>;

const CUT: Malformed = Malformed("it ends too early");

/// Reads a message.
#[derive(Debug)]
pub(super) struct Reader {
    bytes: Bytes,
    flexible: bool,
}

impl Reader {
    pub(super) fn new(bytes: Bytes, flexible: bool) -> Self {
        Self { bytes, flexible }
    }

    /// Bytes that are not read yet.
    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn take(&mut self, len: usize) -> Read<Bytes> {
        if len > self.bytes.len() {
            return Err(CUT);
        }
        Ok(self.bytes.split_to(len))
    }

    fn check(&self, len: usize) -> Read<()> {
        if self.bytes.len() < len { Err(CUT) } else { Ok(()) }
    }

    pub(super) fn i8(&mut self) -> Read<i8> {
        self.check(1)?;
        Ok(self.bytes.get_i8())
    }

    pub(super) fn boolean(&mut self) -> Read<bool> {
        Ok(self.i8()? != 0)
    }

    pub(super) fn i16(&mut self) -> Read<i16> {
        self.check(2)?;
        Ok(self.bytes.get_i16())
    }

    pub(super) fn i32(&mut self) -> Read<i32> {
        self.check(4)?;
        Ok(self.bytes.get_i32())
    }

    pub(super) fn i64(&mut self) -> Read<i64> {
        self.check(8)?;
        Ok(self.bytes.get_i64())
    }

    pub(super) fn uuid(&mut self) -> Read<Uuid> {
        self.check(16)?;
        Ok(Uuid(self.bytes.get_u128()))
    }

    /// An unsigned number of seven bits a byte, at most 32 bits.
    pub(super) fn unsigned(&mut self) -> Read<u32> {
        let mut value: u64 = 0;
        for shift in 0..5 {
            self.check(1)?;
            let byte = self.bytes.get_u8();
            value |= u64::from(byte & 0x7f) << (shift * 7);
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| Malformed("a number is too large"));
            }
        }
        Err(Malformed("a number is too long"))
    }

    /// The length of what comes next; `None` for null.
    fn length(&mut self, short: bool) -> Read<Option<usize>> {
        let length = match (self.flexible, short) {
            (true, _) => i64::from(self.unsigned()?) - 1,
            (false, true) => i64::from(self.i16()?),
            (false, false) => i64::from(self.i32()?),
        };
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length).map(Some).map_err(|_| Malformed("a length below 0")),
        }
    }

    /// Text that may be null.
    pub(super) fn text_or_null(&mut self) -> Read<Option<String>> {
        let Some(len) = self.length(true)? else { return Ok(None) };
        let bytes = self.take(len)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Text.
    pub(super) fn text(&mut self) -> Read<String> {
        self.text_or_null()?.ok_or(Malformed("a text is missing"))
    }

    /// Bytes; null is as good as none.
    pub(super) fn bytes(&mut self) -> Read<Bytes> {
        let len = self.length(false)?.unwrap_or(0);
        self.take(len)
    }

    /// A list; null is as good as an empty one. Memory is only taken for what is there: no item
    /// takes less than a byte, and nothing is reserved by the count alone.
    pub(super) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let count = self.length(false)?.unwrap_or(0);
        if count > self.left() {
            return Err(Malformed("a list is longer than its message"));
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Skips the tagged fields at the end of a structure.
    pub(super) fn tags(&mut self) -> Read<()> {
        self.tagged(u32::MAX).map(drop)
    }

    /// Skips the tagged fields at the end of a structure, but for the one with this number.
    pub(super) fn tagged(&mut self, wanted: u32) -> Read<Option<Self>> {
        let mut found = None;
        if !self.flexible {
            return Ok(found);
        }
        for _ in 0..self.unsigned()? {
            let tag = self.unsigned()?;
            let len = self.unsigned()? as usize;
            let bytes = self.take(len)?;
            if tag == wanted {
                found = Some(Self::new(bytes, true));
            }
        }
        Ok(found)
    }
}

/// The identity of a topic: another one when it is deleted and made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub(super) struct Uuid(pub(super) u128);

/// Writes a message.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    flexible: bool,
}

impl Writer {
    pub(super) fn new(flexible: bool) -> Self {
        Self { bytes: Vec::new(), flexible }
    }

    /// The same message, from here on in the other form.
    pub(super) fn continued(self, flexible: bool) -> Self {
        Self { flexible, ..self }
    }

    /// A writer of what comes behind these bytes.
    pub(super) fn continued_anew(&self) -> Self {
        Self::new(self.flexible)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn i8(&mut self, value: i8) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.i8(i8::from(value));
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn uuid(&mut self, value: Uuid) {
        self.bytes.extend_from_slice(&value.0.to_be_bytes());
    }

    pub(super) fn unsigned(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }

    /// The length of what comes next, which is bounded by whoever made it.
    fn length(&mut self, length: Option<usize>, short: bool) {
        let length = length.map_or(-1, |length| i32::try_from(length).unwrap_or(i32::MAX));
        match (self.flexible, short) {
            (true, _) => self.unsigned((length + 1).unsigned_abs()),
            (false, true) => self.i16(i16::try_from(length).unwrap_or(i16::MAX)),
            (false, false) => self.i32(length),
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.length(Some(text.len()), true);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(super) fn null_text(&mut self) {
        self.length(None, true);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.length(Some(bytes.len()), false);
        self.bytes.extend_from_slice(bytes);
    }

    /// The length of bytes that are sent after what was written so far.
    pub(super) fn bytes_follow(&mut self, len: usize) {
        self.length(Some(len), false);
    }

    pub(super) fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.length(Some(items.len()), false);
        items.iter().for_each(|one| item(self, one));
    }

    /// The number of items of a list that are written one by one.
    pub(super) fn list_follows(&mut self, count: usize) {
        self.length(Some(count), false);
    }

    /// No tagged fields.
    pub(super) fn tags(&mut self) {
        if self.flexible {
            self.bytes.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8], flexible: bool) -> Reader {
        Reader::new(Bytes::copy_from_slice(bytes), flexible)
    }

    #[test]
    fn what_is_written_is_read_in_both_forms() {
        for flexible in [false, true] {
            let mut writer = Writer::new(flexible);
            writer.text("topic");
            writer.null_text();
            writer.bytes(&[7; 300]);
            writer.list(&[1, 2, 3], |writer, item| writer.i32(*item));
            writer.uuid(Uuid(9));
            writer.tags();
            let mut reader = reader(&writer.into_bytes(), flexible);
            assert_eq!(reader.text().unwrap(), "topic");
            assert_eq!(reader.text_or_null().unwrap(), None);
            assert_eq!(reader.bytes().unwrap().len(), 300);
            assert_eq!(reader.list(Reader::i32).unwrap(), [1, 2, 3]);
            assert_eq!(reader.uuid().unwrap(), Uuid(9));
            reader.tags().unwrap();
            assert_eq!(reader.left(), 0);
        }
    }

    #[test]
    fn a_list_of_two_billion_items_takes_no_memory() {
        let count = i32::MAX.to_be_bytes();
        assert!(reader(&count, false).list(Reader::i64).is_err());
        assert!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f], true).list(Reader::i64).is_err());
        let long = [0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(reader(&long, true).unsigned(), Err(Malformed("a number is too large")));
        assert!(reader(&[0xff; 6], true).unsigned().is_err());
    }

    #[test]
    fn lengths_below_null_and_beyond_the_end_are_refused() {
        assert!(reader(&[0xff, 0xfe], false).text().is_err());
        assert!(reader(&[0, 9, b'x'], false).text().is_err());
        assert_eq!(reader(&[0xff; 4], false).bytes().unwrap(), Bytes::new());
        assert!(reader(&[0x7f, 0xff, 0xff, 0xff], false).bytes().is_err());
    }
}
