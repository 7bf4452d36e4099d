//! syslog-ng's configuration for each job, and how to start one that is only unpacked.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::program::{Job, Place, in_path};
use crate::stalled;

/// A syslog-ng, and where its libraries are when it is not installed but unpacked.
pub(crate) struct Installed {
    program: PathBuf,
    version: String,
    libraries: Option<OsString>,
    modules: Option<PathBuf>,
}

/// The one below the folder that `LOGWEIR_SYSLOG_NG_ROOT` names, else the installed one.
pub(crate) fn find() -> Option<Installed> {
    match std::env::var_os("LOGWEIR_SYSLOG_NG_ROOT") {
        Some(root) => unpacked(Path::new(&root)),
        None => Installed::new(in_path("syslog-ng")?, None, None),
    }
}

fn unpacked(root: &Path) -> Option<Installed> {
    let mut modules = None;
    let mut libraries = Vec::new();
    walk(root, &mut |folder, name| {
        if name == "libaffile.so" {
            modules = Some(folder.to_owned());
        } else if name.contains(".so") && !libraries.iter().any(|known| known == folder) {
            libraries.push(folder.to_owned());
        }
    });
    let libraries = std::env::join_paths(libraries).ok()?;
    Installed::new(root.join("usr/sbin/syslog-ng"), Some(libraries), modules)
}

/// Calls `each` for every file below a folder, with the file's folder and name.
fn walk(folder: &Path, each: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), each);
        } else {
            each(folder, &entry.file_name().to_string_lossy());
        }
    }
}

impl Installed {
    fn new(
        program: PathBuf,
        libraries: Option<OsString>,
        modules: Option<PathBuf>,
    ) -> Option<Self> {
        let mut found = Self { program, version: String::new(), libraries, modules };
        let output = found.start().arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("Config version: "))?;
        found.version = line.trim().to_owned();
        Some(found)
    }

    fn start(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        if let Some(modules) = &self.modules {
            command.arg("--module-path").arg(modules);
        }
        command
    }

    /// The command that starts it.
    pub(crate) fn command(&self, job: Job, place: &Place<'_>) -> Result<Command> {
        let config = place.dir.join("syslog-ng.conf");
        fs::write(&config, self.config(job, place)?)?;
        let mut command = self.start();
        command.args(["-F", "--no-caps", "-f"]).arg(config);
        for (option, name) in
            [("--persist-file", "persist"), ("--control", "ctl"), ("--pidfile", "pid")]
        {
            command.arg(option).arg(place.dir.join(name));
        }
        Ok(command)
    }

    fn config(&self, job: Job, place: &Place<'_>) -> Result<String> {
        // The message as it came, as the others write it.
        let raw = |name: &str| {
            let file = place.dir.join(name);
            format!("destination {{ file(\"{}\" template(\"$RAWMSG\\n\")); }};", file.display())
        };
        let ways = match job {
            Job::Stalled => {
                let children = stalled::children(place)?;
                let program = |script: &Path| {
                    let script = script.display();
                    format!("destination {{ program(\"exec {script}\" template(\"$MSG\\n\")); }};")
                };
                vec![program(&children.sleeping), program(&children.reading)]
            }
            Job::File | Job::Regexes(_) => {
                let file = place.output();
                vec![format!(
                    "destination {{ file(\"{}\" template(\"$MSG\\n\")); }};",
                    file.display()
                )]
            }
            Job::SyslogUdp => {
                let errors = "filter { level(err..emerg); };";
                vec![format!("{errors} {}", raw("$HOST-errors")), raw("$HOST-all")]
            }
            // As with any stream: who can wait is made to wait.
            Job::SyslogTcp => vec![format!("{} flags(flow-control);", raw("out.log"))],
        };
        let logs: String =
            ways.iter().map(|way| format!("log {{ source(s); {way} }};\n")).collect();
        Ok(format!(
            "@version: {}\n\
             options {{ threaded(yes); use-dns(no); keep-hostname(yes); stats-freq(0); \
             flush-lines(1000); log-fifo-size(100000); }};\n\
             source s {{ {} log-fetch-limit(1000) log-iw-size(100000)); }};\n{logs}",
            self.version,
            source(job, place.port)
        ))
    }
}

/// The beginning of the source.
fn source(job: Job, port: u16) -> String {
    let at = format!("ip(\"127.0.0.1\") port({port})");
    match job {
        Job::File | Job::Stalled | Job::Regexes(_) => {
            format!("network({at} transport(\"udp\") flags(no-parse) so-rcvbuf(67108864)")
        }
        Job::SyslogUdp => format!(
            "syslog({at} transport(\"udp\") flags(syslog-protocol, store-raw-message) \
             so-rcvbuf(67108864)"
        ),
        Job::SyslogTcp => format!(
            "syslog({at} transport(\"tcp\") flags(syslog-protocol, store-raw-message) \
             max-connections(200)"
        ),
    }
}
