//! OAUTHBEARER before a real broker, which takes tokens without a signature.

use std::path::Path;

use super::broker::{Brokers, Kind};
use super::input::{assert_once, numbers};
use super::line;
use crate::util::{Daemon, wait_for};

/// Prints a token of RFC 7515 without a signature that is good for `$1` seconds, and notes that.
const SCRIPT: &str = r#"
now=$(date +%s)
encode() { base64 -w0 | tr '+/' '-_' | tr -d '='; }
claims=$(printf '{"sub":"logweir","iat":%d,"exp":%d}' "$now" $((now + $1)) | encode)
echo asked >> asked
printf '%s.%s.\n' "$(printf '{"alg":"none"}' | encode)" "$claims"
"#;

/// The keys of `kafka` that enter by a token.
fn access(brokers: &Brokers, dir: &Path, seconds: u32) -> String {
    let script = dir.join("token.sh");
    std::fs::write(&script, SCRIPT).unwrap();
    format!(
        "brokers = [\"127.0.0.1:{}\"], tls = {{ ca = \"{}\" }}, sasl = {{ mechanism = \
         \"OAUTHBEARER\", token = {{ command = \"cd {} && sh {} {seconds}\" }} }}",
        brokers.sasl_port(),
        brokers.path("ca.pem").display(),
        dir.display(),
        script.display(),
    )
}

#[test]
fn a_token_is_asked_for_anew_before_it_expires_and_no_line_waits_for_long() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("token", 2);
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(&format!(
        "[output.k]\nfrom = \"in\"\nkafka = {{ topic = \"token\", {} }}\n\
         spool = {{ dir = \"{{dir}}/spool\" }}\n",
        access(&brokers, dir.path(), 6)
    ));
    let asked = dir.path().join("asked");
    let mut sent = 0;
    // Each connection asks; the broker ends those whose token has expired.
    wait_for("the third token", || {
        daemon.send(format!("{}\n", line(sent)).as_bytes());
        sent += 1;
        let text = std::fs::read_to_string(&asked).unwrap_or_default();
        (text.lines().count() >= 3).then_some(())
    });
    daemon.wait_node("k", |node| node.lines_out as usize == sent);
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    // An input enters in the same way.
    let mut reader = Daemon::start(&format!(
        "[input.k]\nkafka = {{ topic = \"token\", {} }}\npositions = \"{{dir}}/positions\"\n\
         [output.f]\nfrom = \"k\"\nfile = \"{{dir}}/out\"\n",
        access(&brokers, dir.path(), 3600)
    ));
    reader.wait_node("f", |node| node.lines_out as usize == sent);
    assert_eq!(reader.stop().0, Some(0));
    assert_once(&numbers(&std::fs::read(reader.path("out")).unwrap()), sent);
}

#[test]
fn a_token_that_has_expired_is_refused_and_that_is_said() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("expired", 1);
    let dir = tempfile::tempdir().unwrap();
    let access = access(&brokers, dir.path(), 3600).replace("3600", "-3600");
    let daemon = Daemon::start(&format!(
        "[output.k]\nfrom = \"in\"\nkafka = {{ topic = \"expired\", {access} }}\n"
    ));
    daemon.send_numbered(0, 1);
    daemon.wait_log("correct what the command of `token` prints");
}
