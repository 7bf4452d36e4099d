//! Topics of real brokers as an input.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::broker::{Brokers, Kind};
use super::line;
use crate::util::{Daemon, run, wait_for};

/// Lines `from` to `to`, each with a key, as the console producer takes them.
pub(super) fn keyed(from: usize, to: usize) -> String {
    (from..to).map(|number| format!("key{}:{}\n", number % 97, line(number))).collect()
}

/// The numbers of the lines in some text, and how often each is there.
pub(super) fn numbers(text: &[u8]) -> BTreeMap<usize, usize> {
    let mut seen = BTreeMap::new();
    for found in std::str::from_utf8(text).unwrap().lines() {
        let number = found.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(found, line(number));
        *seen.entry(number).or_default() += 1;
    }
    seen
}

/// Every line up to `lines` is there once.
pub(super) fn assert_once(seen: &BTreeMap<usize, usize>, lines: usize) {
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).take(5).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let missing: Vec<_> = (0..lines).filter(|number| !seen.contains_key(number)).take(5).collect();
    assert_eq!((seen.len(), missing), (lines, vec![]));
}

pub(super) fn spooled(daemon: &Daemon) -> Vec<u8> {
    let dir = daemon.path("hold").display().to_string();
    run(&["spool", "cat", &dir], b"").stdout
}

fn in_spool(daemon: &Daemon) -> usize {
    let node = daemon.node("hold");
    node.spool.map_or(0, |spool| spool.durable as usize)
}

/// The configuration of an input `k` of a topic; `more` stands in its table, `flow` behind.
fn config(brokers: &Brokers, topic: &str, more: &str, flow: &str) -> String {
    format!(
        "[input.k]\nkafka = {{ brokers = {}, topic = \"{topic}\"{more} }}\n\
         positions = \"{{dir}}/k.positions\"\n{flow}\n",
        brokers.quoted()
    )
}

const SPOOL: &str = "[spool.hold]\nfrom = \"k\"\ndir = \"{dir}/hold\"\nsegment = \"1MiB\"\n";

#[test]
fn records_of_every_compression_are_in_the_spool_once_though_the_daemon_is_killed() {
    const EACH: usize = 60_000;
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("in", 6);
    for (at, codec) in (0..).zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        brokers.produce_by_java("in", &keyed(at * EACH, (at + 1) * EACH), codec);
    }
    let lines = 5 * EACH;
    let mut daemon = Daemon::start(&config(&brokers, "in", "", SPOOL));
    let mut kills = 0;
    loop {
        let before = in_spool(&daemon);
        let now = wait_for("lines to come", || {
            let now = in_spool(&daemon);
            (now > before || now == lines).then_some(now)
        });
        if now == lines {
            break;
        }
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        daemon.run();
        kills += 1;
    }
    assert_once(&numbers(&spooled(&daemon)), lines);
    // More comes while it is down, and in order in each partition.
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    brokers.produce_by_java("in", &keyed(lines, lines + 1000), "none");
    daemon.run();
    wait_for("the rest", || (in_spool(&daemon) == lines + 1000).then_some(()));
    let text = spooled(&daemon);
    assert_once(&numbers(&text), lines + 1000);
    let mut last = BTreeMap::new();
    for found in std::str::from_utf8(&text).unwrap().lines() {
        let number: usize = found.split(' ').next().unwrap().parse().unwrap();
        if let Some(before) = last.insert(number % 97, number) {
            assert!(before < number, "key {}: {number} behind {before}", number % 97);
        }
    }
    wait_for("nothing to wait at the source", || {
        let waiting = daemon.node("k").waiting;
        (waiting.len() == 6 && waiting.iter().all(|part| part.lines == 0)).then_some(())
    });
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(!log.contains("ERROR") && kills > 0, "{kills} kills: {log}");
}

