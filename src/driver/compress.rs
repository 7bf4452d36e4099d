//! Compressing rotated files.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use crate::fs::{Fs, OsFs, copy_access, regular, scratch};
use crate::output::archive::{packed, unfinished};
use crate::output::open_files::OpenFiles;

/// What to do if the name of the compressed file is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Replace the file: an interrupted run left it, and it holds the same lines.
    Replace,
    /// Choose a free name: the file may hold other lines.
    FreeName,
}

/// Compresses rotated files one after the other, in a thread that is started for the first file.
#[derive(Debug, Default)]
pub(super) struct Compressor {
    open_files: OpenFiles,
    running: Option<Running>,
}

/// The queue of files to compress, and the thread.
type Running = (Sender<(PathBuf, Taken)>, JoinHandle<()>);

impl Compressor {
    /// A compressor that leaves files alone that outputs have open.
    pub(super) fn new(open_files: OpenFiles) -> Self {
        Self { open_files, running: None }
    }

    /// Queues files to be compressed.
    pub(super) fn compress(&mut self, paths: Vec<PathBuf>, taken: Taken) {
        for path in paths {
            if self.running.is_none() {
                let (sender, paths) = channel::<(PathBuf, Taken)>();
                let open_files = self.open_files.clone();
                let work = move || {
                    for (path, taken) in paths {
                        pack_and_report(&path, taken, &open_files);
                    }
                };
                match std::thread::Builder::new().name("compress".into()).spawn(work) {
                    Ok(thread) => self.running = Some((sender, thread)),
                    Err(error) => {
                        log::error!("{}: cannot compress it: {error}", path.display());
                        return;
                    }
                }
            }
            if let Some((sender, _)) = &self.running {
                // The thread lives until its channel is closed.
                let _ = sender.send((path, taken));
            }
        }
    }

    /// Waits until all files are compressed.
    pub(super) fn finish(self) {
        if let Some((sender, thread)) = self.running {
            drop(sender);
            let _ = thread.join();
        }
    }
}

fn pack_and_report(path: &Path, taken: Taken, open_files: &OpenFiles) {
    match pack(path, taken, open_files) {
        Ok(()) => {}
        // Queued twice, or removed by `keep` meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => log::error!("{}: cannot compress it: {error}", path.display()),
    }
}

/// Compresses a file into another one beside it and removes it; a crash in between leaves it whole.
/// A file that is written to meanwhile stays as it is.
fn pack(path: &Path, taken: Taken, open_files: &OpenFiles) -> io::Result<()> {
    if open_files.is_open(path) {
        return Ok(());
    }
    let mut source = regular(path)?;
    let data = source.metadata()?;
    let unfinished = unfinished(path);
    let target = scratch(&unfinished)?;
    let done = encode(&mut source, target, &data).and_then(|bytes| {
        // From here on no output can begin to write to it.
        let claim = open_files.claim(path);
        if claim.is_none() || !is_still(path, &source, bytes)? {
            return fs::remove_file(&unfinished);
        }
        match taken {
            Taken::Replace => fs::rename(&unfinished, packed(path, 0))?,
            Taken::FreeName => put(&unfinished, path)?,
        }
        fs::remove_file(path)
    });
    done.inspect_err(|_| {
        // It may already have been renamed.
        let _ = fs::remove_file(&unfinished);
    })
}

