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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// What becomes of a configuration in a file: either it is refused with a reason, or the check
    /// accepts what it is imported to, or something is reported as left.
    fn imported(folder: &Path, text: &[u8], is_rsyslog: bool) {
        let file = folder.join("theirs.conf");
        std::fs::write(&file, text).unwrap();
        let made = match is_rsyslog {
            true => rsyslog::import(&file, Some(folder)),
            false => syslog_ng::import(&file, Some(folder)),
        };
        match made {
            Ok(document) => {
                let checked = config::parse(&document.text(), "");
                assert!(document.left() > 0 || checked.is_ok(), "{}", document.text());
            }
            Err(refusal) => assert!(!refusal.is_empty()),
        }
    }

    #[test]
    fn a_configuration_that_is_cut_off_anywhere_is_imported_or_refused() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import");
        let folder = tempfile::tempdir().unwrap();
        for (at, entry) in std::fs::read_dir(corpus).unwrap().enumerate() {
            let path = entry.unwrap().path();
            let text = std::fs::read(&path).unwrap();
            let is_rsyslog = path.extension().is_some_and(|extension| extension == "conf");
            // Each file at other places, so that the whole takes no longer than it must.
            let step = text.len() / 3 + 1;
            for end in (at % 97..text.len()).step_by(step) {
                imported(folder.path(), &text[..end], is_rsyslog);
            }
        }
    }

    /// Words and signs of both languages, in any order.
    fn words() -> impl Strategy<Value = String> {
        let words = [
            "if ",
            "then ",
            "else ",
            "$msg ",
            "== ",
            "contains ",
            "\"a\" ",
            "{ ",
            "} ",
            "( ",
            ") ",
            "& ",
            "stop\n",
            "*.* ",
            "mail.info ",
            "/var/log/x\n",
            "@@hub\n",
            ":msg, contains, \"a\" ",
            "action(type=\"omfile\" file=\"/x\") ",
            "ruleset(name=\"r\") ",
            "call r\n",
            "set $.x = ",
            "$template t,\"%msg%\"\n",
            "$ModLoad imudp\n",
            "input(type=\"imudp\" ruleset=\"r\") ",
            "; ",
            "source s ",
            "log ",
            "filter ",
            "junction ",
            "channel ",
            "elif ",
            "network(port(1)) ",
            "destination ",
            "file(\"/x\") ",
            "flags(final) ",
            "program(\"a\") ",
            "rewrite ",
            "\\",
            "'",
            "`",
            "\n",
            "é",
        ];
        prop::collection::vec(prop::sample::select(words.to_vec()), 0..60)
            .prop_map(|words| words.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_text_makes_an_import_panic(text in words(), is_rsyslog: bool) {
            let folder = tempfile::tempdir().unwrap();
            imported(folder.path(), text.as_bytes(), is_rsyslog);
        }

        #[test]
        fn no_bytes_make_an_import_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            is_rsyslog: bool,
        ) {
            let folder = tempfile::tempdir().unwrap();
            imported(folder.path(), &bytes, is_rsyslog);
        }
    }
}
