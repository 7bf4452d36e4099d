//! How lines are written: unchanged, or in another format.
//!
//! A line that begins with a PRI is a syslog message, however it was received; any other is a raw
//! line, which is wrapped: user.notice, received now, this host, the input as the app.

mod clock;
pub mod decimal;
pub mod escape;
mod json;
pub mod long;
mod parts;
pub mod plan;
pub mod template;
mod traditional;
mod values;

use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;
use std::time::SystemTime;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::batch::Batch;
use crate::host;
use crate::parse::syslog::{Fault, Faults, Message, Sent, without_mark};
use crate::sources::Source;

use clock::Clock;
use decimal::decimal;
use parts::{APP_MAX, HOST_MAX, MSGID_MAX, PROCID_MAX, header_part};
use plan::{FormatPlan, Shape};

/// Writes lines in one format.
#[derive(Debug, Clone)]
pub struct Formatter {
    shape: Shape,
    /// The app of a line that has none, instead of its input.
    tag: Option<String>,
    /// This host's name.
    host: String,
    /// The zone of times without one.
    zone: TimeZone,
}

/// A time of reception, in the required representations.
#[derive(Debug, Clone)]
pub struct Moment {
    time: Timestamp,
    text: String,
}

impl Moment {
    /// The representations of this time.
    pub fn of(time: SystemTime) -> Self {
        let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
        // Microseconds, the maximum precision of RFC 5424.
        let micros = Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time);
        Self { time, text: format!("{micros:.6}") }
    }
}

/// A line with everything known about it.
struct Line<'l> {
    bytes: &'l [u8],
    message: &'l Message,
    input: &'l str,
    source: Option<Source>,
    received: &'l Moment,
}

impl Line<'_> {
    /// Returns whether the line is not a syslog message.
    fn is_raw(&self) -> bool {
        matches!(self.message.fault, Some(Fault::NoPri | Fault::BadPri))
    }
}

impl Formatter {
    /// Creates a formatter for `plan`. Times without a zone are in the system's.
    pub fn new(plan: &FormatPlan) -> Self {
        Self {
            shape: plan.shape.clone(),
            tag: plan.tag.clone(),
            host: header_part(host::name().as_bytes(), HOST_MAX).into_owned(),
            zone: match &plan.shape {
                Shape::Line => TimeZone::UTC,
                _ => TimeZone::try_system().unwrap_or(TimeZone::UTC),
            },
        }
    }

    /// Returns whether lines remain unchanged.
    pub fn is_plain(&self) -> bool {
        self.shape == Shape::Line
    }

    /// Formats all lines of a batch, each terminated by a newline, and counts faults in them.
    /// Unchanged lines share the batch's memory.
    pub fn batch(&self, batch: &Batch) -> (Bytes, Faults) {
        let mut faults = Faults::default();
        if self.is_plain() {
            return (batch.bytes.clone(), faults);
        }
        let received = Moment::of(batch.received);
        let mut out = Vec::with_capacity(batch.bytes.len() + batch.lines as usize * 64);
        let mut start = 0;
        for line in batch.iter() {
            let message = Message::parse(line);
            faults.count_header(message.fault);
            let source = batch.sources.as_ref().and_then(|sources| sources.of(start));
            self.line(line, &message, (&batch.input, source), &received, &mut out);
            start += line.len() + 1;
        }
        (out.into(), faults)
    }

    /// Writes one line, with its newline.
    pub fn line(
        &self,
        bytes: &[u8],
        message: &Message,
        (input, source): (&str, Option<Source>),
        received: &Moment,
        out: &mut Vec<u8>,
    ) {
        let line = Line { bytes, message, input, source, received };
        let text = self.head(&line, out);
        if self.escapes() {
            escape::json(text, out);
            json::foot(&line, out);
        } else {
            out.extend_from_slice(text);
        }
        out.push(b'\n');
    }

