//! Real brokers of Apache Kafka at the other end. LOGWEIR_KAFKA_JARS names the folder of their jars
//! (`.ci/kafka/fetch` fills one by Maven's own client); without it, or without java or kcat, a test
//! says so and passes. LOGWEIR_KAFKA_OLD_JARS names those of a version before 4.0, for one test.

mod admin;
mod audit;
mod broker;
mod classic;
mod cluster;
mod group;
mod input;
mod soak;
mod tee;
mod token;
mod twins;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::util::{Daemon, run, wait_for};

use crate::services::{Names, dnsmasq, with_names};

use broker::{Brokers, Kind};

/// Lines as they are in the logs: numbered, and about as long as a line of a web server.
fn line(number: usize) -> String {
    format!("{number} 203.0.113.7 GET /w/index.php?title=Main_Page HTTP/1.1 200 {}", number * 7)
}

/// A daemon whose spool has `lines` lines that nothing has read yet; `output` is its output `k`,
/// in which `{brokers}` stands for the brokers.
fn filled(brokers: &Brokers, lines: usize, output: &str) -> Daemon {
    let spool = "[input.feed]\nstdin = true\n[spool.hold]\nfrom = \"feed\"\n\
                 dir = \"{dir}/hold\"\nsegment = \"1MiB\"\n";
    let mut daemon = Daemon::prepare(spool);
    let dir = daemon.dir.path().display().to_string();
    let fill = daemon.path("fill.toml");
    std::fs::write(&fill, spool.replace("{dir}", &dir)).unwrap();
    let text: String = (0..lines).map(|number| line(number) + "\n").collect();
    let output_of = run(&["run", "-c", fill.to_str().unwrap()], text.as_bytes());
    assert!(output_of.status.success(), "{}", String::from_utf8_lossy(&output_of.stderr));
    daemon.write_config(&format!(
        "[spool.hold]\nfrom = \"in\"\ndir = \"{{dir}}/hold\"\nsegment = \"1MiB\"\n\
         [output.k]\nfrom = \"hold\"\n{}\n",
        output.replace("{brokers}", &brokers.quoted())
    ));
    daemon.run();
    daemon
}

/// Waits until the output has completed `lines` lines in all.
fn wait_completed(daemon: &Daemon, lines: usize) {
    let cursor = daemon.path("hold/k.cursor");
    wait_for("the output's position to come to the end", || {
        let text = std::fs::read_to_string(&cursor).ok()?;
        text.contains(&format!("\nposition {lines}\n")).then_some(())
    });
}

/// Every line once, and in order in each partition.
fn assert_exact(records: &[broker::Record], lines: usize) {
    let mut last: BTreeMap<u32, usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for record in records {
        let number = record.value.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(record.value, line(number));
        assert!(seen.insert(number), "line {number} is there twice");
        if let Some(before) = last.insert(record.partition, number) {
            assert!(before < number, "partition {}: {number} behind {before}", record.partition);
        }
    }
    assert_eq!(seen.len(), lines);
}

#[test]
fn every_line_is_in_the_topic_once_though_the_daemon_is_killed() {
    const LINES: usize = 200_000;
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    for (topic, compress) in [("plain", "none"), ("packed", "zstd"), ("fast", "lz4")] {
        brokers.create(topic, 6);
        let mut daemon = filled(
            &brokers,
            LINES,
            &format!(
                "kafka = {{ brokers = {{brokers}}, topic = \"{topic}\" }}\n\
                 compress = \"{compress}\""
            ),
        );
        for kill in 1..=8 {
            // Killed as soon as it has sent something.
            let cursor = daemon.path("hold/k.cursor");
            let at_end = wait_for("lines to go out, or all to be there", || {
                let text = std::fs::read_to_string(&cursor).unwrap_or_default();
                let at_end = text.contains(&format!("\nposition {LINES}\n"));
                (at_end || daemon.node("k").lines_out > 0).then_some(at_end)
            });
            if at_end {
                assert!(kill > 1, "killed not even once");
                break;
            }
            daemon.signal(Signal::SIGKILL);
            daemon.wait();
            daemon.run();
        }
        wait_completed(&daemon, LINES);
        assert_exact(&brokers.consume_by_java(topic, LINES), LINES);
        let (code, log) = daemon.stop();
        assert_eq!(code, Some(0));
        assert!(!log.contains("ERROR"), "{log}");
    }
}

#[test]
fn every_line_is_in_the_topic_once_though_brokers_are_killed() {
    let Some(brokers) = Brokers::of(Kind::Three) else { return };
    brokers.create("web", 6);
    let mut daemon = filled(&brokers, 300_000, "kafka = { brokers = {brokers}, topic = \"web\" }");
    for victim in [0, 1, 2] {
        brokers.kill(victim);
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        daemon.run();
        brokers.run(victim);
        brokers.wait_in_sync("web");
    }
    wait_completed(&daemon, 300_000);
    assert_exact(&brokers.consume("web", 300_000), 300_000);
}

