//! The spool against a disk that stops, lies and fills up, and against a plain list.
//!
//! How the disk buffers of others failed their users, and the test here that would fail so too:
//!
//! - a count beside the data disagreed with it (rsyslog #868, #921, #1269; Vector #16231):
//!   `a_cursor_of_another_spool_or_a_damaged_one_is_no_cursor`.
//! - an index was lost and the queue begun afresh over its data (rsyslog #5771):
//!   `a_lost_identity_is_found_in_the_segments`, `what_is_gone_is_not_numbered_again`.
//! - two records ran into each other (rsyslog #2655):
//!   `a_bit_turned_anywhere_costs_at_most_its_own_batch`.
//! - a short write left bytes that the next record was put behind (rsyslog segmented disk):
//!   `a_short_write_on_a_full_disk_is_cut_back_first`.
//! - lines were lost at a restart with the destination away (rsyslog #5364, syslog-ng
//!   #5714): `forward::what_a_grace_does_not_suffice_for_stays_in_the_spool`.
//! - another destination orphaned the queue (syslog-ng #3299):
//!   `forward::a_spool_goes_on_when_its_output_gets_another_peer`.
//! - a bad configuration deleted the backlog (Fluent Bit #2246):
//!   `forward::a_refused_configuration_leaves_the_spool_alone`.
//! - an upgrade threw the backlog away (Fluent Bit #7279):
//!   `a_folder_that_makes_no_sense_is_refused_and_left_as_it_is`.
//! - one bad chunk prevented the start or blocked all behind it (Fluent Bit #5265, #11847;
//!   Scribe): `a_bit_turned_anywhere_costs_at_most_its_own_batch`.
//! - start-up looped after a crash (Vector #17644), partial writes panicked (#13178):
//!   `a_segment_cut_anywhere_keeps_the_batches_before_the_cut`.
//! - a file was unlinked before what replaced it was durable (Vector #25570):
//!   `nothing_acknowledged_is_lost_wherever_the_machine_stops`.
//! - new files vanished for want of a sync of their folder (Vector #25766): the same,
//!   `Loss::Names`.
//! - the last event waited for the next one (Vector #22946):
//!   `forward::several_outputs_read_one_spool_each_at_its_own_pace`.
//! - a failed sync was asked again and believed (PostgreSQL's, s6, go-diskqueue):
//!   `a_failed_sync_is_never_asked_again_of_the_same_segment`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::age::Now;
use super::cursor::Cursor;
use super::format::{Header, Row};
use super::plan::{SpoolFull, SpoolKeep, SpoolPlan, Sync};
use super::reader::{Read, Reader};
use super::recover::{Opened, open};
use super::sync::{Ended, Syncing};
use super::writer::{Outcome, Writer};
use crate::batch::{Batch, Span};
use crate::clock::Mono;
use crate::filter::batch_of;
use crate::fs::Fs;
use crate::ids::Identity;
use crate::sim::fs::{LOSSES, Loss, SimFs};

const DIR: &str = "/spool";

fn plan() -> SpoolPlan {
    SpoolPlan {
        dir: DIR.into(),
        max_size: 1 << 30,
        max_age: None,
        keep: None,
        segment: 600,
        sync: Sync::Batch,
        when_full: SpoolFull::DropOldest,
        compress: false,
        reserve: 0,
        queue: 1 << 20,
    }
}

fn readers() -> Vec<String> {
    vec!["r".into()]
}

/// So many seconds after the beginning, by both clocks.
fn now(seconds: u64) -> Now {
    let passed = Duration::from_secs(seconds);
    Now { wall: SystemTime::UNIX_EPOCH + passed, mono: Mono(passed) }
}

fn opened(fs: &SimFs, plan: &SpoolPlan) -> Opened<SimFs> {
    open(fs.clone(), plan, &readers(), now(0)).unwrap()
}

fn start(fs: &SimFs) -> Writer<SimFs> {
    opened(fs, &plan()).writer
}

/// Appends and syncs.
fn store(writer: &mut Writer<SimFs>, text: &str) {
    let appended = writer.append(&[batch_of(text)]);
    assert!(appended.stopped.is_none(), "{appended:?}");
    writer.sync().unwrap();
}

/// Puts a cursor on disk and removes what every reader has passed.
fn save(writer: &mut Writer<SimFs>, cursor: Cursor) -> Ended {
    let begun = writer.begin_cursors(vec![cursor]);
    writer.end_sync(begun.unwrap().run())
}

