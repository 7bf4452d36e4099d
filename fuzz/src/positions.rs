//! A file of positions: whatever is in it, it is whole or damaged, and never believed in part.

use logweir::ingress::files::positions::{Found, decode};

pub fn check(data: &[u8]) {
    match decode(data, "host") {
        Found::Nothing => assert!(data.is_empty()),
        Found::Positions(positions, _) => {
            let lines = data.iter().filter(|byte| **byte == b'\n').count();
            assert!(positions.len() + 2 <= lines);
        }
        Found::Damaged => {}
    }
}
