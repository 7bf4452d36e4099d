//! Compressing files that were set aside.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// Compresses files set aside, one after the other, in a thread of its own that is started
/// when the first file comes.
#[derive(Debug, Default)]
pub(super) struct Compressor {
    running: Option<(Sender<PathBuf>, JoinHandle<()>)>,
}

impl Compressor {
    /// Has files compressed.
    pub(super) fn compress(&mut self, paths: Vec<PathBuf>) {
        for path in paths {
            if self.running.is_none() {
                let (sender, paths) = channel::<PathBuf>();
                let thread = std::thread::Builder::new().name("compress".into());
                match thread.spawn(move || paths.iter().for_each(|path| pack_and_say(&path))) {
                    Ok(thread) => self.running = Some((sender, thread)),
                    Err(error) => {
                        log::error!("{}: not compressed: {error}", path.display());
                        return;
                    }
                }
            }
            if let Some((sender, _)) = &self.running {
                // The thread lives until its channel is closed.
                let _ = sender.send(path);
            }
        }
    }

    /// Waits until all are.
    pub(super) fn finish(self) {
        if let Some((sender, thread)) = self.running {
            drop(sender);
            let _ = thread.join();
        }
    }
}

fn pack_and_say(path: &Path) {
    match pack(path) {
        Ok(()) => {}
        // Named twice, or removed by `keep` meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => log::error!("{}: not compressed: {error}", path.display()),
    }
}

/// Compresses a file beside itself and removes it; a crash in between leaves the file whole.
fn pack(path: &Path) -> io::Result<()> {
    let mut source = File::open(path)?;
    let data = source.metadata()?;
    let mut unfinished = path.as_os_str().to_os_string();
    unfinished.push(".zst.part");
    // A link that somebody planted there is not followed.
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).custom_flags(libc::O_NOFOLLOW);
    let target = options.open(&unfinished)?;
    target.set_permissions(data.permissions())?;
    let mut encoder = zstd::Encoder::new(target, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    encoder.include_checksum(true)?;
    io::copy(&mut source, &mut encoder)?;
    let target = encoder.finish()?;
    target.set_modified(data.modified()?)?;
    target.sync_all()?;
    let mut finished = path.as_os_str().to_os_string();
    finished.push(".zst");
    fs::rename(&unfinished, &finished)?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_file_holds_the_same_and_keeps_its_time_and_mode() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let text = "a line\n".repeat(10_000);
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&path).unwrap();
        pack(&path).unwrap();
        let packed = folder.path().join("x.log.zst");
        let data = fs::metadata(&packed).unwrap();
        assert_eq!(zstd::decode_all(File::open(&packed).unwrap()).unwrap(), text.as_bytes());
        assert_eq!(data.modified().unwrap(), before.modified().unwrap());
        assert_eq!(data.permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
