//! HTTP requests for metrics: as much of HTTP/1.1 (RFC 9112) as a scraper needs.

use crate::limits::METRICS_REQUEST_MAX;
use crate::metrics::Format;

/// The requested page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    Metrics(Format),
    Health,
    /// An answer that does not need the loop: status code and text.
    Text(&'static str, &'static str),
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) page: Page,
    /// True for HEAD requests.
    pub(crate) head_only: bool,
}

impl Request {
    /// Parses the bytes received so far; `None` if the request is incomplete.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let text = |code, text| Some(Self { page: Page::Text(code, text), head_only: false });
        let not_http = || text("400 Bad Request", "this port speaks HTTP\n");
        // Such a client will never send a valid request (it may speak TLS, for instance).
        if bytes.first().is_some_and(|first| !first.is_ascii_uppercase()) {
            return not_http();
        }
        let end = memchr::memmem::find(bytes, b"\r\n\r\n");
        let Some(end) = end.filter(|end| *end <= METRICS_REQUEST_MAX) else {
            if bytes.len() > METRICS_REQUEST_MAX {
                return text(
                    "431 Request Header Fields Too Large",
                    "the request head is too long\n",
                );
            }
            return None;
        };
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, target, version) = (words.next(), words.next(), words.next());
        let (Some(method), Some(target), Some(version), None) =
            (method, target, version, words.next())
        else {
            return not_http();
        };
        if !version.starts_with("HTTP/1.") {
            return text("505 HTTP Version Not Supported", "this port speaks HTTP/1.1\n");
        }
        if method != "GET" && method != "HEAD" {
            return text("405 Method Not Allowed", "only GET and HEAD\n");
        }
        let page = match target.split('?').next().unwrap_or_default() {
            "/metrics" => Page::Metrics(format(lines)),
            "/healthz" => Page::Health,
            _ => Page::Text("404 Not Found", "try /metrics or /healthz\n"),
        };
        Some(Self { page, head_only: method == "HEAD" })
    }
}

/// The format that the header fields ask for.
fn format<'a>(mut fields: impl Iterator<Item = &'a str>) -> Format {
    let accepts = |field: &str| {
        let (name, value) = field.split_once(':').unwrap_or_default();
        name.eq_ignore_ascii_case("accept") && value.contains("application/openmetrics-text")
    };
    if fields.any(accepts) { Format::OpenMetrics } else { Format::Text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Option<Page> {
        Request::read(text.as_bytes()).map(|request| request.page)
    }

    #[test]
    fn requests_are_read_whole_and_by_what_they_accept() {
        let whole = "GET /metrics?a=b HTTP/1.1\r\nHost: x\r\nacCept: text/plain;q=0.1, \
                     application/openmetrics-text;version=1.0.0\r\n\r\n";
        assert_eq!(page(whole), Some(Page::Metrics(Format::OpenMetrics)));
        for end in 0..whole.len() {
            assert_eq!(page(&whole[..end]), None, "{end}");
        }
        let plain = "GET /metrics HTTP/1.0\r\nX-Accept: application/openmetrics-text\r\n\r\n";
        assert_eq!(page(plain), Some(Page::Metrics(Format::Text)));
        let head = Request::read(b"HEAD /healthz HTTP/1.1\r\n\r\n").unwrap();
        assert!(head.head_only && head.page == Page::Health);
    }

    #[test]
    fn what_is_none_is_answered_as_it_deserves() {
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(METRICS_REQUEST_MAX));
        for (text, code) in [
            ("\x16\x03\x01\x02", "400"),
            ("\r\n", "400"),
            ("GET /metrics\r\n\r\n", "400"),
            ("GET /metrics HTTP/1.1 more\r\n\r\n", "400"),
            ("PRI * HTTP/2.0\r\n\r\n", "505"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            (&long, "431"),
            (&(long.clone() + "\r\n\r\n"), "431"),
        ] {
            let Some(Page::Text(status, _)) = page(text) else { panic!("{text}") };
            assert!(status.starts_with(code), "{text}: {status}");
        }
    }
}
