//! Batches of records that say anything, with checksums that are right: offsets only grow, and no
//! record is longer than what came.

use logweir::proto::kafka::fuzzing::records;

pub fn check(data: &[u8]) {
    let found = records(data);
    assert!(found.windows(2).all(|two| two[0].0 < two[1].0), "{found:?}");
    let bound = 32 * 1024 * 1024;
    assert!(found.iter().all(|(_, bytes)| *bytes <= bound));
}
