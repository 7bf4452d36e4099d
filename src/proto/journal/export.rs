//! The export format of the journal (systemd's JOURNAL_EXPORT_FORMATS): entries of fields, an empty
//! line behind each. A field is `NAME=TEXT`, or, where it is not plain text, `NAME`, a newline, the
//! length (64 bits, little endian), the bytes and a newline.

use crate::ids::Identity;

/// The longest name of a field (systemd allows 64 bytes).
const NAME_MAX: usize = 64;

/// One entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of fields that were too long.
    pub cut: usize,
}

/// Where an entry stands: who numbers it, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The journal's identity (`s` of a cursor).
    pub origin: Identity,
    /// The number there (`i`), from 1.
    pub number: u64,
}

impl Entry {
    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.fields.iter().find(|(own, _)| own == name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    /// The fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// Where it stands; `None` where it does not say so.
    pub fn cursor(&self) -> Option<Cursor> {
        Cursor::read(std::str::from_utf8(self.get("__CURSOR")?).ok()?)
    }
}

impl Cursor {
    /// Reads `s=…;i=…;…`.
    pub fn read(text: &str) -> Option<Self> {
        let part = |name: &str| text.split(';').find_map(|part| part.strip_prefix(name));
        let origin = part("s=")?.parse().ok()?;
        let number = u64::from_str_radix(part("i=")?, 16).ok()?;
        Some(Self { origin, number })
    }