fn read_from(fs: &SimFs, next: u64, until: u64) -> Read {
    Reader::new(fs.clone(), DIR.into(), next).read(until, usize::MAX).unwrap()
}

/// Every line from `next` on, with its number.
fn lines(read: &Read) -> BTreeMap<u64, String> {
    let mut lines = BTreeMap::new();
    for batch in &read.batches {
        let first = batch.numbers.unwrap().first;
        for (number, line) in (first..).zip(batch.iter()) {
            let line = String::from_utf8(line.to_vec()).unwrap();
            assert!(lines.insert(number, line).is_none(), "line {number} comes twice");
        }
    }
    lines
}

fn all(fs: &SimFs, until: u64) -> Vec<String> {
    lines(&read_from(fs, 0, until)).into_values().collect()
}

fn segments(fs: &SimFs) -> Vec<PathBuf> {
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|suffix| suffix == "log");
    fs.files().into_keys().filter(is_segment).collect()
}

#[test]
fn lines_are_numbered_from_zero_through_segments_and_restarts() {
    let fs = SimFs::default();
    for round in 0..3 {
        let mut writer = start(&fs);
        assert_eq!(writer.next_line(), round * 4);
        store(&mut writer, "a\nb\n");
        store(&mut writer, "c\n");
        store(&mut writer, "d\n");
    }
    assert_eq!(all(&fs, 12).concat(), "abcd".repeat(3));
    let read = read_from(&fs, 5, 9);
    assert_eq!(
        lines(&read).into_iter().collect::<Vec<_>>(),
        [(5, "b".to_string()), (6, "c".into()), (7, "d".into()), (8, "a".into())]
    );
    assert!(read.missing.is_empty() && read.damage.is_empty());
    assert!(segments(&fs).len() > 3);
}

#[test]
fn the_bare_log_is_what_stands_between_the_rows() {
    let fs = SimFs::default();
    let mut writer = start(&fs);
    store(&mut writer, "one\n\ntwo\n");
    store(&mut writer, "three\n");
    let mut bare = Vec::new();
    for (path, content) in fs.files() {
        if path.extension().is_some_and(|suffix| suffix == "log") {
            let rows = content.split_inclusive(|&byte| byte == b'\n');
            bare.extend(rows.filter(|row| row[0] != 0x1e).flatten().copied());
        }
    }
    assert_eq!(bare, b"one\n\ntwo\nthree\n");
}

#[test]
fn only_what_is_synced_survives_and_the_torn_tail_is_cut() {
    for loss in LOSSES {
        let fs = SimFs::default();
        let mut writer = start(&fs);
        store(&mut writer, "kept\n");
        writer.append(&[batch_of("perhaps\n")]);
        let fs = fs.after_crash(loss);
        let opened = opened(&fs, &plan());
        let next = opened.writer.next_line();
        let lines = all(&fs, next);
        assert!(lines == ["kept"] || lines == ["kept", "perhaps"], "{loss:?}: {lines:?}");
        assert_eq!(next, lines.len() as u64);
    }
}

/// A small history: appends with syncs, a cursor, removal, an input from another spool. What
/// was acknowledged comes back even when the disk stops in the middle.
struct History {
    /// Lines whose durability was reported, from line 0 on.
    acknowledged: Vec<String>,
    /// All lines that were ever appended, in order of their numbers.
    appended: Vec<String>,
    /// The reader's cursor as it was reported written.
    position: u64,
    /// The highest cursor that was tried.
    tried: u64,
    /// The last line from elsewhere that was reported durable.
    origin: Option<u64>,
    stopped: bool,
}

const ELSEWHERE: Identity = Identity::of(0xabc);