#[test]
fn a_reload_in_the_middle_of_the_flow_costs_and_doubles_no_line() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("again", 6);
    let output = |compress: &str| {
        format!(
            "kafka = {{ brokers = {}, topic = \"again\" }}\ncompress = \"{compress}\"",
            brokers.quoted()
        )
    };
    let daemon = filled(&brokers, 200_000, &output("none"));
    for compress in ["zstd", "lz4"] {
        daemon.wait_node("k", |node| node.lines_out > 0);
        daemon.write_config(&format!(
            "[spool.hold]\nfrom = \"in\"\ndir = \"{{dir}}/hold\"\nsegment = \"1MiB\"\n\
             [output.k]\nfrom = \"hold\"\n{}\n",
            output(compress)
        ));
        assert!(daemon.ctl("reload").status.success(), "{}", daemon.log());
    }
    wait_completed(&daemon, 200_000);
    assert_exact(&brokers.consume("again", 200_000), 200_000);
    assert!(!daemon.log().contains("may come twice"), "{}", daemon.log());
}

#[test]
fn a_daemon_whose_brokers_are_gone_ends_within_its_grace() {
    let port = crate::util::free_port();
    let mut daemon = Daemon::start(&format!(
        "grace = \"1s\"\n#daemon\n[output.k]\nfrom = \"in\"\n\
         kafka = {{ brokers = [\"127.0.0.1:{port}\"], topic = \"t\" }}\n"
    ));
    daemon.send_numbered(0, 10);
    daemon.wait_log("Connection refused (os error 111); retrying every 1s");
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("shutdown 10"), "{log}");
}

#[test]
fn keys_headers_and_times_are_what_other_clients_expect() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("keyed", 6);
    let daemon = Daemon::start(&format!(
        "[output.k]\nfrom = \"in\"\nkafka = {{ brokers = {}, topic = \"keyed\" }}\n\
         partition = \"hash\"\nkey = '^(\\S+)'\nheaders = true\n",
        brokers.quoted()
    ));
    for number in 0..60 {
        daemon.send(format!("key{} {number}\n", number % 10).as_bytes());
    }
    daemon.wait_node("k", |node| node.lines_out == 60);
    // Java's producer puts the same keys into the same partitions.
    let java: String = (0..10).map(|key| format!("key{key}:key{key} java\n")).collect();
    brokers.produce_by_java("keyed", &java, "none");
    let records = brokers.consume_by_java("keyed", 70);
    let mut places: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for record in &records {
        assert_eq!(record.value.split(' ').next(), Some(record.key.as_str()));
        places.entry(record.key.clone()).or_default().insert(record.partition);
        if !record.value.ends_with("java") {
            assert!(record.headers.contains("input:in"), "{record:?}");
        }
    }
    assert_eq!(places.len(), 10);
    assert!(places.values().all(|partitions| partitions.len() == 1), "{places:?}");
}

#[test]
fn a_line_too_large_for_the_topic_is_dropped_alone() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create_with("small", 2, "max.message.bytes=3000");
    let daemon = Daemon::start(&format!(
        "[output.k]\nfrom = \"in\"\nkafka = {{ brokers = {}, topic = \"small\" }}\n\
         spool = {{ dir = \"{{dir}}/spool\" }}\n",
        brokers.quoted()
    ));
    for number in 0..200 {
        match number {
            50 => daemon.send(format!("{}\n", "x".repeat(5000)).as_bytes()),
            _ => daemon.send(format!("{}\n", line(number)).as_bytes()),
        }
    }
    let node = daemon.wait_node("k", |node| node.lines_out + 1 == 200);
    assert_eq!(node.dropped.get("oversize").copied(), Some(1), "{:?}", node.dropped);
    let records = brokers.consume("small", 199);
    assert!(records.iter().all(|record| record.value.len() < 3000));
    daemon.wait_log("takes no line of 5000 bytes");
}

#[test]
fn who_we_are_is_said_by_every_mechanism_and_a_wrong_password_is_named() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("s1", 2);
    let ca = brokers.path("ca.pem");
    let (ca, cert, key) = (ca.display(), brokers.path("client.pem"), brokers.path("client.key"));
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let sasl = |mechanism: &str, file: &str| {
        format!(
            "kafka = {{ brokers = [\"127.0.0.1:{}\"], topic = \"s1\", tls = {{ ca = \"{ca}\" }}, \
             sasl = {{ mechanism = \"{mechanism}\", user = \"logweir\", password_file = \
             \"{file}\" }} }}",
            brokers.sasl_port()
        )
    };
    let mutual = format!(
        "kafka = {{ brokers = [\"127.0.0.1:{}\"], topic = \"s1\", tls = {{ ca = \"{ca}\", cert = \
         \"{}\", key = \"{}\" }} }}",
        brokers.tls_port(),
        cert.display(),
        key.display()
    );
    let file = password.display().to_string();
    let ways =
        [mutual, sasl("PLAIN", &file), sasl("SCRAM-SHA-256", &file), sasl("SCRAM-SHA-512", &file)];
    for way in &ways {
        let mut daemon = Daemon::start(&format!(
            "[output.k]\nfrom = \"in\"\n{way}\nspool = {{ dir = \"{{dir}}/spool\" }}\n"
        ));
        daemon.send_numbered(0, 50);
        daemon.wait_node("k", |node| node.lines_out == 50);
        let (code, log) = daemon.stop();
        assert_eq!(code, Some(0));
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    }
    assert_eq!(brokers.consume("s1", 200).len(), 200);
    let wrong = dir.path().join("wrong");
    std::fs::write(&wrong, "guess\n").unwrap();
    let wrong = sasl("SCRAM-SHA-512", &wrong.display().to_string());
    let daemon = Daemon::start(&format!("[output.k]\nfrom = \"in\"\n{wrong}\n"));
    daemon.send_numbered(0, 1);
    daemon.wait_log("SASL_AUTHENTICATION_FAILED (58): correct the user and the password");
}

