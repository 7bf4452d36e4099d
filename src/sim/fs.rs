//! A file system in memory that can be full.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::fs::{Fs, FsFile};

/// A file system; clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimFs {
    disk: Rc<RefCell<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<PathBuf, Rc<RefCell<Vec<u8>>>>,
    folders: BTreeSet<PathBuf>,
    /// Bytes that fit yet; `None` for no bound.
    room: Option<usize>,
}

/// An open file. It lives on under no name when it is removed.
#[derive(Debug)]
pub(crate) struct SimFile {
    disk: Rc<RefCell<Disk>>,
    bytes: Rc<RefCell<Vec<u8>>>,
}

impl SimFs {
    /// Leaves so much room; a write that needs more is cut short, and the next one fails.
    pub(crate) fn set_room(&self, room: Option<usize>) {
        self.disk.borrow_mut().room = room;
    }

    /// All files by name, with what they hold.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let disk = self.disk.borrow();
        disk.files.iter().map(|(path, bytes)| (path.clone(), bytes.borrow().clone())).collect()
    }
}

impl Fs for SimFs {
    type File = SimFile;

    fn append(&self, path: &Path, _mode: u32) -> io::Result<SimFile> {
        let mut disk = self.disk.borrow_mut();
        let folder = path.parent().unwrap_or_else(|| Path::new("/"));
        if folder != Path::new("/") && !disk.folders.contains(folder) {
            return Err(ErrorKind::NotFound.into());
        }
        let bytes = Rc::clone(disk.files.entry(path.to_path_buf()).or_default());
        Ok(SimFile { disk: Rc::clone(&self.disk), bytes })
    }

    fn create_folders(&self, path: &Path) -> io::Result<()> {
        self.disk.borrow_mut().folders.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        let file = disk.files.remove(from).ok_or(ErrorKind::NotFound)?;
        disk.files.insert(to.to_path_buf(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk
            .borrow_mut()
            .files
            .remove(path)
            .map(drop)
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn exists(&self, path: &Path) -> bool {
        self.disk.borrow().files.contains_key(path)
    }

    fn modified(&self, _path: &Path) -> io::Result<SystemTime> {
        Ok(UNIX_EPOCH)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let disk = self.disk.borrow();
        Ok(disk.files.keys().filter(|path| path.parent() == Some(folder)).cloned().collect())
    }
}

impl FsFile for SimFile {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut disk = self.disk.borrow_mut();
        let wanted: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let fits = disk.room.map_or(wanted.len(), |room| room.min(wanted.len()));
        if fits == 0 && !wanted.is_empty() {
            return Err(ErrorKind::StorageFull.into());
        }
        if let Some(room) = &mut disk.room {
            *room -= fits;
        }
        self.bytes.borrow_mut().extend_from_slice(&wanted[..fits]);
        Ok(fits)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes.borrow().len() as u64)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap();
        let cut = self.bytes.borrow().len() - len;
        self.bytes.borrow_mut().truncate(len);
        if let Some(room) = &mut self.disk.borrow_mut().room {
            *room += cut;
        }
        Ok(())
    }
}
