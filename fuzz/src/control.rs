//! Requests on the control socket: what is understood is written and read back the same.

use logweir::driver::fuzzing::control_request;

pub fn check(data: &[u8]) {
    match control_request(data) {
        Ok(line) => {
            assert_eq!(memchr::memchr(b'\n', &line), Some(line.len() - 1), "not one line");
            assert_eq!(control_request(&line), Ok(line));
        }
        Err(message) => assert!(!message.is_empty()),
    }
}
