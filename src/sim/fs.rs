//! An in-memory file system that can be full, fail, and lose unsynced data.
//!
//! Every file and every name has two states: the live one, which the program sees, and the durable
//! one, which survives a crash. A sync makes a file's bytes durable; a sync of a folder makes its
//! names durable. [`Loss`] selects what a crash leaves of the rest. Each modifying call counts as
//! one operation, and [`SimFs::crash_at`] stops the machine at one of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::fs::{Fs, FsFile, Kind};

/// What a crash does to unsynced data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of it is lost.
    All,
    /// Nothing is lost: the process died, the machine did not.
    None,
    /// Names survive, bytes do not.
    Bytes,
    /// Bytes survive, names do not.
    Names,
    /// Names and half of the bytes survive.
    Half,
    /// Names survive; the first half of the bytes is zeros, as if pages were written out of order.
    Holes,
}

/// Every [`Loss`].
pub(crate) const LOSSES: [Loss; 6] =
    [Loss::All, Loss::None, Loss::Bytes, Loss::Names, Loss::Half, Loss::Holes];

/// A file system; clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimFs {
    disk: Rc<RefCell<Disk>>,
}

type Inode = Rc<RefCell<Data>>;

#[derive(Debug, Default, Clone)]
struct Data {
    live: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Default)]
struct Disk {
    live: BTreeMap<PathBuf, Inode>,
    durable: BTreeMap<PathBuf, Inode>,
    folders: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    /// Bytes that still fit; `None` if unlimited.
    room: Option<usize>,
    /// The free space it reports, whatever is removed.
    late: Option<u64>,
    operations: u64,
    /// How often a folder was listed.
    listings: u64,
    /// The operation at which the machine stops.
    crash_at: Option<u64>,
    /// The operation that fails, if it is a sync.
    fail_sync_at: Option<u64>,
    /// True if every sync fails.
    no_sync: bool,
}

/// An open file. It survives its removal.
#[derive(Debug)]
pub(crate) struct SimFile {
    disk: Rc<RefCell<Disk>>,
    inode: Inode,
    /// For a shared handle: the length of the file when the handle was made. A sync through it
    /// makes no more than that durable, as a sync that began then might.
    until: Option<usize>,
}

/// A lock, released on drop.
#[derive(Debug)]
pub(crate) struct SimLock {
    disk: Rc<RefCell<Disk>>,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.borrow_mut().locks.remove(&self.path);
    }
}

impl Disk {
    /// Counts an operation; fails if the machine has stopped.
    fn step(&mut self) -> io::Result<()> {
        if self.crash_at.is_some_and(|at| self.operations >= at) {
            return Err(io::Error::other("the machine has stopped"));
        }
        self.operations += 1;
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<Inode> {
        Ok(Rc::clone(self.live.get(path).ok_or(ErrorKind::NotFound)?))
    }
}

impl SimFs {
    /// Limits the free space; a write that needs more is cut short, and the next one fails.
    pub(crate) fn set_room(&self, room: Option<usize>) {
        self.disk.borrow_mut().room = room;
    }

    /// Reports a fixed amount of free space from now on, whatever is removed.
    pub(crate) fn set_late(&self, free: Option<u64>) {
        self.disk.borrow_mut().late = free;
    }

    /// All files and their content.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let disk = self.disk.borrow();
        disk.live.iter().map(|(path, data)| (path.clone(), data.borrow().live.clone())).collect()
    }

    /// How often a folder was listed so far.
    pub(crate) fn listings(&self) -> u64 {
        self.disk.borrow().listings
    }

    /// The number of operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.disk.borrow().operations
    }

    /// Stops the machine before operation `at`: it and all later ones fail.
    pub(crate) fn crash_at(&self, at: u64) {
        self.disk.borrow_mut().crash_at = Some(at);
    }

    /// Returns whether the machine has stopped.
    pub(crate) fn has_stopped(&self) -> bool {
        let disk = self.disk.borrow();
        disk.crash_at.is_some_and(|at| disk.operations >= at)
    }

    /// Makes operation `at` fail if it is a sync.
    pub(crate) fn fail_sync_at(&self, at: u64) {
        self.disk.borrow_mut().fail_sync_at = Some(at);
    }

    /// Makes every sync fail, or none.
    pub(crate) fn fail_syncs(&self, fail: bool) {
        self.disk.borrow_mut().no_sync = fail;
    }

    /// The file system as the machine finds it after a restart.
    pub(crate) fn after_crash(&self, loss: Loss) -> Self {
        let disk = self.disk.borrow();
        let names = match loss {
            Loss::All | Loss::Names => &disk.durable,
            _ => &disk.live,
        };
        let files = names.iter().map(|(path, inode)| {
            let data = survive(&inode.borrow(), loss);
            (path.clone(), Rc::new(RefCell::new(Data { live: data.clone(), durable: data })))
        });
        let live: BTreeMap<_, _> = files.collect();
        // There are no hard links here, so no inode has two names.
        let durable = live.clone();
        let folders = disk.folders.clone();
        let new = Disk { live, durable, folders, ..Disk::default() };
        Self { disk: Rc::new(RefCell::new(new)) }
    }

    /// Puts a durable file there.
    pub(crate) fn put(&self, path: &Path, content: &[u8]) {
        let data = Data { live: content.to_vec(), durable: content.to_vec() };
        let inode = Rc::new(RefCell::new(data));
        let mut disk = self.disk.borrow_mut();
        disk.live.insert(path.into(), Rc::clone(&inode));
        disk.durable.insert(path.into(), inode);
    }
}

