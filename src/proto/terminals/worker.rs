//! Writing to terminals, as rsyslog's omusrmsg does.
//!
//! A terminal is never waited for: what it does not take at once it does not get. It shows nothing
//! that could control it. More than [`TERMINAL_LINES`] lines a second would only hide each other.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::sessions::Places;
use crate::batch::Batch;
use crate::host;
use crate::ledger::Reason;
use crate::limits::{TERMINAL_LINE_MAX, TERMINAL_LINES};
use crate::output::worker::{Worker, Written};
use crate::printable::printable_columns;

/// How long a list of the users who are logged in is used.
const LISTED: Duration = Duration::from_secs(1);

/// The terminals of users.
#[derive(Debug)]
pub(super) struct Terminals {
    name: String,
    users: Option<Vec<String>>,
    places: Places,
    /// When the terminals were listed, and which they are.
    listed: Option<(Instant, Vec<PathBuf>)>,
    /// The second at hand, and the lines in it.
    second: Option<(Instant, u32)>,
    /// Terminals that did not take a line, and how many they did not.
    failing: HashMap<PathBuf, u64>,
}

impl Terminals {
    /// An output to the terminals of these users, or of everyone.
    pub(super) fn new(name: &str, users: Option<Vec<String>>, places: Places) -> Self {
        let (listed, second, failing) = (None, None, HashMap::new());
        Self { name: name.to_string(), users, places, listed, second, failing }
    }

    /// Shows a line; why it could not be.
    fn show(&mut self, line: &[u8]) -> Option<Reason> {
        let now = Instant::now();
        match &mut self.second {
            Some((began, lines)) if now.duration_since(*began) < Duration::from_secs(1) => {
                if *lines >= TERMINAL_LINES {
                    return Some(Reason::Rate);
                }
                *lines += 1;
            }
            second => *second = Some((now, 1)),
        }
        if self.listed.as_ref().is_none_or(|(at, _)| now.duration_since(*at) >= LISTED) {
            let terminals = self.places.terminals(self.users.as_deref());
            self.failing.retain(|path, _| terminals.contains(path));
            self.listed = Some((now, terminals));
        }
        let text = shown(line, self.users.is_none());
        let (_, terminals) = self.listed.as_ref()?;
        let mut taken = 0;
        for path in terminals {
            match write(path, &text) {
                Ok(()) => {
                    taken += 1;
                    if let Some(lines) = self.failing.remove(path) {
                        log::info!("{}: {path:?} takes lines again; it missed {lines}", self.name);
                    }
                }
                Err(error) => {
                    let missed = self.failing.entry(path.clone()).or_default();
                    if *missed == 0 {
                        log::warn!("{}: {path:?} does not take lines: {error}", self.name);
                    }
                    *missed += 1;
                }
            }
        }
        // Where nobody is logged in, nobody is to see it.
        (taken == 0 && !terminals.is_empty()).then_some(Reason::SendError)
    }
}

/// What a terminal is sent: with a bell and a heading for everyone, as wall(1) has it.
fn shown(line: &[u8], is_for_all: bool) -> Vec<u8> {
    let line = &line[..line.len().min(TERMINAL_LINE_MAX)];
    let text = printable_columns(line);
    if !is_for_all {
        return format!("\r\n{text}\r\n").into_bytes();
    }
    let (host, now) = (host::name(), jiff::Zoned::now());
    let now = now.strftime("%b %e %H:%M:%S");
    format!("\r\n\x07Message from syslogd@{host} at {now} ...\r\n {text}\r\n").into_bytes()
}

/// Writes all of it to a terminal, or says why not. It neither waits nor becomes the daemon's own
/// terminal.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW);
    let mut terminal = options.open(path)?;
    if !terminal.metadata()?.file_type().is_char_device() || !terminal.is_terminal() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "is not a terminal"));
    }
    match terminal.write(text)? {
        written if written == text.len() => Ok(()),
        _ => Err(io::Error::new(ErrorKind::WouldBlock, "it took a part of the line only")),
    }
}

