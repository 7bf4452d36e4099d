//! The daemon's own log: a line each on stderr or in a file, written by a thread of its own,
//! so that a log nobody reads never stops the loop. Lines for which there is no room are
//! counted and said as soon as there is.
//!
//! Under systemd (JOURNAL_STREAM is set) a line begins with its priority (sd-daemon(3)) and
//! the journal knows the time; elsewhere it begins with the time.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Lines that may wait to be written.
const WAITING_MOST: usize = 4096;

/// Where the log goes.
#[derive(Debug)]
pub enum Target {
    /// Standard error.
    Stderr,
    /// A file.
    File(File),
}

/// Writes what is left when it is dropped.
#[derive(Debug)]
pub struct Guard {
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Line(String),
    End,
}

struct Logger {
    lines: SyncSender<Message>,
    lost: AtomicU64,
    journal: bool,
}

static LOGGER: std::sync::OnceLock<Logger> = std::sync::OnceLock::new();

/// Starts the log, once in the life of a process.
///
/// # Errors
/// The system's, where no thread could be made.
pub fn start(target: Target) -> io::Result<Guard> {
    let (lines, waiting) = sync_channel(WAITING_MOST);
    let journal = matches!(target, Target::Stderr) && std::env::var_os("JOURNAL_STREAM").is_some();
    let logger = LOGGER.get_or_init(|| Logger { lines, lost: AtomicU64::new(0), journal });
    let thread =
        std::thread::Builder::new().name("log".into()).spawn(move || write(&waiting, target))?;
    if log::set_logger(logger).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
    Ok(Guard { thread: Some(thread) })
}

fn write(waiting: &Receiver<Message>, mut target: Target) {
    while let Ok(Message::Line(line)) = waiting.recv() {
        // A log that cannot be written has nowhere to say so.
        let _ = match &mut target {
            Target::Stderr => io::stderr().write_all(line.as_bytes()),
            Target::File(file) => file.write_all(line.as_bytes()),
        };
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
        metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let said = format!("{lost} lines of this log were lost, it was not written in time");
            self.put(Level::Warn, &said, lost);
        }
        self.put(record.level(), &record.args().to_string(), 1);
    }

    fn flush(&self) {}
}

impl Logger {
    /// Puts a text in the queue, each line of it a line; where there is no room, `worth`
    /// lines are counted as lost.
    fn put(&self, level: Level, text: &str, worth: u64) {
        let head = if self.journal { priority(level).to_string() } else { stamp(level) };
        let mut line = String::with_capacity(text.len() + 32);
        for part in text.lines() {
            line.push_str(&head);
            line.push_str(part);
            line.push('\n');
        }
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
