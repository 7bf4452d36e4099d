//! From the lines of a runtime's file to lines of the flow: pieces are joined for each stream, and
//! each record is written as a message, as its text, or as a JSON object.

use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::origin::Container;
use super::record::{Record, Stream, write_time};
use crate::ingress::files::decode::{Carried, Decode, Decoded, joined, lines};
use crate::input::InputCounts;
use crate::limits::BLOCK;
use crate::proto::shared::record::{As, Data, Header, Heads};

/// The id of a container's structured data. 32473 is the number for examples (RFC 5612).
const ELEMENT: &str = "container@32473";
/// The id of its labels.
const LABELS: &str = "labels@32473";
/// The most structured data of a line, in bytes.
const DATA_MAX: usize = 8 * 1024;
/// Facility user; severities informational and error.
const PRIS: [u8; 2] = [14, 11];
/// The most that is read before a position to find the beginnings of records there.
const LOOK_BACK_MAX: usize = 1024 * 1024;

/// How records are written.
#[derive(Debug, Clone)]
pub struct Style {
    /// As what.
    pub form: As,
    /// Longer texts are cut.
    pub max_message: usize,
    /// This host's name.
    pub host: Arc<str>,
}

/// Reads the file of one container.
#[derive(Debug)]
pub struct Decoder {
    style: Style,
    /// For each stream what stands before and behind the time of a line.
    heads: [(Vec<u8>, Vec<u8>); 2],
    /// For each stream the record whose end is yet to come.
    open: [Option<Carried>; 2],
}

impl Decoder {
    /// For the file at this path.
    pub fn new(path: &Path, style: Style) -> Self {
        let container = Container::of(path);
        let head = |stream: Stream| match style.form {
            As::Message => message_head(&container, stream, &style.host),
            As::Line => (Vec::new(), Vec::new()),
            As::Json => json_head(&container, stream, &style.host),
        };
        let heads = Stream::ALL.map(head);
        Self { style, heads, open: [None, None] }
    }

    /// Takes in a line: the record that it ends, if it ends one.
    fn take(&mut self, line: &[u8], counts: &mut InputCounts) -> Option<Whole> {
        let Some(record) = Record::read(line) else {
            counts.malformed += 1;
            return Some(Whole { stream: 0, time: Vec::new(), text: line.to_vec(), cut: 0 });
        };
        let stream = record.stream as usize;
        let open = self.open[stream].get_or_insert_with(|| Carried {
            stream,
            time: record.time.to_vec(),
            text: Vec::new(),
            cut: 0,
        });
        let kept = record.text.len().min(self.style.max_message - open.text.len());
        open.text.extend_from_slice(&record.text[..kept]);
        open.cut += record.text.len() - kept;
        if record.is_piece {
            return None;
        }
        self.open[stream].take()
    }

    fn write(&self, whole: &Whole, out: &mut BytesMut, counts: &mut InputCounts) {
        let kept = whole.text.len().min(self.style.max_message);
        let cut = whole.cut + whole.text.len() - kept;
        if cut > 0 {
            counts.cut(cut);
        }
        let text = &whole.text[..kept];
        let (before, behind) = &self.heads[whole.stream];
        match self.style.form {
            As::Line => {}
            As::Message | As::Json => {
                out.extend_from_slice(before);
                match (whole.time.is_empty(), self.style.form) {
                    (true, As::Message) => out.extend_from_slice(b"-"),
                    _ => write_time(&whole.time, out),
                }
                out.extend_from_slice(behind);
            }
        }
        match self.style.form {
            As::Json => {
                let text = String::from_utf8_lossy(text);
                let quoted = serde_json::to_vec(&text).unwrap_or_default();
                out.extend_from_slice(&quoted);
                out.extend_from_slice(b"}");
            }
            _ if memchr::memchr(b'\n', text).is_some() => out.extend_from_slice(&joined(text)),
            _ => out.extend_from_slice(text),
        }
        out.extend_from_slice(b"\n");
    }
}

type Whole = Carried;

impl Decode for Decoder {
    fn decode(&mut self, bytes: &Bytes, _: bool, counts: &mut InputCounts) -> Decoded {
        let mut out = BytesMut::with_capacity(bytes.len());
        let (mut count, mut consumed) = (0, 0);
        for line in lines(bytes) {
            consumed += line.len() + 1;
            if let Some(whole) = self.take(line, counts) {
                self.write(&whole, &mut out, counts);
                count += 1;
            }
            if out.len() >= BLOCK {
                break;
            }
        }
        let is_full = consumed < bytes.len();
        Decoded { bytes: out.freeze(), lines: count, consumed, is_full }
    }

