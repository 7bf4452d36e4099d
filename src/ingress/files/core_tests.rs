//! Complete histories of a log that is written, rotated, truncated and read, with the daemon
//! stopped at any point, and with a spool that keeps any prefix of what it was last given.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::BytesMut;

use super::core::{Core, Manner, Role};
use super::decode::Plain;
use super::disk::{Disk, Facts, Tailed, is_rotation};
use crate::batch::Span;
use crate::clock::Mono;
use crate::ids::Identity;

const LOG: &str = "/log/app.log";

/// A folder with files. Files without a name remain while they are open.
#[derive(Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    clock: u64,
}

#[derive(Default)]
struct Inode {
    bytes: Vec<u8>,
    born: u64,
    written: u64,
    written_to: bool,
}

#[derive(Clone, Default)]
struct SimDisk(Rc<RefCell<World>>);

struct SimFile(SimDisk, usize);

impl Tailed for SimFile {
    fn facts(&self) -> io::Result<Facts> {
        let world = self.0.0.borrow();
        let inode = &world.inodes[self.1];
        Ok(Facts {
            device: 1,
            inode: self.1 as u64,
            born: Duration::from_nanos(inode.born),
            links: world.names.values().filter(|one| **one == self.1).count() as u64,
            size: inode.bytes.len() as u64,
            written: UNIX_EPOCH + Duration::from_nanos(inode.written),
        })
    }

