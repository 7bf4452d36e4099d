//! Records to lines.
//!
//! A line is made of what stands before the text, the text, and what stands behind it; so the
//! pieces of a text that Docker has split need no more than to be put together.

use super::fields::{self, Fields, pairs, write_json, write_text};
use super::message::Entry;
use super::partial::{Open, Partials};
use crate::input::{InputCounts, Pieces};
use crate::proto::shared::record::{APP_MAX, As, Data, Header, Heads, Lines, fits, json_string};
use crate::sources::{Source, Sources};

/// The element that a record's fields stand in, and that of a client's metadata.
pub(super) const FIELDS: &str = "fluent@32473";
const METADATA: &str = "metadata@32473";
/// user.notice: what nothing else is known of.
const FACILITY: u8 = 1 << 3;
const NOTICE: u8 = 5;

/// Writes the lines of one client.
#[derive(Debug)]
pub(super) struct Records {
    form: As,
    source: Source,
    lines: Lines,
    heads: Heads,
    partials: Partials,
    /// What stands before the text of the present line, and the text where it is made here.
    head: Vec<u8>,
    made: Vec<u8>,
    value: Vec<u8>,
}

impl Records {
    /// Lines of this client, of `max_line` bytes at most.
    pub(super) fn new(form: As, max_line: usize, source: Source) -> Self {
        Self {
            form,
            source,
            lines: Lines::new(max_line),
            heads: Heads::default(),
            partials: Partials::default(),
            head: Vec::new(),
            made: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Makes a line of a record, or a part of one.
    pub(super) fn take(&mut self, tag: &[u8], entry: Entry<'_>) {
        let fields = Fields::of(entry.record);
        if fields.piece.is_piece
            && let Some((_, text)) = fields.text
        {
            return self.take_piece(tag, entry, &fields, text);
        }
        let cut = self.write_head(tag, entry, &fields);
        let head = std::mem::take(&mut self.head);
        match fields.text {
            Some((_, text)) => self.write_line(&head, text, cut),
            None => {
                let made = std::mem::take(&mut self.made);
                self.write_line(&head, &made, cut);
                self.made = made;
            }
        }
        self.head = head;
    }

    /// Puts a piece of a text behind those before it.
    fn take_piece(&mut self, tag: &[u8], entry: Entry<'_>, fields: &Fields<'_>, text: &[u8]) {
        let piece = &fields.piece;
        for other in self.partials.end_others(piece) {
            self.write_open(other);
        }
        if !self.partials.append(piece, text, self.lines.max_line()) {
            let cut = self.write_head(tag, entry, fields);
            let head = std::mem::take(&mut self.head);
            let begun = self.partials.begin(piece, head, cut, text, self.lines.max_line());
            if let Some(oldest) = begun {
                self.write_open(oldest);
            }
        }
        if piece.is_last
            && let Some(whole) = self.partials.end(piece)
        {
            self.write_open(whole);
        }
    }

    fn write_open(&mut self, open: Open) {
        self.write_line(&open.head, &open.text, open.cut);
    }

    /// Writes a line whose head has left out `cut` bytes.
    fn write_line(&mut self, head: &[u8], text: &[u8], cut: usize) {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        self.lines.push(head);
        match self.form {
            As::Message | As::Line => self.lines.push(text),
            // An object that has no text is whole as it is.
            As::Json if text.is_empty() && head.last() == Some(&b'}') => {}
            As::Json => {
                self.value.clear();
                json_string(text, &mut self.value);
                self.value.push(b'}');
                self.lines.push(&self.value);
            }
        }
        self.lines.end(cut);
    }

    /// Writes what stands before the text into `head`, and the text into `made` where the record
    /// has none; how many bytes had no room.
    fn write_head(&mut self, tag: &[u8], entry: Entry<'_>, fields: &Fields<'_>) -> usize {
        self.head.clear();
        self.made.clear();
        match self.form {
            As::Message => self.write_message_head(tag, entry, fields),
            As::Json => {
                self.write_object(tag, entry, fields);
                0
            }
            As::Line => {
                if fields.text.is_none() {
                    write_json(entry.record, &mut self.heads, &mut self.made);
                }
                0
            }
        }
    }

    fn write_message_head(&mut self, tag: &[u8], entry: Entry<'_>, fields: &Fields<'_>) -> usize {
        let pri = FACILITY | fields.severity.unwrap_or(NOTICE);
        let (host, procid) = (fields.host, fields.procid);
        let header = Header { pri, time: entry.time, host, app: tag, procid };
        self.heads.header(&header, &mut self.head);
        // Half of the line is the text's.
        let most = self.lines.max_line() / 2;
        let mut data = Data::new(&mut self.head, most);
        if !fits(tag, APP_MAX) && !tag.is_empty() {
            data.param(FIELDS, b"tag", tag);
        }
        if fields.text.is_some() {
            for (name, value) in pairs(entry.record) {
                if !fields.is_placed(name, value) {
                    self.value.clear();
                    write_text(value, &mut self.heads, &mut self.value);
                    data.param(FIELDS, name, &self.value);
                }
            }
        } else {
            write_json(entry.record, &mut self.heads, &mut self.made);
        }
        data.end_element();
        for (name, value) in entry.metadata.into_iter().flat_map(pairs) {
            self.value.clear();
            write_text(value, &mut self.heads, &mut self.value);
            data.param(METADATA, name, &self.value);
        }
        data.end()
    }

    /// Writes the record as an object; where it has a text, up to that.
    fn write_object(&mut self, tag: &[u8], entry: Entry<'_>, fields: &Fields<'_>) {
        let out = &mut self.head;
        out.push(b'{');
        let key = |name: &[u8], out: &mut Vec<u8>| {
            if out.last() != Some(&b'{') {
                out.push(b',');
            }
            json_string(name, out);
            out.push(b':');
        };
        if let Some(time) = entry.time.filter(|_| !fields.has_time) {
            key(b"time", out);
            out.push(b'"');
            self.heads.time(time, out);
            out.push(b'"');
        }
        if !fields.has_tag {
            key(b"tag", out);
            json_string(tag, out);
        }
        for (name, value) in pairs(entry.record) {
            if !fields.is_text_or_piece(name) {
                key(name, out);
                write_json(value, &mut self.heads, out);
            }
        }
        if let Some(metadata) = entry.metadata {
            key(b"metadata", out);
            write_json(metadata, &mut self.heads, out);
        }
        match fields.text {
            Some((name, _)) => {
                debug_assert!(fields::is_text_name(name));
                key(name, out);
            }
            None => out.push(b'}'),
        }
    }

    /// Hands over what is whole.
    pub(super) fn hand_over(&mut self, pieces: &mut Pieces) {
        let sources = Some(Sources::one(self.source));
        for piece in self.lines.take() {
            pieces.push(crate::input::Piece { sources: sources.clone(), ..piece });
        }
    }

    /// Nothing more comes: texts whose last piece is missing are written as far as they came.
    pub(super) fn finish(&mut self) {
        for open in self.partials.take_all() {
            self.write_open(open);
        }
    }

    /// Bytes held of texts that are not whole.
    pub(super) fn held(&self) -> usize {
        self.partials.held()
    }

    /// What was counted.
    pub(super) fn counts(&mut self) -> &mut InputCounts {
        &mut self.lines.counts
    }
}
