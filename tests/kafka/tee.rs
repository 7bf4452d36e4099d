//! kafkatee's configuration and command line, before a real broker.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::broker::{Brokers, Kind};
use super::input::{assert_once, keyed, numbers};
use crate::util::{LOGWEIR, wait_for};

/// One that runs in the background; killed when dropped.
struct Tee(Pid);

impl Drop for Tee {
    fn drop(&mut self) {
        // It may have ended.
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

/// Starts it in the background, as it does by itself.
fn start(dir: &Path) -> Tee {
    let pid_file = dir.join("pid");
    let status = Command::new(dir.join("kafkatee"))
        .arg("-c")
        .arg(dir.join("kafkatee.conf"))
        .arg("-p")
        .arg(&pid_file)
        .current_dir(dir)
        .status();
    assert!(status.unwrap().success());
    let text = std::fs::read_to_string(&pid_file).unwrap();
    Tee(Pid::from_raw(text.trim().parse().unwrap()))
}

fn stop(tee: &Tee, dir: &Path) {
    kill(tee.0, Signal::SIGTERM).unwrap();
    wait_for("it to end", || (!dir.join("pid").exists()).then_some(()));
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn an_existing_configuration_of_kafkatee_runs_unchanged() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("tee", 3);
    brokers.produce("tee", &keyed(0, 1000));
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::os::unix::fs::symlink(LOGWEIR, dir.join("kafkatee")).unwrap();
    let place = dir.display();
    std::fs::write(dir.join("more.conf"), format!("output file 10 {place}/tenth\n")).unwrap();
    std::fs::write(
        dir.join("kafkatee.conf"),
        format!(
            "# Kafka\nkafka.metadata.broker.list = {}\nkafka.offset.store.path = {place}\n\
             kafka.topic.auto.offset.reset = smallest\nkafka.message.max.bytes = 10000000\n\
             log.statistics.file = /dev/null\ncommand.init = touch {place}/begun\n\
             command.term = touch {place}/ended\nsetenv.PART = 50\n\
             input [encoding=string] kafka topic tee partition 0-1 from stored\n\
             input kafka topic tee partition 2 from stored\n\
             output file 1 {place}/all\noutput pipe 1 grep -c \" GET \" >>{place}/count.$PART\n\
             include *.conf.d\ninclude more.conf\n",
            brokers.first()
        ),
    )
    .unwrap();
    let tee = start(dir);
    wait_for("all lines", || (lines(&dir.join("all")) == 1000).then_some(()));
    stop(&tee, dir);
    assert!(dir.join("begun").exists() && dir.join("ended").exists());
    assert_eq!(lines(&dir.join("tenth")), 100);
    wait_for("the pipe's count", || {
        let text = std::fs::read_to_string(dir.join("count.50")).unwrap_or_default();
        (text == "1000\n").then_some(())
    });
    // It goes on where it was.
    brokers.produce("tee", &keyed(1000, 1500));
    let tee = start(dir);
    wait_for("the rest", || {
        let all = lines(&dir.join("all"));
        assert!(all <= 1500, "{all} lines");
        (all == 1500).then_some(())
    });
    stop(&tee, dir);
    assert_once(&numbers(&std::fs::read(dir.join("all")).unwrap()), 1500);
    let output = Command::new(dir.join("kafkatee")).arg("-e").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("-e is not taken"));
}

/// A partition's records up to the middle, as kafkatee reads them: librdkafka keeps the offset in a
/// file.
fn read_some(brokers: &Brokers, partition: &str, dir: &Path) -> Vec<u8> {
    let store = format!("topic.offset.store.path={}", dir.display());
    let kcat = Command::new("kcat")
        .args(["-C", "-q", "-o", "stored", "-c", "200", "-t", "taken", "-p", partition])
        .args(["-X", "topic.offset.store.method=file", "-X", &store])
        .args(["-X", "topic.auto.offset.reset=smallest", "-b", &brokers.first()])
        .output();
    let output = kcat.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn where_kafkatee_was_is_taken_over_at_the_first_start() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("taken", 3);
    brokers.produce("taken", &keyed(0, 3000));
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut before = Vec::new();
    for partition in ["0", "2"] {
        before.extend(read_some(&brokers, partition, dir));
    }
    assert_eq!(before.iter().filter(|byte| **byte == b'\n').count(), 400);
    assert_eq!(std::fs::read_to_string(dir.join("taken-0.offset")).unwrap(), "200\n");
    std::os::unix::fs::symlink(LOGWEIR, dir.join("kafkatee")).unwrap();
    let place = dir.display();
    std::fs::write(
        dir.join("kafkatee.conf"),
        format!(
            "kafka.metadata.broker.list = {}\nkafka.offset.store.path = {place}\n\
             kafka.topic.auto.offset.reset = smallest\n\
             input kafka topic taken partition 0-2 from stored\noutput file 1 {place}/all\n",
            brokers.first()
        ),
    )
    .unwrap();
    let tee = start(dir);
    wait_for("the rest of all partitions", || (lines(&dir.join("all")) == 2600).then_some(()));
    stop(&tee, dir);
    // From then on its own positions count, not those files.
    brokers.produce("taken", &keyed(3000, 3300));
    let tee = start(dir);
    wait_for("what came meanwhile", || (lines(&dir.join("all")) == 2900).then_some(()));
    stop(&tee, dir);
    before.extend(std::fs::read(dir.join("all")).unwrap());
    assert_once(&numbers(&before), 3300);
    assert_eq!(std::fs::read_to_string(dir.join("taken-0.offset")).unwrap(), "200\n");
}
