//! Sums put right, so that the fuzzer gets past them to what they protect.

use logweir::spool::format::{MARK, ROW, VERSION};

/// Where the sum of a row and that of its payload stand.
const ROW_SUM: usize = 136;
const PAYLOAD_SUM: usize = 127;
/// Where a batch row has its line count and its payload's length.
const LINES: std::ops::Range<usize> = 25..35;
const BYTES: std::ops::Range<usize> = 36..46;

/// Corrects the sum of everything that looks like a row, and of the payloads behind batch rows.
/// With `truthful` the payloads end with a newline and the rows say how many lines they have.
pub fn correct_rows(segment: &mut [u8], truthful: bool) {
    let mut at = 0;
    while at + ROW <= segment.len() {
        if segment[at] != MARK || segment[at + 1] != VERSION {
            at += 1;
            continue;
        }
        if segment[at + 2] == b'B' {
            correct_payload(&mut segment[at..], truthful);
        }
        let sum = format!("{:08x}\n", crc32c::crc32c(&segment[at..at + ROW_SUM]));
        segment[at + ROW_SUM..at + ROW].copy_from_slice(sum.as_bytes());
        at += ROW;
    }
}

/// The same for the payload of the batch row that `record` begins with, if it is all there.
fn correct_payload(record: &mut [u8], truthful: bool) {
    let length = std::str::from_utf8(&record[BYTES]).ok().and_then(|text| text.parse().ok());
    let Some(end) = length.filter(|&length: &usize| length > 0).map(|length| ROW + length) else {
        return;
    };
    if end > record.len() {
        return;
    }
    if truthful {
        record[end - 1] = b'\n';
        let lines = record[ROW..end].iter().filter(|byte| **byte == b'\n').count();
        record[LINES].copy_from_slice(format!("{lines:010}").as_bytes());
    }
    let sum = format!("{:08x}", crc32c::crc32c(&record[ROW..end]));
    record[PAYLOAD_SUM..PAYLOAD_SUM + 8].copy_from_slice(sum.as_bytes());
}

/// Corrects the last line of a cursor file.
pub fn correct_cursor(content: &mut Vec<u8>) {
    if let Some(at) = memchr::memmem::rfind(content, b"sum ") {
        let sum = format!("sum {:08x}\n", crc32c::crc32c(&content[..at]));
        content.truncate(at);
        content.extend_from_slice(sum.as_bytes());
    }
}