    fn looks_back(&self) -> usize {
        // Docker writes some bytes as six.
        (2 * self.style.max_message + 128 * 1024).min(LOOK_BACK_MAX)
    }

    fn resume(&mut self, before: &[u8]) {
        // The first line may lack its beginning.
        let start = match before.len() < self.looks_back() {
            true => 0,
            false => memchr::memchr(b'\n', before).map_or(before.len(), |at| at + 1),
        };
        if start < before.len() {
            let mut counts = InputCounts::default();
            for line in lines(&before[start..]) {
                drop(self.take(line, &mut counts));
            }
        }
    }

    fn carry(&mut self) -> Vec<Carried> {
        self.open.iter_mut().filter_map(Option::take).collect()
    }

    fn carried(&mut self, carried: Vec<Carried>) {
        for mut begun in carried {
            // What was read here already goes on behind it.
            if let Some(open) = self.open[begun.stream].take() {
                begun.text.extend_from_slice(&open.text);
                begun.cut += open.cut;
            }
            let stream = begun.stream;
            self.open[stream] = Some(begun);
        }
    }

    fn end(&mut self, counts: &mut InputCounts) -> Option<(Bytes, u32)> {
        let mut out = BytesMut::new();
        let ended = self.carry();
        ended.iter().for_each(|whole| self.write(whole, &mut out, counts));
        (!ended.is_empty()).then(|| (out.freeze(), u32::try_from(ended.len()).unwrap_or(0)))
    }
}

/// A message up to its time, and from there to its text.
fn message_head(container: &Container, stream: Stream, host: &str) -> (Vec<u8>, Vec<u8>) {
    let header = Header {
        pri: PRIS[stream as usize],
        time: None,
        host: host.as_bytes(),
        app: container.name.as_bytes(),
        procid: b"",
    };
    let mut head = Vec::new();
    Heads::default().header(&header, &mut head);
    let mut data = Data::new(&mut head, DATA_MAX);
    for (name, value) in &container.fields {
        data.param(ELEMENT, name.as_bytes(), value.as_bytes());
    }
    data.param(ELEMENT, b"stream", stream.name().as_bytes());
    data.end_element();
    for (name, value) in &container.labels {
        data.param(LABELS, name.as_bytes(), value.as_bytes());
    }
    data.end();
    // A newline in a label would forge a line.
    let head = joined(&head);
    // The time is the one dash behind the version.
    let at = memchr::memchr(b'-', &head).unwrap_or(head.len());
    (head[..at].to_vec(), head[at + 1..].to_vec())
}