    /// Writes a line up to the text of its message, which it returns: what comes last, and is
    /// long if the line is.
    fn head<'l>(&self, line: &Line<'l>, out: &mut Vec<u8>) -> &'l [u8] {
        match &self.shape {
            Shape::Line => line.bytes,
            Shape::Rfc5424 => self.rfc5424(line, out),
            Shape::Rfc3164 => self.rfc3164(line, out),
            Shape::Json => {
                json::head(self, line, out);
                line.message.text(line.bytes)
            }
            Shape::Text => self.text(line, out),
            Shape::Traditional => self.traditional(line, out),
            Shape::Template(template) => {
                self.template(template, line, out);
                b""
            }
        }
    }

    /// Returns whether the text of a message is escaped, and something comes after it.
    fn escapes(&self) -> bool {
        self.shape == Shape::Json
    }

    /// RFC 5424, section 6. A valid RFC 5424 message remains unchanged.
    fn rfc5424<'l>(&self, line: &Line<'l>, out: &mut Vec<u8>) -> &'l [u8] {
        let Line { bytes, message, .. } = line;
        if message.is_clean_rfc5424() {
            return without_mark(bytes);
        }
        pri(message, out);
        out.extend_from_slice(b"1 ");
        self.push_time(line, out);
        out.push(b' ');
        if !self.push_host(line, out) {
            push("-", out);
        }
        out.push(b' ');
        push(&self.app(line).unwrap_or(Cow::Borrowed("-")), out);
        out.push(b' ');
        push(&header_part(message.procid.of(bytes).unwrap_or_default(), PROCID_MAX), out);
        out.push(b' ');
        push(&header_part(message.msgid.of(bytes).unwrap_or_default(), MSGID_MAX), out);
        out.push(b' ');
        out.extend_from_slice(message.data.of(bytes).unwrap_or(b"-"));
        out.push(b' ');
        &bytes[message.text as usize..]
    }

    /// RFC 3164, section 4.1, with the time in the system's zone.
    fn rfc3164<'l>(&self, line: &Line<'l>, out: &mut Vec<u8>) -> &'l [u8] {
        let Line { bytes, message, received, .. } = line;
        let time = message.sent(bytes, &self.zone, received.time).unwrap_or(received.time);
        pri(message, out);
        Clock::traditional(self.zone.to_datetime(time), out);
        out.push(b' ');
        if !self.push_host(line, out) {
            push(&self.host, out);
        }
        out.push(b' ');
        self.tag(line, out);
        message.text(bytes)
    }

    /// For people: the time, the host and the app before the message.
    fn text<'l>(&self, line: &Line<'l>, out: &mut Vec<u8>) -> &'l [u8] {
        self.push_time(line, out);
        out.push(b' ');
        if !self.push_host(line, out) {
            push("-", out);
        }
        out.push(b' ');
        self.tag(line, out);
        line.message.text(line.bytes)
    }

    fn tag(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        let Some(app) = self.app(line) else { return };
        push(&app, out);
        if let Some(procid) = line.message.procid.of(line.bytes) {
            out.push(b'[');
            push(&header_part(procid, PROCID_MAX), out);
            out.push(b']');
        }
        out.extend_from_slice(b": ");
    }

    /// Writes when the message was sent, in RFC 3339 form; if unknown, when it was received.
    fn push_time(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        if !self.push_sent(line, out) {
            push(&line.received.text, out);
        }
    }

    /// Writes when the message was sent, as it was written or in the system's zone. Returns false
    /// if that is unknown.
    fn push_sent(&self, line: &Line<'_>, out: &mut Vec<u8>) -> bool {
        let Line { bytes, message, received, .. } = line;
        let Some(time) = message.sent(bytes, &self.zone, received.time) else { return false };
        // Writing to memory cannot fail.
        let _ = match (message.sent_text(bytes), message.sent) {
            (Some(text), _) => out.write_all(text.as_bytes()),
            (None, Sent::Civil(_)) => {
                write!(out, "{}", time.display_with_offset(self.zone.to_offset(time)))
            }
            (None, _) => write!(out, "{time}"),
        };
        true
    }

    /// Writes the host. Returns false if it is unknown.
    fn push_host(&self, line: &Line<'_>, out: &mut Vec<u8>) -> bool {
        match self.host(line) {
            Some(Host::Name(host)) => push(&host, out),
            // Writing to memory cannot fail.
            Some(Host::Address(address)) => drop(write!(out, "{address}")),
            None => return false,
        }
        true
    }

    fn host<'l>(&'l self, line: &Line<'l>) -> Option<Host<'l>> {
        match (line.message.host.of(line.bytes), line.source) {
            (Some(host), _) => Some(Host::Name(header_part(host, HOST_MAX))),
            (None, Some(Source::Address(address))) => {
                Some(Host::Address(address.ip().to_canonical()))
            }
            (None, Some(Source::Process { .. })) => Some(Host::Name(self.host.as_str().into())),
            (None, None) => line.is_raw().then(|| Host::Name(self.host.as_str().into())),
        }
    }

    fn app<'l>(&'l self, line: &Line<'l>) -> Option<Cow<'l, str>> {
        let name = || match &self.tag {
            Some(tag) => Some(tag.as_str()),
            None => line.is_raw().then_some(line.input),
        };
        match line.message.app.of(line.bytes) {
            Some(app) => Some(header_part(app, APP_MAX)),
            None => name().map(|name| header_part(name.as_bytes(), APP_MAX)),
        }
    }
}

