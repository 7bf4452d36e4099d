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
    let actions = match job {
        Job::Stalled => programs(place)?,
        Job::File | Job::Regexes(_) => format!(
            "action(type=\"omfile\" file=\"{}\" template=\"raw\" ioBufferSize=\"64k\" \
             flushOnTXEnd=\"off\" asyncWriting=\"on\")",
            place.output().display()
        ),
    };
    let text = format!(
        "global(workDirectory=\"{dir}\")\n\
         module(load=\"imudp\" threads=\"1\" timeRequery=\"8\" batchSize=\"128\")\n\
         module(load=\"omprog\")\n\
         template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\n\
         input(type=\"imudp\" address=\"127.0.0.1\" port=\"{}\" rcvbufSize=\"64m\" ruleset=\"r\")\n\
         ruleset(name=\"r\" queue.type=\"fixedArray\" queue.size=\"500000\" \
         queue.dequeueBatchSize=\"4096\" queue.workerThreads=\"1\") {{\n{actions}\n}}\n",
        place.port
    );
    let config = place.dir.join("rsyslog.conf");
    fs::write(&config, text)?;
    let mut command = Command::new(rsyslogd);
    command.args(["-n", "-f"]).arg(config).arg("-i").arg(place.dir.join("rsyslogd.pid"));
    Ok(command)
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
