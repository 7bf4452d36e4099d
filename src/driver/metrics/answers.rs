//! The answers to requests for metrics: status line, header fields and body.

use std::sync::Arc;
use std::time::Duration;

use super::page::{PAGE, POLICY};
use super::request::{Page, Request};
use super::token::Token;
use super::{Series, SeriesQuery};
use crate::driver::usage::usage;
use crate::limits::METRICS_ANSWER;
use crate::metrics::{Format, Snapshot, complaints, public, text};

const PLAIN: &str = "text/plain; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// Header fields of every answer: it is what it says, for this host's pages alone, and is not kept.
const FIELDS: &str = "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
                      Cross-Origin-Resource-Policy: same-origin\r\nX-Frame-Options: DENY\r\n\
                      Cache-Control: no-store\r\nConnection: close\r\n";
const UNAUTHORIZED: &str = "401 Unauthorized";

/// Returns the refusal of a request that does not show the token.
pub(super) fn is_refused(token: &Token, request: &Request) -> Option<Page> {
    match token.is(request.shown.as_deref()) {
        Ok(true) => None,
        Ok(false) => Some(Page::Text(
            UNAUTHORIZED,
            "show the token of daemon.metrics_token: as a bearer token, or as a password\n",
        )),
        Err(error) => {
            log::warn!("daemon.metrics_token = {error}: nobody is let in");
            Some(Page::Text("503 Service Unavailable", "the token cannot be read; see the log\n"))
        }
    }
}

/// A page, and whether only its head is asked for.
type Asked = (Page, bool);

/// Status, kind and body.
type Answer = (&'static str, &'static str, String);

/// The answer of a loop that is too slow.
fn late() -> Answer {
    let text = format!("the daemon's loop has not answered within {METRICS_ANSWER:?}\n");
    ("503 Service Unavailable", PLAIN, text)
}

fn answer_series(series: Option<Series>) -> Answer {
    // Texts and numbers can always be written.
    match series.and_then(|series| serde_json::to_string(&series).ok()) {
        Some(json) => ("200 OK", JSON, json + "\n"),
        None => late(),
    }
}

/// The answers built from one snapshot, each at most once.
pub(super) struct Answers {
    snapshot: Option<Arc<Snapshot>>,
    /// How long the server waited for the snapshot.
    waited: Duration,
    made: Vec<(Asked, Arc<[u8]>)>,
}

impl Answers {
    /// Answers from this snapshot, which took so long to get; `None` if the loop is too slow.
    pub(super) fn new(snapshot: Option<Arc<Snapshot>>, waited: Duration) -> Self {
        Self { snapshot, waited, made: Vec::new() }
    }

    /// The answer to a request for a page, with its body or without.
    pub(super) fn to(
        &mut self,
        page: &Page,
        head_only: bool,
        series: impl FnOnce(&SeriesQuery) -> Option<Series>,
    ) -> Arc<[u8]> {
        let asked = (page.clone(), head_only);
        if let Some((_, answer)) = self.made.iter().find(|(other, _)| *other == asked) {
            return Arc::clone(answer);
        }
        let (code, kind, body) = match page {
            Page::Series(query) => answer_series(series(query)),
            page => self.make(page),
        };
        let length = body.len();
        let mut answer = format!(
            "HTTP/1.1 {code}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{FIELDS}"
        );
        // Whatever a browser shows of another kind, it runs none of it.
        let policy = if kind == HTML { POLICY.as_str() } else { "default-src 'none'" };
        answer.push_str(&format!("Content-Security-Policy: {policy}\r\n"));
        if code == UNAUTHORIZED {
            answer.push_str("WWW-Authenticate: Basic realm=\"logweir\", charset=\"UTF-8\"\r\n");
        }
        answer.push_str("\r\n");
        if !head_only {
            answer.push_str(&body);
        }
        let answer: Arc<[u8]> = answer.into_bytes().into();
        self.made.push((asked, Arc::clone(&answer)));
        answer
    }

    fn make(&self, page: &Page) -> Answer {
        match (page, &self.snapshot) {
            (Page::Text(code, text), _) => (code, PLAIN, (*text).into()),
            (Page::Picture, _) => ("200 OK", HTML, PAGE.into()),
            (Page::Series(_), _) | (_, None) => late(),
            (Page::Status, Some(snapshot)) => ("200 OK", JSON, public::status(snapshot)),
            (Page::Metrics(format), Some(snapshot)) => {
                let format = *format;
                let kind = if format == Format::Text { TEXT } else { OPEN_METRICS };
                ("200 OK", kind, text(snapshot, usage(), self.waited, format))
            }
            (Page::Health, Some(snapshot)) => match complaints(snapshot) {
                complaints if complaints.is_empty() => ("200 OK", PLAIN, "ok\n".into()),
                complaints => ("503 Service Unavailable", PLAIN, complaints.join("\n") + "\n"),
            },
        }
    }
}
