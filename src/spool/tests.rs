//! The spool against a disk that stops, lies and fills up, and against a plain list.
//!
//! How other disk buffers failed their users, and the test here that would catch the same failure:
//!
//! - a count beside the data disagreed with it (rsyslog #868, #921, #1269; Vector #16231):
//!   `a_cursor_of_another_spool_or_a_damaged_one_is_no_cursor`.
//! - an index was lost and the queue begun afresh over its data (rsyslog #5771):
//!   `a_lost_identity_is_found_in_the_segments`, `what_is_gone_is_not_numbered_again`.
//! - two records ran into each other (rsyslog #2655):
//!   `a_bit_turned_anywhere_costs_at_most_its_own_batch`.
//! - a short write left bytes, and the next record was appended to them (rsyslog segmented disk):
//!   `a_short_write_on_a_full_disk_is_cut_back_first`.
//! - lines were lost at a restart with the destination away (rsyslog #5364, syslog-ng
//!   #5714): `forward::what_a_grace_does_not_suffice_for_stays_in_the_spool`.
//! - another destination orphaned the queue (syslog-ng #3299):
//!   `forward::a_spool_goes_on_when_its_output_gets_another_peer`.
//! - a bad configuration deleted the backlog (Fluent Bit #2246):
//!   `forward::a_refused_configuration_leaves_the_spool_alone`.
//! - an upgrade threw the backlog away (Fluent Bit #7279):
//!   `a_folder_that_makes_no_sense_is_refused_and_left_as_it_is`.
//! - one bad chunk prevented the start or blocked all after it (Fluent Bit #5265, #11847;
//!   Scribe): `a_bit_turned_anywhere_costs_at_most_its_own_batch`.
//! - start-up looped after a crash (Vector #17644), partial writes panicked (#13178):
//!   `a_segment_cut_anywhere_keeps_the_batches_before_the_cut`.
//! - a file was unlinked before what replaced it was durable (Vector #25570):
//!   `nothing_acknowledged_is_lost_wherever_the_machine_stops`.
//! - new files vanished for lack of a sync of their folder (Vector #25766): the same,
//!   `Loss::Names`.
//! - the last event waited for the next one (Vector #22946):
//!   `forward::several_outputs_read_one_spool_each_at_its_own_pace`.
//! - a failed sync was retried and believed (PostgreSQL's, s6, go-diskqueue):
//!   `a_failed_sync_is_never_asked_again_of_the_same_segment`.

mod crashes;
mod random;
mod room;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

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
const ELSEWHERE: Identity = Identity::of(0xabc);

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

/// This many seconds after the beginning, by both clocks.
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
fn the_first_append_after_a_start_waits_for_no_sync() {
    let fs = SimFs::default();
    store(&mut start(&fs), "0\n");
    for round in 1..4 {
        // One start begins a segment, and is stopped before it has a line.
        start(&fs).begin_where_needed(0).unwrap();
        let before = segments(&fs);
        let mut writer = start(&fs);
        fs.fail_syncs(true);
        let appended = writer.append(&[batch_of(&format!("{round}\n"))]);
        fs.fail_syncs(false);
        assert!(appended.stopped.is_none(), "{appended:?}");
        assert_eq!(appended.outcomes, [Outcome::Stored(round)]);
        assert_eq!(segments(&fs), before, "it is continued");
        writer.sync().unwrap();
    }
    assert_eq!(all(&fs, 4), ["0", "1", "2", "3"]);
}

#[test]
fn a_segment_without_lines_whose_head_is_of_before_is_replaced() {
    let fs = SimFs::default();
    let origin = Identity::of(9);
    let from = |first: u64, text: &str| Batch {
        origin: Some(Span { origin, first, last: first }),
        ..batch_of(text)
    };
    let mut writer = start(&fs);
    writer.append(&[from(0, "0\n")]);
    writer.sync().unwrap();
    drop(writer);
    start(&fs).begin_where_needed(0).unwrap();
    // The origin ends, and begins anew with the numbers that it had.
    let mut writer = start(&fs);
    writer.forget(origin);
    let appended = writer.append(&[from(0, "1\n")]);
    assert_eq!(appended.outcomes, [Outcome::Stored(1)]);
    writer.sync().unwrap();
    drop(writer);
    let row = |file: &Vec<u8>| Row::decode(file.first_chunk().unwrap()).unwrap();
    let newest = fs.files()[&segments(&fs)[1]].clone();
    assert!(matches!(row(&newest), Row::Segment { origins: 0, .. }), "{:?}", row(&newest));
    assert_eq!(all(&fs, 2), ["0", "1"]);
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
fn the_minute_in_which_another_logweir_received_lines_is_kept() {
    let fs = SimFs::default();
    let mut writer = start(&fs);
    let of = |minute: u32, text: &str| {
        let minute = crate::minute::Minute::from_number(minute);
        Batch { minute, ..batch_of(text) }
    };
    let batches = [of(7, "a\n"), of(0, "b\n"), of(8, "c\nd\n"), of(7, "e\n")];
    assert_eq!(writer.append(&batches).outcomes.len(), 4);
    writer.sync().unwrap();
    let mut reader = Reader::new(fs.clone(), DIR.into(), 0);
    let read = reader.read(5, 1 << 20).unwrap();
    let minutes: Vec<_> = read.batches.iter().map(|one| (one.minute.number(), one.lines)).collect();
    assert_eq!(minutes, [(7, 1), (0, 1), (8, 2), (7, 1)]);
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
    assert!(
        foreign.contains("holds files that do not belong to a spool (holiday.jpg)"),
        "{foreign}"
    );
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