/// The surviving bytes of a file.
fn survive(data: &Data, loss: Loss) -> Vec<u8> {
    let cut = data.durable.len() > data.live.len();
    let new = data.live.get(data.durable.len()..).unwrap_or_default();
    match loss {
        Loss::None | Loss::Names => data.live.clone(),
        Loss::All | Loss::Bytes => data.durable.clone(),
        // A truncated file: the truncation may or may not have survived.
        Loss::Half | Loss::Holes if cut => data.live.clone(),
        Loss::Half => [&data.durable[..], &new[..new.len() / 2]].concat(),
        Loss::Holes => {
            let holes = vec![0; new.len() / 2];
            [&data.durable[..], &holes[..], &new[new.len() / 2..]].concat()
        }
    }
}

impl Fs for SimFs {
    type File = SimFile;
    type Lock = SimLock;

    fn append(&self, path: &Path, _mode: u32) -> io::Result<SimFile> {
        let mut disk = self.disk.borrow_mut();
        let folder = path.parent().unwrap_or_else(|| Path::new("/"));
        if folder != Path::new("/") && !disk.folders.contains(folder) {
            return Err(ErrorKind::NotFound.into());
        }
        if !disk.live.contains_key(path) {
            disk.step()?;
        }
        let inode = Rc::clone(disk.live.entry(path.to_path_buf()).or_default());
        Ok(SimFile { disk: Rc::clone(&self.disk), inode, until: None })
    }

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let inode = self.disk.borrow().find(path)?;
        Ok(SimFile { disk: Rc::clone(&self.disk), inode, until: None })
    }

    fn create_folders(&self, path: &Path) -> io::Result<()> {
        self.disk.borrow_mut().folders.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.step()?;
        let file = disk.live.remove(from).ok_or(ErrorKind::NotFound)?;
        disk.live.insert(to.to_path_buf(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.step()?;
        let inode = disk.live.remove(path).ok_or(ErrorKind::NotFound)?;
        let bytes = inode.borrow().live.len();
        if let Some(room) = &mut disk.room {
            *room += bytes;
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        let disk = self.disk.borrow();
        disk.live.contains_key(path) || disk.folders.contains(path)
    }

    fn modified(&self, _path: &Path) -> io::Result<SystemTime> {
        Ok(UNIX_EPOCH)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(self.disk.borrow().find(path)?.borrow().live.len() as u64)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut disk = self.disk.borrow_mut();
        disk.listings += 1;
        if !disk.folders.contains(folder) {
            return Err(ErrorKind::NotFound.into());
        }
        let names = disk.live.keys().chain(&disk.folders);
        Ok(names.filter(|path| path.parent() == Some(folder)).cloned().collect())
    }

    fn entries(&self, folder: &Path) -> io::Result<Vec<(PathBuf, Kind)>> {
        let paths = self.list(folder)?.into_iter();
        let is_folder = |path: &PathBuf| self.disk.borrow().folders.contains(path);
        Ok(paths
            .map(|path| if is_folder(&path) { (path, Kind::Folder) } else { (path, Kind::File) })
            .collect())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.sync_step()?;
        let inside = |path: &PathBuf| path.parent() == Some(folder);
        disk.durable.retain(|path, _| !inside(path));
        let now: Vec<_> = disk.live.iter().map(|(p, i)| (p.clone(), Rc::clone(i))).collect();
        disk.durable.extend(now.into_iter().filter(|(path, _)| inside(path)));
        Ok(())
    }

    fn free(&self, _folder: &Path) -> io::Result<u64> {
        let disk = self.disk.borrow();
        Ok(disk.late.unwrap_or_else(|| disk.room.map_or(u64::MAX, |room| room as u64)))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<SimLock>> {
        let new = self.disk.borrow_mut().locks.insert(path.into());
        Ok(new.then(|| SimLock { disk: Rc::clone(&self.disk), path: path.into() }))
    }
}

impl Disk {
    fn sync_step(&mut self) -> io::Result<()> {
        let at = self.operations;
        self.step()?;
        if self.no_sync || self.fail_sync_at == Some(at) {
            return Err(io::Error::other("input/output error"));
        }
        Ok(())
    }
}

impl FsFile for SimFile {
    fn share(&self) -> io::Result<Self> {
        let until = Some(self.inode.borrow().live.len());
        Ok(Self { disk: Rc::clone(&self.disk), inode: Rc::clone(&self.inode), until })
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut disk = self.disk.borrow_mut();
        disk.step()?;
        let wanted: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let fits = disk.room.map_or(wanted.len(), |room| room.min(wanted.len()));
        if fits == 0 && !wanted.is_empty() {
            return Err(ErrorKind::StorageFull.into());
        }
        if let Some(room) = &mut disk.room {
            *room -= fits;
        }
        self.inode.borrow_mut().live.extend_from_slice(&wanted[..fits]);
        Ok(fits)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.inode.borrow().live.len() as u64)
    }

    fn preallocate(&mut self, _from: u64, _bytes: u64) -> io::Result<()> {
        // It has no visible effect.
        Ok(())
    }

    fn release(&mut self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.step()?;
        let len = usize::try_from(len).unwrap();
        let mut data = self.inode.borrow_mut();
        let cut = data.live.len() - len;
        data.live.truncate(len);
        if let Some(room) = &mut disk.room {
            *room += cut;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let failed = self.disk.borrow_mut().sync_step();
        let mut data = self.inode.borrow_mut();
        failed?;
        let until = self.until.unwrap_or(usize::MAX).min(data.live.len());
        // Data that another sync made durable meanwhile stays durable.
        if until >= data.durable.len() || data.live.len() < data.durable.len() {
            data.durable = data.live[..until].to_vec();
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let data = self.inode.borrow();
        let rest = data.live.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}