/// Writes the compressed file, with the mode, owner and time of the plain one. Returns the number
/// of plain bytes.
fn encode(source: &mut File, target: File, data: &fs::Metadata) -> io::Result<u64> {
    let mut encoder = zstd::Encoder::new(target, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    encoder.include_checksum(true)?;
    let bytes = io::copy(source, &mut encoder)?;
    let target = encoder.finish()?;
    copy_access(data, &target)?;
    target.set_modified(data.modified()?)?;
    target.sync_all()?;
    Ok(bytes)
}

/// Returns whether `path` still names this file and nothing was written to it since.
fn is_still(path: &Path, source: &File, bytes: u64) -> io::Result<bool> {
    let (there, ours) = (path.symlink_metadata()?, source.metadata()?);
    Ok(there.dev() == ours.dev() && there.ino() == ours.ino() && ours.len() == bytes)
}

/// Gives the compressed file the first free name. If an identical file is there already, an earlier
/// run was interrupted, and the new file is removed.
fn put(unfinished: &Path, path: &Path) -> io::Result<()> {
    for number in 0.. {
        let name = packed(path, number);
        match OsFs.rename_new(unfinished, &name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if is_same(unfinished, &name) {
                    return fs::remove_file(unfinished);
                }
            }
            done => return done,
        }
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (regular(one), regular(other)) else { return false };
    let length = |file: &File| file.metadata().map(|data| data.len()).ok();
    if length(&one) != length(&other) {
        return false;
    }
    let bytes = |file| io::BufReader::new(file).bytes();
    bytes(one).zip(bytes(other)).all(|pair| matches!(pair, (Ok(one), Ok(other)) if one == other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::name::NameTemplate;

    #[test]
    fn a_compressed_file_holds_the_same_and_keeps_its_time_and_mode() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let text = "a line\n".repeat(10_000);
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&path).unwrap();
        pack(&path, Taken::FreeName, &OpenFiles::default()).unwrap();
        let packed = folder.path().join("x.log.zst");
        let data = fs::metadata(&packed).unwrap();
        assert_eq!(zstd::decode_all(File::open(&packed).unwrap()).unwrap(), text.as_bytes());
        assert_eq!(data.modified().unwrap(), before.modified().unwrap());
        assert_eq!(data.permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// The names and the content of the compressed files in a folder.
    fn archives(folder: &Path) -> Vec<(String, String)> {
        let mut archives: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let text = zstd::decode_all(File::open(&path).unwrap()).unwrap();
                let name = path.file_name().unwrap().to_str().unwrap().to_string();
                (name, String::from_utf8(text).unwrap())
            })
            .collect();
        archives.sort();
        archives
    }

    #[test]
    fn a_compressed_file_is_never_replaced_by_one_with_other_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x-10.log");
        for text in ["first\n", "second\n", "third\n", "second\n"] {
            fs::write(&path, text).unwrap();
            pack(&path, Taken::FreeName, &OpenFiles::default()).unwrap();
        }
        let want = [
            ("x-10.log.0001.zst", "second\n"),
            ("x-10.log.0002.zst", "third\n"),
            ("x-10.log.zst", "first\n"),
        ];
        // A file compressed before its plain file could be removed is there once.
        let want = want.map(|(name, text)| (name.to_string(), text.to_string()));
        assert_eq!(archives(folder.path()), want);
        fs::write(&path, "again\n").unwrap();
        pack(&path, Taken::Replace, &OpenFiles::default()).unwrap();
        assert_eq!(archives(folder.path())[2].1, "again\n");
    }

    #[test]
    fn a_file_that_is_written_again_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        fs::write(&path, "a line\n").unwrap();
        let open_files = OpenFiles::default();
        let mark = open_files.join(&NameTemplate::literal("x")).open(&path);
        pack(&path, Taken::FreeName, &open_files).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a line\n");
        let source = regular(&path).unwrap();
        fs::write(&path, "a line\nanother\n").unwrap();
        assert!(!is_still(&path, &source, 7).unwrap());
        drop(mark);
        pack(&path, Taken::FreeName, &open_files).unwrap();
        assert_eq!(archives(folder.path())[0].1, "a line\nanother\n");
    }

    #[test]
    fn no_planted_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("x.log"), tempfile::NamedTempFile::new().unwrap());
        fs::write(other.path(), "kept").unwrap();
        fs::write(&path, "a line\n").unwrap();
        std::os::unix::fs::symlink(other.path(), unfinished(&path)).unwrap();
        pack(&path, Taken::FreeName, &OpenFiles::default()).unwrap();
        assert_eq!(archives(folder.path()), [("x.log.zst".to_string(), "a line\n".to_string())]);
        std::os::unix::fs::symlink(other.path(), &path).unwrap();
        assert!(pack(&path, Taken::FreeName, &OpenFiles::default()).is_err());
        assert_eq!(fs::read_to_string(other.path()).unwrap(), "kept");
    }
}
