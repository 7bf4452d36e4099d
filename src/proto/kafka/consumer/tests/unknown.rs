//! Answers with an error that only a later version of the brokers knows: it is said with what to
//! do, it is tried again, and no line is lost or doubled.

use super::classic::{append, brokers, settle};
use super::group::{Host, PARTS, there};
use super::*;

const WHAT: &str = "error 999, which is not known here: look into the broker's log";

#[test]
fn of_metadata_of_offsets_and_of_records() {
    for (key, who) in [(3, "topic t"), (2, "topic t, partition 0"), (1, "topic t, partition 0")] {
        let mut brokers = Brokers::new(2);
        (0..2).for_each(|at| brokers.append(at, &["one", "two"], 0));
        brokers.odd.insert(key, 999);
        let (mut consumer, mut now) = (consumer(Begin::Beginning), START);
        assert_eq!(work(&mut consumer, &mut brokers, &mut now, &nothing), [], "{key}");
        assert_eq!(consumer.error(), Some(format!("{who}: {WHAT}")), "{key}");
        brokers.odd.clear();
        let handed = work(&mut consumer, &mut brokers, &mut now, &nothing);
        assert_eq!((all(&handed, 0), all(&handed, 1)), ("one\ntwo\n".into(), "one\ntwo\n".into()));
        assert_eq!(consumer.error(), None, "{key}");
    }
}

/// At the start, and in the middle of the flow: FindCoordinator, OffsetFetch, OffsetCommit, and
/// ConsumerGroupHeartbeat or JoinGroup, SyncGroup and Heartbeat.
#[test]
fn of_a_group() {
    let (own, classic) = ([10, 9, 8, 68], [10, 9, 8, 11, 14, 12]);
    let each = own.iter().map(|key| (false, *key)).chain(classic.iter().map(|key| (true, *key)));
    for (is_classic, key) in each {
        let of = format!("key {key}, classic: {is_classic}");
        let mut brokers = if is_classic { brokers() } else { Brokers::new(PARTS as usize) };
        let (mut hosts, mut now) = ([Host::new()], START);
        append(&mut brokers, 0..50);
        let in_flow = matches!(key, 8 | 12 | 68);
        hosts[0].start(now);
        if in_flow {
            settle(&mut brokers, &mut hosts, &mut now, 60);
        }
        brokers.odd.insert(key, 999);
        append(&mut brokers, 50..100);
        settle(&mut brokers, &mut hosts, &mut now, 100);
        let error = hosts[0].consumer.as_ref().unwrap().error();
        assert_eq!(error, Some(format!("group g: {WHAT}")), "{of}");
        brokers.odd.clear();
        settle(&mut brokers, &mut hosts, &mut now, 200);
        assert_eq!(there(&hosts), (0..100).collect::<Vec<_>>(), "{of}");
        assert_eq!(brokers.coordinator.committed.values().sum::<i64>(), 100, "{of}");
        assert_eq!(hosts[0].consumer.as_ref().unwrap().error(), None, "{of}");
    }
}
