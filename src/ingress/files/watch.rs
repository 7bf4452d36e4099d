//! Finding files: inotify on folders, opening selected files at once, and nothing else.
//!
//! A folder is watched before it is listed, so that nothing is missed in between. There is one
//! watch per folder and none per file. A file whose name is a symbolic link is written under
//! another name, so the target's folder is watched too. If inotify does not work (network file
//! systems) or has no watches left, all folders are listed every second instead.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use nix::sys::statfs::statfs;

use super::core::Role;
use super::disk::{Facts, FileId, Refusal, is_compressed, open};
use super::mail::{Mailbox, News};
use super::refused::Refused;
use crate::ingress::wait::{Waited, rest, wait};
use crate::limits::{
    FOLDER_DEPTH_MAX, FOLDER_NAMES_MAX, FOLLOW_LOOK, FOLLOWED_MAX, FOLLOWED_PART, WATCHED_MAX,
};
use crate::parse::glob::Glob;
use crate::sys::process::open_files_limit;
use crate::wake::Bell;

/// How often events are taken while files are written to: a busy file causes one for each write,
/// and a new one may not exist for long.
const GATHER: Duration = Duration::from_millis(10);
/// How many times of that writes are gathered before they are told. Every time the reader, the loop
/// and the outputs are woken, which costs more than the lines; until then the file holds them.
const GATHERS: u32 = 2;
/// How often the queue is read before anything else is looked at; a read takes 4 KiB of events.
const EVENT_READS: u32 = 64;

/// File systems that do not report changes by other hosts (statfs(2)): NFS, SMB, CIFS, AFS, Ceph,
/// FUSE, 9p.
const REMOTE: [i64; 7] =
    [0x6969, 0x517b, 0xff53_4d42, 0x5346_414f, 0x00c3_6400, 0x6573_5546, 0x0102_1997];

/// Which files are selected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Meant {
    /// Those that match one of these,
    pub globs: Vec<Glob>,
    /// and none of these.
    pub exclude: Vec<Glob>,
}

impl Meant {
    /// Returns whether a path is selected.
    pub fn has(&self, path: &Path) -> bool {
        let matches = |glob: &Glob| glob.matches(path);
        self.globs.iter().any(matches) && !self.exclude.iter().any(matches)
    }
}

/// Finds files and reports them.
pub(super) struct Watcher {
    /// The input, for the log.
    name: String,
    meant: Meant,
    inotify: Option<Inotify>,
    folders: HashMap<WatchDescriptor, Vec<PathBuf>>,
    watched: HashMap<PathBuf, WatchDescriptor>,
    /// Files with symbolic links: from the target's path to the links.
    links: HashMap<PathBuf, Vec<PathBuf>>,
    /// Paths reported to the reader, and the file that each denotes. The reader has it open, so no
    /// other file has its inode.
    known: HashMap<PathBuf, FileId>,
    /// Those of them that were written to, not reported yet.
    changed: HashSet<PathBuf>,
    /// Compressed files seen, and paths of followed files.
    seen: HashSet<PathBuf>,
    refused: Refused,
    /// Files that may have been followed ones, and were not looked into for want of descriptors.
    unopened: u64,
    /// Why folders must be listed periodically; each reason is logged once.
    polls: HashSet<String>,
    /// When folders were last listed.
    looked: Instant,
    first_role: Role,
    is_first: bool,
    mailbox: Mailbox,
    state: Result<(), String>,
}

impl Watcher {
    /// Finds files for the input `name`; files that already exist get this role.
    pub(super) fn new(name: &str, meant: Meant, first_role: Role, mailbox: Mailbox) -> Self {
        Self {
            name: name.into(),
            meant,
            inotify: None,
            folders: HashMap::new(),
            watched: HashMap::new(),
            links: HashMap::new(),
            known: HashMap::new(),
            changed: HashSet::new(),
            looked: Instant::now(),
            seen: HashSet::new(),
            refused: Refused::default(),
            unopened: 0,
            polls: HashSet::new(),
            first_role,
            is_first: true,
            mailbox,
            state: Ok(()),
        }
    }

