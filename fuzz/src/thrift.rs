//! Scribe and Flume over Thrift: what `records` checks. Only a call without lines is answered before
//! a barrier.

use logweir::ingress::server::Session as _;
use logweir::limits::RECORDS_MESSAGE_MAX;
use logweir::proto::thrift::session::Session;
use logweir::sources::Source;

use crate::records;

pub fn check(data: &[u8]) {
    let client = Source::Process { pid: 1, uid: 1 };
    records::check(
        data,
        |form, max_line| Session::new(client, form, max_line, 0),
        |session, _, length| {
            // Answers are held until theirs is the turn; a call may be shorter than its answer.
            assert!(session.held() <= RECORDS_MESSAGE_MAX + length * 16 + 1024);
        },
    );
}
