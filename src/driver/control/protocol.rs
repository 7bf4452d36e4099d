//! The protocol of the control socket: one JSON value per line, both ways (logweir-control(7)).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::logger::Verbosity;

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// A client's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// The state of every node.
    Status,
    /// What was lost in the last day.
    Losses,
    /// What nodes counted by the minute.
    Minutes {
        /// One node; else all.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        node: Option<String>,
        /// Minutes back from now.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        minutes: Option<u32>,
    },
    /// What nodes counted by the second.
    Seconds {
        /// One node; else all.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        node: Option<String>,
        /// Seconds back from now.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        seconds: Option<u32>,
    },
    /// Reload the configuration.
    Reload,
    /// Reopen all files by name.
    Rotate,
    /// Change the log level.
    Log {
        /// The new level.
        level: Verbosity,
    },
    /// Copy what leaves a node.
    Tap {
        /// Its name.
        node: String,
        /// Only lines that match this regex.
        #[serde(rename = "match", skip_serializing_if = "Option::is_none", default)]
        matches: Option<String>,
    },
}

/// The daemon's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// [`VERSION`].
    pub version: u32,
    /// The result; `null` if there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ok: Option<Value>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// The header of each piece of a tap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapHead {
    /// Number of lines that follow.
    pub lines: u64,
    /// Number of bytes that follow.
    pub bytes: usize,
    /// Lines that the tap has lost since it was opened.
    pub lost: u64,
    /// Why nothing follows, if the tap has ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub end: Option<String>,
}

impl Request {
    /// Parses a request; an error is a message for its sender.
    pub(crate) fn read(line: &[u8]) -> Result<Self, String> {
        let not_one = |error| {
            format!(
                "not a request of version {VERSION}: {error}; one is {{\"command\": \"status\"}}"
            )
        };
        let mut value: Value = serde_json::from_slice(line).map_err(not_one)?;
        // The version comes first: the other keys depend on it.
        let version = value.as_object_mut().and_then(|keys| keys.remove("version"));
        match version {
            Some(other) if other != VERSION => {
                Err(format!("the daemon speaks version {VERSION}, not {other}"))
            }
            _ => serde_json::from_value(value).map_err(not_one),
        }
    }

    /// The encoded request, with its version.
    pub(crate) fn line(&self) -> serde_json::Result<Vec<u8>> {
        let mut value = serde_json::to_value(self)?;
        value["version"] = VERSION.into();
        line(&value)
    }
}

/// The outcome of a request: its result as JSON, or why it was refused.
pub type Outcome = Result<Vec<u8>, String>;

/// Encodes the answer with an outcome. A status may be large, so it is written once and never held
/// as a tree of values.
pub(super) fn answer(outcome: Outcome) -> serde_json::Result<Vec<u8>> {
    match outcome {
        Ok(json) => {
            let mut answer = format!("{{\"version\":{VERSION},\"ok\":").into_bytes();
            answer.reserve_exact(json.len() + 2);
            answer.extend(json);
            answer.extend(b"}\n");
            Ok(answer)
        }
        Err(error) => line(&Answer { version: VERSION, ok: None, error: Some(error) }),
    }
}

/// A value on a line of its own.
pub(super) fn line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_its_version_and_is_read_back() {
        let tap = Request::Tap { node: "in".into(), matches: Some("x\n\"".into()) };
        let log = Request::Log { level: Verbosity::Debug };
        let minutes = Request::Minutes { node: Some("in".into()), minutes: Some(5) };
        let seconds = Request::Seconds { node: None, seconds: Some(7) };
        for request in
            [Request::Status, Request::Reload, Request::Rotate, log, tap, minutes, seconds]
        {
            let line = request.line().unwrap();
            assert_eq!(memchr::memchr(b'\n', &line), Some(line.len() - 1));
            assert!(String::from_utf8_lossy(&line).contains("\"version\":1"));
            assert_eq!(Request::read(&line), Ok(request));
        }
        assert_eq!(Request::read(b"{\"command\": \"status\"}"), Ok(Request::Status));
    }

    #[test]
    fn an_answer_is_one_line_that_is_read_back() {
        for (outcome, ok, error) in [
            (Ok(b"null".to_vec()), None, None),
            (Ok(b"{\"a\":[1]}".to_vec()), Some(serde_json::json!({"a": [1]})), None),
            (Err("two\nlines".to_string()), None, Some("two\nlines".to_string())),
        ] {
            let line = answer(outcome).unwrap();
            assert_eq!(memchr::memchr(b'\n', &line), Some(line.len() - 1));
            let answer: Answer = serde_json::from_slice(&line).unwrap();
            assert_eq!(answer, Answer { version: VERSION, ok, error });
        }
    }

    #[test]
    fn what_is_no_request_is_refused_with_a_reason() {
        for (line, expected) in [
            (&b"\n"[..], "not a request of version 1: EOF"),
            (b"GET / HTTP/1.1\r\n", "not a request of version 1: expected value"),
            (b"\xff\x00\n", "not a request"),
            (b"[]", "not a request"),
            (b"{}", "missing field `command`"),
            (b"{\"command\": \"stop\"}", "unknown variant `stop`, expected one of `status`"),
            (b"{\"command\": \"tap\"}", "missing field `node`"),
            (b"{\"command\": \"tap\", \"node\": \"a\", \"mach\": \"b\"}", "unknown field `mach`"),
            (b"{\"command\": \"tap\", \"node\": 7}", "expected a string"),
            (b"{\"command\": \"log\", \"level\": \"loud\"}", "unknown variant `loud`"),
            (b"{\"version\": 99, \"words\": []}", "the daemon speaks version 1, not 99"),
            (b"{\"version\": \"1\", \"command\": \"status\"}", "version 1, not \"1\""),
        ] {
            let error = Request::read(line).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let deep = [b'['; 60_000];
        assert!(Request::read(&deep).unwrap_err().contains("recursion limit"));
    }
}