    /// Finds files until the bell rings.
    pub(super) fn run(mut self, stop: &Bell) {
        match Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC) {
            Ok(inotify) => self.inotify = Some(inotify),
            Err(error) => self.poll_because(format!(
                "there is no inotify instance ({error}): raise the sysctl \
                 fs.inotify.max_user_instances"
            )),
        }
        self.look();
        self.is_first = false;
        if self.unopened > 0 {
            log::warn!(
                "input.{}: {} files beside followed ones are not looked into, as half of the limit \
                 of open files (LimitNOFILE) is reached: if one was rotated while logweir was \
                 down, its last lines are not read",
                self.name,
                self.unopened
            );
        }
        self.mailbox.put(|mail| mail.listed = true);
        loop {
            let next_look = FOLLOW_LOOK.saturating_sub(self.looked.elapsed());
            let longest = self.must_look().then_some(next_look);
            let waited = match &self.inotify {
                Some(inotify) => wait(inotify.as_fd(), stop, longest),
                None => rest(stop, FOLLOW_LOOK),
            };
            match waited {
                Waited::Stopped => return,
                Waited::Ready => {
                    if self.follow_writes(stop) == Waited::Stopped {
                        return;
                    }
                }
                Waited::TimedOut => self.look(),
            }
        }
    }

    /// Whether folders must be listed from time to time.
    fn must_look(&self) -> bool {
        !self.polls.is_empty() || !self.refused.is_empty()
    }

    /// Takes events for as long as they come. The first write is told at once, the next ones are
    /// gathered; names are handled as soon as they are seen.
    fn follow_writes(&mut self, stop: &Bell) -> Waited {
        self.take_events();
        while !self.changed.is_empty() {
            self.tell_changed();
            for _ in 0..GATHERS {
                if rest(stop, GATHER) == Waited::Stopped {
                    return Waited::Stopped;
                }
                self.take_events();
            }
            // Those that are written to all the time keep no others from being looked for.
            if self.must_look() && self.looked.elapsed() >= FOLLOW_LOOK {
                self.look();
            }
        }
        Waited::Ready
    }

    /// Reports the files that were written to.
    fn tell_changed(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        self.mailbox.put(|mail| mail.changed.extend(changed));
    }

    // ---- events

    /// Takes the events that are there, and no more than a great many.
    fn take_events(&mut self) {
        for _ in 0..EVENT_READS {
            let Some(inotify) = &self.inotify else { return };
            let events = match inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                Err(error) => return self.poll_because(format!("inotify does not work: {error}")),
            };
            for event in events {
                self.take_event(&event);
            }
        }
    }

    fn take_event(&mut self, event: &InotifyEvent) {
        let is = |flags| event.mask.intersects(flags);
        if is(AddWatchFlags::IN_Q_OVERFLOW) {
            log::warn!(
                "input.{}: more files changed than inotify could tell of; all are looked at (the \
                 sysctl fs.inotify.max_queued_events says how many events may wait)",
                self.name
            );
            self.mailbox.put(|mail| mail.overflows += 1);
            return self.look();
        }
        let Some(folders) = self.folders.get(&event.wd).cloned() else { return };
        if is(AddWatchFlags::IN_IGNORED) {
            for folder in folders {
                self.leave(&folder);
            }
            return self.enter_roots();
        }
        let Some(name) = &event.name else { return };
        for folder in folders {
            let path = folder.join(name);
            let links = self.links.get(&path).cloned().unwrap_or_default();
            for path in links.into_iter().chain([path]) {
                self.take_name(path, event.mask);
            }
        }
    }

    /// Handles an event for a name.
    fn take_name(&mut self, path: PathBuf, mask: AddWatchFlags) {
        let comes = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        let goes = AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM;
        if mask.contains(AddWatchFlags::IN_ISDIR) {
            if mask.intersects(comes) {
                self.enter(&path);
            } else if mask.intersects(goes) {
                self.leave(&path);
            }
        } else if mask.intersects(goes) {
            // The event may be old: another file, or the same, may have the name by now.
            match self.known.contains_key(&path) {
                true => self.meet(&path, Role::Wanted),
                false => self.gone(&path),
            }
        } else if mask.intersects(comes) || !self.known.contains_key(&path) {
            // A symbolic link may lead to a folder.
            if self.meant.globs.iter().any(|glob| glob.enters(&path)) && path.is_dir() {
                self.enter(&path);
            }
            if self.meant.has(&path) {
                self.meet(&path, Role::Wanted);
            }
        } else {
            self.changed.insert(path);
        }
    }

    // ---- names

    /// Opens a selected file.
    fn meet(&mut self, path: &Path, role: Role) {
        if is_compressed(path) {
            return self.meet_compressed(path);
        }
        if self.known.len() >= FOLLOWED_MAX && !self.known.contains_key(path) {
            return self
                .refuse(path, &format!("{FOLLOWED_MAX} files are followed, and no more can"));
        }
        let is_followed = |file: FileId| self.known.get(path) == Some(&file);
        match open(path) {
            Ok((_, id)) if is_followed(id) => {
                // What was said of its name is old, or the folders were only looked at.
                self.refused.opened(path, id);
                self.changed.insert(path.to_path_buf());
            }
            Ok(_) if self.mailbox.open() >= open_max() => {
                // The file that had the name is rotated, and makes room at its end.
                self.unname(path);
                let most = open_max();
                return self.refuse(
                    path,
                    &format!(
                        "{most} followed files are open, rotated ones among them: half of the \
                         limit of open files (LimitNOFILE)"
                    ),
                );
            }
            Ok((file, id)) => {
                self.refused.opened(path, id);
                self.watch_target(path);
                self.known.insert(path.to_path_buf(), id);
                self.mailbox.found(path.to_path_buf(), file, role);
            }
            Err(Refusal::Gone) => self.gone(path),
            Err(Refusal::Kind(what)) => {
                self.gone(path);
                if self.seen.len() < FOLDER_NAMES_MAX && self.seen.insert(path.to_path_buf()) {
                    log::warn!("input.{}: {path:?} is {what}, and not followed", self.name);
                }
            }
            Err(Refusal::Failed(_))
                if path.metadata().is_ok_and(|found| is_followed(Facts::from(&found).id())) => {}
            Err(Refusal::Failed(error)) => self.refuse(path, &error.to_string()),
        }
        self.tell_state();
    }

    fn refuse(&mut self, path: &Path, why: &str) {
        self.refused.refuse(path, why);
        self.tell_state();
    }

    /// Reports a compressed file. It is not read; its plain form was, if it was followed.
    fn meet_compressed(&mut self, path: &Path) {
        if self.seen.len() >= FOLDER_NAMES_MAX || !self.seen.insert(path.to_path_buf()) {
            return;
        }
        let plain = path.with_extension("");
        if self.is_first {
            // Only the reader knows whether this is the very first start.
            let path = path.to_path_buf();
            return self.mailbox.put(|mail| mail.compressed.push(path));
        }
        if !self.seen.contains(&plain) && !self.known.contains_key(&plain) {
            log::warn!("input.{}: {path:?} is compressed, and not read", self.name);
            self.mailbox.put(|mail| mail.unread += 1);
        }
    }

    fn gone(&mut self, path: &Path) {
        if self.refused.gone(path) {
            self.tell_state();
        }
        self.unname(path);
    }

    /// The same of all paths for which this is so.
    fn gone_where(&mut self, is_gone: impl Fn(&Path) -> bool) {
        let paths = self.known.keys().chain(self.refused.paths());
        let gone: Vec<_> = paths.filter(|path| is_gone(path)).cloned().collect();
        gone.iter().for_each(|path| self.gone(path));
    }

    /// Reports that a path denotes the file no more that was reported.
    fn unname(&mut self, path: &Path) {
        if self.known.remove(path).is_some() {
            if self.seen.len() < FOLDER_NAMES_MAX {
                self.seen.insert(path.to_path_buf());
            }
            let path = path.to_path_buf();
            self.mailbox.put(|mail| mail.news.push(News::Gone(path)));
        }
    }

    /// Handles a symbolic link: the folder of its target is watched too.
    fn watch_target(&mut self, path: &Path) {
        let is_link = path.symlink_metadata().is_ok_and(|found| found.is_symlink());
        let Some(target) = is_link.then(|| path.canonicalize().ok()).flatten() else { return };
        let links = self.links.entry(target.clone()).or_default();
        if !links.iter().any(|link| link == path) {
            links.push(path.to_path_buf());
        }
        if let Some(folder) = target.parent() {
            self.watch(folder, true);
        }
    }

    // ---- folders

    /// Lists everything that may be selected.
    fn look(&mut self) {
        self.looked = Instant::now();
        // Names that went away without an event.
        self.gone_where(|path| !path.try_exists().unwrap_or(true));
        self.enter_roots();
        if let Some((count, which)) = self.refused.take_unread() {
            log::warn!(
                "input.{}: files that could not be read are gone: {count}, as {which}",
                self.name
            );
            self.mailbox.put(|mail| mail.unread += count);
        }
        // Also those that were written to.
        self.changed.clear();
        self.mailbox.put(|mail| mail.all = true);
        self.tell_state();
    }

    fn enter_roots(&mut self) {
        let roots: HashSet<_> = self.meant.globs.iter().map(Glob::root).collect();
        for root in roots {
            // A missing folder will appear in its nearest existing parent. Once that is watched,
            // another may be the nearest.
            let nearest = || root.ancestors().find(|folder| folder.is_dir());
            let mut watched = None;
            while let Some(folder) = nearest().filter(|folder| watched != Some(*folder)) {
                if folder == root {
                    self.enter(&root);
                } else {
                    self.watch(folder, false);
                }
                watched = Some(folder);
            }
        }
    }

    /// Watches a folder and those below it, and opens selected files.
    fn enter(&mut self, folder: &Path) {
        let mut folders = vec![folder.to_path_buf()];
        while let Some(folder) = folders.pop() {
            let enters = self.meant.globs.iter().any(|glob| glob.enters(&folder));
            if !enters || folder.components().count() > FOLDER_DEPTH_MAX || is_loop(&folder) {
                continue;
            }
            let holds = self.meant.globs.iter().any(|glob| glob.holds(&folder));
            self.watch(&folder, holds);
            folders.extend(self.list(&folder, holds));
        }
    }

    /// Lists a folder: returns its folders, opens its files.
    fn list(&mut self, folder: &Path, holds: bool) -> Vec<PathBuf> {
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.refuse(folder, &error.to_string());
                return Vec::new();
            }
        };
        self.refused.listed(folder);
        let (mut folders, mut wanted, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries.take(FOLDER_NAMES_MAX).filter_map(Result::ok) {
            let path = entry.path();
            let kind = entry.file_type();
            let may_be_folder = kind.is_ok_and(|kind| kind.is_dir() || kind.is_symlink());
            if may_be_folder && path.is_dir() {
                folders.push(path);
            } else if holds && self.meant.has(&path) {
                wanted.push(path);
            } else if holds && self.is_first {
                others.push(path);
            }
        }
        self.meet_neighbours(&wanted, others);
        let role = if self.is_first { self.first_role } else { Role::Wanted };
        for path in wanted {
            self.meet(&path, role);
        }
        folders
    }

    /// Opens the files that may have had one of the names before.
    fn meet_neighbours(&mut self, wanted: &[PathBuf], others: Vec<PathBuf>) {
        let stems: HashSet<&[u8]> =
            wanted.iter().filter_map(|path| path.file_stem()).map(OsStr::as_bytes).collect();
        for path in others {
            let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
            if !(1..=name.len()).any(|end| stems.contains(&name[..end])) {
                continue;
            }
            if is_compressed(&path) {
                self.mailbox.put(|mail| mail.near_compressed.push(path));
            } else if self.mailbox.open() >= open_max() {
                self.unopened += 1;
            } else if let Ok((file, _)) = open(&path) {
                self.mailbox.found(path, file, Role::Neighbour);
            }
        }
    }

    fn watch(&mut self, folder: &Path, holds: bool) {
        if let Ok(found) = statfs(folder)
            && REMOTE.contains(&found.filesystem_type().0)
        {
            self.poll_because(format!("{folder:?} is on a file system that tells of no changes"));
        }
        let Some(inotify) = &self.inotify else { return };
        if self.watched.len() >= WATCHED_MAX && !self.watched.contains_key(folder) {
            let why = format!("more than {WATCHED_MAX} folders would have to be watched");
            return self.poll_because(why);
        }
        let mut flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ONLYDIR;
        if holds {
            flags |= AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB;
        }
        // One folder may be watched for two reasons.
        let added = AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
        match inotify.add_watch(folder, flags | added) {
            Ok(descriptor) => {
                self.watched.insert(folder.to_path_buf(), descriptor);
                let paths = self.folders.entry(descriptor).or_default();
                if !paths.iter().any(|path| path == folder) {
                    paths.push(folder.to_path_buf());
                }
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(Errno::ENOSPC) => self.poll_because(
                "no more folders can be watched: raise the sysctl fs.inotify.max_user_watches"
                    .into(),
            ),
            Err(error) => self.refuse(folder, &error.to_string()),
        }
    }

    /// Handles the removal of a folder with everything in it.
    fn leave(&mut self, folder: &Path) {
        let below: Vec<_> =
            self.watched.keys().filter(|path| path.starts_with(folder)).cloned().collect();
        for path in below {
            let Some(descriptor) = self.watched.remove(&path) else { continue };
            if let Some(paths) = self.folders.get_mut(&descriptor) {
                paths.retain(|other| *other != path);
                if paths.is_empty() {
                    self.folders.remove(&descriptor);
                    // It fails if the kernel has already removed it.
                    let _ = self.inotify.as_ref().map(|inotify| inotify.rm_watch(descriptor));
                }
            }
        }
        self.gone_where(|path| path.starts_with(folder));
        self.tell_state();
    }

    // ---- what is said

    fn poll_because(&mut self, why: String) {
        if self.polls.len() < 64 && !self.polls.contains(&why) {
            log::warn!("input.{}: {why}; its folders are listed every second instead", self.name);
            self.polls.insert(why);
        }
    }

    /// Reports what cannot be read, if that has changed.
    fn tell_state(&mut self) {
        let state = self.refused.state();
        if state != self.state {
            self.state.clone_from(&state);
            self.mailbox.put(|mail| mail.state = Some(state));
        }
    }
}

