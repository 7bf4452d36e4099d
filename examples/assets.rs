//! Shell completions, and a manual page for every subcommand, from what the command line knows of
//! itself. `cargo run --example assets -- DIR` writes them to DIR/completions and DIR/man.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use logweir::cli::Cli;

/// The manual page of `logweir` itself, which is written by hand.
const MANUAL: &str = include_str!("../man/logweir.1");

/// The shells, each finding its own by the file's name.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [folder] = &arguments[..] else {
        eprintln!("usage: cargo run --example assets -- DIR");
        return ExitCode::from(2);
    };
    match write(Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", Path::new(folder).display());
            ExitCode::FAILURE
        }
    }
}

/// Writes everything below a folder.
///
/// # Errors
/// The system's.
pub fn write(folder: &Path) -> io::Result<()> {
    let completions = folder.join("completions");
    std::fs::create_dir_all(&completions)?;
    for shell in SHELLS {
        generate_to(shell, &mut Cli::command(), "logweir", &completions)?;
    }
    let man = folder.join("man");
    std::fs::create_dir_all(&man)?;
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    pages(&cli, &man)
}

/// Writes a page for every subcommand of a command, and for theirs.
fn pages(command: &Command, folder: &Path) -> io::Result<()> {
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        page(command, folder)?;
        pages(command, folder)?;
    }
    Ok(())
}

fn page(command: &Command, folder: &Path) -> io::Result<()> {
    let title = command.get_display_name().unwrap_or_else(|| command.get_name());
    let page = Man::new(command.clone())
        .title(title.to_uppercase())
        .date(MANUAL.split_whitespace().nth(3).unwrap_or_default())
        .source(concat!("logweir ", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    let mut text = Vec::new();
    page.render(&mut text)?;
    writeln!(text, ".SH \"SEE ALSO\"\n.BR logweir (1),\n.BR logweir.toml (5)")?;
    std::fs::write(folder.join(page.get_filename()), text)
}
