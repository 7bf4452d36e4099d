//! logweir's configuration for each job.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::program::{Job, Place};
use crate::stalled;

/// The command that starts it.
pub(crate) fn command(logweir: &Path, job: Job, place: &Place<'_>) -> Result<Command> {
    let dir = place.dir.display();
    let at = format!("127.0.0.1:{}", place.port);
    let input = match job {
        Job::File | Job::Stalled | Job::Regexes(_) => {
            format!("udp = \"{at}\"\nreceive_buffer = \"64MiB\"")
        }
        Job::SyslogUdp => format!("syslog = \"udp://{at}\"\nreceive_buffer = \"64MiB\""),
        Job::SyslogTcp => format!("syslog = \"tcp://{at}\""),
    };
    let mut text = format!("[daemon]\ncontrol = \"{dir}/control.sock\"\n\n[input.in]\n{input}\n");
    let file = place.output();
    match job {
        Job::File | Job::SyslogTcp => {
            output(&mut text, "out", &format!("file = \"{}\"", file.display()))
        }
        Job::Stalled => {
            let children = stalled::children(place)?;
            for (name, script) in [("stalled", children.sleeping), ("fast", children.reading)] {
                output(&mut text, name, &format!("pipe = \"exec {}\"", script.display()));
            }
        }
        Job::Regexes(count) => {
            output(&mut text, "out", &format!("file = \"{}\"", file.display()));
            for n in 0..count {
                let keys = format!("match = '/w/page{n}[a-f]'\nfile = \"{dir}/match{n}.log\"");
                output(&mut text, &format!("match{n}"), &keys);
            }
        }
        Job::SyslogUdp => {
            let errors = format!("severity = \"err\"\nfile = \"{dir}/{{host}}-errors\"");
            output(&mut text, "errors", &errors);
            output(&mut text, "all", &format!("file = \"{dir}/{{host}}-all\""));
        }
    }
    let config = place.dir.join("logweir.toml");
    fs::write(&config, text)?;
    let mut command = Command::new(logweir);
    command.args(["run", "-c"]).arg(config);
    Ok(command)
}

fn output(text: &mut String, name: &str, keys: &str) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\n[output.{name}]\nfrom = \"in\"\n{keys}\n");
}