    fn read(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let world = self.0.0.borrow();
        let bytes = &world.inodes[self.1].bytes;
        let from = usize::try_from(at).unwrap().min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn append_to(&self, buffer: &mut BytesMut, count: usize, at: u64) -> io::Result<usize> {
        let start = buffer.len();
        buffer.resize(start + count, 0);
        let read = self.read(&mut buffer[start..], at)?;
        buffer.truncate(start + read);
        Ok(read)
    }

    fn has_writer(&self) -> Option<bool> {
        Some(self.0.0.borrow().inodes[self.1].written_to)
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn neighbours(&self, path: &Path) -> Vec<(PathBuf, SimFile)> {
        let world = self.0.borrow();
        let near = world
            .names
            .iter()
            .filter(|(other, _)| other.as_path() != path && is_rotation(path, other));
        near.map(|(name, inode)| (name.clone(), SimFile(self.clone(), *inode))).collect()
    }
}

impl SimDisk {
    fn create(&self, path: &str) -> usize {
        let mut world = self.0.borrow_mut();
        world.clock += 1;
        let born = world.clock;
        world.inodes.push(Inode { bytes: Vec::new(), born, written: born, written_to: true });
        let inode = world.inodes.len() - 1;
        world.names.insert(path.into(), inode);
        inode
    }

    fn write(&self, inode: usize, bytes: &[u8]) {
        let mut world = self.0.borrow_mut();
        world.clock += 1;
        let written = world.clock;
        world.inodes[inode].bytes.extend_from_slice(bytes);
        world.inodes[inode].written = written;
    }

    fn rename(&self, from: &str, to: &str) {
        let mut world = self.0.borrow_mut();
        let inode = world.names.remove(Path::new(from)).unwrap();
        world.names.insert(to.into(), inode);
    }

    fn copy_and_truncate(&self, from: &str, to: &str) {
        let copy = self.create(to);
        let mut world = self.0.borrow_mut();
        let inode = world.names[Path::new(from)];
        world.inodes[copy].bytes = std::mem::take(&mut world.inodes[inode].bytes);
        world.inodes[copy].written_to = false;
    }

    fn names(&self) -> Vec<(PathBuf, usize)> {
        self.0.borrow().names.iter().map(|(name, inode)| (name.clone(), *inode)).collect()
    }
}

/// A spool: durable rows, and rows of which a crash keeps only a prefix.
#[derive(Default)]
struct Spool {
    rows: Vec<(Span, Vec<u8>)>,
    durable: usize,
    lasts: HashMap<Identity, u64>,
}

impl Spool {
    fn append(&mut self, span: Span, bytes: &[u8]) {
        if self.lasts.get(&span.origin).is_some_and(|last| span.last <= *last) {
            return;
        }
        self.rows.push((span, bytes.to_vec()));
        self.lasts.insert(span.origin, span.last);
    }

    fn crash(&mut self, random: &mut fastrand::Rng) {
        let kept = random.usize(self.durable..=self.rows.len());
        self.rows.truncate(kept);
        self.durable = kept;
        self.lasts = self.rows.iter().map(|(span, _)| (span.origin, span.last)).collect();
    }

    fn lines(&self) -> Vec<String> {
        let bytes = self.rows.iter().flat_map(|(_, bytes)| bytes).copied().collect::<Vec<_>>();
        String::from_utf8(bytes).unwrap().lines().map(str::to_string).collect()
    }
}

/// A daemon that follows the log into spools.
struct Daemon {
    core: Core<SimDisk>,
    /// The inquiry in flight: its ended origins, and how many rows each spool had.
    asked: Option<(crate::batch::Inquiry, Vec<usize>)>,
}

struct Sim {
    disk: SimDisk,
    spools: Vec<Spool>,
    daemon: Daemon,
    now: Mono,
    random: fastrand::Rng,
}

fn manner() -> Manner {
    Manner {
        max_line: 1000,
        keep_open: Duration::from_secs(1000),
        timeout: Duration::from_secs(1),
        ignore_older: None,
        decoder: Box::new(|_| Box::new(Plain { max_line: 1000 })),
    }
}

impl Sim {
    fn new(spools: usize, seed: u64) -> Self {
        let disk = SimDisk::default();
        let core = Core::new(disk.clone(), manner(), HashMap::new());
        let daemon = Daemon { core, asked: None };
        let spools = (0..spools).map(|_| Spool::default()).collect();
        let random = fastrand::Rng::with_seed(seed);
        let mut sim = Self { disk, spools, daemon, now: Mono::default(), random };
        sim.list(true);
        sim
    }

    /// Lists the folder, as after an event; at a start also its other files.
    fn list(&mut self, start: bool) {
        let names = self.disk.names();
        for (path, inode) in &names {
            let wanted = path == Path::new(LOG);
            if wanted || start {
                let role = if wanted { Role::Wanted } else { Role::Neighbour };
                let file = SimFile(self.disk.clone(), *inode);
                self.daemon.core.found(path.clone(), file, role, self.now, UNIX_EPOCH);
            }
        }
        if !names.iter().any(|(path, _)| path == Path::new(LOG)) {
            self.daemon.core.gone(Path::new(LOG), self.now);
        }
        self.daemon.core.suspect_all();
    }

    /// Reads up to `most` pieces, and lets queries be sent and answered.
    fn read(&mut self, most: usize) {
        for _ in 0..most {
            self.converse();
            let Some(piece) = self.daemon.core.read(self.now) else { break };
            let span = piece.origin.unwrap();
            assert!(span.first <= span.last);
            for spool in &mut self.spools {
                // One spool may be ahead of another.
                spool.append(span, &piece.bytes);
                if self.random.u8(..4) == 0 {
                    spool.durable = spool.rows.len();
                }
            }
        }
        self.converse();
    }

    fn converse(&mut self) {
        if self.daemon.asked.is_none()
            && let Some(inquiry) = self.daemon.core.inquire()
        {
            let marks = self.spools.iter().map(|spool| spool.rows.len()).collect();
            self.daemon.asked = Some((inquiry, marks));
        }
        if self.random.bool() {
            return;
        }
        let Some((inquiry, marks)) = self.daemon.asked.take() else { return };
        for (spool, mark) in self.spools.iter_mut().zip(marks) {
            spool.durable = spool.durable.max(mark);
            for ended in &inquiry.ended {
                spool.lasts.remove(ended);
            }
        }
        self.daemon.core.has_ended(&inquiry.ended);
        if !inquiry.kinds.is_empty() {
            let of = |spool: &Spool| {
                let kin = spool.lasts.iter().filter(|(is, _)| inquiry.kinds.contains(&is.kind()));
                kin.map(|(is, last)| (*is, *last)).collect()
            };
            let kin: Vec<Vec<_>> = self.spools.iter().map(of).collect();
            self.daemon.core.answered(&kin, self.now);
        }
    }

    /// Exchanges messages until everything is answered.
    fn settle_asked(&mut self) {
        for _ in 0..20 {
            self.read(1000);
            self.daemon.core.suspect_all();
            self.now = self.now + Duration::from_secs(2);
        }
    }

    fn kill(&mut self) {
        for spool in &mut self.spools {
            spool.crash(&mut self.random);
        }
        let core = Core::new(self.disk.clone(), manner(), HashMap::new());
        self.daemon = Daemon { core, asked: None };
        self.list(true);
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            self.list(false);
            self.read(1000);
            self.now = self.now + Duration::from_secs(2);
        }
        assert!(self.daemon.asked.is_none() || self.spools.is_empty());
    }
}

/// The way a history rotates.
#[derive(Clone, Copy, PartialEq)]
enum Rotation {
    Rename,
    Copy,
    Both,
}

/// A history of random steps; returns the lines written.
fn history(sim: &mut Sim, rotation: Rotation, kills: bool, header: bool) -> Vec<String> {
    let mut written = Vec::new();
    let mut number = 0;
    let mut rotations = 0;
    let mut inode = sim.disk.create(LOG);
    if header {
        sim.disk.write(inode, b"# header\n");
    }
    // A file can only be recognised if something of it is on disk.
    sim.disk.write(inode, b"first 00\n");
    written.push("first 00".to_string());
    sim.list(false);
    sim.settle_asked();
    sim.spools.iter_mut().for_each(|spool| spool.durable = spool.rows.len());
    for _ in 0..200 {
        match sim.random.u8(..12) {
            0..=4 => {
                for _ in 0..sim.random.u32(1..6) {
                    let line = format!("line {number:06} {}", "x".repeat(sim.random.usize(..40)));
                    number += 1;
                    let (half, rest) = line.split_at(sim.random.usize(..line.len()));
                    sim.disk.write(inode, half.as_bytes());
                    if sim.random.u8(..4) == 0 {
                        sim.list(false);
                        sim.read(2);
                    }
                    sim.disk.write(inode, format!("{rest}\n").as_bytes());
                    written.push(line);
                }
            }
            5..=8 => {
                sim.list(false);
                let most = sim.random.usize(1..5);
                sim.read(most);
            }
            9 => sim.now = sim.now + Duration::from_millis(sim.random.u64(..3000)),
            10 => {
                rotations += 1;
                // The daemon opens a file at once.
                sim.list(false);
                let to = format!("{LOG}-{rotations:05}");
                let is_empty = sim.disk.0.borrow().inodes[inode].bytes.is_empty();
                let copies = !is_empty
                    && match rotation {
                        Rotation::Both => sim.random.bool(),
                        one => one == Rotation::Copy,
                    };
                if copies {
                    // What was never seen before the truncation cannot be found again, nor can a
                    // truncation be detected if the new beginning equals everything read of the old
                    // one.
                    let line = format!("line {number:06}");
                    number += 1;
                    sim.disk.write(inode, format!("{line}\n").as_bytes());
                    written.push(line);
                    sim.list(false);
                    sim.settle_asked();
                    sim.read(1000);
                    sim.spools.iter_mut().for_each(|spool| spool.durable = spool.rows.len());
                    for _ in 0..sim.random.u32(0..5) {
                        let line = format!("line {number:06}");
                        number += 1;
                        sim.disk.write(inode, format!("{line}\n").as_bytes());
                        written.push(line);
                    }
                    sim.disk.copy_and_truncate(LOG, &to);
                } else {
                    sim.disk.rename(LOG, &to);
                    let old = inode;
                    inode = sim.disk.create(LOG);
                    sim.disk.0.borrow_mut().inodes[old].written_to = false;
                }
                if header {
                    sim.disk.write(inode, b"# header\n");
                }
                // A truncation is only seen if the daemon checks between two of them.
                sim.list(false);
                sim.read(1000);
                for _ in 0..3 {
                    sim.now = sim.now + Duration::from_secs(2);
                    sim.read(1000);
                }
            }
            _ if kills => sim.kill(),
            _ => {}
        }
    }
    sim.settle();
    written
}

/// Checks that each line is there once; with `in_order` also in the same order.
fn assert_same(got: &[String], written: &[String], in_order: bool, what: &str) {
    let count = |lines: &[String]| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        lines.iter().for_each(|line| *counts.entry(line.clone()).or_default() += 1);
        counts
    };
    let (got_counts, written_counts) = (count(got), count(written));
    let lost: Vec<_> = written.iter().filter(|line| !got_counts.contains_key(*line)).collect();
    let wrong = got_counts.iter().filter(|(line, n)| written_counts.get(*line) != Some(n));
    let wrong: Vec<_> = wrong.collect();
    assert!(lost.is_empty() && wrong.is_empty(), "{what}: lost {lost:?}, wrong {wrong:?}");
    if in_order {
        let at = got.iter().zip(written).find(|(got, written)| got != written);
        assert_eq!(at, None, "{what}");
    }
}

