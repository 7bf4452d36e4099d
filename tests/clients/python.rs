//! The handler for syslog of Python.

use std::process::{Command, Stdio};

use super::{Receiver, Sender, find, host};

/// What Python's handler is made to send; it takes the address and the kind of socket.
const HANDLER: &str = "\
import logging, logging.handlers, socket, sys
kind, address = sys.argv[1:3]
if kind != 'unix':
    host, port = address.split(':')
    address = (host, int(port))
handler = logging.handlers.SysLogHandler(
    address, facility='local2',
    socktype=socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
handler.ident = 'app[77]: '
logger = logging.Logger('test')
logger.addHandler(handler)
logger.debug('debug')
logger.info('gr\\u00f6\\u00dfe \\u20ac')
logger.warning('two\\nlines')
logger.error('%s', 'x' * 2000)
logger.critical('bye')
if kind != 'tcp':
    handler.append_nul = False
    logger.critical('without a NUL')
handler.ident = ''
handler.append_nul = True
for number in range(100):
    logger.info('line %d', number)
handler.close()
";

#[test]
fn python_sends_messages_that_a_nul_ends() {
    let packages = "python3-minimal and libpython3-stdlib";
    let Some(python) = find("python3", packages) else { return };
    let mut import = Command::new(&python);
    import.args(["-c", "import logging.handlers"]).stderr(Stdio::null());
    if !import.status().unwrap().success() {
        crate::util::skip_missing(&format!("Python's logging.handlers (Debian's {packages})"));
        return;
    }
    for scheme in ["udp", "tcp", "unix"] {
        let more = if scheme == "tcp" { "delimiter = \"nul\"" } else { "" };
        let receiver = Receiver::start(scheme, more);
        Sender::run(&python, ["-c", HANDLER, scheme, &receiver.address(scheme)]);
        let long = "x".repeat(2000);
        let long_line = format!("<147>app[77]: {long}");
        let mut want = vec![
            ("<151>app[77]: debug", "debug", "debug"),
            ("<150>app[77]: größe €", "info", "größe €"),
            ("<148>app[77]: two#012lines", "warning", "two#012lines"),
            (&long_line, "err", &long),
            ("<146>app[77]: bye", "crit", "bye"),
        ];
        match scheme {
            // In a stream a newline ends a message all the same; what follows has no PRI.
            "tcp" => want[2] = ("<148>app[77]: two", "warning", "two"),
            _ => want.push(("<146>app[77]: without a NUL", "crit", "without a NUL")),
        }
        let mut messages = receiver.messages(106);
        if scheme == "tcp" {
            let rest = messages.remove(3);
            assert_eq!(rest.line, "lines");
            assert_eq!(rest.fields(["facility", "severity", "app"]), ["user", "notice", "sys"]);
        }
        let host = if scheme == "unix" { host() } else { "127.0.0.1".to_string() };
        let (tagged, bare) = messages.split_at(want.len());
        for (message, (line, severity, text)) in tagged.iter().zip(want) {
            assert_eq!(message.line, line);
            let fields = ["facility", "severity", "host", "app", "procid", "message"];
            let want = ["local2", severity, &host, "app", "77", text];
            assert_eq!(message.fields(fields), want, "{}", message.json);
        }
        for (number, message) in bare.iter().enumerate() {
            assert_eq!(message.line, format!("<150>line {number}"));
            assert_eq!(message.field("message"), format!("line {number}"));
        }
    }
}
