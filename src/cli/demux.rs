//! `logweir demux`: the first word of a line names the file that gets the rest of it. Also as
//! `udp2log-demux`, the drop-in for Wikimedia's program of that name.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::stdin::next_line;
use crate::fs::{Fs, OsFs};
use crate::limits;

/// Where the original finds its `basedir` if the command line has none.
const CONFIG: &str = "/etc/udp2log-demux";
const OPTIONS: &str = "  --help                Show help message.\n  \
                       --basedir arg         destination path of log files\n";

/// Append each line of standard input to the file its first word names
///
/// The word with .log appended is the file's name, and is not written itself. In it . and / become
/// _; a line with any byte there that is not printable ASCII is dropped and counted, and so is a
/// line without a space.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the files, created if missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Append each line of standard input to the file its first word names, as Wikimedia's
/// udp2log-demux does
///
/// The folder is the basedir of /etc/udp2log-demux if the command line names none.
#[derive(Debug, clap::Args)]
#[command(override_usage = "udp2log-demux [[--basedir] DIR]")]
pub struct DropInArgs {
    /// The folder, created if missing
    #[arg(value_name = "DIR", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Processes all lines; returns 1 if one could not be written.
///
/// # Errors
/// The system's, when creating the folder or reading.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let demux = take_all(&args.dir)?;
    if demux.nameless > 0 {
        eprintln!("demux: {} lines without a usable name were dropped", demux.nameless);
    }
    if demux.failed > 0 {
        eprintln!("demux: {} lines could not be written", demux.failed);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The same as the drop-in, with the original's messages.
///
/// # Errors
/// The system's, when creating the folder or reading.
pub fn run_drop_in(args: &DropInArgs) -> anyhow::Result<ExitCode> {
    let dir = match base_dir(&args.args, Path::new(CONFIG)) {
        Ok(dir) => dir,
        Err(message) => {
            eprint!("{message}");
            return Ok(ExitCode::FAILURE);
        }
    };
    take_all(&dir)?;
    Ok(ExitCode::SUCCESS)
}

/// The folder from the original's command line and file, or else the message for the user.
fn base_dir(args: &[OsString], config: &Path) -> Result<PathBuf, String> {
    let usage =
        |error: String| format!("{error}\nUsage: udp2log-demux [..options..]\nOptions:\n{OPTIONS}");
    let mut dir = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        let new = if text == "--help" {
            return Err(format!("{OPTIONS}\n"));
        } else if text == "--basedir" {
            let missing = "the required argument for option '--basedir' is missing";
            args.next().ok_or_else(|| usage(missing.into()))?.into()
        } else if let Some(dir) = arg.as_bytes().strip_prefix(b"--basedir=") {
            PathBuf::from(OsStr::from_bytes(dir))
        } else if text.starts_with('-') {
            return Err(usage(format!("unrecognised option '{text}'")));
        } else {
            PathBuf::from(arg)
        };
        if dir.replace(new).is_some() {
            let message = "option '--basedir' cannot be specified more than once";
            return Err(usage(message.into()));
        }
    }
    let configured = configured(config).map_err(usage)?;
    dir.or(configured).ok_or_else(|| "--basedir is required\n".into())
}

fn configured(config: &Path) -> Result<Option<PathBuf>, String> {
    let Ok(text) = std::fs::read_to_string(config) else { return Ok(None) };
    let mut dir = None;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("basedir", value)) => dir = Some(value.into()),
            Some((key, _)) => return Err(format!("unrecognised option '{key}'")),
            None if line.is_empty() => {}
            None => {
                return Err(format!(
                    "the options configuration file contains an invalid line '{line}'"
                ));
            }
        }
    }
    Ok(dir)
}

fn take_all(dir: &Path) -> anyhow::Result<Demux> {
    OsFs.create_folders(dir).with_context(|| dir.display().to_string())?;
    let mut demux = Demux::new(dir);
    let mut stdin = BufReader::with_capacity(limits::READ_CHUNK, io::stdin().lock());
    let mut line = Vec::new();
    while next_line(&mut stdin, limits::LINE_LENGTH_MAX, &mut line)?.is_some() {
        demux.line(&line);
        // Nothing waits here while the input pauses.
        if stdin.buffer().is_empty() {
            demux.flush_all();
        }
    }
    demux.flush_all();
    Ok(demux)
}