/// An object up to its time, and from there to its text.
fn json_head(container: &Container, stream: Stream, host: &str) -> (Vec<u8>, Vec<u8>) {
    let mut object = serde_json::Map::new();
    object.insert("host".into(), host.into());
    for (name, value) in &container.fields {
        object.insert((*name).into(), value.clone().into());
    }
    object.insert("stream".into(), stream.name().into());
    if !container.labels.is_empty() {
        let labels = container.labels.iter().cloned();
        let labels = labels.map(|(name, value)| (name, value.into()));
        object.insert("labels".into(), serde_json::Value::Object(labels.collect()));
    }
    let fields = serde_json::to_string(&object).unwrap_or_default();
    let fields = fields.strip_suffix('}').unwrap_or(&fields);
    let fields = fields.strip_prefix('{').unwrap_or(fields);
    (b"{\"time\":\"".to_vec(), format!("\",{fields},\"message\":").into_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parse::syslog::Message;

    const PATH: &str = "/var/log/pods/shop_web-1_0a/nginx/2.log";

    fn decoder(form: As, max_message: usize) -> Decoder {
        Decoder::new(Path::new(PATH), Style { form, max_message, host: "node1".into() })
    }

    fn decode(decoder: &mut Decoder, text: &[u8]) -> (String, InputCounts) {
        let mut counts = InputCounts::default();
        if text.is_empty() {
            return (String::new(), counts);
        }
        let decoded = decoder.decode(&Bytes::copy_from_slice(text), false, &mut counts);
        assert_eq!(decoded.consumed, text.len());
        let lines = String::from_utf8(decoded.bytes.to_vec()).unwrap();
        assert_eq!(lines.lines().count(), decoded.lines as usize);
        (lines, counts)
    }

    const T: &str = "2026-11-27T18:00:00.123456789Z";

    #[test]
    fn a_record_is_a_message_with_its_container_as_structured_data() {
        let (lines, _) =
            decode(&mut decoder(As::Message, 100), format!("{T} stderr F it broke\n").as_bytes());
        let want = "<11>1 2026-11-27T18:00:00.123456Z node1 nginx - - [container@32473 \
                    namespace=\"shop\" pod=\"web-1\" uid=\"0a\" container=\"nginx\" restart=\"2\" \
                    stream=\"stderr\"] it broke\n";
        assert_eq!(lines, want);
        let message = Message::parse(lines.trim_end().as_bytes());
        assert_eq!(message.app.of(lines.as_bytes()).unwrap(), b"nginx");
        let (lines, _) =
            decode(&mut decoder(As::Line, 100), format!("{T} stdout F  a b \n").as_bytes());
        assert_eq!(lines, " a b \n");
        let (lines, _) =
            decode(&mut decoder(As::Json, 100), format!("{T} stdout F say \"x\"\n").as_bytes());
        let object: serde_json::Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(object["message"], "say \"x\"");
        assert_eq!((&object["pod"], &object["stream"]), (&"web-1".into(), &"stdout".into()));
        assert_eq!(object["time"], "2026-11-27T18:00:00.123456Z");
    }

    #[test]
    fn pieces_are_joined_for_each_stream_and_cut_at_the_longest() {
        let mut one = decoder(As::Line, 12);
        let text = format!(
            "{T} stdout P aaa\n{T} stderr P xx\n{T} stdout P bbb\n{T} stderr F yy\n\
             {T} stdout F c\n{T} stdout P 0123456789\n{T} stdout F 0123456789\n"
        );
        let (lines, counts) = decode(&mut one, text.as_bytes());
        assert_eq!(lines, "xxyy\naaabbbc\n012345678901\n");
        assert_eq!((counts.oversize, counts.oversize_bytes), (1, 8));
    }

    #[test]
    fn what_is_no_record_goes_on_as_it_is_and_is_counted() {
        let (lines, counts) = decode(&mut decoder(As::Message, 100), b"Traceback:\n");
        assert!(lines.starts_with("<14>1 - node1 nginx - - [container@32473 "), "{lines}");
        assert!(lines.ends_with("] Traceback:\n") && counts.malformed == 1, "{lines}");
    }

    #[test]
    fn a_record_across_two_files_is_whole_and_one_without_its_end_comes_at_the_end() {
        let (mut old, mut new) = (decoder(As::Line, 100), decoder(As::Line, 100));
        assert_eq!(decode(&mut old, format!("{T} stdout P be\n").as_bytes()).0, "");
        new.carried(old.carry());
        assert_eq!(old.end(&mut InputCounts::default()), None);
        let text = format!("{T} stdout F gun\n{T} stdout P rest\n");
        assert_eq!(decode(&mut new, text.as_bytes()).0, "begun\n");
        let (bytes, lines) = new.end(&mut InputCounts::default()).unwrap();
        assert_eq!((&bytes[..], lines), (&b"rest\n"[..], 1));
    }

    proptest! {
        /// Whatever was read before, the rest gives the same lines: nothing is kept beside a file.
        #[test]
        fn reading_goes_on_at_any_line_as_if_it_had_never_stopped(
            pieces in
                proptest::collection::vec((any::<bool>(), any::<bool>(), "[a-z]{0,9}"), 0..30),
            at in any::<prop::sample::Index>(),
            form in prop_oneof![Just(As::Message), Just(As::Line), Just(As::Json)],
        ) {
            let line = |(out, whole, text): &(bool, bool, String)| {
                let stream = if *out { "stdout" } else { "stderr" };
                format!("{T} {stream} {} {text}\n", if *whole { "F" } else { "P" })
            };
            let all: Vec<String> = pieces.iter().map(line).collect();
            let (first, rest) = all.split_at(at.index(all.len() + 1));
            let mut whole = decoder(form, 20);
            let mut want = decode(&mut whole, first.concat().as_bytes()).0;
            want.clear();
            want += &decode(&mut whole, rest.concat().as_bytes()).0;
            let mut again = decoder(form, 20);
            again.resume(first.concat().as_bytes());
            prop_assert_eq!(decode(&mut again, rest.concat().as_bytes()).0, want);
        }
    }
}