/// With `overlap` a sync ends only after more was appended, and the last one never does.
fn history(fs: &SimFs, overlap: bool) -> History {
    let mut story = History {
        acknowledged: Vec::new(),
        appended: Vec::new(),
        position: 0,
        tried: 0,
        origin: None,
        stopped: true,
    };
    let Ok(Opened { mut writer, .. }) = open(fs.clone(), &plan(), &readers(), now(0)) else {
        return story;
    };
    let mut under_way = None;
    for round in 0..10_u64 {
        let text = format!("line {round}a\nline {round}b\n");
        let origin = Span { origin: ELSEWHERE, first: 2 * round, last: 2 * round + 1 };
        let batch = Batch { origin: Some(origin), ..batch_of(&text) };
        story.appended.extend(text.lines().map(str::to_string));
        let appended = writer.append(&[batch]);
        if appended.stopped.is_some() || appended.outcomes != [Outcome::Stored(2 * round)] {
            return story;
        }
        if round % 2 == 1 {
            let ended = under_way.take().map(|(syncing, covered): (Syncing<SimFs>, usize)| {
                (writer.end_sync(syncing.run()).error, covered)
            });
            let begun = writer.begin_sync();
            let now = match (overlap, begun) {
                (_, Err(_)) => return story,
                (true, Ok(begun)) => {
                    under_way = begun.map(|begun| (begun, story.appended.len()));
                    ended
                }
                (false, Ok(begun)) => {
                    begun.map(|begun| (writer.end_sync(begun.run()).error, story.appended.len()))
                }
            };
            match now {
                None => {}
                Some((Some(_), _)) => return story,
                Some((None, covered)) => {
                    assert_eq!(writer.durable(), covered as u64, "no more than it covered");
                    story.acknowledged = story.appended[..covered].to_vec();
                    story.origin = writer.origins().get(&ELSEWHERE).copied();
                }
            }
        }
        if round == 3 {
            let position = writer.durable();
            let cursor = Cursor::at("r", writer.identity(), position);
            story.tried = position;
            let ended = save(&mut writer, cursor);
            if !ended.saved.is_empty() {
                story.position = position;
            }
            if ended.error.is_some() {
                return story;
            }
        }
    }
    story.stopped = false;
    story
}

