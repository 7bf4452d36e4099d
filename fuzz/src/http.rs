//! Requests to the metrics port: read as soon as they are whole, and then for good.

use logweir::driver::fuzzing::http_request;

use crate::parameters::Parameters;

pub fn check(data: &[u8]) {
    let parameters = Parameters(data);
    let data = parameters.0;
    let prefixes = (0..=data.len()).find_map(|end| http_request(&data[..end]));
    let whole = http_request(data);
    assert_eq!(prefixes.is_some(), whole.is_some());
    // What follows the head changes nothing, as long as no bound is passed.
    if data.len() <= logweir::limits::METRICS_REQUEST_MAX {
        assert_eq!(prefixes, whole);
    }
}
