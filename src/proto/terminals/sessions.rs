//! Who is logged in at which terminal: the records of utmp(5), and the sessions of systemd-logind,
//! which some systems have instead. Both are read as what they are, files that others write.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// The most that is read of utmp, and of the file of a session.
const UTMP_MAX: u64 = 1 << 20;
const SESSION_MAX: u64 = 16 << 10;
/// The most sessions that are looked at.
const SESSIONS_MAX: usize = 4096;
/// The most terminals that are written to.
const TERMINALS_MAX: usize = 1024;
/// A record of a user who is logged in (utmp(5), `ut_type`).
const USER_PROCESS: i16 = 7;
/// Where the terminal and the user are in a record. These places are the same on all machines, the
/// size of a record is not.
const LINE: (usize, usize) = (8, 32);
const USER: (usize, usize) = (44, 32);

/// Where all of it is.
#[derive(Debug, Clone)]
pub struct Places {
    /// The records of utmp.
    pub utmp: PathBuf,
    /// The folder with a file for each session of logind.
    pub sessions: PathBuf,
    /// The folder of the terminals.
    pub devices: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            utmp: "/run/utmp".into(),
            sessions: "/run/systemd/sessions".into(),
            devices: "/dev".into(),
        }
    }
}

impl Places {
    /// The terminals of these users, or of everyone; each once.
    pub fn terminals(&self, users: Option<&[String]>) -> Vec<PathBuf> {
        let mut found = utmp(&limited(&self.utmp, UTMP_MAX));
        found.extend(self.of_logind());
        found.retain(|(user, line)| {
            let is_wanted = users.is_none_or(|users| users.iter().any(|one| one == user));
            is_wanted && is_below(line)
        });
        let mut paths: Vec<_> = found.iter().map(|(_, line)| self.devices.join(line)).collect();
        paths.sort_unstable();
        paths.dedup();
        paths.truncate(TERMINALS_MAX);
        paths
    }

    fn of_logind(&self) -> Vec<(String, String)> {
        let Ok(entries) = fs::read_dir(&self.sessions) else { return Vec::new() };
        let files = entries.flatten().take(SESSIONS_MAX).filter(|entry| {
            // A FIFO beside it has the same name and `.ref`.
            entry.file_type().is_ok_and(|kind| kind.is_file())
        });
        files.filter_map(|entry| session(&limited(&entry.path(), SESSION_MAX))).collect()
    }
}

/// A file up to a size; empty if it cannot be read.
fn limited(path: &Path, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What could be read of it is enough.
        let _ = file.take(most).read_to_end(&mut bytes);
    }
    bytes
}

/// Returns whether a terminal's name stays below the folder of devices.
fn is_below(line: &str) -> bool {
    let mut parts = Path::new(line).components();
    !line.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// The users and terminals in records of utmp.
pub fn utmp(bytes: &[u8]) -> Vec<(String, String)> {
    let records = bytes.chunks_exact(size_of::<libc::utmpx>());
    records.filter_map(record).collect()
}

fn record(record: &[u8]) -> Option<(String, String)> {
    let kind = i16::from_ne_bytes([record[0], record[1]]);
    let text = |(at, length): (usize, usize)| {
        let field = &record[at..at + length];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
        std::str::from_utf8(&field[..end]).ok().map(str::to_string)
    };
    if kind != USER_PROCESS {
        return None;
    }
    Some((text(USER)?, text(LINE)?))
}

/// The user and the terminal of a session, as sd-login(3) reads them.
pub fn session(bytes: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines.find(|(name, _)| *name == key).map(|(_, value)| value.trim_matches('"').to_string())
    };
    if value("STATE").is_some_and(|state| state == "closing") {
        return None;
    }
    Some((value("USER")?, value("TTY")?))
}

/// A record of utmp, for tests.
#[cfg(test)]
pub fn utmp_of(kind: i16, user: &str, line: &str) -> Vec<u8> {
    let mut record = vec![0; size_of::<libc::utmpx>()];
    record[..2].copy_from_slice(&kind.to_ne_bytes());
    record[LINE.0..LINE.0 + line.len()].copy_from_slice(line.as_bytes());
    record[USER.0..USER.0 + user.len()].copy_from_slice(user.as_bytes());
    record
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn users_of_utmp_and_logind_are_found_once_and_only_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut records = utmp_of(USER_PROCESS, "root", "pts/0");
        records.extend(utmp_of(8, "root", "pts/9"));
        records.extend(utmp_of(USER_PROCESS, "alice", "tty1"));
        records.extend(utmp_of(USER_PROCESS, "root", "../etc/passwd"));
        records.extend(utmp_of(USER_PROCESS, "root", "/etc/passwd"));
        records.extend([7, 0, 1]);
        fs::write(path("utmp"), records).unwrap();
        fs::create_dir(path("sessions")).unwrap();
        let session = |name: &str, text: &str| {
            fs::write(path("sessions").join(name), text).unwrap();
        };
        session("1", "USER=root\nTTY=pts/0\nSTATE=active\n");
        session("2", "USER=root\nTTY=pts/3\nSTATE=online\n");
        session("3", "USER=root\nTTY=pts/4\nSTATE=closing\n");
        session("c1", "USER=alice\nSTATE=active\n");
        let places =
            Places { utmp: path("utmp"), sessions: path("sessions"), devices: "/dev".into() };
        let of = |users: Option<&[String]>| -> Vec<String> {
            let paths = places.terminals(users);
            paths.iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(of(Some(&["root".into()])), ["/dev/pts/0", "/dev/pts/3"]);
        assert_eq!(of(None), ["/dev/pts/0", "/dev/pts/3", "/dev/tty1"]);
        assert_eq!(of(Some(&["bob".into()])), [""; 0]);
        let none = Places { utmp: "/none".into(), sessions: "/none".into(), ..places };
        assert!(none.terminals(None).is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..1000)) {
            let _ = (utmp(&bytes), session(&bytes));
        }
    }
}