#[test]
fn without_the_right_to_read_lines_are_delivered_at_least_once_and_that_is_said() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("w1", 1);
    brokers.allow("writer", "w1", &["WRITE", "DESCRIBE"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let daemon = Daemon::start(&format!(
        "[output.k]\nfrom = \"in\"\nkafka = {{ brokers = [\"127.0.0.1:{}\"], topic = \"w1\", tls = \
         {{ ca = \"{}\" }}, sasl = {{ mechanism = \"PLAIN\", user = \"writer\", password_file = \
         \"{}\" }} }}\nspool = {{ dir = \"{{dir}}/spool\" }}\n",
        brokers.sasl_port(),
        brokers.path("ca.pem").display(),
        file.display()
    ));
    daemon.send_numbered(0, 20);
    daemon.wait_node("k", |node| node.lines_out == 20);
    daemon.wait_log("delivered at least once, not exactly once");
    assert_eq!(brokers.consume("w1", 20).len(), 20);
}

#[test]
fn a_topic_that_is_made_later_gets_the_lines_that_waited() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    let daemon = Daemon::start(&format!(
        "[output.k]\nfrom = \"in\"\nkafka = {{ brokers = {}, topic = \"later\" }}\n",
        brokers.quoted()
    ));
    daemon.send_numbered(0, 100);
    daemon.wait_log("topic later: UNKNOWN_TOPIC_OR_PARTITION (3): create the topic");
    brokers.create("later", 3);
    daemon.wait_node("k", |node| node.lines_out == 100);
    assert_eq!(brokers.consume("later", 100).len(), 100);
}

/// kcat is another implementation: librdkafka reads what we write, compressed in each way.
#[test]
fn librdkafka_reads_what_is_written() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    for compress in ["none", "lz4", "zstd"] {
        brokers.create(compress, 1);
        let daemon = Daemon::start(&format!(
            "[output.k]\nfrom = \"in\"\nkafka = {{ brokers = {}, topic = \"{compress}\" }}\n\
             compress = \"{compress}\"\n",
            brokers.quoted()
        ));
        daemon.send_numbered(0, 1000);
        daemon.wait_node("k", |node| node.lines_out == 1000);
        let kcat = Command::new("kcat")
            .args(["-C", "-e", "-q", "-o", "beginning", "-X", "check.crcs=true", "-t", compress])
            .args(["-b", &brokers.first()])
            .output()
            .unwrap();
        let read = String::from_utf8(kcat.stdout).unwrap();
        assert_eq!(read.lines().collect::<Vec<_>>(), crate::util::numbered(0, 1000));
    }
}

#[test]
fn a_cluster_is_entered_by_a_service_of_dns() {
    const LINES: usize = 10_000;
    let Some(program) = dnsmasq() else { return };
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("named", 2);
    // The first host of the service is not there.
    let first = brokers.first();
    let port = first.rsplit_once(':').unwrap().1;
    let mut names = Names::new(program, None, "127.53.0.9");
    names.say(&[
        "--srv-host=_kafka._tcp.logs.test,localhost,9,1,1",
        &format!("--srv-host=_kafka._tcp.logs.test,localhost,{port},2,1"),
    ]);
    let mut daemon = Daemon::prepare(
        "[input.lines]\nfifo = \"{dir}/fifo\"\n[spool.hold]\nfrom = \"lines\"\n\
         dir = \"{dir}/hold\"\n[output.k]\nfrom = \"hold\"\n\
         kafka = { brokers = [\"_kafka._tcp.logs.test\"], topic = \"named\" }\n",
    );
    daemon.run_by(with_names(&daemon, "127.53.0.9", false));
    let text: String = (0..LINES).map(|number| line(number) + "\n").collect();
    std::fs::write(daemon.path("fifo"), text).unwrap();
    wait_completed(&daemon, LINES);
    assert_eq!(daemon.stop().0, Some(0));
    assert_exact(&brokers.consume("named", LINES), LINES);
}
