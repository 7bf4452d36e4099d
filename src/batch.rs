//! A batch: whole lines, each terminated by a newline, in one shared block of memory.
//!
//! Lines travel in batches. The bytes are reference-counted and immutable, so any number of queues
//! share one copy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};

use crate::ids::Identity;
use crate::ledger::Count;
use crate::limits;
use crate::minute::Minute;
use crate::sources::Sources;

/// Whole lines that entered together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The lines, each terminated by `\n`; never empty, so the last byte is always `\n`.
    pub bytes: Bytes,
    /// The number of lines in `bytes`; at least one.
    pub lines: u32,
    /// The value of `{input}` in file names: the input that received the lines, or the `run` filter
    /// that printed them.
    pub input: Arc<str>,
    /// When they were received.
    pub received: SystemTime,
    /// The minute in which a logweir first received them; that of `received` unless another logweir
    /// had them before.
    pub minute: Minute,
    /// The numbers under which they arrived; `None` if their origin does not number lines.
    pub origin: Option<Span>,
    /// Their numbers in a spool of this daemon; `None` if they are not in one.
    pub numbers: Option<Numbers>,
    /// Who sent which of the lines, if known.
    pub sources: Option<Sources>,
}

/// A range of lines numbered elsewhere, such as in the spool of another logweir: `first` to `last`,
/// or the selected ones among them. Numbers in between may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The spool or source that assigned the numbers.
    pub origin: Identity,
    /// The first number.
    pub first: u64,
    /// The last number.
    pub last: u64,
}

impl Span {
    /// The length of the range, including missing numbers.
    pub fn lines(&self) -> u64 {
        self.last - self.first + 1
    }

    /// The remaining span after the first `cut` of `lines` lines are removed. If numbers are
    /// missing, the position of the cut is unknown and the rest keeps the whole span.
    fn without_first(self, lines: u32, cut: u32) -> Self {
        match self.lines() == u64::from(lines) {
            true => Self { first: self.first + u64::from(cut), ..self },
            false => self,
        }
    }

    /// The span of the first `cut` of `lines` lines. `None` if numbers are missing: storing a span
    /// asserts that everything up to its end is stored.
    fn of_first(self, lines: u32, cut: u32) -> Option<Self> {
        (self.lines() == u64::from(lines))
            .then(|| Self { last: self.first + u64::from(cut) - 1, ..self })
    }
}

/// What an input asks and says of its origins at a barrier.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inquiry {
    /// Origins whose last line in each spool downstream is to be told.
    pub origins: Vec<Identity>,
    /// Upper halves of identities: all origins with such a half are to be told.
    pub kinds: Vec<u64>,
    /// Origins that have ended with the lines before the barrier. They are forgotten, and may begin
    /// anew once the barrier is passed.
    pub ended: Vec<Identity>,
    /// Whether the barrier may wait for a spool's next sync in its time, as nobody waits for it.
    pub is_patient: bool,
}

/// Lines `first` to `last` of a spool of this daemon, or the selected ones among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The number of the first line.
    pub first: u64,
    /// The number of the last line.
    pub last: u64,
}

impl Numbers {
    /// The length of the range, including missing lines.
    pub fn lines(&self) -> u64 {
        self.last - self.first + 1
    }
}

impl Batch {
    /// Lines without a numbered origin or a known sender.
    pub fn new(bytes: Bytes, lines: u32, input: Arc<str>, received: SystemTime) -> Self {
        let minute = Minute::of(received);
        Self { bytes, lines, input, received, minute, origin: None, numbers: None, sources: None }
    }

    /// Other lines with the same origin and time, or a part of these. `sources` keeps counting
    /// bytes from the first line.
    pub fn with(&self, bytes: Bytes, lines: u32) -> Self {
        Self { bytes, lines, ..self.clone() }
    }

    /// The time to tell of them where nothing else tells their minute: when they were received, or
    /// when the minute began in which another logweir first received them.
    pub fn first_received(&self) -> SystemTime {
        let is_another = self.minute != Minute::of(self.received) && self.minute != Minute::UNKNOWN;
        if is_another { self.minute.start() } else { self.received }
    }

    /// Its number of lines and bytes.
    pub fn count(&self) -> Count {
        Count { lines: u64::from(self.lines), bytes: self.bytes.len() as u64 }
    }