#[test]
fn without_a_spool_positions_are_kept_in_a_file_and_reading_goes_on_behind_them() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("kept", 3);
    brokers.produce("kept", &keyed(0, 5000));
    let flow = "[output.f]\nfrom = \"k\"\nfile = \"{dir}/out\"\n";
    let mut daemon = Daemon::start(&config(&brokers, "kept", "", flow));
    daemon.wait_node("f", |node| node.lines_out == 5000);
    assert_eq!(daemon.stop().0, Some(0));
    brokers.produce("kept", &keyed(5000, 6000));
    daemon.run();
    daemon.wait_node("f", |node| node.lines_out == 1000);
    assert_once(&numbers(&std::fs::read(daemon.path("out")).unwrap()), 6000);
}

#[test]
fn some_partitions_are_read_from_their_end_and_the_rest_is_not() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("some", 4);
    brokers.produce("some", &keyed(0, 500));
    let more = ", partitions = [1, 3], start = \"end\"";
    let flow = "[output.f]\nfrom = \"k\"\nfile = \"{dir}/out\"\n";
    let mut daemon = Daemon::start(&config(&brokers, "some", more, flow));
    let positions = daemon.path("k.positions");
    wait_for("both places to be known", || {
        let text = std::fs::read_to_string(&positions).unwrap_or_default();
        (text.lines().count() == 4).then_some(())
    });
    // What comes while it is down comes behind the end that it had found.
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    brokers.produce("some", &keyed(500, 1000));
    daemon.run();
    let expected = brokers.consume("some", 1000);
    let number = |value: &str| value.split(' ').next().unwrap().parse::<usize>().unwrap();
    let expected = expected
        .iter()
        .filter(|record| [1, 3].contains(&record.partition) && number(&record.value) >= 500);
    let expected: Vec<_> = expected.map(|record| number(&record.value)).collect();
    assert!(expected.len() > 50);
    daemon.wait_node("f", |node| node.lines_out as usize >= expected.len());
    let seen = numbers(&std::fs::read(daemon.path("out")).unwrap());
    assert_eq!(seen, expected.into_iter().map(|number| (number, 1)).collect());
}

#[test]
fn a_broker_that_dies_and_one_that_leads_instead_cost_no_record() {
    let Some(brokers) = Brokers::of(Kind::Three) else { return };
    brokers.create("led", 6);
    brokers.produce("led", &keyed(0, 3000));
    let daemon = Daemon::start(&config(&brokers, "led", "", SPOOL));
    wait_for("the first lines", || (in_spool(&daemon) == 3000).then_some(()));
    for (at, victim) in [(1, 2), (2, 1)] {
        brokers.kill(victim);
        brokers.produce("led", &keyed(at * 3000, (at + 1) * 3000));
        wait_for("lines from others", || (in_spool(&daemon) == (at + 1) * 3000).then_some(()));
        brokers.run(victim);
        brokers.wait_in_sync("led");
    }
    assert_once(&numbers(&spooled(&daemon)), 9000);
}

#[test]
fn keys_headers_and_times_of_records_become_fields() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("fields", 1);
    let writer = Daemon::start(&format!(
        "[output.k]\nfrom = \"in\"\nkafka = {{ brokers = {}, topic = \"fields\" }}\n\
         partition = \"hash\"\nkey = '^(\\S+)'\nheaders = true\n",
        brokers.quoted()
    ));
    writer.send(b"key1 text with a ] in it\n");
    writer.wait_node("k", |node| node.lines_out == 1);
    let reader = Daemon::start(&format!(
        "{}\n[input.j]\nkafka = {{ brokers = {}, topic = [\"fields\"] }}\nas = \"json\"\n\
         positions = \"{{dir}}/j.positions\"\n[output.jo]\nfrom = \"j\"\nfile = \"{{dir}}/j\"\n",
        config(
            &brokers,
            "fields",
            "",
            "as = \"message\"\n[output.m]\nfrom = \"k\"\nfile = \"{dir}/m\"\n"
        ),
        brokers.quoted()
    ));
    reader.wait_node("m", |node| node.lines_out == 1);
    reader.wait_node("jo", |node| node.lines_out == 1);
    let message = std::fs::read_to_string(reader.path("m")).unwrap();
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let data = "[kafka@32473 topic=\"fields\" partition=\"0\" offset=\"0\" key=\"key1\" \
                input=\"in\"] key1 text with a ] in it\n";
    assert!(message.starts_with("<14>1 20"), "{message}");
    assert!(message.ends_with(&format!("Z {host} fields 0 - {data}")), "{message}");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(reader.path("j")).unwrap()).unwrap();
    assert_eq!(json["message"], "key1 text with a ] in it");
    assert_eq!((&json["key"], &json["headers"]["input"]), (&"key1".into(), &"in".into()));
    assert_eq!((&json["partition"], &json["offset"]), (&0.into(), &0.into()));
}