/// What must hold after any end of a history.
fn check_after(fs: &SimFs, story: &History, what: &str) {
    let Opened { writer, cursors, .. } = open(fs.clone(), &plan(), &readers(), now(0))
        .unwrap_or_else(|refusal| panic!("{what}: refused: {refusal}"));
    let next = writer.next_line();
    assert!(next >= story.acknowledged.len() as u64, "{what}: {next} lines are left");
    let position = cursors.get("r").map_or(0, |cursor| cursor.position);
    assert!(position == story.tried || position == story.position, "{what}");
    // What the reader has not passed is there, as it was.
    let read = read_from(fs, position, next);
    assert!(read.missing.is_empty(), "{what}: {:?}", read.missing);
    let found = lines(&read);
    for (number, line) in &found {
        let number = usize::try_from(*number).unwrap();
        assert_eq!(story.appended.get(number), Some(line), "{what}: line {number}");
    }
    assert_eq!(found.len() as u64, next - position, "{what}");
    let origin = writer.origins().get(&ELSEWHERE).copied();
    assert!(origin >= story.origin, "{what}: {origin:?} after {:?}", story.origin);
    assert_eq!(origin.map_or(0, |last| last + 1), next, "{what}: what came is what is kept");
    drop(writer);
    // A second start finds the same.
    let again = opened(fs, &plan());
    assert_eq!((again.writer.next_line(), again.cursors), (next, cursors), "{what}");
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_machine_stops() {
    for overlap in [false, true] {
        nothing_is_lost(overlap);
    }
}

fn nothing_is_lost(overlap: bool) {
    let fs = SimFs::default();
    let whole = history(&fs, overlap);
    assert!(!whole.stopped);
    check_after(&fs, &whole, "no crash");
    let operations = fs.operations();
    assert!(operations > 30, "{operations}");
    for at in 0..=operations {
        for loss in LOSSES {
            let fs = SimFs::default();
            fs.crash_at(at);
            let story = history(&fs, overlap);
            let after = fs.after_crash(loss);
            check_after(&after, &story, &format!("{overlap}: stopped before {at}, {loss:?}"));
            // And when the machine stops again while it is being repaired.
            for at_repair in 0..6 {
                let again = fs.after_crash(loss);
                again.crash_at(at_repair);
                let _ = open(again.clone(), &plan(), &readers(), now(0));
                let what = format!("stopped before {at} and {at_repair}, {loss:?}");
                check_after(&again.after_crash(loss), &story, &what);
            }
        }
    }
}

#[test]
fn a_failed_sync_is_never_asked_again_of_the_same_segment() {
    let operations = {
        let fs = SimFs::default();
        history(&fs, false);
        fs.operations()
    };
    for at in 0..operations {
        let fs = SimFs::default();
        let mut writer = start(&fs);
        store(&mut writer, "one\n");
        fs.fail_sync_at(fs.operations() + at);
        let mut kept = vec!["one".to_string()];
        for round in 0..5 {
            let text = format!("line {round}\n");
            loop {
                let appended = writer.append(&[batch_of(&text)]);
                if appended.stopped.is_some() {
                    assert_eq!(writer.next_line(), writer.durable(), "rewound");
                    continue;
                }
                let first = writer.durable();
                if writer.sync().is_ok() {
                    break;
                }
                assert_eq!(writer.next_line(), first, "what is not durable is written again");
                writer.append(&[batch_of(&text)]);
                let newest = segments(&fs).last().cloned();
                let content = newest.map(|path| fs.files()[&path].clone()).unwrap_or_default();
                let found = memchr::memmem::find_iter(&content, text.as_bytes()).count();
                assert_eq!(found, 1, "sync {at} failed: it is in a segment of its own");
                writer.sync().unwrap();
                break;
            }
            kept.push(format!("line {round}"));
        }
        drop(writer);
        for loss in LOSSES {
            let after = fs.after_crash(loss);
            let writer = start(&after);
            assert_eq!(all(&after, writer.next_line()), kept, "sync {at} failed, {loss:?}");
        }
    }
}

#[test]
fn lines_that_another_spool_sends_again_are_kept_once() {
    let fs = SimFs::default();
    let mut writer = start(&fs);
    let from = |first, last, text: &str| Batch {
        origin: Some(Span { origin: ELSEWHERE, first, last }),
        ..batch_of(text)
    };
    let batches = [from(0, 1, "a\nb\n"), from(0, 1, "a\nb\n"), from(2, 2, "c\n")];
    let outcomes = writer.append(&batches).outcomes;
    assert_eq!(outcomes, [Outcome::Stored(0), Outcome::Duplicate, Outcome::Stored(2)]);
    writer.sync().unwrap();
    drop(writer);
    let mut writer = start(&fs);
    assert_eq!(writer.append(&batches).outcomes, [Outcome::Duplicate; 3]);
    assert_eq!(writer.origins(), BTreeMap::from([(ELSEWHERE, 2)]));
    store(&mut writer, "d\n");
    assert_eq!(all(&fs, 4), ["a", "b", "c", "d"]);
}

#[test]
fn a_segment_cut_anywhere_keeps_the_batches_before_the_cut() {
    let fs = SimFs::default();
    let large = SpoolPlan { segment: 10_000, ..plan() };
    let mut writer = opened(&fs, &large).writer;
    store(&mut writer, "one\n");
    store(&mut writer, "two\n");
    let identity = fs.files()[Path::new("/spool/identity")].clone();
    let segment = segments(&fs)[0].clone();
    let whole = fs.files()[&segment].clone();
    let mut starts = 0;
    for len in 0..=whole.len() {
        let cut = SimFs::default();
        cut.create_folders(Path::new(DIR)).unwrap();
        cut.put(Path::new("/spool/identity"), &identity);
        cut.put(&segment, &whole[..len]);
        let mut writer = start(&cut);
        let kept = all(&cut, writer.next_line());
        assert!(["one", "two"].starts_with(&kept.iter().map(String::as_str).collect::<Vec<_>>()));
        starts += kept.len();
        store(&mut writer, "new\n");
        assert_eq!(all(&cut, writer.next_line()).len(), kept.len() + 1, "cut at {len}");
    }
    assert!(starts > 149, "{starts}");
}

#[test]
fn a_bit_turned_anywhere_costs_at_most_its_own_batch() {
    let fs = SimFs::default();
    let mut writer = start(&fs);
    for text in ["one\n", "two\n", "three\n"] {
        store(&mut writer, text);
    }
    drop(writer);
    let mut writer = start(&fs);
    store(&mut writer, "four\n");
    drop(writer);
    let files = fs.files();
    let first = segments(&fs)[0].clone();
    let len = files[&first].len();
    for at in 0..len {
        let damaged = fs.after_crash(Loss::None);
        let mut content = files[&first].clone();
        content[at] ^= 4;
        damaged.put(&first, &content);
        let writer = start(&damaged);
        assert_eq!(writer.next_line(), 4);
        let reader = Reader::new(damaged.clone(), DIR.into(), 0);
        let read = reader.with_quarantine().read(4, usize::MAX).unwrap();
        let found = lines(&read);
        let missing: u64 = read.missing.iter().map(|missing| missing.end - missing.first).sum();
        assert!(missing <= 1, "byte {at}: {read:?}");
        assert_eq!(found.len() as u64 + missing, 4, "byte {at}");
        assert_eq!(read.damage.len(), 1, "byte {at}: {:?}", read.damage);
        assert!(read.missing.iter().all(|missing| missing.damaged));
        for (number, line) in found {
            assert_eq!(line, ["one", "two", "three", "four"][usize::try_from(number).unwrap()]);
        }
        let aside = damaged.files().into_keys();
        assert_eq!(aside.filter(|path| path.starts_with("/spool/quarantine")).count(), 1);
    }
}

#[test]
fn a_full_spool_drops_its_oldest_segment_and_says_which_lines() {
    let fs = SimFs::default();
    let small = SpoolPlan { max_size: 2000, ..plan() };
    let Opened { mut writer, .. } = opened(&fs, &small);
    for round in 0..40 {
        let appended = writer.append(&[batch_of(&format!("line {round}\n"))]);
        assert_eq!(appended.outcomes, [Outcome::Stored(round)]);
        writer.sync().unwrap();
        assert!(writer.held().bytes <= 2000);
    }
    let oldest = writer.held().oldest;
    assert!(oldest > 20, "{oldest}");
    let read = read_from(&fs, 0, 40);
    assert_eq!(read.missing, [super::reader::Missing { first: 0, end: oldest, damaged: false }]);
    assert_eq!(lines(&read).len() as u64, 40 - oldest);
}

#[test]
fn a_full_spool_refuses_or_waits_where_it_is_told_to() {
    for (when_full, refuses) in [(SpoolFull::DropNewest, true), (SpoolFull::Block, false)] {
        let fs = SimFs::default();
        let small = SpoolPlan { max_size: 1300, when_full, ..plan() };
        let Opened { mut writer, .. } = opened(&fs, &small);
        let mut stored = 0;
        let last = loop {
            let appended = writer.append(&[batch_of("a line\n")]);
            match appended.outcomes.first() {
                Some(Outcome::Stored(_)) => stored += 1,
                _ => break appended,
            }
        };
        assert_eq!(
            (last.outcomes == [Outcome::Refused], last.stopped.is_none()),
            (refuses, refuses)
        );
        writer.sync().unwrap();
        assert_eq!(all(&fs, writer.next_line()).len(), stored);
        // A reader that has passed makes room again.
        let spool = writer.identity();
        let (position, files) = (writer.durable(), Vec::new());
        let cursor = Cursor { files, ..Cursor::at("r", spool, position) };
        assert_eq!(save(&mut writer, cursor).error, None);
        store(&mut writer, "fits\n");
    }
}

#[test]
fn a_short_write_on_a_full_disk_is_cut_back_first() {
    for room in 0..400 {
        let fs = SimFs::default();
        let newest = SpoolPlan { when_full: SpoolFull::Block, ..plan() };
        let Opened { mut writer, .. } = opened(&fs, &newest);
        store(&mut writer, "one\n");
        fs.set_room(Some(room));
        let first = writer.append(&[batch_of("two\n")]);
        fs.set_room(None);
        if first.stopped.is_some() {
            assert!(writer.append(&[batch_of("two\n")]).stopped.is_none());
        }
        store(&mut writer, "three\n");
        assert_eq!(all(&fs, writer.next_line()), ["one", "two", "three"], "room {room}");
        assert!(read_from(&fs, 0, 3).damage.is_empty());
    }
}

#[test]
fn lines_grow_too_old_but_their_numbers_are_never_given_again() {
    let fs = SimFs::default();
    let aged = SpoolPlan { max_age: Some(Duration::from_secs(60)), ..plan() };
    let Opened { mut writer, .. } = opened(&fs, &aged);
    for _ in 0..10 {
        store(&mut writer, "old\n");
    }
    writer.set_now(now(30));
    writer.expire().unwrap();
    assert_eq!(writer.held().oldest, 0);
    writer.set_now(now(90));
    writer.expire().unwrap();
    assert!(writer.held().oldest > 0, "{:?}", writer.held());
    drop(writer);
    assert_eq!(opened(&fs, &aged).writer.next_line(), 10);
}

#[test]
fn a_folder_that_makes_no_sense_is_refused_and_left_as_it_is() {
    let refusal = |prepare: &dyn Fn(&SimFs)| {
        let fs = SimFs::default();
        fs.create_folders(Path::new(DIR)).unwrap();
        prepare(&fs);
        let before = fs.files();
        let refusal = open(fs.clone(), &plan(), &readers(), now(0)).map(drop).unwrap_err();
        assert_eq!(fs.files(), before);
        refusal
    };
    let foreign = refusal(&|fs| fs.put(Path::new("/spool/holiday.jpg"), b"jpg"));
    assert!(foreign.contains("holds files that are no spool's (holiday.jpg)"), "{foreign}");
    let garbage = refusal(&|fs| fs.put(Path::new("/spool/00000000000000000000.log"), b"garb\n"));
    assert!(garbage.contains("none of its segments can be read"), "{garbage}");
    let newer = refusal(&|fs| {
        store(&mut start(fs), "a line\n");
        let path = segments(fs)[0].clone();
        let mut content = fs.files()[&path].clone();
        content[1] = b'2';
        fs.put(&path, &content);
    });
    assert!(newer.contains("has format 2, which this version of logweir does not know"), "{newer}");
    let other = refusal(&|fs| {
        store(&mut start(fs), "a line\n");
        fs.put(Path::new("/spool/identity"), format!("{}\n", Identity::of(5)).as_bytes());
    });
    assert!(other.contains("trim --new-identity"), "{other}");
}

#[test]
fn a_spool_that_is_written_to_is_refused_to_a_second_daemon() {
    let fs = SimFs::default();
    let first = start(&fs);
    let refusal = open(fs.clone(), &plan(), &readers(), now(0)).map(drop).unwrap_err();
    assert!(refusal.contains("another daemon writes to this spool"), "{refusal}");
    drop(first);
    start(&fs);
}

#[test]
fn a_lost_identity_is_found_in_the_segments() {
    let fs = SimFs::default();
    let mut writer = start(&fs);
    store(&mut writer, "a line\n");
    let identity = writer.identity();
    drop(writer);
    fs.remove(Path::new("/spool/identity")).unwrap();
    assert_eq!(start(&fs).identity(), identity);
    assert!(fs.exists(Path::new("/spool/identity")));
}

#[test]
fn a_cursor_of_another_spool_or_a_damaged_one_is_no_cursor() {
    let fs = SimFs::default();
    let mut writer = start(&fs);
    store(&mut writer, "a line\n");
    drop(writer);
    let path = Path::new("/spool/r.cursor");
    let cursor = |spool| Cursor::at("r", spool, 1);
    for content in [cursor(Identity::of(9)).encode(), b"garbage".to_vec(), Vec::new()] {
        fs.put(path, &content);
        let opened = opened(&fs, &plan());
        assert!(opened.cursors.is_empty());
        assert!(
            opened.notes.iter().any(|note| note.starts_with("r.cursor: is")),
            "{:?}",
            opened.notes
        );
    }
}

#[test]
fn what_is_gone_is_not_numbered_again() {
    let fs = SimFs::default();
    let mut writer = start(&fs);
    store(&mut writer, "one\ntwo\nthree\n");
    let spool = writer.identity();
    let cursor = Cursor::at("r", spool, 3);
    assert_eq!(save(&mut writer, cursor).error, None);
    drop(writer);
    for segment in segments(&fs) {
        fs.remove(&segment).unwrap();
    }
    let opened = opened(&fs, &plan());
    assert_eq!(opened.writer.next_line(), 3);
    assert!(opened.notes.iter().any(|note| note.contains("3 lines")), "{:?}", opened.notes);
}

/// A step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Append(u8),
    Sync,
    BeginSync,
    EndSync(bool),
    FailSync,
    Cursor(u8),
    Restart,
    Crash(usize),
    Full(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..6_u8).prop_map(Step::Append),
        4 => Just(Step::Sync),
        3 => Just(Step::BeginSync),
        3 => any::<bool>().prop_map(Step::EndSync),
        1 => Just(Step::FailSync),
        2 => any::<u8>().prop_map(Step::Cursor),
        1 => Just(Step::Restart),
        1 => (0..LOSSES.len()).prop_map(Step::Crash),
        1 => (0..2000_u16).prop_map(Step::Full),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The spool against a plain list of lines.
    #[test]
    fn a_spool_is_a_list_of_lines(steps in proptest::collection::vec(step(), 1..60)) {
        let waits = SpoolPlan { when_full: SpoolFull::Block, ..plan() };
        let mut fs = SimFs::default();
        let mut writer = Some(opened(&fs, &waits).writer);
        let mut list: Vec<String> = Vec::new();
        let mut durable = 0;
        let mut position = 0_u64;
        let mut count = 0;
        let mut under_way: Option<(Syncing<SimFs>, u64)> = None;
        for step in steps {
            let Some(open) = &mut writer else { unreachable!() };
            match step {
                Step::Append(lines) => {
                    let new: Vec<String> =
                        (0..lines).map(|line| format!("line {count} {line}")).collect();
                    count += 1;
                    let appended = open.append(&[batch_of(&(new.join("\n") + "\n"))]);
                    list.truncate(usize::try_from(open.next_line()).unwrap());
                    if appended.stopped.is_none() {
                        list.truncate(usize::try_from(open.next_line()).unwrap() - new.len());
                        list.extend(new);
                    }
                }
                Step::Sync => open.sync().unwrap(),
                Step::BeginSync => {
                    if under_way.is_none() {
                        let end = open.next_line();
                        under_way = open.begin_sync().unwrap().map(|begun| (begun, end));
                    }
                }
                Step::EndSync(fails) => if let Some((syncing, end)) = under_way.take() {
                    let (epoch, before) = (open.epoch(), open.durable());
                    fs.fail_syncs(fails);
                    let ended = open.end_sync(syncing.run());
                    fs.fail_syncs(false);
                    match (fails, open.epoch() == epoch) {
                        (true, same) => prop_assert!(!same || ended.error.is_some()),
                        (false, _) => prop_assert!(open.durable() == end.max(before)
                            || open.durable() == before),
                    }
                    list.truncate(usize::try_from(open.next_line()).unwrap());
                        if open.epoch() != epoch {
                            // As with `FailSync`.
                            open.append(&[batch_of("written again\n")]);
                            list.push("written again".into());
                            open.sync().unwrap();
                        }
                },
                Step::FailSync => {
                    fs.fail_syncs(true);
                    let _ = open.sync();
                    fs.fail_syncs(false);
                    list.truncate(usize::try_from(open.next_line()).unwrap());
                    // What was left in the segment may come back, unless it is written again.
                    open.append(&[batch_of("written again\n")]);
                    list.push("written again".into());
                    open.sync().unwrap();
                }
                Step::Cursor(part) => {
                    let to = position + (open.durable() - position) * u64::from(part) / 255;
                    let cursor = Cursor::at("r", open.identity(), to);
                    assert_eq!(save(open, cursor).error, None);
                    position = to;
                }
                Step::Restart => {
                    open.sync().unwrap();
                    under_way = None;
                    drop(writer.take());
                    writer = Some(opened(&fs, &waits).writer);
                }
                Step::Crash(loss) => {
                    under_way = None;
                    fs = fs.after_crash(LOSSES[loss]);
                    writer = Some(opened(&fs, &waits).writer);
                }
                Step::Full(room) => {
                    fs.set_room(Some(room.into()));
                    let _ = open.append(&[batch_of("does not count\n")]);
                    if open.next_line() > list.len() as u64 {
                        list.push("does not count".into());
                    }
                    list.truncate(usize::try_from(open.next_line()).unwrap());
                    fs.set_room(None);
                }
            }
            let Some(open) = &mut writer else { unreachable!() };
            prop_assert!(open.durable() >= durable, "what is durable only grows");
            durable = open.durable();
            list.truncate(usize::try_from(open.next_line()).unwrap());
            let held = open.held();
            prop_assert!(held.oldest <= position, "{held:?} {position}");
            let read = read_from(&fs, position, open.next_line());
            prop_assert!(read.missing.is_empty(), "{:?}", read.missing);
            let found: Vec<_> = lines(&read).into_values().collect();
            prop_assert_eq!(&found[..], &list[usize::try_from(position).unwrap()..]);
        }
    }
}

