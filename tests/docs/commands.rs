//! The command lines of logweir in a script, held against what logweir takes.

use clap::{CommandFactory, error::ErrorKind};
use logweir::cli::Cli;

/// The names it is started by.
const NAMES: [&str; 6] =
    ["logweir", "udp2log", "log2udp", "packet-loss", "udp2log-demux", "kafkatee"];

/// How many command lines of logweir there are.
///
/// # Errors
/// The first that it would refuse, and why.
pub fn check(script: &str) -> Result<usize, String> {
    let mut seen = 0;
    for words in simple_commands(script) {
        let words: Vec<_> = words.iter().skip_while(|word| is_before(word)).collect();
        let Some(name) = words.first().and_then(|path| path.rsplit('/').next()) else { continue };
        if !NAMES.contains(&name) {
            continue;
        }
        // A drop-in is a subcommand of its name.
        let start = if name == "logweir" { vec!["logweir"] } else { vec!["logweir", name] };
        let line = start.into_iter().chain(words[1..].iter().map(|word| word.as_str()));
        match Cli::command().try_get_matches_from(line) {
            Err(error)
                if !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
            {
                return Err(format!("{words:?}: {error}"));
            }
            _ => seen += 1,
        }
    }
    Ok(seen)
}

/// Whether a word may stand before a command.
fn is_before(word: &str) -> bool {
    let assigned = word.split_once('=').is_some_and(|(name, _)| !name.contains(['/', '-']));
    assigned || ["sudo", "exec", "if", "while", "until", "!", "then", "do"].contains(&word)
}

/// The words of each simple command, without quotes, redirections and comments.
fn simple_commands(script: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word = String::new();
    let mut quote = None;
    let mut comment = false;
    let script = script.replace("\\\n", " ") + "\n";
    for c in script.chars() {
        if comment && c != '\n' {
            continue;
        }
        comment = false;
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if word.is_empty() => comment = true,
            (None, ' ' | '\t' | '\n' | ';' | '|' | '&' | '(' | ')' | '<' | '>') => {
                if !word.is_empty() {
                    commands.last_mut().unwrap().push(std::mem::take(&mut word));
                }
                // What a redirection names becomes a command that is nobody's.
                if !matches!(c, ' ' | '\t') {
                    commands.push(Vec::new());
                }
            }
            (_, c) => word.push(c),
        }
    }
    commands
}

#[test]
fn a_command_line_that_logweir_refuses_is_found() {
    let fine = "sudo logweir check -c a && A=b logweir spool ls /x >y # logweir nothing\n\
                out=$(logweir top --once \\\n  --json) | jq 'logweir x'\nls logweir/x\n";
    assert_eq!(check(fine), Ok(3));
    assert!(check("true; logweir spool list /x").is_err());
    assert!(check("logweir check --grahp text").is_err());
    assert!(check("log2udp -h hub -x 3").is_err());
}
