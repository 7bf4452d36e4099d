//! Many patterns in one pass find the lines that each finds alone.

use std::time::UNIX_EPOCH;

use logweir::batch::Batch;
use logweir::filter::patterns::{Hits, Patterns};
use logweir::filter::regex::compile;

/// Longer patterns cost time and find nothing that shorter ones do not.
const PATTERN_MAX: usize = 40;

/// One to three patterns, then lines, between bytes of 0xff; the first byte says how many.
pub fn check(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0xff);
    let Some(count) = parts.next().and_then(|part| part.first()) else { return };
    let mut texts = Vec::new();
    for _ in 0..count % 3 + 1 {
        let Some(Ok(text)) = parts.next().map(std::str::from_utf8) else { return };
        if text.len() > PATTERN_MAX {
            return;
        }
        texts.push(text);
    }
    let no_newline = |part: &[u8]| part.iter().copied().filter(|byte| *byte != b'\n').collect();
    let lines: Vec<Vec<u8>> = parts.map(no_newline).collect();
    let alone: Result<Vec<_>, _> = texts.iter().map(|text| compile(text)).collect();
    let (Ok(alone), false) = (alone, lines.is_empty()) else { return };

    let mut patterns = Patterns::default();
    let ids: Vec<_> = texts.iter().map(|text| patterns.enter(text)).collect();
    if let Err(error) = patterns.compile() {
        panic!("each compiles, and not together: {error}");
    }
    let bytes: Vec<u8> = lines.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect();
    let count = u32::try_from(lines.len()).expect("few lines");
    let batch = Batch::new(bytes.clone().into(), count, "in".into(), UNIX_EPOCH);
    let mut hits = Hits::default();
    patterns.search(&batch, &mut hits);
    for ((id, regex), text) in ids.iter().zip(&alone).zip(&texts) {
        let line = |&(start, end): &(u32, u32)| &bytes[start as usize..end as usize - 1];
        let found: Vec<&[u8]> = hits.of(*id).iter().map(line).collect();
        let wanted: Vec<&[u8]> =
            lines.iter().map(|line| &line[..]).filter(|line| regex.is_match(*line)).collect();
        assert_eq!(found, wanted, "pattern {text:?} of {texts:?}");
    }
}
