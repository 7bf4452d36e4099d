//! Fields of a line, for selectors, file names and keys.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::syslog::{Message, names, sd};
use crate::host;
use crate::sources::Source;

/// A named property of a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    /// The facility, as RFC 5424 calls it.
    Facility,
    /// The severity.
    Severity,
    /// The host that the message names, else the address it came from.
    Host,
    /// APP-NAME, or the name in the tag.
    App,
    /// The app up to its first `/`, `:` or `[`: what rsyslog calls programname.
    Program,
    /// PROCID, or the number in the tag.
    ProcId,
    /// MSGID.
    MsgId,
    /// The message proper, behind the header.
    Message,
    /// A parameter of the structured data.
    Data {
        /// Its element's SD-ID.
        id: String,
        /// Its name.
        name: String,
    },
    /// The address it was received from.
    Source,
    /// The process that sent it, over a Unix socket.
    Pid,
    /// The user of that process.
    Uid,
}

/// The fields with a one-word name.
const WORDS: [(&str, Field); 10] = [
    ("facility", Field::Facility),
    ("severity", Field::Severity),
    ("host", Field::Host),
    ("app", Field::App),
    ("program", Field::Program),
    ("procid", Field::ProcId),
    ("msgid", Field::MsgId),
    ("source", Field::Source),
    ("pid", Field::Pid),
    ("uid", Field::Uid),
];

impl FromStr for Field {
    type Err = String;

    /// Parses a field's name: a word, `sd.ID.NAME` or `sd."ID".NAME`. The message has no name here:
    /// it names no file and no topic.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, field)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(field.clone());
        }
        let Some(path) = text.strip_prefix("sd.") else {
            let words: Vec<_> = WORDS.iter().map(|(word, _)| *word).collect();
            return Err(format!(
                "unknown field {{{text}}}: there are {}, and sd.\"ID\".NAME",
                words.join(", ")
            ));
        };
        let parts = match path.strip_prefix('"') {
            Some(quoted) => quoted.split_once("\"."),
            None => path.split_once('.'),
        };
        match parts {
            Some((id, name)) if !id.is_empty() && !name.is_empty() => {
                Ok(Self::Data { id: id.into(), name: name.into() })
            }
            _ => Err(format!("{{{text}}}: write sd.\"ID\".NAME")),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data { id, name } => write!(f, "sd.\"{id}\".{name}"),
            Self::Message => f.write_str("message"),
            _ => {
                let word = WORDS.iter().find(|(_, field)| field == self);
                f.write_str(word.map_or("", |(word, _)| word))
            }
        }
    }
}

impl Field {
    /// Returns whether it precedes the structured data, so that [`Message::parse_header`] finds it.
    pub fn is_in_header(&self) -> bool {
        !matches!(self, Self::Data { .. } | Self::Message)
    }

    /// Its value in a line with this message and source; `None` if it has none.
    pub fn value<'l>(
        &self,
        line: &'l [u8],
        message: &Message,
        source: Option<Source>,
    ) -> Option<Cow<'l, [u8]>> {
        let number = |number: u32| Some(number.to_string().into_bytes().into());
        match (self, source) {
            (Self::Facility, _) => Some(names::facility_of(message.pri).as_bytes().into()),
            (Self::Severity, _) => Some(names::severity_of(message.pri).as_bytes().into()),
            (Self::Host, _) => match message.host.of(line) {
                Some(host) => Some(host.into()),
                None => source.map(host_of),
            },
            (Self::App, _) => message.app.of(line).map(Cow::Borrowed),
            (Self::Program, _) => message.app.of(line).map(|app| program(app).into()),
            (Self::ProcId, _) => message.procid.of(line).map(Cow::Borrowed),
            (Self::MsgId, _) => message.msgid.of(line).map(Cow::Borrowed),
            (Self::Message, _) => Some(message.text(line).into()),
            (Self::Data { id, name }, _) => {
                sd::find(message.data.of(line)?, id.as_bytes(), name.as_bytes())
            }
            (Self::Source, Some(Source::Address(address))) => {
                Some(address.ip().to_canonical().to_string().into_bytes().into())
            }
            (Self::Pid, Some(Source::Process { pid, .. })) => number(pid),
            (Self::Uid, Some(Source::Process { uid, .. })) => number(uid),
            (Self::Source | Self::Pid | Self::Uid, _) => None,
        }
    }
}

