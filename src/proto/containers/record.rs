//! One line of a runtime's file.
//!
//! - CRI (containerd, CRI-O, podman's k8s-file): `TIME stdout|stderr P|F TEXT`; `P` is a piece that
//!   more follows (Kubernetes, CRI logging format). An empty text may come without its space.
//! - Docker's json-file: `{"log":"TEXT\n","stream":"stdout","time":"TIME"}`; a piece has no `\n`.

use std::borrow::Cow;

use serde::Deserialize;

/// A record, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'l> {
    /// The time, as it stands there.
    pub time: &'l [u8],
    /// Which stream it was printed to.
    pub stream: Stream,
    /// Whether more follows.
    pub is_piece: bool,
    /// What was printed.
    pub text: Cow<'l, [u8]>,
}

/// A container's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    fn read(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name().as_bytes() == name)
    }
}

#[derive(Deserialize)]
struct Json<'l> {
    #[serde(borrow)]
    log: Cow<'l, str>,
    #[serde(borrow)]
    stream: Cow<'l, str>,
    #[serde(borrow)]
    time: &'l str,
}

impl<'l> Record<'l> {
    /// Reads a line, without its newline; `None` where it is no record.
    pub fn read(line: &'l [u8]) -> Option<Self> {
        let record = match line.first()? {
            b'{' => Self::json(line),
            _ => Self::cri(line),
        }?;
        is_time(record.time).then_some(record)
    }

    fn cri(line: &'l [u8]) -> Option<Self> {
        let (time, rest) = split(line)?;
        let (stream, rest) = split(rest)?;
        let (tags, text) = split(rest).unwrap_or((rest, b""));
        // Further tags may follow behind a colon.
        let tag = tags.split(|&byte| byte == b':').next()?;
        let is_piece = match tag {
            b"P" => true,
            b"F" => false,
            _ => return None,
        };
        Some(Self { time, stream: Stream::read(stream)?, is_piece, text: Cow::Borrowed(text) })
    }

    fn json(line: &'l [u8]) -> Option<Self> {
        let Json { log, stream, time } = serde_json::from_slice(line).ok()?;
        let (is_piece, text) = match log {
            Cow::Borrowed(text) => match text.strip_suffix('\n') {
                Some(text) => (false, Cow::Borrowed(text.as_bytes())),
                None => (true, Cow::Borrowed(text.as_bytes())),
            },
            Cow::Owned(mut text) => {
                let is_piece = !text.ends_with('\n');
                if !is_piece {
                    text.pop();
                }
                (is_piece, Cow::Owned(text.into_bytes()))
            }
        };
        let stream = Stream::read(stream.as_bytes())?;
        Some(Self { time: time.as_bytes(), stream, is_piece, text })
    }
}

/// What is before the first space, and what is behind it.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b' ', line)?;
    Some((&line[..at], &line[at + 1..]))
}

/// The seconds of a time, its fraction and its zone.
fn parts(time: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (seconds, rest) = time.split_at_checked(19)?;
    let digits = rest
        .strip_prefix(b".")
        .map_or(0, |fraction| fraction.iter().take_while(|byte| byte.is_ascii_digit()).count());
    let (fraction, zone) = match digits {
        0 => (&rest[..0], rest),
        digits => rest.split_at(digits + 1),
    };
    Some((seconds, fraction, zone))
}

/// Whether it is a time of RFC 3339.
fn is_time(time: &[u8]) -> bool {
    let shaped = |bytes: &[u8], shape: &[u8]| {
        bytes.len() == shape.len()
            && bytes.iter().zip(shape).all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                _ => byte == shape,
            })
    };
    parts(time).is_some_and(|(seconds, fraction, zone)| {
        let zone = zone == b"Z" || shaped(zone, b"+00:00") || shaped(zone, b"-00:00");
        shaped(seconds, b"0000-00-00T00:00:00") && fraction.len() != 1 && zone
    })
}

/// Writes a record's time as RFC 5424 has it: with six digits of a second at most.
pub fn write_time(time: &[u8], out: &mut impl bytes::BufMut) {
    let Some((seconds, fraction, zone)) = parts(time) else { return };
    out.put_slice(seconds);
    out.put_slice(&fraction[..fraction.len().min(7)]);
    out.put_slice(zone);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(String, Stream, bool, String)> {
        let record = Record::read(line.as_bytes())?;
        let text = String::from_utf8(record.text.to_vec()).unwrap();
        let mut time = Vec::new();
        write_time(record.time, &mut time);
        Some((String::from_utf8(time).unwrap(), record.stream, record.is_piece, text))
    }

    #[test]
    fn lines_of_each_runtime_are_read() {
        let (out, err) = (Stream::Stdout, Stream::Stderr);
        let time = "2026-11-27T18:00:00.123456Z";
        for (line, want) in [
            ("2026-11-27T18:00:00.123456789Z stdout F a b", (time, out, false, "a b")),
            ("2026-11-27T18:00:00.123456789Z stderr P  a", (time, err, true, " a")),
            ("2026-11-27T18:00:00.123456789Z stdout F ", (time, out, false, "")),
            ("2026-11-27T18:00:00.123456789Z stdout F", (time, out, false, "")),
            ("2026-11-27T18:00:00.123456789Z stdout P:x y", (time, out, true, "y")),
            (
                "2026-11-27T18:00:00.5+01:00 stdout F x",
                ("2026-11-27T18:00:00.5+01:00", out, false, "x"),
            ),
            ("2026-11-27T18:00:00Z stdout F x", ("2026-11-27T18:00:00Z", out, false, "x")),
            (
                concat!(
                    r#"{"log":"a\u001b\t\"b\"\n","stream":"stderr","#,
                    r#""time":"2026-11-27T18:00:00.123456789Z"}"#
                ),
                (time, err, false, "a\u{1b}\t\"b\""),
            ),
            (
                concat!(
                    r#"{"log":"plain\r","stream":"stdout","attrs":{"a":"b"},"#,
                    r#""time":"2026-11-27T18:00:00.123456Z"}"#
                ),
                (time, out, true, "plain\r"),
            ),
        ] {
            let (want_time, stream, is_piece, text) = want;
            let want = (want_time.to_string(), stream, is_piece, text.to_string());
            assert_eq!(read(line), Some(want), "{line}");
        }
    }

    #[test]
    fn what_is_no_record_is_none() {
        for line in [
            "",
            "hello",
            "2026-11-27T18:00:00Z stdout",
            "2026-11-27T18:00:00Z stdin F x",
            "2026-11-27T18:00:00Z stdout X x",
            "2026-11-27 18:00:00Z stdout F x",
            "2026-11-27T18:00:00.Z stdout F x",
            "2026-11-27T18:00:00 stdout F x",
            "{\"log\":\"x\\n\"}",
            "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"now\"}",
            "{",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
        assert_eq!(Record::read(b"{\"log\":\"\xff\"}"), None);
    }
}
