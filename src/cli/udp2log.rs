//! `udp2log`: the drop-in, with its options, its configuration file and its report lines, on our
//! engine.
//!
//! `--daemon` starts the same program again in a session of its own, and waits until that process
//! has bound its port and opened its files, so that a failed start is reported.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::unistd::{User, initgroups, setgid, setuid};

use crate::config;
use crate::config::plan::{BodyPlan, Plan};
use crate::config::udp2log::Options;
use crate::driver::{Daemon, Report};
use crate::engine::status::Status;
use crate::logger::{self, Style, Target};
use crate::printable::printable_lines;
use crate::sys::process::in_new_session;

/// The user that udp2log switches to if none is named.
const USER: &str = "udp2log";
/// Written by a daemon to its standard output when it is ready.
const READY: &[u8] = b"ready\n";

/// Run as udp2log does: its options, its configuration file, its log
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The UDP port to listen on
    #[arg(short, long, default_value_t = 8420)]
    port: u16,
    /// The configuration: lines of `[flush] [nonblocking] file|pipe FACTOR REST`
    #[arg(short = 'f', long, value_name = "FILE", default_value = "/etc/udp2log")]
    config_file: PathBuf,
    /// Run in the background
    #[arg(long)]
    daemon: bool,
    /// Append the log to this file instead of writing it to standard error
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Write the process id to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Switch to this user once the port is bound [default: udp2log, if started as root]
    #[arg(long)]
    user: Option<String>,
    /// Join this multicast group
    #[arg(long, value_name = "ADDRESS")]
    multicast: Option<IpAddr>,
    /// Kernel receive buffer
    #[arg(long, value_name = "KB")]
    recv_queue: Option<u64>,
    /// Seconds between two reports in the log; 0 for none
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    report_interval: u64,
    /// Report on standard output when ready (passed by --daemon)
    #[arg(long, hide = true)]
    say_ready: bool,
}

/// Runs until a signal ends it.
///
/// # Errors
/// One sentence for the user.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.daemon {
        return in_background(&args);
    }
    let options = args.options();
    let plan = match read(&args.config_file, &options) {
        Ok(plan) => plan,
        Err(refusal) => {
            eprintln!("{}", printable_lines(&refusal.to_string()));
            return Ok(ExitCode::from(2));
        }
    };
    let target = args.log_file.clone().map_or(Target::Stderr, Target::File);
    let _log = logger::start(target, Style::Udp2log).with_context(|| match &args.log_file {
        Some(path) => format!("log file {}", path.display()),
        None => "the log".into(),
    })?;
    let path = args.config_file.clone();
    let reread = move || {
        logger::reopen();
        read(&path, &options)
    };
    let mut daemon = match Daemon::open_at_once(&plan, Box::new(reread)) {
        Ok(daemon) => daemon,
        Err(error) => {
            eprintln!("udp2log: {}", printable_lines(&error.to_string()));
            return Ok(ExitCode::FAILURE);
        }
    };
    if let Some(path) = &args.pid_file {
        fs::write(path, format!("{}\n", std::process::id()))
            .with_context(|| format!("pid file {}", path.display()))?;
    }
    become_user(args.user.as_deref())?;
    if args.report_interval > 0 {
        daemon.report(report(Duration::from_secs(args.report_interval)));
    }
    if args.say_ready {
        say_ready()?;
    }
    daemon.run()?;
    if let Some(path) = &args.pid_file {
        // If the folder belongs to root, the file remains, as udp2log's does.
        let _ = fs::remove_file(path);
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn options(&self) -> Options {
        let any = match self.multicast {
            Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        Options {
            address: SocketAddr::new(any, self.port),
            multicast: self.multicast,
            receive_kb: self.recv_queue,
        }
    }
}

fn read(path: &Path, options: &Options) -> Result<Plan, String> {
    let name = path.display().to_string();
    config::read_bytes(path, &name)
        .and_then(|bytes| config::udp2log::parse(&bytes, &name, options))
        .map_err(|refusal| refusal.to_string())
}

/// Starts the same program again without a terminal and waits until it is ready.
fn in_background(args: &Args) -> anyhow::Result<ExitCode> {
    let absolute = |path: &PathBuf| std::path::absolute(path);
    let mut command = Command::new("/proc/self/exe");
    command.arg("udp2log").arg("--say-ready").arg("--port").arg(args.port.to_string());
    command.arg("--config-file").arg(absolute(&args.config_file)?);
    command.arg("--report-interval").arg(args.report_interval.to_string());
    for (option, path) in [("--log-file", &args.log_file), ("--pid-file", &args.pid_file)] {
        if let Some(path) = path {
            command.arg(option).arg(absolute(path)?);
        }
    }
    if let Some(user) = &args.user {
        command.arg("--user").arg(user);
    }
    if let Some(group) = args.multicast {
        command.arg("--multicast").arg(group.to_string());
    }
    if let Some(kb) = args.recv_queue {
        command.arg("--recv-queue").arg(kb.to_string());
    }
    start_and_wait(command, args.log_file.is_some())
}

/// Starts a program in the background and waits until it says that it is ready; its exit code if it
/// never does. `is_quiet`: what it says is shown only then.
pub(super) fn start_and_wait(mut command: Command, is_quiet: bool) -> anyhow::Result<ExitCode> {
    in_new_session(&mut command);
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped());
    if is_quiet {
        command.stderr(Stdio::piped());
    }
    let mut child = command.spawn().context("it cannot be started again in the background")?;
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(READY.len() as u64).read_to_end(&mut output)?;
    }
    if output == READY {
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(mut stderr) = child.stderr.take() {
        io::copy(&mut stderr, &mut io::stderr())?;
    }
    let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

/// Notifies the waiting parent and closes its pipes: the background has no terminal.
pub(super) fn say_ready() -> anyhow::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(READY)?;
    stdout.flush()?;
    let null = fs::OpenOptions::new().write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(())
}