struct Demux {
    dir: PathBuf,
    files: HashMap<String, Open>,
    lines: u64,
    nameless: u64,
    failed: u64,
    /// The last name that could not be opened, so that each is reported once in a row.
    unopened: String,
}

struct Open {
    file: File,
    buffer: Vec<u8>,
    waiting: u64,
    /// The number of the last line written to it.
    used: u64,
}

impl Demux {
    fn new(dir: &Path) -> Self {
        let (files, unopened) = (HashMap::new(), String::new());
        Self { dir: dir.into(), files, lines: 0, nameless: 0, failed: 0, unopened }
    }

    fn line(&mut self, line: &[u8]) {
        self.lines += 1;
        let named = memchr::memchr(b' ', line)
            .and_then(|at| Some((file_name(&line[..at])?, &line[at + 1..])));
        let Some((name, text)) = named else {
            self.nameless += 1;
            return;
        };
        let lines = self.lines;
        let Some(open) = self.open(&name) else {
            self.failed += 1;
            return;
        };
        open.used = lines;
        open.waiting += 1;
        open.buffer.extend_from_slice(text);
        open.buffer.push(b'\n');
        if open.buffer.len() >= limits::READ_CHUNK {
            self.flush(&name);
        }
    }

    fn open(&mut self, name: &str) -> Option<&mut Open> {
        if !self.files.contains_key(name) {
            self.make_room();
            let Ok(file) = OsFs.append(&self.dir.join(name), 0o666) else {
                if self.unopened != name {
                    eprintln!("Failed to open file \"{name}\"");
                    self.unopened = name.into();
                }
                return None;
            };
            self.unopened.clear();
            let open = Open { file, buffer: Vec::new(), waiting: 0, used: 0 };
            self.files.insert(name.into(), open);
        }
        self.files.get_mut(name)
    }

    /// Closes the least recently written file, if the maximum number of files is open.
    fn make_room(&mut self) {
        if self.files.len() < limits::OPEN_FILES_MAX {
            return;
        }
        let oldest = self.files.iter().min_by_key(|(_, open)| open.used);
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.flush(&name);
            self.files.remove(&name);
        }
    }

    fn flush_all(&mut self) {
        let waiting = self.files.iter().filter(|(_, open)| open.waiting > 0);
        let names: Vec<_> = waiting.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.flush(&name);
        }
    }

    fn flush(&mut self, name: &str) {
        let Some(open) = self.files.get_mut(name) else { return };
        let waiting = std::mem::take(&mut open.waiting);
        let written = open.file.write_all(&open.buffer);
        // Do not keep the memory of a very long line.
        open.buffer.clear();
        open.buffer.shrink_to(2 * limits::READ_CHUNK);
        if written.is_err() {
            eprintln!("I/O error writing to file \"{name}\"");
            self.failed += waiting;
            self.files.remove(name);
        }
    }
}

/// The name of the file for this word, if it is valid.
fn file_name(word: &[u8]) -> Option<String> {
    if word.is_empty() {
        return None;
    }
    let mut name = String::with_capacity(word.len() + 4);
    for byte in word {
        name.push(match byte {
            b'.' | b'/' => '_',
            b' '..=b'~' => char::from(*byte),
            _ => return None,
        });
    }
    name.push_str(".log");
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_goes_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        let base =
            |args: &[&str]| base_dir(&args.iter().map(OsString::from).collect::<Vec<_>>(), &config);
        assert_eq!(base(&[]), Err("--basedir is required\n".into()));
        std::fs::write(&config, "# where to\n\n basedir = /a b # here\n").unwrap();
        assert_eq!(base(&[]), Ok("/a b".into()));
        assert_eq!(base(&["--basedir", "/c"]), Ok("/c".into()));
        assert!(base(&["/c", "/d"]).unwrap_err().contains("more than once"));
        assert!(base(&["--basedir"]).unwrap_err().contains("is missing"));
        for (text, message) in
            [("other = 1", "unrecognised option 'other'"), ("x", "invalid line 'x'")]
        {
            std::fs::write(&config, text).unwrap();
            assert!(base(&[]).unwrap_err().contains(message));
        }
    }
}