/// A spool whose reader has passed all of ten batches.
fn passed(keep: SpoolKeep) -> (SimFs, Writer<SimFs>) {
    let fs = SimFs::default();
    let kept = SpoolPlan { keep: Some(keep), max_size: 6000, ..plan() };
    let mut writer = opened(&fs, &kept).writer;
    for _ in 0..10 {
        store(&mut writer, "a line\n");
    }
    let (spool, position) = (writer.identity(), writer.durable());
    let cursor = Cursor::at("r", spool, position);
    assert_eq!(save(&mut writer, cursor).error, None);
    (fs, writer)
}

/// Removes what can go now.
fn tidy(writer: &mut Writer<SimFs>) {
    if let Some(begun) = writer.begin_cursors(Vec::new()) {
        assert_eq!(writer.end_sync(begun.run()).error, None);
    }
}

#[test]
fn what_every_reader_has_passed_is_kept_for_a_time_or_up_to_a_size() {
    let (_, mut writer) = passed(SpoolKeep::Time(Duration::from_secs(60)));
    writer.set_now(now(50));
    tidy(&mut writer);
    assert_eq!((writer.held().oldest, writer.held().passed), (0, 10));
    writer.set_now(now(61));
    tidy(&mut writer);
    assert!(writer.held().oldest >= 8, "{:?}", writer.held());

    let (_, writer) = passed(SpoolKeep::Size(1000));
    let held = writer.held();
    let closed = held.bytes - writer.active.as_ref().unwrap().len;
    assert!(held.oldest > 0 && closed <= 1000 && closed > 400, "{held:?}");
}

