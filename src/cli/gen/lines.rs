//! Lines rendered once, in which only the sequence numbers and the times change.

use std::fmt::Write;

use jiff::Timestamp;

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// As squid's udplog writes it: sender, sequence number, time and so on
    Squid,
    /// Syslog (RFC 5424), the sequence number as `meta sequenceId`
    Rfc5424,
    /// Sender, sequence number, padding
    Raw,
}

/// The digits of a sequence number; RFC 5424 restarts after 2147483647 (section 7.3.1).
const DIGITS: &str = "000000000000";
const DIGITS_RFC5424: &str = "0000000000";
const LAST: &str = "999999999999";
const LAST_RFC5424: &str = "2147483647";

const URLS: [&str; 8] = [
    "http://en.wikipedia.org/wiki/Main_Page",
    "http://en.m.wikipedia.org/wiki/Log_",
    "http://de.wikipedia.org/w/api.php?action=query&titles=",
    "http://upload.wikimedia.org/wikipedia/commons/thumb/",
    "http://fr.m.wikipedia.org/wiki/Eau_",
    "http://commons.wikimedia.org/wiki/File:",
    "http://ja.wikipedia.org/w/index.php?search=",
    "http://en.wikipedia.org/w/api.php?action=opensearch&search=",
];
const APPS: [&str; 4] = ["nginx", "sshd", "kernel", "mediawiki"];
const PRIORITIES: [u8; 5] = [134, 38, 4, 11, 190];

/// Lines of one size in one buffer.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    size: usize,
    /// The offsets in each line of its sequence number, and of its time if it has one.
    places: Vec<(usize, Option<usize>)>,
    /// The index of the next line.
    at: usize,
    form: Form,
    /// The number of the last line, in digits.
    number: Vec<u8>,
    last: &'static [u8],
}

/// A line without padding.
struct Line {
    before: String,
    after: String,
    place: usize,
    /// The offset of its time.
    time: Option<usize>,
}

impl Lines {
    /// Renders `count` lines of `size` bytes each.
    ///
    /// # Errors
    /// One sentence for the user, if such lines are impossible.
    pub(super) fn new(form: Form, sender: &str, size: usize, count: usize) -> Result<Self, String> {
        if sender.is_empty() || sender.len() > 255 || !sender.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(format!(
                "--sender \"{}\": a name is 1 to 255 ASCII characters without spaces",
                sender.escape_debug()
            ));
        }
        let now = Timestamp::now();
        let lines: Vec<Line> = (0..count).map(|i| line(form, sender, now, i)).collect();
        let min = lines.iter().map(|line| line.len() + 1).max().unwrap_or(0);
        if size < min {
            return Err(format!(
                "--size {size} is too small for such lines of \"{sender}\": write {min} or more"
            ));
        }
        let mut buffer = Vec::with_capacity(size * count);
        for line in &lines {
            let pad = size - 1 - line.len();
            buffer.extend_from_slice(line.before.as_bytes());
            buffer.resize(buffer.len() + pad, b'x');
            buffer.extend_from_slice(line.after.as_bytes());
            buffer.push(b'\n');
        }
        let (number, last) = match form {
            Form::Rfc5424 => (DIGITS_RFC5424, LAST_RFC5424),
            Form::Squid | Form::Raw => (DIGITS, LAST),
        };
        let places = lines.iter().map(|line| (line.place, line.time)).collect();
        let (number, last) = (number.into(), last.as_bytes());
        Ok(Self { buffer, size, places, at: 0, form, number, last })
    }

    /// The number of lines in the buffer.
    pub(super) fn capacity(&self) -> usize {
        self.places.len()
    }

    /// The next lines, with the time `now`: at most `count`, and fewer if the end of the buffer
    /// comes first.
    pub(super) fn next(&mut self, count: usize, now: Timestamp) -> &[u8] {
        let first = self.at;
        let count = count.min(self.capacity() - first);
        self.at = (first + count) % self.capacity();
        let (width, time) = (self.number.len(), self.form.time(now));
        let range = first * self.size..(first + count) * self.size;
        let lines = self.buffer[range.clone()].chunks_exact_mut(self.size);
        for (line, (place, time_place)) in lines.zip(&self.places[first..]) {
            increase(&mut self.number, self.last);
            line[*place..*place + width].copy_from_slice(&self.number);
            if let Some(at) = time_place {
                line[*at..*at + time.len()].copy_from_slice(time.as_bytes());
            }
        }
        &self.buffer[range]
    }
}

impl Form {
    /// A time in the format of such lines, always of the same width in this century.
    fn time(self, now: Timestamp) -> String {
        match self {
            Self::Raw => String::new(),
            Self::Squid => {
                let millis = now.as_millisecond().rem_euclid(1000);
                format!("{:010}.{millis:03}", now.as_second())
            }
            Self::Rfc5424 => format!("{now:.3}"),
        }
    }
}

/// Adds one; `last` is followed by 1.
fn increase(number: &mut [u8], last: &[u8]) {
    if number == last {
        number.fill(b'0');
    }
    for digit in number.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
}

