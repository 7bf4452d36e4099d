//! The programs that are measured, and which of them this machine has.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::case::CaseName;
use crate::load::HOST;
use crate::{bareloop, logweir, rsyslog, syslog_ng};

/// What a program has to do with the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Write them to one file.
    File,
    /// Write them to a pipe that never reads and to one that does.
    Stalled,
    /// Write them to one file, and to so many others what matches each one's regex.
    Regexes(usize),
    /// Take syslog over UDP, write all messages to a file of their host, the errors to another.
    SyslogUdp,
    /// Take syslog over TCP, write it to one file.
    SyslogTcp,
}

/// A program with its job.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// The least work there is.
    BareLoop,
    /// What this is all about.
    Logweir(Job),
    /// A peer.
    Rsyslog(Job),
    /// A peer.
    SyslogNg(Job),
}

/// Where one run happens.
pub(crate) struct Place<'a> {
    /// A folder of its own.
    pub(crate) dir: &'a Path,
    /// The port on 127.0.0.1, of UDP or TCP as the job has it.
    pub(crate) port: u16,
}

impl Place<'_> {
    /// The file whose lines are counted.
    pub(crate) fn output(&self) -> PathBuf {
        self.dir.join("out.log")
    }

    /// Where syslog is told apart by its fields: the file of all lines,
    pub(crate) fn all(&self) -> PathBuf {
        self.dir.join(format!("{HOST}-all"))
    }

    /// and that of the errors.
    pub(crate) fn errors(&self) -> PathBuf {
        self.dir.join(format!("{HOST}-errors"))
    }
}

/// The programs this machine has.
pub(crate) struct Found {
    pub(crate) logweir: PathBuf,
    bareloop: PathBuf,
    rsyslog: Option<PathBuf>,
    syslog_ng: Option<syslog_ng::Installed>,
}

impl Program {
    /// As the table shows it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::BareLoop => "bare loop".into(),
            Self::Logweir(Job::Regexes(1)) => "logweir, 1 regex".into(),
            Self::Logweir(Job::Regexes(count)) => format!("logweir, {count} regexes"),
            Self::Logweir(_) => "logweir".into(),
            Self::Rsyslog(_) => "rsyslog".into(),
            Self::SyslogNg(_) => "syslog-ng".into(),
        }
    }
}

impl Found {
    /// Looks for the peers and compiles the bare loop into `scratch`.
    pub(crate) fn look(logweir: &Path, scratch: &Path) -> Result<Self> {
        Ok(Self {
            logweir: logweir.to_owned(),
            bareloop: bareloop::compile(scratch)?,
            rsyslog: in_path("rsyslogd"),
            syslog_ng: syslog_ng::find(),
        })
    }

    /// The peers that are not here.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if self.rsyslog.is_none() {
            missing.push("rsyslog");
        }
        if self.syslog_ng.is_none() {
            missing.push("syslog-ng");
        }
        missing
    }

    /// rsyslog, where it is here.
    pub(crate) fn rsyslog(&self) -> Option<&Path> {
        self.rsyslog.as_deref()
    }

    /// Who takes part in a case, in the order of the table.
    pub(crate) fn programs(&self, case: CaseName) -> Vec<Program> {
        let job = match case {
            CaseName::Flood | CaseName::Steady => Job::File,
            CaseName::Stalled => Job::Stalled,
            CaseName::SyslogUdp => Job::SyslogUdp,
            CaseName::SyslogTcp => Job::SyslogTcp,
            CaseName::Regexes => {
                return [0, 1, 10, 100].map(|n| Program::Logweir(Job::Regexes(n))).to_vec();
            }
            CaseName::Relp
            | CaseName::Pair
            | CaseName::Fan
            | CaseName::Replay
            | CaseName::Tail
            | CaseName::Kills
            | CaseName::KafkaOut
            | CaseName::KafkaIn
            | CaseName::KafkaKills
            | CaseName::Memory
            | CaseName::Soak => return vec![],
        };
        let mut programs = vec![Program::Logweir(job)];
        if job == Job::File {
            programs.insert(0, Program::BareLoop);
        }
        if self.rsyslog.is_some() {
            programs.push(Program::Rsyslog(job));
        }
        if self.syslog_ng.is_some() {
            programs.push(Program::SyslogNg(job));
        }
        programs
    }

    /// The command that starts a program, its configuration written to the run's folder.
    pub(crate) fn command(&self, program: &Program, place: &Place<'_>) -> Result<Command> {
        match (program, &self.rsyslog, &self.syslog_ng) {
            (Program::BareLoop, ..) => Ok(bareloop::command(&self.bareloop, place)),
            (Program::Logweir(job), ..) => logweir::command(&self.logweir, *job, place),
            (Program::Rsyslog(job), Some(rsyslogd), _) => rsyslog::command(rsyslogd, *job, place),
            (Program::SyslogNg(job), _, Some(installed)) => installed.command(*job, place),
            _ => anyhow::bail!("not installed"),
        }
    }
}

/// The program of that name in the path, or where the system keeps its daemons.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    let mut folders = std::env::split_paths(&path).chain(system);
    folders.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()))
}