/// The host of a line.
enum Host<'l> {
    Name(Cow<'l, str>),
    /// The sender's address, of a line that names no host.
    Address(IpAddr),
}

impl<'l> Host<'l> {
    fn into_text(self) -> Cow<'l, str> {
        match self {
            Self::Name(name) => name,
            Self::Address(address) => Cow::Owned(address.to_string()),
        }
    }
}

fn push(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
}

fn pri(message: &Message, out: &mut Vec<u8>) {
    out.push(b'<');
    decimal(out, message.pri.into());
    out.push(b'>');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;
    use crate::batch::count_lines;
    use crate::sources::Sources;

    fn formatter(shape: Shape, tag: Option<&str>) -> Formatter {
        let tag = tag.map(str::to_string);
        Formatter { shape, tag, host: "web1".into(), zone: TimeZone::UTC }
    }

    fn batch(lines: &[u8]) -> Batch {
        let bytes = Bytes::copy_from_slice(lines);
        let received = UNIX_EPOCH + Duration::from_micros(1_763_883_000_123_456);
        let source = Source::Address("192.0.2.7:514".parse().unwrap());
        let count = count_lines(&bytes);
        let mut batch = Batch::new(bytes, count, "squid".into(), received);
        batch.sources = Some(Sources::one(source));
        batch
    }

    fn written(shape: Shape, line: &[u8]) -> String {
        let batch = batch(&[line, b"\n"].concat());
        let (out, _) = formatter(shape, None).batch(&batch);
        String::from_utf8_lossy(&out).trim_end_matches('\n').to_string()
    }

    const RFC_5424: &[u8] = b"<165>1 2003-10-11T22:14:15.003Z h app 12 ID [a@1 x=\"1\"] text";
    const RFC_3164: &[u8] = b"<34>Oct 11 22:14:15 mymachine su[12]: 'su root' failed";
    const NO_HOST: &[u8] = b"<34>su: failed";

    #[test]
    fn rfc_5424_is_made_of_anything() {
        let of = |line| written(Shape::Rfc5424, line);
        assert_eq!(of(RFC_5424).as_bytes(), RFC_5424);
        let want = "<34>1 2025-10-11T22:14:15Z mymachine su 12 - - 'su root' failed";
        assert_eq!(of(RFC_3164), want.replace("15Z", "15+00:00"));
        assert_eq!(of(NO_HOST), "<34>1 2025-11-23T07:30:00.123456Z 192.0.2.7 su - - - failed");
        assert_eq!(
            of(b"<34>1 - h a - - [broken"),
            "<34>1 2025-11-23T07:30:00.123456Z h a - - - [broken"
        );
    }

    #[test]
    fn a_raw_line_says_when_it_came_and_by_which_input() {
        let mut batch = batch(b"GET /\n\n");
        batch.sources = None;
        let of = |tag| {
            let (out, _) = formatter(Shape::Rfc5424, tag).batch(&batch);
            String::from_utf8(out.to_vec()).unwrap()
        };
        let header = "<13>1 2025-11-23T07:30:00.123456Z web1 squid - - - ";
        assert_eq!(of(None), format!("{header}GET /\n{header}\n"));
        let header = "<13>1 2025-11-23T07:30:00.123456Z web1 cache - - - ";
        assert_eq!(of(Some("cache")), format!("{header}GET /\n{header}\n"));
        let (out, _) = formatter(Shape::Line, None).batch(&batch);
        assert_eq!(out, batch.bytes);
    }

    #[test]
    fn rfc_3164_and_text_are_for_those_who_want_them() {
        let of = |line| written(Shape::Rfc3164, line);
        assert_eq!(of(RFC_5424), "<165>Oct 11 22:14:15 h app[12]: text");
        assert_eq!(of(RFC_3164).as_bytes(), RFC_3164);
        assert_eq!(of(b"GET /"), "<13>Nov 23 07:30:00 192.0.2.7 squid: GET /");
        let of = |line| written(Shape::Text, line);
        assert_eq!(of(RFC_5424), "2003-10-11T22:14:15.003Z h app[12]: text");
        assert_eq!(of(NO_HOST), "2025-11-23T07:30:00.123456Z 192.0.2.7 su: failed");
    }

    #[test]
    fn json_has_what_the_line_says() {
        let value: serde_json::Value =
            serde_json::from_str(&written(Shape::Json, RFC_5424)).unwrap();
        let want = serde_json::json!({
            "time": "2003-10-11T22:14:15.003Z",
            "received": "2025-11-23T07:30:00.123456Z",
            "facility": "local4",
            "severity": "notice",
            "host": "h",
            "app": "app",
            "procid": "12",
            "msgid": "ID",
            "sd": {"a@1": {"x": "1"}},
            "message": "text",
            "source": "192.0.2.7",
            "input": "squid",
        });
        assert_eq!(value, want);
        let repeated = br#"<165>1 - - - - - [a x="1" x="2\"" y="3"][b] t"#;
        let value: serde_json::Value =
            serde_json::from_str(&written(Shape::Json, repeated)).unwrap();
        let want = serde_json::json!({"a": {"x": ["1", "2\""], "y": "3"}, "b": {}});
        assert_eq!((&value["sd"], value.get("time")), (&want, None));
    }

    /// All shapes except the plain one.
    fn all_shapes() -> Vec<Shape> {
        let template = "{time} {time:%s %Z} {host} {tag} {message:json} {line:csv} {sd} {pid}";
        let template = Shape::Template(Arc::new(template.parse().unwrap()));
        vec![Shape::Rfc5424, Shape::Rfc3164, Shape::Json, Shape::Text, Shape::Traditional, template]
    }

    #[test]
    fn traditional_is_what_rsyslog_writes() {
        let of = |line| written(Shape::Traditional, line);
        for (line, want) in [
            ("<34>Oct 11 22:14:15 h su[12]: x", "Oct 11 22:14:15 h su[12]: x"),
            ("<34>Oct  1 22:14:15 h su: x ", "Oct  1 22:14:15 h su: x "),
            ("<34>Oct 11 22:14:15 h su:x", "Oct 11 22:14:15 h su: x"),
            ("<34>Oct 11 22:14:15 h su:  x", "Oct 11 22:14:15 h su:  x"),
            (
                "<34>Oct 11 22:14:15 h last message repeated",
                "Oct 11 22:14:15 h last message repeated",
            ),
            ("<34>Oct 11 22:14:15 su: x", "Oct 11 22:14:15 192.0.2.7 su: x"),
            // Its tag is the first word, whatever that is.
            ("<34>Oct 11 22:14:15 h {\"a\":1}", "Oct 11 22:14:15 h {\"a\": 1}"),
            ("<34>Oct 11 22:14:15 h", "Oct 11 22:14:15 h  "),
            ("<34>1 - - - - - - x", "Nov 23 07:30:00 - - x"),
            ("word", "Nov 23 07:30:00 192.0.2.7 word "),
            ("{\"a\":1}", "Nov 23 07:30:00 192.0.2.7  {\"a\":1}"),
            ("<34>1 2026-10-01T22:14:15+05:00 h a 1 - - x", "Oct  1 22:14:15 h a[1] x"),
            ("<34>1 2026-10-01T22:14:15Z h a - - [b c=\"d\"] x", "Oct  1 22:14:15 h a x"),
            ("<34>2026-10-01T22:14:15.5Z h a: x", "Oct  1 22:14:15 h a: x"),
            ("<34>su: x", "Nov 23 07:30:00 192.0.2.7 su: x"),
            ("raw line", "Nov 23 07:30:00 192.0.2.7 raw line"),
        ] {
            assert_eq!(of(line.as_bytes()), want, "{line}");
        }
    }

    #[test]
    fn a_template_writes_what_it_names() {
        let of = |template: &str, line: &[u8]| {
            written(Shape::Template(Arc::new(template.parse().unwrap())), line)
        };
        let rfc = br#"<165>1 2003-10-11T22:14:15.003Z h app 12 ID [a@1 x="1\"2"] say "hi""#;
        for (template, want) in [
            (
                "{time:%b %e %H:%M:%S} {host} {app}[{procid}]: {message}",
                "Oct 11 22:14:15 h app[12]: say \"hi\"",
            ),
            ("{time} {received}", "2003-10-11T22:14:15.003Z 2025-11-23T07:30:00.123456Z"),
            ("{received:%Y%m%d}", "20251123"),
            ("{facility}.{severity} {pri} {msgid}", "local4.notice 165 ID"),
            ("{sd:a@1:x} {sd.a@1.x} {sd:a@1:y} {sd}", "1\"2 1\"2 - [a@1 x=\"1\\\"2\"]"),
            ("{source} {pid} {uid} {input}", "192.0.2.7 - - squid"),
            (
                "{{{tag} }}{line}",
                "{app[12]: }<165>1 2003-10-11T22:14:15.003Z h app 12 ID [a@1 \
              x=\"1\\\"2\"] say \"hi\"",
            ),
            ("{{\"m\":{message:json},\"p\":{pid:json}}}", "{\"m\":\"say \\\"hi\\\"\",\"p\":null}"),
            ("{message:csv},{pid:csv}", "\"say \"\"hi\"\"\",\"\""),
            ("{app:upper} {severity:upper} {msgid:lower}", "APP NOTICE id"),
        ] {
            assert_eq!(of(template, rfc), want, "{template}");
        }
        let template = "{time:%s} {host} {app} {tag} {procid} {message}";
        assert_eq!(of(template, b"GET /"), "1763883000 192.0.2.7 squid squid: - GET /");
        assert_eq!(
            of("{host:json}{message:json}", b"<1>a: \x01\xff"),
            "\"192.0.2.7\"\"\\u0001\u{fffd}\""
        );
        assert_eq!(of("no field }}{{", b"x"), "no field }{");
    }

    /// Structured data of this many elements with this many parameters each, all with different
    /// names.
    fn data(elements: usize, params: usize) -> String {
        let params: String = (0..params).map(|n| format!(" p{n}=\"{n}\"")).collect();
        (0..elements).map(|n| format!("[e{n}{params}]")).collect()
    }

    #[test]
    fn json_of_much_structured_data_has_all_of_it_in_order() {
        for (elements, params) in [(1, 30_000), (30_000, 0), (200, 200)] {
            let line = format!("<165>1 - h a - - {} t", data(elements, params));
            let value: serde_json::Value =
                serde_json::from_str(&written(Shape::Json, line.as_bytes())).unwrap();
            let data = value["sd"].as_object().unwrap();
            assert_eq!(data.len(), elements);
            assert!(data.values().all(|element| element.as_object().unwrap().len() == params));
        }
        // An id that occurs again continues its element.
        let again = br#"<165>1 - - - - - [b x="1"][a y="2"][b x="3" z="4"] t"#;
        let written = written(Shape::Json, again);
        assert!(
            written.contains(r#""sd":{"a":{"y":"2"},"b":{"x":["1","3"],"z":"4"}}"#),
            "{written}"
        );
    }

    #[test]
    fn what_is_wrong_with_messages_is_counted() {
        let batch = batch(b"<34>1 x\n<34>x y\n<34>su: ok\nraw\n");
        let (_, faults) = formatter(Shape::Text, None).batch(&batch);
        assert_eq!((faults.bad_header, faults.no_header, faults.no_pri), (1, 1, 0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_line_of_any_shape(
            line in proptest::collection::vec(0..=254_u8, 0..80),
            head in "(<13>)?(1 - h a p m )?(\\[a b=\"c\"\\])?",
        ) {
            // Any byte except a newline.
            let line: Vec<u8> = line.iter().map(|b| if *b < b'\n' { *b } else { *b + 1 }).collect();
            let line = [head.as_bytes(), &line].concat();
            for shape in all_shapes() {
                let batch = batch(&[&line[..], b"\n"].concat());
                let (out, _) = formatter(shape.clone(), None).batch(&batch);
                prop_assert_eq!(count_lines(&out), 1);
                if shape == Shape::Json {
                    serde_json::from_slice::<serde_json::Value>(&out).unwrap();
                }
                if shape == Shape::Rfc5424 {
                    let line = &out[..out.len() - 1];
                    let message = Message::parse(line);
                    prop_assert!(message.is_rfc5424, "{:?}", String::from_utf8_lossy(line));
                }
            }
        }
    }
}