fn rotation(seed: u64) -> Rotation {
    [Rotation::Rename, Rotation::Copy, Rotation::Both][usize::try_from(seed % 3).unwrap()]
}

#[test]
fn every_line_is_in_the_spool_once_whatever_is_rotated_and_killed() {
    for seed in 0..30 {
        let mut sim = Sim::new(1, seed);
        let written = history(&mut sim, rotation(seed), true, false);
        assert_same(&sim.spools[0].lines(), &written, false, &format!("seed {seed}"));
    }
}

#[test]
fn without_kills_the_lines_of_a_log_are_in_order() {
    for seed in 0..20 {
        let mut sim = Sim::new(1, seed);
        let written = history(&mut sim, rotation(seed), false, false);
        assert_same(&sim.spools[0].lines(), &written, true, &format!("seed {seed}"));
    }
}

#[test]
fn two_spools_that_keep_different_parts_get_each_line_once() {
    for seed in 0..20 {
        let mut sim = Sim::new(2, seed);
        let written = history(&mut sim, Rotation::Both, true, false);
        for spool in &sim.spools {
            assert_same(&spool.lines(), &written, false, &format!("seed {seed}"));
        }
    }
}

#[test]
fn files_that_all_begin_alike_are_told_apart() {
    for seed in 0..20 {
        let mut sim = Sim::new(1, seed);
        let written = history(&mut sim, Rotation::Both, false, true);
        let mut lines = sim.spools[0].lines();
        lines.retain(|line| line != "# header");
        assert_same(&lines, &written, true, &format!("seed {seed}"));
    }
}
