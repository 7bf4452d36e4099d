//! Entry points for fuzz/ to what is private to the daemon. Built with the feature `fuzzing` only.

use super::control::Request;
use super::metrics::request;

/// Reads a request to the control socket and writes it again.
///
/// # Errors
/// Why it is refused.
pub fn control_request(line: &[u8]) -> Result<Vec<u8>, String> {
    Request::read(line)?.line().map_err(|error| error.to_string())
}

/// Reads a request to the metrics port: the page, and whether only the head of the answer is
/// wanted. `None` if more must come.
pub fn http_request(bytes: &[u8]) -> Option<(String, bool)> {
    let request = request::Request::read(bytes)?;
    Some((format!("{:?}", request.page), request.head_only))
}
