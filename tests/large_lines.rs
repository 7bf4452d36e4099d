//! Lines of nearly sixteen mebibytes, the longest that there may be: they pass whole, and memory
//! does not grow with their number.

use std::io::Write;
use std::net::TcpStream;

use crate::util::{Daemon, free_port, wait_for};

/// Bytes of the text of a message; in a header and as JSON it is a little longer, and still a line.
const TEXT: usize = 15 << 20;
const MESSAGES: usize = 8;
/// `memory`, in MiB.
const MEMORY: u64 = 48;
/// What a daemon may have in all, in MiB.
const MOST: u64 = MEMORY + 32;

/// The most memory that a daemon ever had, in MiB.
fn peak(daemon: &Daemon) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

fn config(rest: &str) -> String {
    format!("memory = \"{MEMORY}MiB\"\n#daemon\n{rest}")
}

/// Messages, each of one letter.
fn send(port: u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    for number in 0..MESSAGES {
        let letter = b'a' + u8::try_from(number).unwrap();
        let mut message = format!("<13>1 - h{number} app - - - ").into_bytes();
        message.resize(message.len() + TEXT, letter);
        write!(stream, "{} ", message.len()).unwrap();
        stream.write_all(&message).unwrap();
    }
}

/// Each line is the JSON of its message, whole.
fn are_whole(bytes: &[u8]) {
    let mut count = 0;
    for (number, line) in bytes.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()).enumerate() {
        let message: serde_json::Value = serde_json::from_slice(line).unwrap();
        assert_eq!(message["host"], format!("h{number}"));
        let text = message["message"].as_str().unwrap();
        let letter = b'a' + u8::try_from(number).unwrap();
        assert!(text.len() == TEXT && text.bytes().all(|byte| byte == letter), "message {number}");
        count += 1;
    }
    assert_eq!(count, MESSAGES);
}

#[test]
fn lines_of_nearly_sixteen_mebibytes_go_into_a_spool_and_on_as_json_one_at_a_time() {
    let (input, relp) = (free_port(), free_port());
    let hub = Daemon::start(&config(&format!(
        "[input.edge]\nrelp = \"127.0.0.1:{relp}\"\nmax_message = \"16MiB\"\n\
         [spool.hold]\nfrom = \"edge\"\ndir = \"{{dir}}/hold\"\nsync = \"batch\"\n\
         [output.f]\nfrom = \"hold\"\nfile = \"{{dir}}/out\"\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
    )));
    let sender = Daemon::start(&config(&format!(
        "[input.s]\nsyslog = \"tcp://127.0.0.1:{input}\"\nmax_message = \"16MiB\"\n\
         [spool.hold]\nfrom = \"s\"\ndir = \"{{dir}}/hold\"\nsync = \"batch\"\nwhen_full = \"block\"\n\
         [output.f]\nfrom = \"hold\"\nfile = \"{{dir}}/{{app}}\"\nformat = \"json\"\n\
         [output.hub]\nfrom = \"hold\"\nforward = \"relp://127.0.0.1:{relp}\"\nformat = \"json\"\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
    )));
    send(input);
    let messages = MESSAGES as u64;
    sender.wait_node("hub", |node| node.lines_out == messages);
    sender.wait_node("f", |node| node.lines_out == messages);
    hub.wait_node("f", |node| node.lines_out == messages);
    for (daemon, name) in [(&sender, "app"), (&hub, "out")] {
        let bytes = wait_for(name, || std::fs::read(daemon.path(name)).ok());
        are_whole(&bytes);
        let peak = peak(daemon);
        assert!(peak <= MOST, "{name}: {peak} MiB");
    }
}
