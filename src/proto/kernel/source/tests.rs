//! A pipe in packet mode stands in for the device: each read of it gives one write, too.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::*;
use crate::batch::Batch;
use crate::ingress::inbox::{Ended, Handle, ReadyList};
use crate::input::InputCounts;
use crate::proto::shared::record::As;
use crate::wake::Wake;

/// What a source sent, and what it was told.
#[derive(Default)]
struct Run {
    batches: Vec<Batch>,
    counts: InputCounts,
}

impl Run {
    fn texts(&self) -> Vec<String> {
        let lines = self.batches.iter().flat_map(Batch::iter);
        let text =
            |line: &[u8]| String::from_utf8_lossy(line).rsplit(' ').next().unwrap().to_string();
        lines.map(text).collect()
    }

    fn numbers(&self) -> Vec<(u64, u64)> {
        self.batches.iter().map(|batch| batch.origin.unwrap()).map(|o| (o.first, o.last)).collect()
    }
}

fn record(number: u64) -> String {
    format!("6,{number},{number}000000,-;text {number}\n SUBSYSTEM=x\n")
}

/// Reads these records, until there are no more. `stored` is what each spool has; without any,
/// positions are in a file of `folder`.
fn run(folder: &Path, records: &[String], stored: &[Option<u64>]) -> Run {
    let device = folder.join("kmsg");
    if !device.exists() {
        crate::fifo::make(&device).unwrap();
    }
    let mut writer = OpenOptions::new().read(true).write(true).open(&device).unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_DIRECT)).unwrap();
    for record in records {
        writer.write_all(record.as_bytes()).unwrap();
    }
    let poll = mio::Poll::new().unwrap();
    let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
    let ready = ReadyList::new(Wake::new(waker));
    let plan = KernelPlan { start: Start::Beginning, positions: None, form: As::Message };
    let positions = folder.join("positions");
    let source = Box::new(Kernel { plan, device, max_message: 1000, positions });
    let mut handle = Handle::start(&Arc::from("in"), 0, &ready, source).unwrap();
    let mut writer = Some(writer);
    let (mut run, start) = (Run::default(), Instant::now());
    loop {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not end");
        handle.unlist();
        match handle.take() {
            Ok(Some(received)) => {
                run.batches.extend(received.batch);
                run.counts.add(&received.counts);
                if let Some(barrier) = received.barrier {
                    if barrier.inquiry.origins.is_empty() {
                        handle.completed(barrier.number);
                    } else {
                        assert_eq!(
                            barrier.inquiry.origins,
                            [boot(&std::fs::read(BOOT_ID).unwrap())]
                        );
                        handle.resume(barrier.number, vec![stored.to_vec()]);
                        // It has the device open by now; without a writer it ends.
                        drop(writer.take());
                    }
                }
            }
            Ok(None) => std::thread::yield_now(),
            Err(Ended) => break,
        }
    }
    handle.join();
    run
}

#[test]
fn records_are_numbered_and_what_is_stored_does_not_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<_> = (5..9).map(record).collect();
    let first = run(folder.path(), &records, &[None]);
    assert_eq!(first.texts(), ["5", "6", "7", "8"]);
    assert_eq!((first.numbers(), first.counts.sequence_lost), (vec![(5, 8)], 0));
    let line = String::from_utf8_lossy(first.batches[0].iter().next().unwrap()).into_owned();
    assert!(
        line.starts_with("<6>1 ") && line.contains(" kernel - - [kernel@32473 seq=\"5\""),
        "{line}"
    );
    // Two spools, one of which is behind: batches end where the other one is.
    let second = run(folder.path(), &records, &[Some(5), Some(7)]);
    assert_eq!(second.texts(), ["6", "7", "8"]);
    assert_eq!(second.numbers(), [(6, 7), (8, 8)]);
}

#[test]
fn without_a_spool_the_position_is_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..4).map(record).collect();
    assert_eq!(run(folder.path(), &records, &[]).texts().len(), 4);
    let more: Vec<_> = (0..6).map(record).collect();
    assert_eq!(run(folder.path(), &more, &[]).texts(), ["4", "5"]);
}

#[test]
fn what_was_overwritten_is_counted_while_it_runs_and_while_it_did_not() {
    let folder = tempfile::tempdir().unwrap();
    let records = [record(3), record(4), record(9)];
    assert_eq!(run(folder.path(), &records, &[]).counts.sequence_lost, 4);
    let later = [record(20), "no record\n".to_string()];
    let run = run(folder.path(), &later, &[]);
    assert_eq!((run.texts(), run.counts.sequence_lost), (vec!["20".into()], 10));
    assert_eq!(run.counts.malformed, 1);
}

#[test]
fn another_boot_is_another_origin_and_is_read_from_its_first_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut file =
        crate::ingress::files::positions::PositionsFile::new(&folder.path().join("positions"));
    let earlier = boot(b"5f6c1c4e-0000-4000-8000-000000000000\n");
    assert_ne!(earlier, boot(&std::fs::read(BOOT_ID).unwrap()));
    assert_eq!(earlier.kind(), KIND);
    file.save("in", &std::collections::HashMap::from([(earlier, 1000)]));
    let run = run(folder.path(), &[record(2), record(3)], &[]);
    // Records 0 and 1 of this boot were overwritten.
    assert_eq!((run.texts(), run.counts.sequence_lost), (vec!["2".into(), "3".into()], 2));
}
