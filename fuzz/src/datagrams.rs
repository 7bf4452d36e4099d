//! Datagrams, one by one and coalesced by the kernel: syslog gives a line each, raw input any
//! number of them, and no line is longer than it may be.

use logweir::batch::count_lines;
use logweir::input::datagrams::RawLines;
use logweir::input::messages::{Escape, Messages};
use logweir::input::{Gather, InputCounts, Intake};
use logweir::parse::sequence::GapTracker;
use logweir::sources::Source;

use crate::parameters::Parameters;

/// The lines, and what was counted.
fn taken(intake: &mut impl Intake, data: &[u8], segment: usize) -> (Vec<u8>, u64, InputCounts) {
    let source = Some(Source::Process { pid: 1, uid: 2 });
    intake.take(data, segment, source);
    intake.seal();
    let (mut bytes, mut lines) = (Vec::new(), 0);
    for piece in intake.full() {
        assert_eq!(count_lines(&piece.bytes), piece.lines);
        assert_eq!(piece.bytes.last(), Some(&b'\n'));
        bytes.extend_from_slice(&piece.bytes);
        lines += u64::from(piece.lines);
    }
    (bytes, lines, *intake.counts())
}

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let max = parameters.number(64, 700);
    let segment = parameters.number(1, 2000);
    let data = parameters.0;
    for escape in [Escape::Newline, Escape::Control, Escape::Split] {
        let (bytes, lines, counts) = taken(&mut Messages::new(max, escape), data, segment);
        for line in bytes.split(|byte| *byte == b'\n') {
            assert!(line.len() <= max);
            assert!(escape != Escape::Control || !line.iter().any(u8::is_ascii_control));
        }
        if escape != Escape::Split {
            assert_eq!(lines + counts.empty_datagrams, counts.datagrams);
        }
    }
    let mut raw = RawLines::new(max).with_gaps(Some(GapTracker::new()));
    let (bytes, _, counts) = taken(&mut raw, data, segment);
    assert_eq!(counts.datagrams, data.len().div_ceil(segment).max(1) as u64);
    for line in bytes.split(|byte| *byte == b'\n') {
        assert!(line.len() <= max);
    }
    // Received into the intake's own buffer, it is the same.
    let mut raw = RawLines::new(max);
    raw.buffer().extend_from_slice(data);
    raw.take_in_place(0, segment, None);
    raw.seal();
    let in_place: Vec<u8> = raw.full().flat_map(|piece| piece.bytes.to_vec()).collect();
    assert_eq!(in_place, bytes);
}