#[test]
fn what_is_only_kept_makes_room_first_and_is_not_given_to_a_new_reader() {
    let (fs, mut writer) = passed(SpoolKeep::Time(Duration::from_secs(60)));
    writer.set_plan(SpoolPlan { when_full: SpoolFull::Block, ..writer.plan.clone() });
    for _ in 0..10 {
        store(&mut writer, "a line\n");
    }
    let held = writer.held();
    assert!(held.oldest > 0 && held.bytes <= 6000, "{held:?}");
    assert!(held.oldest <= 10 && held.start == 10, "{held:?}");
    let kept = writer.plan.clone();
    drop(writer);
    let renamed =
        open(fs.clone(), &kept, &["new".into()], now(0)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(renamed.writer.held().start, 10);
}

#[test]
fn a_clock_that_jumps_ahead_drops_nothing_by_max_age() {
    let fs = SimFs::default();
    let aged = SpoolPlan { max_age: Some(Duration::from_secs(60)), ..plan() };
    let Opened { mut writer, .. } = opened(&fs, &aged);
    for _ in 0..10 {
        store(&mut writer, "a line\n");
    }
    drop(writer);
    // Another daemon goes on with it, so that only the wall clock says how old the lines are.
    let Opened { mut writer, .. } = opened(&fs, &aged);
    let month = now(30 * 86_400).wall;
    writer.set_now(Now { wall: month, mono: Mono(Duration::from_secs(10)) });
    writer.expire().unwrap();
    assert_eq!(writer.held().oldest, 0);
    writer.set_now(now(20));
    writer.expire().unwrap();
    assert_eq!(writer.held().oldest, 0);
    writer.set_now(now(90));
    writer.expire().unwrap();
    assert!(writer.held().oldest > 0 && writer.held().expired == writer.held().oldest);
}

#[test]
fn a_cursor_is_written_on_a_disk_without_room() {
    let fs = SimFs::default();
    let mut writer = start(&fs);
    store(&mut writer, "a line\n");
    fs.set_room(Some(0));
    for position in [0, 1] {
        let spool = writer.identity();
        let cursor = Cursor::at("r", spool, position);
        assert_eq!(save(&mut writer, cursor).error, None, "{position}");
    }
    drop(writer);
    assert_eq!(opened(&fs, &plan()).cursors["r"].position, 1);
}

#[test]
fn a_disk_that_gives_room_back_late_costs_no_more_segments_than_are_missing() {
    let fs = SimFs::default();
    let mut writer = opened(&fs, &SpoolPlan { reserve: 1000, ..plan() }).writer;
    for _ in 0..30 {
        store(&mut writer, "a line\n");
    }
    let before = writer.held().segments;
    // What is removed from now on does not show.
    drop(writer);
    fs.set_late(Some(1200));
    let mut writer = opened(&fs, &SpoolPlan { reserve: 1000, ..plan() }).writer;
    store(&mut writer, "a line\n");
    store(&mut writer, "a line\n");
    let dropped = before + 2 - writer.held().segments;
    assert!((1..=3).contains(&dropped), "{dropped} of {before}");
}

#[test]
fn rows_that_cannot_follow_are_damage_whatever_their_sums_say() {
    let row = |first, lines, payload: &[u8]| {
        let (bytes, sum) = (u32::try_from(payload.len()).unwrap(), crc32c::crc32c(payload));
        let (received, input, origin) = (SystemTime::UNIX_EPOCH, 0, None);
        let header = Header { first, lines, bytes, received, input, origin, sum };
        [&Row::Batch(header).encode()[..], payload].concat()
    };
    for forged in [
        row(1, 2, b"no newline\nat its end"),
        row(1, 5, b"fewer\nlines\n"),
        row(1, 1, b"more\nlines\n"),
        row(1 << 62, 1, b"far ahead\n"),
        row(0, 1, b"again\n"),
    ] {
        let fs = SimFs::default();
        store(&mut start(&fs), "one\n");
        let path = segments(&fs)[0].clone();
        fs.put(&path, &[&fs.files()[&path][..], &forged[..]].concat());
        let read = read_from(&fs, 0, 1);
        assert_eq!(lines(&read).into_values().collect::<Vec<_>>(), ["one"]);
        let writer = start(&fs);
        assert_eq!(writer.next_line(), 1, "it is cut off");
    }
}
