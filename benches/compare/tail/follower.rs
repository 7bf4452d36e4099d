//! Who follows the files: logweir and rsyslog, each into one file.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::measure::Bench;

/// A program that follows files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follower {
    Logweir,
    Rsyslog,
}

impl fmt::Display for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logweir => "logweir",
            Self::Rsyslog => "rsyslog (imfile)",
        })
    }
}

impl Follower {
    /// The command that starts it in a folder; it follows what matches `pattern`, from the
    /// beginning.
    pub(super) fn command(
        self,
        bench: &Bench<'_>,
        dir: &Path,
        pattern: &str,
        output: &Path,
    ) -> Result<Command> {
        let (here, output) = (dir.display(), output.display());
        match self {
            Self::Logweir => {
                let config = dir.join("logweir.toml");
                let text = format!(
                    "[daemon]\ncontrol = \"{here}/control.sock\"\n\n[input.in]\n\
                     tail = \"{pattern}\"\npositions = \"{here}/positions\"\n\n\
                     [output.out]\nfrom = \"in\"\nfile = \"{output}\"\n"
                );
                fs::write(&config, text)?;
                let mut command = Command::new(&bench.found.logweir);
                command.args(["run", "-c"]).arg(config);
                Ok(command)
            }
            Self::Rsyslog => {
                let rsyslogd = bench.found.rsyslog().context("rsyslog is not installed")?;
                let config = dir.join("rsyslog.conf");
                let text = format!(
                    "global(workDirectory=\"{here}\")\nmodule(load=\"imfile\")\n\
                     template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\n\
                     input(type=\"imfile\" file=\"{pattern}\" tag=\"t\" ruleset=\"r\")\n\
                     ruleset(name=\"r\" queue.type=\"fixedArray\" queue.size=\"500000\" \
                     queue.dequeueBatchSize=\"4096\" queue.workerThreads=\"1\") {{\n\
                     action(type=\"omfile\" file=\"{output}\" template=\"raw\" \
                     ioBufferSize=\"64k\" flushOnTXEnd=\"off\" asyncWriting=\"on\")\n}}\n"
                );
                fs::write(&config, text)?;
                let mut command = Command::new(rsyslogd);
                command.args(["-n", "-f"]).arg(config).arg("-i").arg(dir.join("rsyslogd.pid"));
                Ok(command)
            }
        }
    }
}
