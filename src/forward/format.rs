//! How a line is dressed for the way: as it is, or behind a header of RFC 5424.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::batch::Batch;
use crate::config::plan::FormatPlan;

/// The longest host name and app-name (RFC 5424, section 6).
const HOST_MOST: usize = 255;
const APP_MOST: usize = 48;

/// A dress for lines.
#[derive(Debug, Clone)]
pub struct Dress {
    /// This host's name; `None` where lines go as they are.
    host: Option<String>,
    tag: Option<String>,
}

impl Dress {
    /// The dress that `plan` asks for.
    pub fn new(plan: &FormatPlan) -> Self {
        match plan {
            FormatPlan::Line => Self { host: None, tag: None },
            FormatPlan::Rfc5424 { tag } => {
                let host = nix::unistd::gethostname().unwrap_or_default();
                let host = printable(&host.to_string_lossy(), HOST_MOST);
                Self { host: Some(host), tag: tag.as_ref().map(|tag| printable(tag, APP_MOST)) }
            }
        }
    }

    /// What comes before each line of a batch (RFC 5424, section 6): user.notice, the receive
    /// time, this host, the tag or else the input's name, no more fields.
    pub fn prefix(&self, batch: &Batch) -> Vec<u8> {
        let Some(host) = &self.host else { return Vec::new() };
        let app = match &self.tag {
            Some(tag) => tag.clone(),
            None => printable(&batch.input, APP_MOST),
        };
        format!("<13>1 {} {host} {app} - - - ", timestamp(batch.received)).into_bytes()
    }

    /// A whole batch, each line ended by its newline.
    pub fn batch(&self, batch: &Batch) -> Bytes {
        if self.host.is_none() {
            return batch.bytes.clone();
        }
        let prefix = self.prefix(batch);
        let mut out = Vec::with_capacity(batch.bytes.len() + batch.lines as usize * prefix.len());
        for line in batch.iter() {
            out.extend_from_slice(&prefix);
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out.into()
    }
}

/// A name with nothing in it but printable ASCII, `-` where nothing is left.
fn printable(name: &str, most: usize) -> String {
    let good: String = name.chars().filter(char::is_ascii_graphic).take(most).collect();
    if good.is_empty() { "-".into() } else { good }
}

/// A time in UTC with microseconds.
fn timestamp(time: SystemTime) -> String {
    let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = i64::try_from(time.as_micros()).unwrap_or(0);
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::filter::batch_of;

    #[test]
    fn a_header_says_when_the_line_came_and_by_which_input() {
        let mut batch = batch_of("GET /\n\n");
        batch.received = UNIX_EPOCH + Duration::from_micros(1_763_883_000_123_456);
        let dress = Dress { host: Some("web1".into()), tag: None };
        let text = String::from_utf8(dress.batch(&batch).to_vec()).unwrap();
        let header = "<13>1 2025-11-23T07:30:00.123456Z web1 in - - - ";
        assert_eq!(text, format!("{header}GET /\n{header}\n"));
        let tagged = Dress { host: Some("web1".into()), tag: Some("squid".into()) };
        assert!(tagged.prefix(&batch).ends_with(b"Z web1 squid - - - "));
        assert_eq!(Dress::new(&FormatPlan::Line).batch(&batch), batch.bytes);
    }

    #[test]
    fn a_name_can_put_nothing_into_the_header_that_is_not_printable() {
        assert_eq!(printable("a b\nc\u{e9}", 48), "abc");
        assert_eq!(printable(" ", 48), "-");
        assert_eq!(printable(&"x".repeat(99), 48).len(), 48);
    }
}