/// The name of the program in an app, as `postfix` in `postfix/smtpd`.
pub fn program(app: &[u8]) -> &[u8] {
    let end = app.iter().position(|byte| matches!(byte, b'/' | b':' | b'['));
    &app[..end.unwrap_or(app.len())]
}

/// The host of a message that names none: the address it came from, or this host.
fn host_of(source: Source) -> Cow<'static, [u8]> {
    match source {
        Source::Address(address) => address.ip().to_canonical().to_string().into_bytes().into(),
        Source::Process { .. } => host::name().as_bytes().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["facility", "host", "uid", "sd.\"origin@32473\".ip", "sd.\"a.b\".c.d"] {
            assert_eq!(name.parse::<Field>().unwrap().to_string(), name);
        }
        let data = Field::Data { id: "origin@32473".into(), name: "ip".into() };
        assert_eq!("sd.origin@32473.ip".parse::<Field>(), Ok(data));
        for (wrong, message) in
            [("hots", "unknown field {hots}"), ("sd.x", "sd.\"ID\".NAME"), ("sd.\"x\"y", "write")]
        {
            assert!(wrong.parse::<Field>().unwrap_err().contains(message), "{wrong}");
        }
    }

    #[test]
    fn each_field_is_found_where_it_is() {
        let line = b"<34>1 - h su 1 ID [a@1 ip=\"1.2\\]\"] x";
        let message = Message::parse(line);
        let address = "[::ffff:192.0.2.7]:514".parse().unwrap();
        let value = |name: &str, source| {
            let field: Field = name.parse().unwrap();
            let value = field.value(line, &message, source)?;
            Some(String::from_utf8(value.into_owned()).unwrap())
        };
        for (name, want) in [
            ("facility", "auth"),
            ("severity", "crit"),
            ("host", "h"),
            ("app", "su"),
            ("program", "su"),
            ("procid", "1"),
            ("msgid", "ID"),
            ("sd.a@1.ip", "1.2]"),
            ("source", "192.0.2.7"),
        ] {
            assert_eq!(
                value(name, Some(Source::Address(address))).as_deref(),
                Some(want),
                "{name}"
            );
        }
        let process = Some(Source::Process { pid: 5, uid: 1000 });
        assert_eq!(value("pid", process).as_deref(), Some("5"));
        assert_eq!(value("uid", process).as_deref(), Some("1000"));
        assert_eq!((value("uid", None), value("source", process)), (None, None));
    }

    #[test]
    fn a_program_is_the_app_up_to_a_slash() {
        for (app, program) in
            [("postfix/smtpd", "postfix"), ("su", "su"), ("/usr/bin/x", ""), ("a:b", "a")]
        {
            assert_eq!(super::program(app.as_bytes()), program.as_bytes());
        }
        let line = b"<22>Nov 27 10:00:00 mx1 postfix/smtpd[7]: x";
        let message = Message::parse(line);
        let value = Field::Program.value(line, &message, None);
        assert_eq!(value.as_deref(), Some(&b"postfix"[..]));
    }

    #[test]
    fn a_message_without_a_host_is_of_the_host_it_came_from() {
        let line = b"<34>su: x";
        let message = Message::parse(line);
        let source = Some(Source::Address("192.0.2.7:514".parse().unwrap()));
        assert_eq!(Field::Host.value(line, &message, source).as_deref(), Some(&b"192.0.2.7"[..]));
        assert_eq!(Field::Host.value(line, &message, None), None);
    }
}
