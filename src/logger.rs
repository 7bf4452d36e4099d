//! The daemon's own log: one line per record, on stderr or in a file. A separate thread writes it,
//! so that a blocked log never stops the loop. Lines that do not fit the queue are counted and
//! reported once there is room.
//!
//! Under systemd (JOURNAL_STREAM is set) a line begins with its priority (sd-daemon(3)), because
//! the journal records the time. Elsewhere it begins with the time, in udp2log's format or that of
//! RFC 3339.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use clap::ValueEnum;
use log::{Level, LevelFilter, Log, Metadata, Record};
use serde::{Deserialize, Serialize};

use crate::printable::printable;

/// Capacity of the queue to the log thread, in lines.
const WAITING_MAX: usize = 4096;

/// Where the log is written.
#[derive(Debug)]
pub enum Target {
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

/// The format of a line's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Priority under systemd, otherwise time and level.
    Plain,
    /// Time as in `[2013-01-31 12:00:00 UTC+0000]`.
    Udp2log,
}

/// The log level: records of this severity and of all higher ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verbosity {
    /// Failures of the daemon
    Error,
    /// Conditions that need attention
    Warn,
    /// Events of normal operation
    #[default]
    Info,
    /// Details that explain a failure, such as each connection that ends
    Debug,
}

impl Verbosity {
    /// All levels with their names in the configuration and on the command line.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, known)| *known == self).map_or("", |(word, _)| word)
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::Error,
            Self::Warn => LevelFilter::Warn,
            Self::Info => LevelFilter::Info,
            Self::Debug => LevelFilter::Debug,
        }
    }

    /// The current level.
    pub fn current() -> Self {
        let current = log::max_level();
        let found = Self::WORDS.iter().find(|(_, known)| known.filter() == current);
        found.map_or(Self::Info, |(_, known)| *known)
    }

    /// Sets the level for every thread, at once.
    pub fn apply(self) {
        log::set_max_level(self.filter());
    }
}

/// Flushes the log on drop.
#[derive(Debug)]
pub struct Guard {
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Line(String),
    Reopen,
    End,
}

struct Logger {
    lines: SyncSender<Message>,
    lost: AtomicU64,
    head: Head,
}

#[derive(Clone, Copy)]
enum Head {
    Priority,
    Time,
    Udp2log,
}

static LOGGER: std::sync::OnceLock<Logger> = std::sync::OnceLock::new();

/// Starts the log. It can be started once per process.
///
/// # Errors
/// The file cannot be opened, or the thread cannot be started.
pub fn start(target: Target, style: Style) -> io::Result<Guard> {
    let (lines, waiting) = sync_channel(WAITING_MAX);
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let head = match (style, &target) {
        (Style::Udp2log, _) => Head::Udp2log,
        (Style::Plain, Target::Stderr) if journal => Head::Priority,
        (Style::Plain, _) => Head::Time,
    };
    let logger = LOGGER.get_or_init(|| Logger { lines, lost: AtomicU64::new(0), head });
    let file = match &target {
        Target::Stderr => None,
        Target::File(path) => Some(append(path)?),
    };
    let thread = std::thread::Builder::new()
        .name("log".into())
        .spawn(move || write(&waiting, &target, file))?;
    if log::set_logger(logger).is_ok() {
        Verbosity::default().apply();
    }
    Ok(Guard { thread: Some(thread) })
}

/// Logs a text of several lines, such as a refused configuration, one record per line.
pub fn lines(level: Level, text: &str) {
    for line in text.lines() {
        log::log!(level, "{line}");
    }
}

/// Reopens the log file by its name, after logrotate has renamed it.
pub fn reopen() {
    if let Some(logger) = LOGGER.get() {
        // If even this finds no room, the log is not being written at all.
        let _ = logger.lines.try_send(Message::Reopen);
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn write(waiting: &Receiver<Message>, target: &Target, mut file: Option<File>) {
    loop {
        match (waiting.recv(), target, &mut file) {
            // A failure to write the log cannot be reported anywhere.
            (Ok(Message::Line(line)), _, Some(file)) => drop(file.write_all(line.as_bytes())),
            (Ok(Message::Line(line)), ..) => drop(io::stderr().write_all(line.as_bytes())),
            (Ok(Message::Reopen), Target::File(path), file) => {
                if let Ok(opened) = append(path) {
                    *file = Some(opened);
                }
            }
            (Ok(Message::Reopen), ..) => {}
            (Ok(Message::End) | Err(_), ..) => return,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(logger) = LOGGER.get() {
            let _ = logger.lines.send(Message::End);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Debug records are for this program only, not for the libraries it uses.
        metadata.level() <= Level::Info || metadata.target().starts_with("logweir")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let message = format!(
                "{lost} log lines were lost because the log could not be written fast enough"
            );
            self.put(Level::Warn, &message, lost);
        }
        self.put(record.level(), &record.args().to_string(), 1);
    }

    fn flush(&self) {}
}

impl Logger {
    /// Queues a text as one line, whatever it contains: text from a peer must not forge a line of
    /// ours or control a terminal. If there is no room, `worth` lines are counted as lost.
    fn put(&self, level: Level, text: &str, worth: u64) {
        let head = match self.head {
            Head::Priority => priority(level).to_string(),
            Head::Time => stamp(level),
            Head::Udp2log => {
                jiff::Timestamp::now().strftime("[%Y-%m-%d %H:%M:%S UTC+0000] ").to_string()
            }
        };
        let line = format!("{head}{}\n", printable(text));
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Message::Line(line)) {
            self.lost.fetch_add(worth, Ordering::Relaxed);
        }
    }
}

fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

fn stamp(level: Level) -> String {
    let now = jiff::Timestamp::now();
    format!("{} {:5} ", now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"), level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_it_holds() {
        let (lines, waiting) = sync_channel(2);
        let logger = Logger { lines, lost: AtomicU64::new(0), head: Head::Priority };
        logger.put(Level::Warn, "the peer says: no\n<3>forged\x1b[2J\r", 1);
        let Ok(Message::Line(line)) = waiting.try_recv() else { panic!() };
        assert_eq!(line, "<4>the peer says: no\\n<3>forged\\x1b[2J\\r\n");
    }
}