/// The maximum number of files an input may have open: followed ones, and rotated ones until their
/// end.
fn open_max() -> usize {
    usize::try_from(open_files_limit()).unwrap_or(usize::MAX) / FOLLOWED_PART
}

/// Returns whether a folder is one of its own parents, through a symbolic link.
fn is_loop(folder: &Path) -> bool {
    let is = |found: Metadata| (found.dev(), found.ino());
    let Ok(own) = folder.metadata().map(is) else { return false };
    folder.ancestors().skip(1).any(|above| above.metadata().is_ok_and(|found| is(found) == own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_events_are_counted_and_make_up_for_themselves_by_a_look_at_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let glob = Glob::parse(&format!("{}/**/*.log", folder.path().display())).unwrap();
        let meant = Meant { globs: vec![glob], exclude: Vec::new() };
        std::fs::write(path("goes.log"), "x\n").unwrap();
        let mailbox = Mailbox::new(Bell::new().unwrap());
        let mut watcher = Watcher::new("t", meant, Role::Wanted, mailbox.clone());
        watcher.inotify = Some(Inotify::init(InitFlags::IN_NONBLOCK).unwrap());
        watcher.look();
        watcher.is_first = false;
        mailbox.take();
        // Of this, no event arrives.
        std::fs::remove_file(path("goes.log")).unwrap();
        std::fs::create_dir(path("new")).unwrap();
        std::fs::write(path("new/comes.log"), "y\n").unwrap();
        let (wd, cookie, name) = (*watcher.folders.keys().next().unwrap(), 0, None);
        let lost = InotifyEvent { wd, mask: AddWatchFlags::IN_Q_OVERFLOW, cookie, name };
        watcher.take_event(&lost);
        let mail = mailbox.take();
        assert_eq!((mail.overflows, mail.all), (1, true));
        let what = |news: &News| match news {
            News::Found(path, ..) => ("found", path.clone()),
            News::Gone(path) => ("gone", path.clone()),
        };
        let news: Vec<_> = mail.news.iter().map(what).collect();
        assert_eq!(news, [("gone", path("goes.log")), ("found", path("new/comes.log"))]);
        // An event that is older than what was seen by looking takes no name away.
        let path_of = path("new/comes.log");
        watcher.take_name(path_of.clone(), AddWatchFlags::IN_MOVED_FROM);
        assert!(mailbox.take().news.is_empty());
        assert_eq!(watcher.changed, HashSet::from([path_of]));
        // The new folder is watched from now on.
        std::fs::write(path("new/next.log"), "z\n").unwrap();
        watcher.take_events();
        let news: Vec<_> = mailbox.take().news.iter().map(what).collect();
        assert!(news.contains(&("found", path("new/next.log"))), "{news:?}");
    }
}
