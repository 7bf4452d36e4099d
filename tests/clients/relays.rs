//! rsyslog and loggen, a relay and a load generator, in every way that they know.

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;

use jiff::Timestamp;

use super::{Message, Receiver, Sender, find};
use crate::rsyslog::{Certificates, Rsyslog, rsyslogd};

/// The severities, most severe first.
const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// How omfwd can be told to send, and by which transport.
const OMFWD_WAYS: [(&str, &str); 3] = [
    ("udp", "protocol=\"udp\""),
    ("tcp", "protocol=\"tcp\""),
    ("tcp", "protocol=\"tcp\" TCP_Framing=\"octet-counted\""),
];

/// Lets an rsyslogd of the test's own send on 2000 messages that it is given as `inject` says, and
/// gives what came.
fn through_rsyslog(
    receiver: &Receiver,
    program: PathBuf,
    action: &str,
    inject: impl Fn(usize) -> String,
) -> Vec<Message> {
    let rsyslog = Rsyslog::start(
        program,
        &format!(
            "module(load=\"imtcp\")\n\
             ruleset(name=\"in\") {{ action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{}\" \
             action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\" {action}) }}\n\
             input(type=\"imtcp\" port=\"{{port}}\" ruleset=\"in\")\n",
            receiver.port
        ),
    );
    let mut feed = TcpStream::connect(("127.0.0.1", rsyslog.port)).unwrap();
    for first in (0..2000).step_by(100) {
        let text: String = (first..first + 100).map(|number| inject(number) + "\n").collect();
        feed.write_all(text.as_bytes()).unwrap();
        receiver.wait_in(first + 100);
    }
    receiver.messages(2000)
}

/// A message of RFC 5424 with every field, told apart by its number.
fn numbered_5424(number: usize) -> String {
    format!(
        "<{}>1 2024-05-06T07:08:09.{number:06}+02:00 edge.example app{} {number} ID{number} \
         [ex@1 n=\"{number}\" q=\"\\]\\\"\"][b@2] line {number}",
        128 + number % 64,
        number % 3
    )
}

/// Checks that all fields of [`numbered_5424`] came through.
fn check_5424(messages: &[Message]) {
    for (number, message) in messages.iter().enumerate() {
        assert_eq!(message.line, numbered_5424(number));
        let want = format!(
            "local{}.{} edge.example app{} {number} ID{number} line {number}",
            number % 64 / 8,
            SEVERITIES[number % 8],
            number % 3
        );
        assert_eq!(message.parts(), want);
        let time: Timestamp = format!("2024-05-06T05:08:09.{number:06}Z").parse().unwrap();
        assert_eq!(message.time("time"), time);
        assert_eq!(message.sd("ex@1", "n"), Some(number.to_string().as_str()));
        assert_eq!(message.sd("ex@1", "q"), Some("]\""));
    }
}

#[test]
fn omfwd_sends_every_field_of_rfc_5424_in_every_way() {
    // It ends its messages with a newline, also where it has counted them.
    let format = "template=\"RSYSLOG_SyslogProtocol23Format\"";
    for (scheme, way) in OMFWD_WAYS {
        let Some(program) = rsyslogd(&["imtcp"]) else { return };
        let receiver = Receiver::start(scheme, "");
        let action = format!("{way} {format}");
        check_5424(&through_rsyslog(&receiver, program, &action, numbered_5424));
    }
}

#[test]
fn omfwd_sends_what_it_does_by_default() {
    for (scheme, way) in OMFWD_WAYS {
        let Some(program) = rsyslogd(&["imtcp"]) else { return };
        let receiver = Receiver::start(scheme, "");
        let inject = |number| format!("<78>May  6 07:08:09 edge cron[{number}]: line {number}");
        let messages = through_rsyslog(&receiver, program, way, inject);
        for (number, message) in messages.iter().enumerate() {
            assert_eq!(message.line, inject(number));
            let want = format!("cron.info edge cron {number} - line {number}");
            assert_eq!(message.parts(), want);
        }
    }
}

#[test]
fn omfwd_sends_through_tls() {
    for (driver, module) in [("ossl", "lmnsd_ossl"), ("gtls", "lmnsd_gtls")] {
        let Some(program) = rsyslogd(&["imtcp", module]) else { continue };
        let Some(certificates) = Certificates::new() else { return };
        let receiver = Receiver::start(
            "tls",
            &format!(
                "tls = {{ cert = \"{}\", key = \"{}\" }}",
                certificates.path("server.pem"),
                certificates.path("server.key")
            ),
        );
        let action = format!(
            "protocol=\"tcp\" TCP_Framing=\"octet-counted\" StreamDriver=\"{driver}\" \
             StreamDriverMode=\"1\" StreamDriverAuthMode=\"x509/name\" \
             StreamDriverPermittedPeers=\"localhost\" StreamDriver.CAFile=\"{}\" \
             template=\"RSYSLOG_SyslogProtocol23Format\"",
            certificates.path("ca.pem")
        );
        check_5424(&through_rsyslog(&receiver, program, &action, numbered_5424));
    }
}

#[test]
fn loggen_sends_in_every_way_it_knows() {
    let Some(loggen) = find("loggen", "syslog-ng-core") else { return };
    let bsd: &[&str] = &[];
    let ietf: &[&str] = &["-P", "--sdata=[test name=\"value\"]"];
    for (scheme, way, format) in [
        ("udp", &["-i", "-D"][..], bsd),
        ("tcp", &["-i", "-S"], bsd),
        ("tcp", &["-i", "-S"], ietf),
        ("tcp", &["-i", "-S", "-F"], ietf),
        ("unix", &["-x", "-D"], bsd),
    ] {
        let receiver = Receiver::start(scheme, "");
        let target = match scheme {
            "unix" => vec![receiver.address("unix")],
            _ => vec!["127.0.0.1".to_string(), receiver.port.clone()],
        };
        // It sends at one go what the rate allows: no more than a receive buffer holds.
        let args = ["-Q", "-n", "100", "-r", "1000", "-s", "300"].iter().chain(way).chain(format);
        Sender::run(&loggen, args.map(ToString::to_string).chain(target));
        for (number, message) in receiver.messages(100).iter().enumerate() {
            let text = format!("seq: {number:010}, thread: 0000, runid: ");
            let parts = message.parts();
            // Its time of old has no zone, which is this host's then.
            let want = format!("auth.info localhost prg00000 1234 - {text}");
            assert!(parts.starts_with(&want), "{parts}");
            let text = message.field("message");
            assert!(text.contains(" PADDPADD") && message.line.ends_with(text), "{text}");
            let value = message.sd("test", "name");
            assert_eq!(value, (!format.is_empty()).then_some("value"));
        }
    }
}