    /// Removes the first `bytes` bytes, which must be whole lines but not all of them. Returns the
    /// number of lines removed.
    pub fn cut_front(&mut self, bytes: usize) -> u32 {
        let cut = self.bytes.split_to(bytes);
        let lines = count_lines(&cut);
        if let Some(sources) = &mut self.sources {
            sources.cut_front(bytes);
        }
        self.origin = self.origin.map(|origin| origin.without_first(self.lines, lines));
        if let Some(numbers) = &mut self.numbers
            && numbers.lines() == u64::from(self.lines)
        {
            numbers.first += u64::from(lines);
        }
        self.lines -= lines;
        lines
    }

    /// The lines, without their newlines.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        // A batch ends with a newline, so what follows the last one is empty and not a line.
        let body = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        body.split(|&byte| byte == b'\n')
    }

    /// The memory a batch is charged for in a queue: its bytes and the overhead of its entry.
    pub fn cost(&self) -> u64 {
        let sources = self.sources.as_ref().map_or(0, Sources::cost);
        self.bytes.len() as u64 + limits::BATCH_OVERHEAD + sources
    }

    /// Splits off as many whole lines as fit into `room` bytes; `None` if the first does not fit.
    /// The rest stays in `self`, which must be larger than `room`.
    pub fn split_to(&mut self, room: usize) -> Option<Self> {
        debug_assert!(room < self.bytes.len());
        let end = memchr::memrchr(b'\n', &self.bytes[..room])? + 1;
        let bytes = self.bytes.slice(..end);
        let (numbers, all) = (self.numbers, self.lines);
        let mut first = self.with(bytes, 0);
        let lines = self.cut_front(end);
        first.lines = lines;
        first.origin = first.origin.and_then(|origin| origin.of_first(all, lines));
        // After a selection the position of the cut is unknown, so both parts keep the whole range.
        first.numbers =
            numbers.zip(self.numbers).map(|(before, rest)| match rest.first - before.first {
                0 => before,
                _ => Numbers { last: rest.first - 1, ..before },
            });
        Some(first)
    }
}

/// Takes the first bytes of a buffer. What follows a long line gets a buffer of its own, or it
/// would keep that line's memory for as long as nothing more comes.
pub fn take_front(buffer: &mut BytesMut, bytes: usize) -> Bytes {
    let taken = buffer.split_to(bytes).freeze();
    if bytes >= limits::LONG_LINE {
        *buffer = BytesMut::from(&buffer[..]);
    }
    taken
}

