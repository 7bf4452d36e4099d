//! How a name is written: what becomes of the values that fields put into it.

use std::borrow::Cow;
use std::ops::Range;
use std::time::SystemTime;

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::MARK;
use crate::limits::NAME_PART_MAX;
use crate::output::archive;
use crate::printable::is_hidden;

/// What is left of a field's value that can be part of a name.
pub fn clean(value: &[u8]) -> Cow<'_, [u8]> {
    // A character that is replaced has at most four bytes, and what replaces it has one.
    let looked_at = &value[..value.len().min(4 * NAME_PART_MAX + 4)];
    match std::str::from_utf8(value) {
        Ok(text) if text.len() <= NAME_PART_MAX && !text.chars().any(is_bad) => {
            Cow::Borrowed(value)
        }
        _ => {
            let text = String::from_utf8_lossy(looked_at);
            let mut cleaned = Written::default();
            cleaned.push_field(&text);
            Cow::Owned(cleaned.text.into_bytes())
        }
    }
}

fn is_bad(c: char) -> bool {
    c == '/' || is_hidden(c) || c == char::REPLACEMENT_CHARACTER
}

pub(super) fn zoned(when: SystemTime, zone: &TimeZone) -> Zoned {
    Timestamp::try_from(when).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone())
}

/// A name as far as it is written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) text: String,
    /// Where its last component begins.
    component: usize,
    /// The end of the last field in this component.
    field_end: Option<usize>,
    /// Where the first field of a line begins.
    pub(super) first_field: Option<usize>,
    /// Where times are.
    pub(super) times: Vec<Range<usize>>,
}

impl Written {
    pub(super) fn push(&mut self, text: &str) {
        for piece in text.split_inclusive('/') {
            match piece.strip_suffix('/') {
                Some(rest) => {
                    self.text.push_str(rest);
                    self.end_component();
                    self.text.push('/');
                    self.component = self.text.len();
                    self.field_end = None;
                }
                None => self.text.push_str(piece),
            }
        }
    }

    pub(super) fn push_time(&mut self, format: &str, time: Option<&Zoned>) {
        let start = self.text.len();
        // The format was tried when the template was read, so this cannot fail.
        if let Some(Ok(text)) = time.map(|time| strtime::format(format, time)) {
            self.push(&text);
        }
        self.times.push(start..self.text.len());
    }

    pub(super) fn push_field(&mut self, value: &str) {
        if value.bytes().all(|byte| byte == b'.') {
            self.text.push('_');
        } else {
            for c in value.chars() {
                if self.text.len() - self.component + c.len_utf8() > NAME_PART_MAX {
                    break;
                }
                self.text.push(if is_bad(c) { '_' } else { c });
            }
        }
        self.field_end = Some(self.text.len());
    }

    /// Keeps what a field put into a component from looking like the ending of an archive, also
    /// where the user's own ending stands behind it.
    pub(super) fn end_component(&mut self) {
        let Some(field_end) = self.field_end else { return };
        let mut end = self.text.len();
        loop {
            let ending = self.component + archive::ending_at(&self.text[self.component..end]);
            if ending == end {
                return;
            }
            if field_end > ending {
                self.text.push(MARK);
                return;
            }
            end = ending;
        }
    }
}
