//! The client's side of RELP: whatever the peer answers, no line counts as delivered twice or
//! without having been sent, and the outcome does not depend on how the answers are split.

use std::time::UNIX_EPOCH;

use bytes::Bytes;
use logweir::batch::{Batch, Numbers};
use logweir::format::Formatter;
use logweir::format::plan::FormatPlan;
use logweir::forward::client::Client;
use logweir::ids::Identity;
use logweir::proto::relp::client::RelpClient;

use crate::parameters::Parameters;

const OPENED: &[u8] = b"1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n";
/// Lines a client sends before the answers come.
const SENT: u64 = 30;

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    done: u64,
    failed: bool,
    closed: bool,
}

fn outcome(answers: &[&[u8]], offers: bool, opened: bool) -> Outcome {
    let spool = Identity::of(7);
    let formatter = Formatter::new(&FormatPlan::default());
    let mut client = RelpClient::new(offers.then_some((spool, 0)));
    let (mut events, mut sent, mut done, mut failed) = (Vec::new(), 0, 0, false);
    if opened {
        client.push(OPENED, &mut events).expect("a session as it should be");
    }
    for answer in answers {
        if client.push(answer, &mut events).is_err() {
            failed = true;
            break;
        }
        while client.has_room() && sent < SENT {
            send(&mut client, &formatter, sent, offers);
            sent += 3;
        }
        done += client.take_done().lines;
        assert!(done <= sent, "{done} lines delivered of {sent}");
        let waiting = client.out().pieces().iter().map(Bytes::len).sum();
        assert_eq!(client.out().len(), waiting);
        client.wrote(waiting);
    }
    Outcome { done, failed, closed: !client.is_open() }
}

fn send(client: &mut RelpClient, formatter: &Formatter, first: u64, offers: bool) {
    let bytes = Bytes::from_static(b"one\ntwo\n\n");
    let batch = Batch::new(bytes, 3, "in".into(), UNIX_EPOCH);
    let numbers = offers.then_some(Numbers { first, last: first + 2 });
    client.send(&Batch { numbers, ..batch }, formatter);
}

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let (offers, opened) = (parameters.flag(), parameters.flag());
    let splits = parameters.splits();
    let bytewise = outcome(&splits[0], offers, opened);
    // Lines are sent between the answers: only a session that is open from the start has sent
    // the same lines before the first answer, whatever the split.
    for pieces in &splits[1..] {
        let other = outcome(pieces, offers, opened);
        assert!(!opened || offers || other.failed == bytewise.failed || other.done == 0);
    }
}
