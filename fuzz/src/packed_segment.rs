//! A compressed segment, sound or damaged: it is read to an end or to an error.

use std::io::Write;
use std::time::UNIX_EPOCH;

use logweir::spool::scan::{Packed, Scanner};

use crate::parameters::Parameters;
use crate::sums::correct_rows;

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let (compressed, damaged) = (!parameters.flag(), parameters.flag());
    let bit = parameters.number(0, 65_535);
    let mut content = parameters.0.to_vec();
    if compressed {
        correct_rows(&mut content, true);
        content = zstd::encode_all(&content[..], 1).expect("compressing in memory");
        if damaged {
            let at = bit / 8 % content.len();
            content[at] ^= 1 << (bit % 8);
        }
    }
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&content).expect("writing");
    let file = file.reopen().expect("opening");
    let mut scanner = Scanner::new(Packed::new(file).expect("a decoder"), 0);
    let mut offset = 0;
    while let Ok(Some(item)) = scanner.next(true, |header| header.received >= UNIX_EPOCH) {
        assert!(scanner.offset() > offset, "no progress at {offset}: {item:?}");
        offset = scanner.offset();
    }
}
