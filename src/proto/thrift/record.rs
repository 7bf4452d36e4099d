//! Entries and events to lines.

use super::call::{Headers, Item};
use crate::input::Pieces;
use crate::parse::syslog::names::severity;
use crate::proto::shared::record::{
    APP_MAX, As, Data, HOST_MAX, Header, Heads, Lines, Time, fits, json_string,
};
use crate::sources::{Source, Sources};

/// The elements that what is known beside a text stands in.
const SCRIBE: &str = "scribe@32473";
const FLUME: &str = "flume@32473";
/// user.notice: what nothing else is known of.
const USER: u8 = 1;
const NOTICE: u8 = 5;

/// Writes the lines of one client.
#[derive(Debug)]
pub(super) struct Records {
    form: As,
    source: Source,
    pub(super) lines: Lines,
    heads: Heads,
    line: Vec<u8>,
}

/// Those headers of an event that have a place of their own.
#[derive(Debug, Default)]
struct Placed<'f> {
    host: &'f [u8],
    app: &'f [u8],
    facility: Option<u8>,
    severity: Option<u8>,
    time: Option<Time>,
}

impl<'f> Placed<'f> {
    /// Looks through the headers, as Flume's syslog and Scribe sources name them.
    fn of(headers: Headers<'f>) -> Self {
        let mut placed = Self::default();
        for (name, value) in headers.pairs() {
            match name {
                b"host" | b"hostname" if fits(value, HOST_MAX) => placed.host = value,
                b"category" | b"program" | b"app" if fits(value, APP_MAX) => placed.app = value,
                b"Facility" => placed.facility = number(value).filter(|number| *number < 24),
                b"Severity" | b"severity" | b"level" => {
                    let name = String::from_utf8_lossy(value).to_ascii_lowercase();
                    placed.severity = severity(&name).or(placed.severity);
                }
                b"timestamp" => placed.time = millis(value),
                _ => {}
            }
        }
        placed
    }

    fn has(&self, name: &[u8], value: &[u8]) -> bool {
        match name {
            b"host" | b"hostname" => value == self.host,
            b"category" | b"program" | b"app" => value == self.app,
            b"Facility" => self.facility.is_some(),
            b"Severity" => self.severity.is_some(),
            b"timestamp" => self.time.is_some(),
            _ => false,
        }
    }
}

fn number(value: &[u8]) -> Option<u8> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Milliseconds since 1970.
fn millis(value: &[u8]) -> Option<Time> {
    let millis: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    let nanos = u32::try_from(millis % 1000).ok()? * 1_000_000;
    Some((i64::try_from(millis / 1000).ok()?, nanos)).filter(|time| time.0 > 0)
}

impl Records {
    /// Lines of this client, of `max_line` bytes at most.
    pub(super) fn new(form: As, max_line: usize, source: Source) -> Self {
        let (lines, heads) = (Lines::new(max_line), Heads::default());
        Self { form, source, lines, heads, line: Vec::new() }
    }

    /// Makes a line of an entry or an event.
    pub(super) fn take(&mut self, item: Item<'_>) {
        self.line.clear();
        let (Item::Entry { message: text, .. } | Item::Event { body: text, .. }) = item;
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let cut = match self.form {
            As::Message => self.write_head(item),
            As::Line => 0,
            As::Json => {
                self.write_object(item, text);
                self.lines.push(&self.line);
                return self.lines.end(0);
            }
        };
        self.lines.push(&self.line);
        self.lines.push(text);
        self.lines.end(cut);
    }

    /// Writes what stands before the text; how many bytes had no room.
    fn write_head(&mut self, item: Item<'_>) -> usize {
        let most = self.lines.max_line() / 2;
        let (time, procid) = (None, &b""[..]);
        match item {
            Item::Entry { category, .. } => {
                let pri = USER << 3 | NOTICE;
                let header = Header { pri, time, host: b"", app: category, procid };
                self.heads.header(&header, &mut self.line);
                let mut data = Data::new(&mut self.line, most);
                if !fits(category, APP_MAX) && !category.is_empty() {
                    data.param(SCRIBE, b"category", category);
                }
                data.end()
            }
            Item::Event { headers, .. } => {
                let placed = Placed::of(headers);
                let facility = placed.facility.unwrap_or(USER);
                let pri = facility << 3 | placed.severity.unwrap_or(NOTICE);
                let (host, app, time) = (placed.host, placed.app, placed.time);
                self.heads.header(&Header { pri, time, host, app, procid }, &mut self.line);
                let mut data = Data::new(&mut self.line, most);
                for (name, value) in headers.pairs() {
                    if !placed.has(name, value) {
                        data.param(FLUME, name, value);
                    }
                }
                data.end()
            }
        }
    }

    /// Writes an entry or an event as an object.
    fn write_object(&mut self, item: Item<'_>, text: &[u8]) {
        let out = &mut self.line;
        let put = |out: &mut Vec<u8>, name: &[u8], value: &[u8]| {
            out.push(if out.is_empty() { b'{' } else { b',' });
            json_string(name, out);
            out.push(b':');
            json_string(value, out);
        };
        match item {
            Item::Entry { category, .. } => put(out, b"category", category),
            Item::Event { headers, .. } => {
                headers.pairs().for_each(|(name, value)| put(out, name, value));
            }
        }
        put(out, b"message", text);
        out.push(b'}');
    }

    /// Hands over what is whole.
    pub(super) fn hand_over(&mut self, pieces: &mut Pieces) {
        let sources = Some(Sources::one(self.source));
        for piece in self.lines.take() {
            pieces.push(crate::input::Piece { sources: sources.clone(), ..piece });
        }
    }
}