/// The number of newlines in `bytes`.
pub fn count_lines(bytes: &[u8]) -> u32 {
    let count = bytecount::count(bytes, b'\n');
    // No batch is larger than a line of LINE_LENGTH_MAX beside a block, far below 2^32.
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The length in bytes of the first `lines` lines, or of all if there are fewer.
pub fn end_of_lines(bytes: &[u8], lines: u64) -> usize {
    let Some(last) = lines.checked_sub(1) else { return 0 };
    let nth = usize::try_from(last).unwrap_or(usize::MAX);
    memchr::memchr_iter(b'\n', bytes).nth(nth).map_or(bytes.len(), |at| at + 1)
}

/// Blocks of memory that batches are cut from, reused once no batch refers to them.
///
/// A fresh block costs a page fault for every 4 KiB, as much as copying the lines themselves; a
/// reused one costs nothing. Filled blocks are shared by all receivers, which fall behind at other
/// times, so a stock of its own for each would add up to the sum of their peaks.
#[derive(Debug)]
pub struct Blocks {
    current: BytesMut,
    stock: &'static Stock,
}

/// Filled blocks, and how many receivers fill some.
#[derive(Debug)]
struct Stock {
    filled: Mutex<Vec<BytesMut>>,
    receivers: AtomicUsize,
}

static STOCK: Stock = Stock::new();

impl Default for Blocks {
    fn default() -> Self {
        Self::from(&STOCK)
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.stock.receivers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Blocks {
    fn from(stock: &'static Stock) -> Self {
        stock.receivers.fetch_add(1, Ordering::Relaxed);
        Self { current: BytesMut::new(), stock }
    }

    /// A buffer with room for at least `room` bytes (at most [`limits::BLOCK`]) after the bytes
    /// that have not been cut off, which are moved along.
    pub fn with_room(&mut self, room: usize) -> &mut BytesMut {
        debug_assert!(room <= limits::BLOCK);
        if !self.fits(room) {
            let rest = self.current.split();
            let next = self.stock.take(room + rest.len());
            self.next(next);
            self.current.extend_from_slice(&rest);
        }
        &mut self.current
    }

    /// Returns whether the current block has room for `room` more bytes.
    pub fn fits(&self, room: usize) -> bool {
        self.current.capacity() - self.current.len() >= room
    }

    /// The number of bytes in the current buffer that have not been cut off.
    pub fn len(&self) -> usize {
        self.current.len()
    }

    /// Returns whether there are no such bytes.
    pub fn is_empty(&self) -> bool {
        self.current.is_empty()
    }

    /// The current buffer.
    pub fn current(&mut self) -> &mut BytesMut {
        &mut self.current
    }

    /// Cuts off the bytes of the current buffer. A block whose rest is smaller is left: the next
    /// bytes, if they are as many, would be cut in two, and each part is a job of every output.
    pub fn cut_off(&mut self) -> Bytes {
        let bytes = self.current.split().freeze();
        if self.current.capacity() < bytes.len() {
            self.next(BytesMut::new());
        }
        bytes
    }

    /// Sets the current block aside and continues with another.
    fn next(&mut self, next: BytesMut) {
        let full = std::mem::replace(&mut self.current, next);
        if full.capacity() > 0 {
            self.stock.put(full);
        }
    }

    /// How many filled blocks a receiver in a flood hands over at once: each hand-over has its
    /// cost, but what all receivers hold back is bounded.
    pub fn handed_over_together(&self) -> usize {
        let each =
            limits::PIECES_TOGETHER_ALL / self.stock.receivers.load(Ordering::Relaxed).max(1);
        each.clamp(1, limits::PIECES_TOGETHER)
    }

    /// Returns unreferenced blocks to the system; called when the stream is idle.
    pub fn rest(&mut self) {
        if self.current.is_empty() {
            self.current = BytesMut::new();
        }
        self.stock.lock().retain_mut(|block| !block.try_reclaim(limits::BLOCK_MIN));
    }
}

impl Stock {
    const fn new() -> Self {
        Self { filled: Mutex::new(Vec::new()), receivers: AtomicUsize::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<BytesMut>> {
        self.filled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The size of a new block. All receivers always have one that they fill, so many receivers
    /// have smaller ones.
    fn block_size(&self) -> usize {
        let each = limits::BLOCKS_FILLED_MAX / self.receivers.load(Ordering::Relaxed).max(1);
        each.clamp(limits::BLOCK_MIN, limits::BLOCK)
    }

    /// A block with room for `room` bytes: the most recently filled one that no batch refers to,
    /// because it is the likeliest to be in the processor's cache; or else a new one.
    fn take(&self, room: usize) -> BytesMut {
        let size = self.block_size().max(room);
        let mut filled = self.lock();
        let free = filled.iter_mut().rposition(|block| block.try_reclaim(size));
        let found = free.map(|free| filled.remove(free));
        drop(filled);
        found.unwrap_or_else(|| BytesMut::with_capacity(size))
    }

    /// Enters a filled block. Where there are many, the oldest is only forgotten: its memory is
    /// returned with the last batch that refers to it.
    fn put(&self, block: BytesMut) {
        let mut filled = self.lock();
        if filled.len() >= limits::BLOCKS_KEPT {
            filled.remove(0);
        }
        filled.push(block);
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn batch(text: &str) -> Batch {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let lines = count_lines(&bytes);
        Batch::new(bytes, lines, "in".into(), UNIX_EPOCH)
    }

    #[test]
    fn a_split_gives_each_part_its_line_numbers() {
        let numbers = |first, last| Some(Numbers { first, last });
        let mut whole = Batch { numbers: numbers(5, 7), ..batch("a\nb\nc\n") };
        let first = whole.split_to(2).unwrap();
        assert_eq!((first.numbers, whole.numbers), (numbers(5, 5), numbers(6, 7)));
        let mut some = Batch { numbers: numbers(5, 9), ..batch("a\nb\nc\n") };
        let first = some.split_to(2).unwrap();
        assert_eq!((first.numbers, some.numbers), (numbers(5, 9), numbers(5, 9)));
    }

    #[test]
    fn the_time_that_is_told_lies_in_the_minute_of_the_lines() {
        let received = UNIX_EPOCH + std::time::Duration::from_secs(600_030);
        let of = |minute| Batch { received, minute, ..batch("a\n") }.first_received();
        assert_eq!(of(Minute::of(received)), received);
        assert_eq!(of(Minute::UNKNOWN), received);
        assert_eq!(of(Minute::of(received).before(7)), Minute::of(received).before(7).start());
    }

    #[test]
    fn what_follows_a_long_line_does_not_keep_its_memory() {
        let mut buffer = BytesMut::from(&[b'x'; limits::LONG_LINE + 3][..]);
        let first = take_front(&mut buffer, limits::LONG_LINE);
        assert_eq!((first.len(), &buffer[..]), (limits::LONG_LINE, &b"xxx"[..]));
        assert!(first.try_into_mut().is_ok(), "nothing else refers to it");
        let mut buffer = BytesMut::from(&b"abcd"[..]);
        assert_eq!((&take_front(&mut buffer, 3)[..], &buffer[..]), (&b"abc"[..], &b"d"[..]));
    }

    #[test]
    fn lines_are_whole_and_empty_ones_count() {
        let batch = batch("a\n\nb\n");
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"b"]);
        assert_eq!(batch.lines, 3);
    }

    #[test]
    fn a_split_falls_between_lines() {
        let mut rest = batch("one\ntwo\nthree\n");
        let first = rest.split_to(9).unwrap();
        assert_eq!((&first.bytes[..], first.lines), (&b"one\ntwo\n"[..], 2));
        assert_eq!((&rest.bytes[..], rest.lines), (&b"three\n"[..], 1));
        assert!(rest.split_to(3).is_none());
    }

    fn stock() -> &'static Stock {
        Box::leak(Box::new(Stock::new()))
    }

    #[test]
    fn a_block_is_reused_once_no_batch_refers_to_it() {
        let stock = stock();
        let mut blocks = Blocks::from(stock);
        for _ in 0..10 {
            let buffer = blocks.with_room(limits::BLOCK);
            buffer.extend_from_slice(b"x\n");
            drop(buffer.split().freeze());
        }
        // Two blocks alternate: the one just filled is still referenced by the stock.
        assert!(stock.lock().len() <= 2, "{}", stock.lock().len());
        let held = blocks.with_room(1).split().freeze();
        drop(held);
        blocks.rest();
        assert!(stock.lock().is_empty());
    }

    #[test]
    fn a_block_that_one_receiver_has_filled_is_reused_by_another() {
        let stock = stock();
        let (mut first, mut second) = (Blocks::from(stock), Blocks::from(stock));
        let mut held = Vec::new();
        for _ in 0..6 {
            let buffer = first.with_room(limits::BLOCK);
            buffer.extend_from_slice(b"x\n");
            held.push(buffer.split().freeze());
        }
        let places: Vec<_> = held.iter().map(|bytes| bytes.as_ptr()).collect();
        held.clear();
        // The first has one left; all others are in stock.
        for _ in 0..5 {
            let buffer = second.with_room(limits::BLOCK);
            buffer.extend_from_slice(b"y\n");
            held.push(buffer.split().freeze());
        }
        let reused = held.iter().filter(|bytes| places.contains(&bytes.as_ptr())).count();
        assert_eq!(reused, 5, "all that the first has filled");
    }

    #[test]
    fn many_receivers_fill_small_blocks_and_hold_none_back() {
        let stock = stock();
        let mut one = Blocks::from(stock);
        assert_eq!(one.handed_over_together(), limits::PIECES_TOGETHER);
        assert!(!one.fits(1), "nothing before it is used");
        assert_eq!(one.with_room(1).capacity(), limits::BLOCK);
        let mut many: Vec<_> = (0..63).map(|_| Blocks::from(stock)).collect();
        assert_eq!(one.handed_over_together(), 1);
        assert_eq!(many[62].with_room(limits::DATAGRAM_MAX).capacity(), limits::BLOCK_MIN);
        drop(many);
        assert_eq!(one.handed_over_together(), limits::PIECES_TOGETHER);
    }
}
