//! Random histories, against a plain list of lines.

use proptest::prelude::*;

use super::*;

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
