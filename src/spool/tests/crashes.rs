//! A small history, stopped before each operation of its disk.

use super::*;

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
