//! HTTP requests for metrics: as much of HTTP/1.1 (RFC 9112) as a scraper needs.

use super::SeriesQuery;
use crate::driver::seconds::SecondsQuery;
use crate::engine::minutes::MinutesQuery;
use crate::limits::METRICS_REQUEST_MAX;
use crate::metrics::Format;

/// The requested page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    Metrics(Format),
    Health,
    /// The picture of the flow.
    Picture,
    /// The data of the picture.
    Status,
    /// What nodes counted over time.
    Series(SeriesQuery),
    /// An answer that does not need the loop: status code and text.
    Text(&'static str, &'static str),
}

/// What an answer needs of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Nothing.
    Nothing,
    /// A snapshot that may be a moment old.
    Fresh,
    /// A snapshot taken now.
    New,
}

impl Page {
    /// What its answer needs.
    pub(crate) fn need(&self) -> Need {
        match self {
            Self::Picture | Self::Series(_) | Self::Text(..) => Need::Nothing,
            Self::Status => Need::Fresh,
            Self::Metrics(_) | Self::Health => Need::New,
        }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) page: Page,
    /// True for HEAD requests.
    pub(crate) head_only: bool,
    /// The value of its Authorization field.
    pub(crate) shown: Option<String>,
}

impl Request {
    /// Parses the bytes received so far; `None` if the request is incomplete.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let text = |code, text| {
            let page = Page::Text(code, text);
            Some(Self { page, head_only: false, shown: None })
        };
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
        let shown = field(lines.clone(), "authorization").map(str::to_string);
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
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let page = match path {
            "/metrics" => Page::Metrics(format(lines)),
            "/healthz" => Page::Health,
            "/" => Page::Picture,
            "/status.json" => Page::Status,
            "/minutes.json" => {
                let (node, minutes) = node_and_number(query, "minutes");
                Page::Series(SeriesQuery::Minutes(MinutesQuery { node, minutes }))
            }
            "/seconds.json" => {
                let (node, seconds) = node_and_number(query, "seconds");
                Page::Series(SeriesQuery::Seconds(SecondsQuery { node, seconds }))
            }
            _ => Page::Text(
                "404 Not Found",
                "try /, /status.json, /minutes.json, /seconds.json, /metrics or /healthz\n",
            ),
        };
        Some(Self { page, head_only: method == "HEAD", shown })
    }
}

/// The node and the number of windows that a query asks for, as in `node=in&minutes=60`. What is
/// not known is passed over.
fn node_and_number(query: &str, number: &str) -> (Option<String>, Option<u32>) {
    let (mut node, mut windows) = (None, None);
    for (name, value) in query.split('&').filter_map(|part| part.split_once('=')) {
        match name {
            "node" => node = Some(decoded(value)),
            name if name == number => windows = value.parse().ok(),
            _ => {}
        }
    }
    (node, windows)
}

/// Decodes a value of a query (RFC 3986, section 2.1).
fn decoded(value: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), value.as_bytes());
    while let [first, after @ ..] = rest {
        let code = after.get(..2).filter(|_| *first == b'%');
        let code =
            code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The value of the first header field of that name.
fn field<'a>(mut lines: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    lines.find_map(|line| {
        let (this, value) = line.split_once(':')?;
        this.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The format that the header fields ask for.
fn format<'a>(lines: impl Iterator<Item = &'a str>) -> Format {
    let accepts = field(lines, "accept").unwrap_or_default();
    match accepts.contains("application/openmetrics-text") {
        true => Format::OpenMetrics,
        false => Format::Text,
    }
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
    fn minutes_and_seconds_are_asked_for_by_node_and_number() {
        let of = |target: &str| {
            let head = format!("GET /{target} HTTP/1.1\r\n\r\n");
            match Request::read(head.as_bytes()).unwrap().page {
                Page::Series(SeriesQuery::Minutes(query)) => (query.node, query.minutes),
                Page::Series(SeriesQuery::Seconds(query)) => (query.node, query.seconds),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(of("seconds.json?seconds=9&minutes=5&node=a"), (Some("a".into()), Some(9)));
        let asked = |target: &str| of(&format!("minutes.json{target}"));
        assert_eq!(asked(""), (None, None));
        assert_eq!(asked("?minutes=5&x=y&node=hub%2Espool"), (Some("hub.spool".into()), Some(5)));
        assert_eq!(asked("?node=%zz%4&minutes=-1"), (Some("%zz%4".into()), None));
    }

    #[test]
    fn a_token_is_taken_from_the_head_of_any_request() {
        let shown = |text: &str| Request::read(text.as_bytes()).unwrap().shown;
        let with = "GET /x HTTP/1.1\r\nA: b\r\nauthoriZation:  Bearer a b \r\n\r\n";
        assert_eq!(shown(with).as_deref(), Some("Bearer a b"));
        assert_eq!(shown("GET / HTTP/1.1\r\nAuthorizations: x\r\n\r\n"), None);
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
            ("GET /x HTTP/1.1\r\n\r\n", "404"),
            (&long, "431"),
            (&(long.clone() + "\r\n\r\n"), "431"),
        ] {
            let Some(Page::Text(status, _)) = page(text) else { panic!("{text}") };
            assert!(status.starts_with(code), "{text}: {status}");
        }
    }
}
