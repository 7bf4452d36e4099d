//! `kafkatee`: the drop-in, with its options and its configuration file, on our engine.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context;

use super::udp2log::{say_ready, start_and_wait};
use crate::config;
use crate::config::tee::Tee;
use crate::driver::Daemon;
use crate::logger::{self, Style, Target};
use crate::printable::printable_lines;

/// Run as kafkatee does: its options, its configuration file
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The configuration: properties, inputs and outputs
    #[arg(short, value_name = "FILE", default_value = "/etc/kafkatee.conf")]
    config_file: PathBuf,
    /// Write the process id to this file [default: /var/run/kafkatee.pid]
    #[arg(short, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Log what explains a failure
    #[arg(short)]
    debug: bool,
    /// Stay in the foreground
    #[arg(short = 'D')]
    foreground: bool,
    /// End when all inputs are read to their end (not taken: they have none)
    #[arg(short = 'e', hide = true)]
    exit_at_end: bool,
    /// End when an input or output fails (taken, but both are started again)
    #[arg(short = 'x', hide = true)]
    exit_on_failure: bool,
    /// Report on standard output when ready (passed by itself)
    #[arg(long, hide = true)]
    say_ready: bool,
}

/// Where the process id is written if nothing else is said.
const PID_FILE: &str = "/var/run/kafkatee.pid";

/// Runs until a signal ends it.
///
/// # Errors
/// One sentence for the user.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.exit_at_end {
        eprintln!(
            "kafkatee: -e is not taken: an input is read without an end (kcat -C -e reads a topic \
             up to its end)"
        );
        return Ok(ExitCode::from(2));
    }
    let tee = match config::tee::read(&args.config_file) {
        Ok(tee) => tee,
        Err(refusal) => {
            eprintln!("{}", printable_lines(&refusal.to_string()));
            return Ok(ExitCode::from(2));
        }
    };
    let pid_file = args.pid_file.clone().or_else(|| tee.pid_file.clone());
    let pid_file = pid_file.unwrap_or_else(|| PID_FILE.into());
    if tee.in_background && !args.foreground && !args.say_ready {
        let mut command = Command::new("/proc/self/exe");
        command.args(["kafkatee", "--say-ready", "-c"]);
        command.arg(std::path::absolute(&args.config_file)?);
        command.arg("-p").arg(std::path::absolute(&pid_file)?);
        if args.debug {
            command.arg("-d");
        }
        return start_and_wait(command, false);
    }
    serve(args, tee, &pid_file)
}

fn serve(args: &Args, tee: Tee, pid_file: &PathBuf) -> anyhow::Result<ExitCode> {
    let Tee { mut plan, warnings, commands, passing, .. } = tee;
    if args.debug {
        plan.daemon.log = logger::Verbosity::Debug;
    }
    plan.daemon.log.apply();
    let _log = logger::start(Target::Stderr, Style::Plain).context("the log")?;
    for warning in &warnings {
        log::warn!("{}: {warning}", args.config_file.display());
    }
    // Those inputs begin anew with each process.
    for path in &passing {
        let _ = fs::remove_file(path);
    }
    execute(commands[0].as_deref(), "command.init");
    let path = args.config_file.clone();
    let reread = move || {
        logger::reopen();
        config::tee::read(&path).map(|tee| tee.plan).map_err(|refusal| refusal.to_string())
    };
    let daemon = match Daemon::open_at_once(&plan, Box::new(reread)) {
        Ok(daemon) => daemon,
        Err(error) => {
            eprintln!("kafkatee: {}", printable_lines(&error.to_string()));
            return Ok(ExitCode::FAILURE);
        }
    };
    fs::write(pid_file, format!("{}\n", std::process::id()))
        .with_context(|| format!("pid file {}", pid_file.display()))?;
    if args.say_ready {
        say_ready()?;
    }
    daemon.run()?;
    execute(commands[1].as_deref(), "command.term");
    let _ = fs::remove_file(pid_file);
    Ok(ExitCode::SUCCESS)
}

/// Runs a command of the configuration; what comes of it is only said.
fn execute(command: Option<&str>, name: &str) {
    let Some(command) = command else { return };
    match Command::new("/bin/sh").args(["-c", command]).status() {
        Ok(status) if status.success() => {}
        Ok(status) => log::error!("{name}: {command}: {status}"),
        Err(error) => log::error!("{name}: {command}: {error}"),
    }
}