#[test]
fn a_topic_made_anew_while_the_daemon_was_down_is_read_from_its_beginning() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("anew", 2);
    brokers.produce("anew", &keyed(0, 300));
    let mut daemon = Daemon::start(&config(&brokers, "anew", "", SPOOL));
    wait_for("the first lines", || (in_spool(&daemon) == 300).then_some(()));
    assert_eq!(daemon.stop().0, Some(0));
    brokers.delete("anew");
    brokers.create("anew", 2);
    brokers.produce("anew", &keyed(300, 500));
    daemon.run();
    wait_for("the new lines", || (in_spool(&daemon) == 500).then_some(()));
    assert_once(&numbers(&spooled(&daemon)), 500);
}

#[test]
fn another_cluster_than_last_time_is_said_and_read_as_for_the_first_time() {
    let first = {
        let Some(brokers) = Brokers::of(Kind::One) else { return };
        brokers.create("other", 2);
        brokers.produce("other", &keyed(0, 300));
        let mut daemon = Daemon::start(&config(&brokers, "other", "", SPOOL));
        wait_for("the first lines", || (in_spool(&daemon) == 300).then_some(()));
        assert_eq!(daemon.stop().0, Some(0));
        daemon
    };
    let mut daemon = first;
    let Some(brokers) = Brokers::of(Kind::Classic) else { return };
    brokers.create("other", 2);
    brokers.produce("other", &keyed(300, 500));
    daemon.write_config(&config(&brokers, "other", "", SPOOL));
    daemon.run();
    wait_for("the lines of the other", || (in_spool(&daemon) == 500).then_some(()));
    daemon.wait_log(
        "of cluster AAAAAAAAAAAAAAAAAAAAAg, not of AAAAAAAAAAAAAAAAAAAAAQ as before: its topics \
         are read as for the first time",
    );
    assert_once(&numbers(&spooled(&daemon)), 500);
}

/// Something that has a certificate for another name, of an authority that we know.
#[test]
fn a_certificate_of_another_name_is_refused_and_both_names_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let script = "
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -x509 -keyout key.pem \
            -out cert.pem -subj /CN=other.example.org -days 30 \
            -addext subjectAltName=DNS:other.example.org";
    let made = Command::new("sh").args(["-c", script]).current_dir(dir.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = crate::util::free_port();
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")])
        .args(["-cert", "cert.pem", "-key", "key.pem"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the server to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
    let daemon = Daemon::start(&format!(
        "[input.k]\npositions = \"{{dir}}/k\"\nkafka = {{ brokers = [\"127.0.0.1:{port}\"], \
         topic = \"t\", tls = {{ ca = \"{}\" }} }}\n\
         [output.f]\nfrom = \"k\"\nfile = \"{{dir}}/f\"\n",
        dir.path().join("cert.pem").display()
    ));
    daemon.wait_log(&format!("127.0.0.1:{port}: "));
    let log =
        wait_for("the refusal", || Some(daemon.log()).filter(|log| log.contains("certificate")));
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(log.contains("other.example.org") && log.contains("127.0.0.1"), "{log}");
}
