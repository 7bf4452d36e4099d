//! A spool's segment: every byte of it is in exactly one item, however it is read.

use std::io;

use logweir::spool::scan::{Item, Scanner, SegmentBytes};

use crate::parameters::Parameters;
use crate::sums::correct_rows;

/// A segment in memory, read in steps.
struct Memory<'s> {
    segment: &'s [u8],
    at: usize,
    step: usize,
}

impl SegmentBytes for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.segment[self.at.min(self.segment.len())..];
        let count = buffer.len().min(rest.len()).min(self.step);
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.at = self.at.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX));
        Ok(())
    }
}

/// All items, damage that touches joined, and where the scanner ended.
fn scanned(segment: &[u8], step: usize, ended: bool, skip: u8) -> (Vec<Item>, u64) {
    let mut scanner = Scanner::new(Memory { segment, at: 0, step }, 0);
    let mut items: Vec<Item> = Vec::new();
    let wanted =
        |header: &logweir::spool::format::Header| skip == 0 || header.first as u8 & 3 != skip & 3;
    loop {
        let before = scanner.offset();
        let Some(item) = scanner.next(ended, wanted).expect("memory cannot fail") else { break };
        assert!(scanner.offset() > before, "no progress at {before}");
        match (items.last_mut(), item) {
            (Some(Item::Damage { at, bytes }), Item::Damage { at: next, bytes: more })
                if *at + bytes.len() as u64 == next =>
            {
                *bytes = [&bytes[..], &more[..]].concat().into();
            }
            (_, item) => items.push(item),
        }
    }
    (items, scanner.offset())
}

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let corrected = !parameters.flag();
    let truthful = parameters.flag();
    let step = parameters.number(1, 5000);
    let skip = parameters.byte();
    let mut segment = parameters.0.to_vec();
    if corrected {
        correct_rows(&mut segment, truthful);
    }
    let (items, end) = scanned(&segment, usize::MAX, true, skip);
    if !items.iter().any(|item| matches!(item, Item::Skipped(_))) {
        assert_eq!(end, segment.len() as u64, "bytes are left");
    }
    assert_eq!(scanned(&segment, step, true, skip).0, items, "read in steps of {step}");
    // Nothing that is still being written is taken for damage at the end.
    let (open, end) = scanned(&segment, step, false, skip);
    assert!(
        end <= segment.len() as u64 || open.iter().any(|item| matches!(item, Item::Skipped(_)))
    );
}
