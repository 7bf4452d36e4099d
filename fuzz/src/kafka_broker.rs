//! A broker of Kafka that says anything: the outcome does not depend on how it is split, and no
//! more lines are completed than there are.

use logweir::proto::kafka::fuzzing::{broker_says, dialogue, membership};

use crate::parameters::Parameters;

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    match parameters.byte() % 3 {
        1 => {
            let done = dialogue(&bodies(parameters.0));
            assert!(done == 0 || done == 4, "{done} bytes of 4");
            return;
        }
        2 => {
            let parts = membership(&bodies(parameters.0));
            assert!(parts <= data.len(), "{parts} partitions of {} bytes", data.len());
            return;
        }
        _ => {}
    }
    let splits = parameters.splits();
    let bytewise = broker_says(&splits[0]);
    for pieces in &splits[1..] {
        assert_eq!(broker_says(pieces), bytewise);
    }
}

/// Bodies of answers, each behind its length in one byte.
fn bodies(mut data: &[u8]) -> Vec<&[u8]> {
    let mut bodies = Vec::new();
    while let Some((len, rest)) = data.split_first() {
        let (body, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        bodies.push(body);
        data = rest;
    }
    bodies
}