impl Line {
    fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

fn line(form: Form, sender: &str, now: Timestamp, i: usize) -> Line {
    let place = sender.len() + 1;
    let time = form.time(now);
    match form {
        Form::Raw => {
            let before = format!("{sender} {DIGITS} ");
            Line { before, after: String::new(), place, time: None }
        }
        Form::Squid => Line {
            before: squid(sender, &time, i),
            after: " NONE/- text/html - - Mozilla/5.0".to_string(),
            place,
            time: Some(place + DIGITS.len() + 1),
        },
        Form::Rfc5424 => rfc5424(sender, &time, i),
    }
}

fn squid(sender: &str, time: &str, i: usize) -> String {
    let mut text = format!("{sender} {DIGITS} ");
    let net = ["192.0.2", "198.51.100", "203.0.113"][i % 3];
    let status = match i % 100 {
        7 | 57 => 503,
        33 => 500,
        11 | 31 | 51 => 404,
        _ => 200,
    };
    let hit = if i.is_multiple_of(5) { "TCP_MISS" } else { "TCP_HIT" };
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{time} {} {net}.{} {hit}/{status} {} GET {}",
        i % 90,
        i * 7 % 254 + 1,
        1000 + i * 37 % 9000,
        URLS[i % URLS.len()],
    );
    text
}

fn rfc5424(sender: &str, time: &str, i: usize) -> Line {
    let priority = PRIORITIES[i % PRIORITIES.len()];
    let app = APPS[i % APPS.len()];
    let mut before = format!("<{priority}>1 ");
    let time_place = Some(before.len());
    let _ = write!(before, "{time} {sender} {app} - - [meta sequenceId=\"");
    let place = before.len();
    let _ = write!(before, "{DIGITS_RFC5424}\"] request {} took {} ms ", i * 37 % 9000, i % 90);
    Line { before, after: String::new(), place, time: time_place }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// This many lines, in as many calls as it takes.
    fn taken(lines: &mut Lines, count: usize) -> Vec<u8> {
        let (mut all, size) = (Vec::new(), lines.size);
        while all.len() < count * size {
            let left = count - all.len() / size;
            all.extend_from_slice(lines.next(left, NOW));
        }
        all
    }

    #[test]
    fn one_line_at_a_time_goes_through_all_kinds_of_lines() {
        let mut lines = Lines::new(Form::Squid, "cp1", 250, 64).unwrap();
        let together = taken(&mut Lines::new(Form::Squid, "cp1", 250, 64).unwrap(), 64);
        let one_by_one: Vec<u8> = (0..64).flat_map(|_| taken(&mut lines, 1)).collect();
        assert_eq!(one_by_one, together);
    }

    #[test]
    fn lines_have_the_time_at_which_they_are_taken() {
        for (form, wanted) in [
            (Form::Squid, ["0000000001.500", "1700000000.250"]),
            (Form::Rfc5424, ["1970-01-01T00:00:01.500Z", "2023-11-14T22:13:20.250Z"]),
        ] {
            let mut lines = Lines::new(form, "cp1", 250, 2).unwrap();
            for (millis, wanted) in [1500, 1_700_000_000_250].into_iter().zip(wanted) {
                let now = Timestamp::from_millisecond(millis).unwrap();
                let text = String::from_utf8(lines.next(2, now).to_vec()).unwrap();
                assert_eq!(text.matches(wanted).count(), 2, "{text}");
            }
        }
    }

    #[test]
    fn every_line_has_its_size_and_the_next_number() {
        for form in [Form::Squid, Form::Rfc5424, Form::Raw] {
            let mut lines = Lines::new(form, "cp1", 250, 130).unwrap();
            let mut number = 0;
            for count in [130, 7, 130] {
                for line in taken(&mut lines, count).split_inclusive(|&byte| byte == b'\n') {
                    number += 1;
                    let text = std::str::from_utf8(line).unwrap();
                    assert_eq!(text.len(), 250);
                    let want = match form {
                        Form::Rfc5424 => format!("cp1 X - - [meta sequenceId=\"{number:010}\"]"),
                        Form::Squid | Form::Raw => format!("cp1 {number:012} "),
                    };
                    let app = APPS.iter().find(|app| text.contains(*app)).unwrap_or(&"X");
                    assert!(text.contains(&want.replace('X', app)), "{text}");
                }
            }
            assert_eq!(number, 267);
        }
    }

    #[test]
    fn the_least_size_is_named_and_is_enough() {
        for form in [Form::Squid, Form::Rfc5424, Form::Raw] {
            let error = Lines::new(form, "cp1", 1, 1000).unwrap_err();
            let (_, message) = error.split_once(": write ").unwrap();
            let min: usize = message.strip_suffix(" or more").unwrap().parse().unwrap();
            assert!(Lines::new(form, "cp1", min - 1, 1000).is_err());
            assert_eq!(Lines::new(form, "cp1", min, 1000).unwrap().next(9, NOW).len(), 9 * min);
        }
    }

    #[test]
    fn after_the_last_number_comes_one() {
        for last in [LAST, LAST_RFC5424] {
            let mut number = last.as_bytes().to_vec();
            increase(&mut number, last.as_bytes());
            assert_eq!(std::str::from_utf8(&number).unwrap().parse(), Ok(1));
        }
    }

    #[test]
    fn filters_have_something_to_find() {
        let mut lines = Lines::new(Form::Squid, "cp1", 250, 1000).unwrap();
        let text = String::from_utf8(lines.next(1000, NOW).to_vec()).unwrap();
        for part in [".m.wikipedia.org", "/w/api.php", "/503 ", "/404 ", "TCP_MISS", " 192.0.2."] {
            let found = text.lines().filter(|line| line.contains(part)).count();
            assert!((1..1000).contains(&found), "{part}: {found}");
        }
    }
}
