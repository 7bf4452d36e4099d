//! What moves the lines of a spool into a TCP port.

use std::fmt;
use std::path::Path;
use std::process::Command;

/// `logweir spool replay`, or what one would do by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mover {
    Logweir,
    Socat,
}

impl fmt::Display for Mover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logweir => "logweir spool replay",
            Self::Socat => "cat | socat",
        })
    }
}

impl Mover {
    /// The program and its arguments.
    fn words(self, logweir: &Path, spool: &Path, port: u16) -> Vec<String> {
        let (logweir, spool) = (logweir.display().to_string(), spool.display().to_string());
        let url = format!("tcp://127.0.0.1:{port}");
        match self {
            Self::Logweir => {
                [logweir.as_str(), "spool", "replay", &spool, "--to", &url].map(String::from).into()
            }
            Self::Socat => {
                let pipe = format!("cat '{spool}'/*.log | socat - TCP:127.0.0.1:{port}");
                ["sh", "-c", &pipe].map(String::from).into()
            }
        }
    }

    /// The command, or the same watched by strace.
    pub(super) fn command(
        self,
        logweir: &Path,
        spool: &Path,
        port: u16,
        strace: Option<&Path>,
    ) -> Command {
        let words = self.words(logweir, spool, port);
        let mut command = match strace {
            None => Command::new(&words[0]),
            Some(table) => {
                let mut strace = Command::new("strace");
                strace.args(["-c", "-f", "-o"]).arg(table).arg(&words[0]);
                strace
            }
        };
        command.args(&words[1..]);
        command
    }
}
