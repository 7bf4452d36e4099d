//! Lines of a pipe, a FIFO or standard input: the same lines wherever the reads end.

use logweir::batch::count_lines;
use logweir::input::lines::LineBuffer;

use crate::parameters::Parameters;

#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    bytes: Vec<u8>,
    lines: u32,
    oversize: u64,
    oversize_bytes: u64,
}

fn read(pieces: &[&[u8]], max_line: usize) -> Read {
    let mut buffer = LineBuffer::new(max_line);
    let mut read = Read::default();
    let mut take = |gathered: Option<(bytes::Bytes, u32)>| {
        let Some((bytes, lines)) = gathered else { return };
        assert_eq!(count_lines(&bytes), lines);
        assert_eq!(bytes.last(), Some(&b'\n'));
        read.bytes.extend_from_slice(&bytes);
        read.lines += lines;
    };
    for piece in pieces {
        take(buffer.push(piece));
        assert!(buffer.held() <= max_line);
    }
    take(buffer.end());
    read.oversize = buffer.counts.oversize;
    read.oversize_bytes = buffer.counts.oversize_bytes;
    read
}

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let max_line = parameters.number(1, 300);
    let splits = parameters.splits();
    let stream = parameters.0;
    let whole = read(&[stream], max_line);
    let newline_added = usize::from(stream.last().is_some_and(|last| *last != b'\n'));
    assert_eq!(
        whole.bytes.len() as u64 + whole.oversize_bytes,
        (stream.len() + newline_added) as u64
    );
    for line in whole.bytes.split(|byte| *byte == b'\n') {
        assert!(line.len() <= max_line);
    }
    for pieces in splits {
        assert_eq!(read(&pieces, max_line), whole);
    }
}
