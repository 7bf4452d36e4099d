//! A spool that is full, whose lines are too old, or whose disk is full.

use super::*;

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
    assert_eq!(
        read.missing,
        [crate::spool::reader::Missing { first: 0, end: oldest, damaged: false }]
    );
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
        // A reader that has passed everything makes room again.
        let spool = writer.identity();
        let (position, files) = (writer.durable(), Vec::new());
        let cursor = Cursor { files, ..Cursor::at("r", spool, position) };
        assert_eq!(save(&mut writer, cursor).error, None);
        store(&mut writer, "fits\n");
    }
}

#[test]
fn a_spool_that_is_filled_by_one_segment_goes_on_once_every_reader_has_passed_it() {
    let fs = SimFs::default();
    let small = SpoolPlan { max_size: 1900, when_full: SpoolFull::Block, ..plan() };
    let Opened { mut writer, .. } = opened(&fs, &small);
    let large = batch_of(&format!("{}\n", "x".repeat(800)));
    for round in 0..5 {
        let mut cursor = Cursor::at("r", writer.identity(), writer.durable());
        assert_eq!(save(&mut writer, cursor.clone()).error, None);
        // The new segment needs its name first.
        let stored = (0..3).any(|_| {
            let appended = writer.append(std::slice::from_ref(&large));
            writer.sync().unwrap();
            assert_eq!(save(&mut writer, cursor.clone()).error, None);
            matches!(appended.outcomes[..], [Outcome::Stored(_)])
        });
        assert!(stored, "round {round}");
        writer.sync().unwrap();
        assert_eq!(writer.durable(), round + 1);
        // Unread, it is not dropped.
        assert!(writer.append(std::slice::from_ref(&large)).stopped.is_some());
        assert_eq!(read_from(&fs, round, round + 1).missing, []);
        cursor.position = writer.durable();
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

/// A spool whose reader has passed all of its ten batches.
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
    // Another daemon takes it over, so that only the wall clock tells how old the lines are.
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
fn a_clock_that_jumps_ahead_removes_nothing_that_is_kept_for_a_time() {
    let (fs, writer) = passed(SpoolKeep::Time(Duration::from_secs(60)));
    let kept = writer.plan.clone();
    drop(writer);
    let Opened { mut writer, .. } = opened(&fs, &kept);
    let month = now(30 * 86_400).wall;
    writer.set_now(Now { wall: month, mono: Mono(Duration::from_secs(10)) });
    tidy(&mut writer);
    assert_eq!(writer.held().oldest, 0);
    writer.set_now(now(90));
    tidy(&mut writer);
    assert!(writer.held().oldest >= 8, "{:?}", writer.held());
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
    // Nothing removed from now on shows as free.
    drop(writer);
    fs.set_late(Some(1200));
    let mut writer = opened(&fs, &SpoolPlan { reserve: 1000, ..plan() }).writer;
    store(&mut writer, "a line\n");
    store(&mut writer, "a line\n");
    let dropped = before + 2 - writer.held().segments;
    assert!((1..=3).contains(&dropped), "{dropped} of {before}");
}