impl Worker for Terminals {
    fn append(&mut self, batches: &[Batch]) -> Written {
        let mut written = Written::default();
        for line in batches.iter().flat_map(Batch::iter) {
            let size = line.len() + 1;
            if let Some(reason) = self.show(line) {
                if written.refused.lines > 0 && written.reason != reason {
                    // It comes again, and is counted for its own reason.
                    return written;
                }
                written.reason = reason;
                written.refused.add(1, size as u64);
            }
            written.bytes += size;
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::pty::openpty;
    use nix::unistd::ttyname;

    use super::super::sessions::utmp_of;
    use super::*;
    use crate::filter::batch_of;

    /// A terminal that someone is logged in at.
    struct Session {
        screen: std::fs::File,
        _terminal: std::os::fd::OwnedFd,
        folder: tempfile::TempDir,
    }

    fn session(user: &str) -> Session {
        let pty = openpty(None, None).unwrap();
        let path = ttyname(&pty.slave).unwrap();
        let line = path.strip_prefix("/dev").unwrap().display().to_string();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("utmp"), utmp_of(7, user, &line)).unwrap();
        Session { screen: pty.master.into(), _terminal: pty.slave, folder }
    }

    impl Session {
        fn output(&self, users: Option<&str>) -> Terminals {
            let places = Places {
                utmp: self.folder.path().join("utmp"),
                sessions: "/none".into(),
                devices: "/dev".into(),
            };
            Terminals::new("out", users.map(|user| vec![user.to_string()]), places)
        }

        /// What was written, up to these bytes at least. The terminal makes `\r\n` of `\n`.
        fn shown(&mut self, until: &str) -> String {
            let (mut text, mut buffer) = (String::new(), [0; 4096]);
            while !text.contains(until) {
                let count = self.screen.read(&mut buffer).unwrap();
                text += &String::from_utf8_lossy(&buffer[..count]).replace('\r', "");
            }
            text
        }
    }

    #[test]
    fn a_user_sees_the_line_and_nothing_that_controls_the_terminal() {
        let mut session = session("root");
        let mut output = session.output(Some("root"));
        let batch = batch_of("su: \x1b[2Jx\x07\ty\u{9b}\n");
        let written = output.append(std::slice::from_ref(&batch));
        assert_eq!((written.bytes, written.refused.lines), (batch.bytes.len(), 0));
        assert_eq!(session.shown("}\n"), "\nsu: \\x1b[2Jx\\x07\ty\\u{9b}\n");
    }

    #[test]
    fn everyone_gets_a_heading_and_others_get_nothing() {
        let mut session = session("alice");
        let written = session.output(Some("root")).append(&[batch_of("secret\n")]);
        assert_eq!((written.bytes, written.refused.lines), (7, 0), "root is not logged in");
        session.output(None).append(&[batch_of("kernel: panic\n")]);
        let text = session.shown("panic\n");
        assert!(text.starts_with("\n\x07Message from syslogd@") && !text.contains("secret"));
        assert!(text.ends_with(" ...\n kernel: panic\n"), "{text}");
    }

    #[test]
    fn a_terminal_that_takes_nothing_is_not_waited_for_and_counted() {
        let session = session("root");
        let mut output = session.output(Some("root"));
        // Nobody reads the screen: in time it is full.
        let line = "x".repeat(TERMINAL_LINE_MAX - 1) + "\n";
        let mut refused = 0;
        while refused == 0 {
            output.second = None;
            let written = output.append(&[batch_of(&line)]);
            assert_eq!(written.bytes, line.len());
            refused = written.refused.lines;
            assert!(refused == 0 || written.reason == Reason::SendError);
        }
    }

    #[test]
    fn a_flood_is_bounded_and_the_rest_counted() {
        let session = session("root");
        let mut output = session.output(Some("root"));
        let lines = "x\n".repeat(TERMINAL_LINES as usize + 7);
        output.second = Some((Instant::now() + Duration::from_secs(3600), 0));
        let written = output.append(&[batch_of(&lines)]);
        assert_eq!((written.bytes, written.refused.lines), (lines.len(), 7));
        assert_eq!(written.reason, Reason::Rate);
    }

    #[test]
    fn what_is_not_a_terminal_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        assert!(write(&file, b"x").is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"kept");
        assert!(write(Path::new("/dev/null"), b"x").is_err());
    }
}
