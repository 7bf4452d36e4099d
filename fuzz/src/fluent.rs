//! The Fluent forward protocol: what `records` checks, and none answered before it is on disk.

use logweir::ingress::server::Session as _;
use logweir::limits::RECORDS_MESSAGE_MAX;
use logweir::proto::fluent::session::{Chunks, Session};
use logweir::sources::Source;

use crate::records;

/// Texts that Docker has split may be held beside a message, at most so many.
const TEXTS: usize = 16;

pub fn check(data: &[u8]) {
    let client = Source::Process { pid: 1, uid: 1 };
    records::check(
        data,
        |form, max_line| Session::new((client, false), form, max_line, Chunks::default()),
        |session, max_line, length| {
            // A head may be as long as half a line and what a header has.
            let texts = TEXTS * (2 * max_line + 1024);
            assert!(session.held() <= RECORDS_MESSAGE_MAX + texts + length * 2);
            assert!(session.out().is_empty(), "answered before it was on disk");
        },
    );
}