    /// As `journalctl --cursor` takes it.
    pub fn text(&self) -> String {
        format!("s={};i={:x}", self.origin, self.number)
    }
}

/// What is wrong with what came: it is not this format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Reads a stream of entries that comes in pieces.
#[derive(Debug)]
pub struct Reader {
    /// The longest value that is kept.
    value_max: usize,
    /// The most bytes of an entry that are kept.
    entry_max: usize,
    buffer: Vec<u8>,
    /// What of the buffer is read.
    at: usize,
    entry: Entry,
    size: usize,
    /// A field whose bytes are coming: how many more, with the newline behind them.
    binary: Option<(Vec<u8>, Vec<u8>, u64)>,
}

impl Reader {
    /// Values have `value_max` bytes at most, an entry four times as many; the rest is cut.
    pub fn new(value_max: usize) -> Self {
        Self {
            value_max,
            entry_max: 4 * value_max,
            buffer: Vec::new(),
            at: 0,
            entry: Entry::default(),
            size: 0,
            binary: None,
        }
    }

    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..std::mem::take(&mut self.at));
        self.buffer.extend_from_slice(bytes);
    }

    /// The next entry that is whole.
    ///
    /// # Errors
    /// That this is not the format: nothing that follows makes sense.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Malformed> {
        loop {
            if self.binary.is_some() {
                if !self.take_binary()? {
                    return Ok(None);
                }
                continue;
            }
            let rest = &self.buffer[self.at..];
            let Some(end) = memchr::memchr(b'\n', rest) else {
                // A text field may be longer than what is kept of it.
                return match rest.len() > NAME_MAX && !rest[..=NAME_MAX].contains(&b'=') {
                    true => Err(Malformed),
                    false => Ok(self.hold_long()),
                };
            };
            let line = &rest[..end];
            if line.is_empty() {
                self.at += 1;
                self.size = 0;
                let entry = std::mem::take(&mut self.entry);
                if entry.fields.is_empty() {
                    continue;
                }
                return Ok(Some(entry));
            }
            match memchr::memchr(b'=', line) {
                // In pieces such a name is refused before its end is seen.
                Some(equals) if equals > NAME_MAX => return Err(Malformed),
                Some(equals) => {
                    let (name, value) = (line[..equals].to_vec(), line[equals + 1..].to_vec());
                    self.at += end + 1;
                    self.put(name, value, 0);
                }
                None if line.len() > NAME_MAX => return Err(Malformed),
                None => {
                    let Some(length) = rest.get(end + 1..end + 9) else { return Ok(None) };
                    let length = u64::from_le_bytes(length.try_into().map_err(|_| Malformed)?);
                    let name = line.to_vec();
                    self.at += end + 9;
                    self.binary = Some((name, Vec::new(), length.checked_add(1).ok_or(Malformed)?));
                }
            }
        }
    }

    /// A text field that has no end yet: what is beyond the longest value goes, so that the buffer
    /// stays small.
    fn hold_long(&mut self) -> Option<Entry> {
        let most = NAME_MAX + 1 + 2 * self.value_max;
        let held = self.buffer.len() - self.at;
        if held > most {
            self.buffer.truncate(self.at + most);
            self.entry.cut += held - most;
        }
        None
    }

    /// Takes bytes of a binary field; whether it is whole.
    fn take_binary(&mut self) -> Result<bool, Malformed> {
        let Some((name, mut value, left)) = self.binary.take() else { return Ok(true) };
        let rest = &self.buffer[self.at..];
        let count = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let room = (self.value_max + 1).saturating_sub(value.len());
        value.extend_from_slice(&rest[..count.min(room)]);
        self.entry.cut += count - count.min(room);
        let last = rest[..count].last().copied();
        self.at += count;
        let left = left - count as u64;
        if left > 0 {
            self.binary = Some((name, value, left));
            return Ok(false);
        }
        if last != Some(b'\n') {
            return Err(Malformed);
        }
        // The newline behind it, which was kept or cut as its last byte.
        match value.len() <= self.value_max || self.entry.cut == 0 {
            true => drop(value.pop()),
            false => self.entry.cut = self.entry.cut.saturating_sub(1),
        }
        self.put(name, value, 0);
        Ok(true)
    }

    fn put(&mut self, name: Vec<u8>, mut value: Vec<u8>, cut: usize) {
        let kept = value.len().min(self.value_max);
        self.entry.cut += value.len() - kept + cut;
        value.truncate(kept);
        if self.size + name.len() + value.len() > self.entry_max {
            self.entry.cut += value.len();
            return;
        }
        self.size += name.len() + value.len();
        self.entry.fields.push((name, value));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(pieces: &[&[u8]], value_max: usize) -> Result<Vec<Entry>, Malformed> {
        let (mut reader, mut found) = (Reader::new(value_max), Vec::new());
        for piece in pieces {
            reader.push(piece);
            while let Some(entry) = reader.next_entry()? {
                found.push(entry);
            }
        }
        Ok(found)
    }

    fn sample() -> Vec<u8> {
        let mut bytes = b"__CURSOR=s=0000000000000000000000000000002a;i=1f;b=0;m=1;t=2;x=3\n\
                          PRIORITY=4\nMESSAGE\n"
            .to_vec();
        bytes.extend_from_slice(&5_u64.to_le_bytes());
        bytes.extend_from_slice(b"a\n\xff\0b\n_PID=7\n\nMESSAGE=second\n\n");
        bytes
    }

    #[test]
    fn a_name_that_is_too_long_is_refused_however_it_comes() {
        let line = format!("{}=x\n\n", "N".repeat(NAME_MAX + 1));
        for cut in 0..line.len() {
            let mut reader = Reader::new(100);
            reader.push(&line.as_bytes()[..cut]);
            let first = reader.next_entry();
            reader.push(&line.as_bytes()[cut..]);
            assert!(first.is_err() || reader.next_entry().is_err(), "{cut}");
        }
    }

    #[test]
    fn entries_are_read_wherever_the_stream_is_cut() {
        let bytes = sample();
        let whole = entries(&[&bytes], 100).unwrap();
        assert_eq!(whole.len(), 2);
        assert_eq!(whole[0].get("MESSAGE"), Some(&b"a\n\xff\0b"[..]));
        assert_eq!(whole[0].get("_PID"), Some(&b"7"[..]));
        let cursor = whole[0].cursor().unwrap();
        assert_eq!(cursor, Cursor { origin: Identity::of(42), number: 31 });
        assert_eq!(Cursor::read(&cursor.text()), Some(cursor));
        assert_eq!(whole[1].get("MESSAGE"), Some(&b"second"[..]));
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(entries(&single, 100).unwrap(), whole);
    }

    #[test]
    fn long_values_are_cut_and_counted_and_nonsense_is_refused() {
        let bytes = [b"MESSAGE=".as_slice(), &[b'x'; 50], b"\n\n"].concat();
        let found = entries(&[&bytes], 10).unwrap();
        assert_eq!((found[0].get("MESSAGE").unwrap().len(), found[0].cut), (10, 40));
        let mut binary = b"MESSAGE\n".to_vec();
        binary.extend_from_slice(&50_u64.to_le_bytes());
        binary.extend_from_slice(&[b'y'; 50]);
        binary.extend_from_slice(b"\n\n");
        let found = entries(&[&binary], 10).unwrap();
        assert_eq!((found[0].get("MESSAGE").unwrap(), found[0].cut), (&[b'y'; 10][..], 40));
        assert_eq!(entries(&[&[b'z'; 200]], 10), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_entries_or_nonsense_and_little_is_held(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'='), Just(0), any::<u8>()],
                0..400,
            ),
        ) {
            let mut reader = Reader::new(16);
            for piece in bytes.chunks(7) {
                reader.push(piece);
                loop {
                    match reader.next_entry() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(Malformed) => return Ok(()),
                    }
                }
                prop_assert!(reader.buffer.len() - reader.at <= NAME_MAX + 1 + 2 * 16 + 9);
            }
        }
    }
}
