//! The command line: one module per subcommand, each with its `Args` and its `run`.
//!
//! Exit codes: 0 success, 1 failure, 2 the command line or the configuration was refused.

pub mod audit;
pub mod check;
pub mod completions;
pub mod control;
pub mod ctl;
pub mod demux;
pub mod explain;
pub mod r#gen;
pub mod import;
pub mod init;
pub mod log2udp;
pub mod loss;
pub mod losses;
mod minutes;
pub mod packet_loss;
pub mod run;
pub mod schema;
pub mod send;
pub mod spool;
mod stdin;
pub mod tap;
pub mod tee;
pub mod top;
pub mod udp2log;
mod version;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::printable::printable_lines;

/// The path of the configuration unless given otherwise.
pub const DEFAULT_CONFIG: &str = crate::config::FILE_DEFAULT;

/// The programs that logweir replaces when it is started under their names.
const DROP_INS: [&str; 5] = ["udp2log", "log2udp", "packet-loss", "udp2log-demux", "kafkatee"];

/// Receives log lines, splits the flow through filter processes and sampling, and passes it on
/// without losing count of a single line.
#[derive(Debug, Parser)]
#[command(name = "logweir", version, long_version = version::long(), max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Top(top::Args),
    Tap(tap::Args),
    Ctl(ctl::Args),
    Check(check::Args),
    Schema(schema::Args),
    Explain(explain::Args),
    Udp2log(udp2log::Args),
    Loss(loss::Args),
    Losses(losses::Args),
    Audit(audit::Args),
    Spool(spool::Args),
    Demux(demux::Args),
    Log2udp(log2udp::Args),
    PacketLoss(packet_loss::Args),
    #[command(name = "udp2log-demux")]
    Udp2logDemux(demux::DropInArgs),
    #[command(name = "kafkatee")]
    Tee(tee::Args),
    Send(send::Args),
    Gen(r#gen::Args),
    Init(init::Args),
    Import(import::Args),
    Completions(completions::Args),
}

/// Runs the command line; returns the exit code.
pub fn main() -> ExitCode {
    crate::sys::memory::give_back();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(refusal) => {
            // If it cannot be printed, the exit code still reports it.
            let _ = refusal.print();
            return refusal_code(&arguments, refusal.use_stderr());
        }
    };
    let done: anyhow::Result<ExitCode> = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Top(args) => top::run(&args),
        Command::Tap(args) => tap::run(&args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Udp2log(args) => udp2log::run(args),
        Command::Loss(args) => loss::run(&args),
        Command::Losses(args) => losses::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Spool(args) => spool::run(&args),
        Command::Demux(args) => demux::run(&args),
        Command::Log2udp(args) => log2udp::run(&args),
        Command::PacketLoss(args) => packet_loss::run(&args),
        Command::Udp2logDemux(args) => demux::run_drop_in(&args),
        Command::Tee(args) => tee::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Gen(args) => r#gen::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Completions(args) => completions::run(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("logweir: {}", printable_lines(&format!("{error:#}")));
        match error.is::<Refused>() {
            true => refusal_code(&arguments, true),
            false => ExitCode::FAILURE,
        }
    })
}

/// A command line that is well formed and asks for what cannot be.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Writes to standard output, whose reader may stop before the end.
fn print(text: &[u8]) -> io::Result<()> {
    match io::stdout().lock().write_all(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Parses the command line; under a drop-in's name the program is that subcommand.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let command = Cli::command().multicall(is_by_name(arguments));
    Cli::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

/// Returns whether the program was started under a drop-in's name.
fn is_by_name(arguments: &[OsString]) -> bool {
    let name = arguments.first().and_then(|path| Path::new(path).file_name());
    name.is_some_and(is_drop_in)
}

fn is_drop_in(name: &OsStr) -> bool {
    DROP_INS.iter().any(|drop_in| name == *drop_in)
}

/// The drop-ins exit with 1 where logweir exits with 2.
fn refusal_code(arguments: &[OsString], refused: bool) -> ExitCode {
    match refused {
        false => ExitCode::SUCCESS,
        true if is_by_name(arguments) => ExitCode::FAILURE,
        true if arguments.get(1).is_some_and(|name| is_drop_in(name)) => ExitCode::FAILURE,
        true => ExitCode::from(2),
    }
}
