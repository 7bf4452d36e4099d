//! Cursor files: what is decoded is encoded to the same cursor.

use logweir::spool::cursor::Cursor;

use crate::sums::correct_cursor;

pub fn check(data: &[u8]) {
    same_again(data);
    let mut corrected = data.to_vec();
    correct_cursor(&mut corrected);
    same_again(&corrected);
}

fn same_again(content: &[u8]) {
    if let Some(cursor) = Cursor::decode(content) {
        assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
    }
}
