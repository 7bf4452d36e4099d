//! `logweir import`: converts the configuration of another daemon to logweir's.

mod document;
mod rsyslog;
mod syslog_ng;
mod udp2log;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::config;

/// Print a configuration equivalent to that of another daemon
///
/// Anything that could not be imported becomes a comment that says what to do instead; the exit
/// code is then 1.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// From rsyslog: legacy directives, selectors, RainerScript, and the files it includes
    Rsyslog {
        /// The configuration
        #[arg(value_name = "FILE", default_value = "/etc/rsyslog.conf")]
        file: PathBuf,
        /// The folder that stands for / in the names of included files
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
    },
    /// From syslog-ng: sources, destinations, filters, templates, log paths and included files
    SyslogNg {
        /// The configuration
        #[arg(value_name = "FILE", default_value = "/etc/syslog-ng/syslog-ng.conf")]
        file: PathBuf,
        /// The folder that stands for / in the names of included files
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
    },
    /// From Wikimedia's udp2log
    Udp2log {
        /// The configuration
        #[arg(value_name = "FILE", default_value = "/etc/udp2log")]
        file: PathBuf,
    },
}

/// Prints it; returns 1 if something was not imported, 2 if the configuration cannot be read.
///
/// # Errors
/// If standard output cannot be written to.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let made = match &args.from {
        From::Rsyslog { file, root } => rsyslog::import(file, root.as_deref()),
        From::SyslogNg { file, root } => syslog_ng::import(file, root.as_deref()),
        From::Udp2log { file } => udp2log::import(file),
    };
    let document = match made {
        Ok(document) => document,
        Err(refusal) => {
            eprintln!("{}", crate::printable::printable_lines(&refusal));
            return Ok(ExitCode::from(2));
        }
    };
    let text = document.text();
    super::print(text.as_bytes())?;
    let mut left = document.left();
    if let Err(refusal) = config::parse(&text, "the imported configuration") {
        eprintln!("{}", crate::printable::printable_lines(&refusal.to_string()));
        left += 1;
    }
    if left > 0 {
        eprintln!(
            "logweir: {left} things were not imported; each is a comment that begins with LEFT"
        );
    }
    Ok(ExitCode::from(u8::from(left > 0)))
}

/// Returns whether the check accepts such a node.
fn takes(node: &str) -> bool {
    refusal(node).is_ok()
}

/// The same; the error is the reason why not.
fn refusal(node: &str) -> Result<(), String> {
    let text = match node.contains("[input.") {
        true => format!("{node}\n[output.o]\nstdout = true\n"),
        false => format!("[input.i]\nsyslog = \"udp://127.0.0.1:1\"\n{node}\n"),
    };
    config::parse(&text, "").map(|_| ()).map_err(|refusal| {
        let first = refusal.diagnostics.first();
        first.map_or_else(
            || refusal.to_string(),
            |first| format!("{}: {}", first.key, first.message),
        )
    })
}
