//! rsyslog's configuration for each job, as its documentation advises for high UDP rates.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::program::{Job, Place};
use crate::stalled;

/// The command that starts it.
pub(crate) fn command(rsyslogd: &Path, job: Job, place: &Place<'_>) -> Result<Command> {
    let dir = place.dir.display();
    // In large pieces, by a thread of its own. What is left of a batch waits for more, a second at
    // most; where the time until the last line is measured, it is written with the batch.
    let flush = if job == Job::SyslogTcp { "on" } else { "off" };
    let writing = format!(
        "template=\"raw\" ioBufferSize=\"64k\" flushOnTXEnd=\"{flush}\" asyncWriting=\"on\""
    );
    let actions = match job {
        Job::Stalled => programs(place)?,
        Job::File | Job::Regexes(_) | Job::SyslogTcp => {
            format!("action(type=\"omfile\" file=\"{}\" {writing})", place.output().display())
        }
        Job::SyslogUdp => format!(
            "if $syslogseverity <= 3 then action(type=\"omfile\" dynaFile=\"errors\" {writing})\n\
             action(type=\"omfile\" dynaFile=\"all\" {writing})"
        ),
    };
    let text = format!(
        "global(workDirectory=\"{dir}\")\n\
         module(load=\"omprog\")\n\
         template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\n\
         template(name=\"errors\" type=\"string\" string=\"{dir}/%hostname%-errors\")\n\
         template(name=\"all\" type=\"string\" string=\"{dir}/%hostname%-all\")\n\
         {}\n\
         ruleset(name=\"r\" queue.type=\"fixedArray\" queue.size=\"500000\" \
         queue.dequeueBatchSize=\"4096\" queue.workerThreads=\"1\") {{\n{actions}\n}}\n",
        input(job, place.port)
    );
    let config = place.dir.join("rsyslog.conf");
    fs::write(&config, text)?;
    let mut command = Command::new(rsyslogd);
    command.args(["-n", "-f"]).arg(config).arg("-i").arg(place.dir.join("rsyslogd.pid"));
    Ok(command)
}

fn input(job: Job, port: u16) -> String {
    let at = format!("address=\"127.0.0.1\" port=\"{port}\" ruleset=\"r\"");
    match job {
        Job::SyslogTcp => {
            format!("module(load=\"imtcp\" maxSessions=\"200\")\ninput(type=\"imtcp\" {at})")
        }
        _ => format!(
            "module(load=\"imudp\" threads=\"1\" timeRequery=\"8\" batchSize=\"128\")\n\
             input(type=\"imudp\" {at} rcvbufSize=\"64m\")"
        ),
    }
}

/// Two programs, each with a queue that drops what it cannot take, so that neither holds up the
/// other.
fn programs(place: &Place<'_>) -> Result<String> {
    let children = stalled::children(place)?;
    let action = |script: &Path| {
        format!(
            "action(type=\"omprog\" binary=\"{}\" template=\"raw\" queue.type=\"fixedArray\" \
             queue.size=\"50000\" queue.dequeueBatchSize=\"1024\" queue.timeoutEnqueue=\"0\" \
             queue.timeoutShutdown=\"10\" queue.timeoutActionCompletion=\"10\" \
             signalOnClose=\"on\" closeTimeout=\"1000\")",
            script.display()
        )
    };
    Ok(format!("{}\n{}", action(&children.sleeping), action(&children.reading)))
}
