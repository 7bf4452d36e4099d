//! What must not be: two daemons on copies of one spool's folder, a topic that is made anew under
//! an output, a broker whose certificate is for another name.

use std::collections::BTreeMap;
use std::process::Command;

use super::broker::{Brokers, Kind};
use super::input::{assert_once, numbers};
use super::line;
use crate::util::{Daemon, run, wait_for};

fn output(brokers: &Brokers, topic: &str) -> String {
    format!(
        "[output.k]\nfrom = \"in\"\nkafka = {{ brokers = {}, topic = \"{topic}\" }}\n\
         spool = {{ dir = \"{{dir}}/spool\" }}\n",
        brokers.quoted()
    )
}

fn send(daemon: &Daemon, from: usize, to: usize) {
    for number in from..to {
        daemon.send(format!("{}\n", line(number)).as_bytes());
    }
}

#[test]
fn of_two_daemons_with_copies_of_a_spool_one_stops_until_it_has_an_identity_of_its_own() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("twins", 1);
    let mut one = Daemon::start(&output(&brokers, "twins"));
    send(&one, 0, 50);
    one.wait_node("k", |node| node.lines_out == 50);
    assert_eq!(one.stop().0, Some(0));
    let mut two = Daemon::prepare(&output(&brokers, "twins"));
    let copied = Command::new("cp").arg("-a").arg(one.path("spool")).arg(two.path("")).status();
    assert!(copied.unwrap().success());
    one.run();
    two.run();
    // The first goes on; its lines are not those of the second, which is told so.
    send(&one, 50, 150);
    one.wait_node("k", |node| node.lines_out == 100);
    send(&two, 150, 160);
    two.wait_log("is the spool's folder a copy that a second daemon uses too? Stop one of the two");
    assert_eq!(two.node("k").lines_out, 0);
    assert_eq!(two.stop().0, Some(0));
    let spool = two.path("spool").display().to_string();
    let trimmed = run(&["spool", "trim", "--new-identity", &spool], b"");
    assert!(trimmed.status.success(), "{}", String::from_utf8_lossy(&trimmed.stderr));
    two.run();
    two.wait_node("k", |node| node.lines_out == 10);
    send(&one, 160, 170);
    one.wait_node("k", |node| node.lines_out == 110);
    let all = brokers.end_offsets("twins");
    let mut count: BTreeMap<usize, usize> = BTreeMap::new();
    for record in brokers.consume("twins", all) {
        *count.entry(record.value.split(' ').next().unwrap().parse().unwrap()).or_default() += 1;
    }
    assert_eq!(count.keys().copied().collect::<Vec<_>>(), (0..170).collect::<Vec<_>>());
    assert!(count.values().all(|times| *times == 1), "{count:?}");
}

#[test]
fn a_topic_made_anew_under_an_output_gets_what_comes_from_then_on() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("rebuilt", 2);
    let mut daemon = Daemon::start(&output(&brokers, "rebuilt"));
    send(&daemon, 0, 100);
    daemon.wait_node("k", |node| node.lines_out == 100);
    brokers.delete("rebuilt");
    send(&daemon, 100, 200);
    wait_for("the output to say what is wrong", || {
        daemon.log().contains("topic rebuilt: UNKNOWN_TOPIC").then_some(())
    });
    brokers.create("rebuilt", 2);
    daemon.wait_node("k", |node| node.lines_out == 200);
    daemon.wait_log("topic rebuilt was deleted and made anew");
    let text: String =
        brokers.consume("rebuilt", 100).into_iter().map(|record| record.value + "\n").collect();
    let mut seen = numbers(text.as_bytes());
    seen.extend((0..100).map(|number| (number, 1)));
    assert_once(&seen, 200);
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_certificate_of_another_name_or_authority_is_refused_and_that_is_said() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("refused", 1);
    let dir = tempfile::tempdir().unwrap();
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                  -keyout other.key -out other.pem -subj /CN=other";
    let made = Command::new("sh").args(["-c", script]).current_dir(dir.path()).output();
    assert!(made.unwrap().status.success());
    for (ca, name, wanted) in [
        (
            dir.path().join("other.pem"),
            "127.0.0.1",
            "its authority is not one of those that tls = { ca = … } names",
        ),
        (
            brokers.path("ca.pem"),
            "k1.example.org",
            "NotValidForName: it is for other names: name the peer by one of them",
        ),
    ] {
        let daemon = Daemon::start(&format!(
            "[output.k]\nfrom = \"in\"\nkafka = {{ brokers = [\"127.0.0.1:{}\"], topic = \
             \"refused\", tls = {{ ca = \"{}\", name = \"{name}\" }} }}\n",
            brokers.sasl_port(),
            ca.display(),
        ));
        daemon.send_numbered(0, 1);
        daemon.wait_log(wanted);
        assert_eq!(daemon.node("k").lines_out, 0);
    }
}
