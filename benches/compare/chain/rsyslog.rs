//! rsyslog's configuration at either end of a chain.
//!
//! The window and the batch are those with which omrelp was fastest here. With the default
//! window of 128 it waits on delayed acknowledgements of TCP and moves some 3,000 lines a
//! second; a queue of its own at the receiver changed nothing.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::place::{Peer, Place, Way};
use crate::door::Door;

/// Whether this rsyslog has what a chain needs.
pub(crate) fn has_relp(rsyslogd: &Path, scratch: &Path) -> bool {
    let config = scratch.join("modules.conf");
    let modules = "module(load=\"imrelp\")\nmodule(load=\"omrelp\")\nmodule(load=\"imptcp\")\n\
                   action(type=\"omfile\" file=\"/dev/null\")\n";
    let mut check = Command::new(rsyslogd);
    check.args(["-N1", "-f"]).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    fs::write(&config, modules).is_ok() && check.status().is_ok_and(|status| status.success())
}

/// The command that starts it as a sender: input, disk-assisted queue, RELP. Each line is wrapped
/// in the header that logweir's `format = "rfc5424"` makes.
pub(crate) fn sender(rsyslogd: &Path, place: &Place) -> Result<Command> {
    let (module, port) = match (place.way, place.door(Peer::Rsyslog)) {
        (Way::Stream, Door::Tcp(port)) => ("module(load=\"imptcp\")\n", port),
        (Way::Datagrams, Door::Udp(port)) => {
            ("module(load=\"imudp\" timeRequery=\"8\" batchSize=\"128\")\n", port)
        }
        (_, door) => anyhow::bail!("no input for {door:?}"),
    };
    let input = match place.way {
        Way::Stream => "type=\"imptcp\"",
        Way::Datagrams => "type=\"imudp\" rcvbufSize=\"64m\"",
    };
    let text = format!(
        "{module}module(load=\"omrelp\")\n\
         template(name=\"wrapped\" type=\"string\" string=\"<13>1 \
         %timegenerated:::date-rfc3339% %hostname% in - - - %rawmsg%\")\n\
         input({input} address=\"127.0.0.1\" port=\"{port}\" ruleset=\"r\")\n\
         ruleset(name=\"r\") {{ action(type=\"omrelp\" target=\"127.0.0.1\" port=\"{}\" \
         template=\"wrapped\" windowSize=\"16384\" action.resumeRetryCount=\"-1\" \
         action.resumeInterval=\"1\" queue.type=\"linkedList\" queue.filename=\"hub\" \
         queue.size=\"100000\" queue.dequeueBatchSize=\"16384\" queue.maxDiskSpace=\"8g\" \
         queue.saveOnShutdown=\"on\") }}\n",
        place.relp_port,
    );
    command(rsyslogd, &text, &place.sender_dir)
}

/// The command that starts it as a receiver: RELP, file.
pub(crate) fn receiver(rsyslogd: &Path, place: &Place) -> Result<Command> {
    let text = format!(
        "module(load=\"imrelp\")\n\
         template(name=\"bare\" type=\"string\" string=\"%msg%\\n\")\n\
         input(type=\"imrelp\" address=\"127.0.0.1\" port=\"{}\" ruleset=\"r\")\n\
         ruleset(name=\"r\") {{ action(type=\"omfile\" file=\"{}\" template=\"bare\") }}\n",
        place.relp_port,
        place.output().display(),
    );
    command(rsyslogd, &text, &place.receiver_dir)
}

fn command(rsyslogd: &Path, text: &str, dir: &Path) -> Result<Command> {
    let config = dir.join("rsyslog.conf");
    fs::write(&config, format!("global(workDirectory=\"{}\")\n{text}", dir.display()))?;
    let mut command = Command::new(rsyslogd);
    command.args(["-n", "-f"]).arg(config).arg("-i").arg(dir.join("rsyslogd.pid"));
    Ok(command)
}
