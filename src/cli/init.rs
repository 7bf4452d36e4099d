//! `logweir init`: a first configuration, by three questions or by options.

use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::config;
use crate::url::Url;

/// Print a first configuration with comments
///
/// On a terminal it asks for what the options leave open: where lines come from, where they go, and
/// whether Prometheus scrapes. Elsewhere the defaults are network, files and no. The output passes
/// `logweir check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where lines come from
    #[arg(long, value_enum)]
    from: Option<From>,
    /// Where they go: `files`, or the URL of another host, as in relp://hub:2514
    #[arg(long, value_name = "files|URL", value_parser = destination)]
    to: Option<Destination>,
    /// Open a port for Prometheus on this host
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
    metrics: Option<bool>,
    /// Write to this file, which must not exist yet, instead of printing
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Where lines come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// Syslog from other hosts
    Network,
    /// Syslog from programs of this host
    Host,
    /// Raw log lines over UDP
    Raw,
}

/// Where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Destination {
    Files,
    Hub(String),
}

fn destination(text: &str) -> Result<Destination, String> {
    if text == "files" {
        return Ok(Destination::Files);
    }
    let url = Url::to_forward(text).map_err(|error| format!("`files`, or a URL: {error}"))?;
    Ok(Destination::Hub(url.to_string()))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "y" => Ok(true),
        "no" | "n" => Ok(false),
        _ => Err("yes or no".into()),
    }
}

fn source(text: &str) -> Result<From, String> {
    let names: Vec<_> = From::value_variants().iter().filter_map(From::to_possible_value).collect();
    From::from_str(text, false).map_err(|_| {
        let names: Vec<_> = names.iter().map(|name| name.get_name()).collect();
        names.join(", ")
    })
}

/// Prints or writes the configuration.
///
/// # Errors
/// That the file already exists; the system's.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
    let from = answer(
        asks,
        args.from,
        "Where do lines come from: network (syslog from other hosts), host (syslog of this host), \
         raw (lines over UDP)?",
        ("network", source),
    )?;
    let to = answer(
        asks,
        args.to.clone(),
        "Where do they go: files, or the URL of another host, as in relp://hub:2514?",
        ("files", destination),
    )?;
    let metrics = answer(
        asks,
        args.metrics,
        "Open a port for Prometheus on this host: yes or no?",
        ("no", yes_or_no),
    )?;
    let text = configuration(from, &to, metrics);
    // The check must accept what we claim it accepts.
    config::parse(&text, "init").map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    match &args.output {
        None => super::print(text.as_bytes())?,
        Some(path) => {
            let file = OpenOptions::new().write(true).create_new(true).open(path);
            let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
            written.with_context(|| path.display().to_string())?;
            let path = path.display();
            eprintln!("{path} is written; now: logweir check -c {path} && logweir run -c {path}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Parses an answer; an error lists the possible answers.
type Parse<T> = fn(&str) -> Result<T, String>;

/// The value of an option, else the user's answer, else the default.
fn answer<T>(
    asks: bool,
    given: Option<T>,
    question: &str,
    (default, parse): (&str, Parse<T>),
) -> anyhow::Result<T> {
    if let Some(value) = given {
        return Ok(value);
    }
    if !asks {
        return parse(default).map_err(anyhow::Error::msg);
    }
    loop {
        eprint!("{question} [{default}] ");
        let mut answer = String::new();
        if io::stdin().lock().read_line(&mut answer)? == 0 {
            bail!("no answer");
        }
        let answer = if answer.trim().is_empty() { default } else { answer.trim() };
        match parse(answer) {
            Ok(value) => return Ok(value),
            Err(error) => eprintln!("{error}"),
        }
    }
}

/// The configuration.
fn configuration(from: From, to: &Destination, metrics: bool) -> String {
    let mut text = include_str!("init/daemon.toml").to_string();
    if metrics {
        text += include_str!("init/metrics.toml");
    }
    text += match from {
        From::Network => include_str!("init/network.toml"),
        From::Host => include_str!("init/host.toml"),
        From::Raw => include_str!("init/raw.toml"),
    };
    match to {
        Destination::Files => text += include_str!("init/files.toml"),
        Destination::Hub(url) => text += &include_str!("init/hub.toml").replace("HUB", url),
    }
    text + include_str!("init/more.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_gives_a_configuration_that_is_accepted_without_a_warning() {
        for from in From::value_variants() {
            for to in ["files", "relp://hub:2514", "tcp://[::1]:514", "relp+tls://hub:2514"] {
                for metrics in [true, false] {
                    let text = configuration(*from, &destination(to).unwrap(), metrics);
                    let checked = config::parse(&text, "init");
                    let checked = checked.unwrap_or_else(|refusal| panic!("{refusal}"));
                    assert_eq!(checked.warnings, [], "{from:?} {to}");
                    // The settings commented out at its end are valid too.
                    let (first, more) = text.split_once("reload.\n#\n").unwrap();
                    let more = more.replace("\n# ", "\n").replace("\n#\n", "\n");
                    let more = format!("{first}\n{}", more.strip_prefix("# ").unwrap());
                    config::parse(&more, "init").unwrap_or_else(|refusal| panic!("{refusal}"));
                }
            }
        }
        assert!(destination("udp://hub:1").is_err() && destination("nowhere").is_err());
    }
}
