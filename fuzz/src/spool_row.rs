//! Rows of a spool: what is decoded is encoded to the same row.

use logweir::spool::format::{ROW, Row, parse_segment_name, segment_name};

use crate::sums::correct_rows;

pub fn check(data: &[u8]) {
    let mut row = [b' '; ROW];
    let length = data.len().min(ROW);
    row[..length].copy_from_slice(&data[..length]);
    same_again(&row);
    let mut corrected = row.to_vec();
    correct_rows(&mut corrected, false);
    row.copy_from_slice(&corrected);
    same_again(&row);
    if let Ok(name) = std::str::from_utf8(data)
        && let Some((first, packed)) = parse_segment_name(name)
    {
        let suffix = if packed { ".zst" } else { "" };
        assert_eq!(format!("{}{suffix}", segment_name(first)), name);
    }
}

fn same_again(row: &[u8; ROW]) {
    if let Some(decoded) = Row::decode(row) {
        assert_eq!(Row::decode(&decoded.encode()), Some(decoded));
    }
}