/// Drops root's privileges for those of `name`, in all threads.
fn become_user(name: Option<&str>) -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let wanted = name.unwrap_or(USER);
    let Some(user) = User::from_name(wanted)? else {
        if name.is_some() {
            bail!("there is no user '{wanted}'");
        }
        log::warn!("there is no user '{wanted}': running on as root; name one with --user");
        return Ok(());
    };
    let login = std::ffi::CString::new(user.name.clone())?;
    initgroups(&login, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)?;
    Ok(())
}

/// udp2log's report: bytes lost by each output since the last report, and the packet rate.
fn report(every: Duration) -> Report {
    let mut lost_before: HashMap<String, u64> = HashMap::new();
    let mut packets_before = 0;
    let tell = move |status: &Status, plan: &Plan| {
        for node in &status.nodes {
            let before = lost_before.insert(node.name.clone(), node.bytes_dropped).unwrap_or(0);
            let lost = node.bytes_dropped.saturating_sub(before);
            if lost > 0 {
                log::info!("Lost output bytes: {lost}: {}", title(plan, &node.name));
            }
        }
        let packets: u64 =
            status.nodes.iter().filter_map(|node| node.input).map(|input| input.datagrams).sum();
        let new = packets.saturating_sub(packets_before);
        packets_before = packets;
        log::info!("Packet rate: {:.3} k/s", new as f64 / every.as_secs_f64() / 1000.0);
    };
    Report { every, run: Box::new(tell) }
}

/// The user's own text: the file's name or the command.
fn title<'p>(plan: &'p Plan, name: &'p str) -> &'p str {
    let node = plan.nodes.iter().find(|node| node.name == name);
    match node.map(|node| &node.body) {
        Some(BodyPlan::Pipe(pipe)) => pipe.command.strip_prefix("exec ").unwrap_or(&pipe.command),
        Some(BodyPlan::File(file)) => file.path.as_str(),
        _ => name,
    }
}
