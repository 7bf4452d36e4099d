//! The export format of the journal: the same entries wherever the stream is cut.

use logweir::proto::journal::export::{Entry, Reader};

use crate::parameters::Parameters;

/// The entries, and whether the stream made sense to its end.
fn read(pieces: &[&[u8]], value_max: usize) -> (Vec<Entry>, bool) {
    let (mut reader, mut entries) = (Reader::new(value_max), Vec::new());
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_entry() {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => break,
                Err(_) => return (entries, false),
            }
        }
    }
    (entries, true)
}

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let value_max = parameters.number(64, 300);
    let splits = parameters.splits();
    let (whole, made_sense) = read(&[parameters.0], value_max);
    for entry in &whole {
        assert!(entry.fields().all(|(_, value)| value.len() <= value_max));
    }
    // Where a line is longer than what is kept, it depends on the cuts how much is counted.
    if made_sense && parameters.0.len() < value_max {
        for pieces in splits {
            assert_eq!(read(&pieces, value_max).0, whole);
        }
    }
}
