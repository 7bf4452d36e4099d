//! The programs in `filters/`: what each prints for its sample, under every awk there is here.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs a filter over `testdata/{input}.in`, as a shell command in `filters/`, with each awk.
fn check(input: &str, command: &str, expected: &str) {
    let data = folder().join("testdata");
    let wanted = fs::read(data.join(expected).with_extension("out")).unwrap();
    for awk in awks() {
        let sample = fs::File::open(data.join(input).with_extension("in")).unwrap();
        let output = shell(command, awk).stdin(sample).output().unwrap();
        assert!(output.status.success(), "{awk}: {output:?}");
        let (got, wanted) = (output.stdout.escape_ascii(), wanted.escape_ascii());
        assert_eq!(got.to_string(), wanted.to_string(), "{command} with {awk}");
    }
}

/// Checks that a filter prints a line while its input stays open.
fn check_prints_at_once(command: &str, line: &str) {
    for awk in awks() {
        let mut shell = shell(command, awk);
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{line}").unwrap();
        let mut printed = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut printed).unwrap();
        assert_eq!(printed.trim_end(), line, "{command} with {awk}");
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }
}

fn shell(command: &str, awk: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("AWK", awk).current_dir(folder());
    shell
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("filters")
}

/// The kinds of awk that this machine has.
fn awks() -> Vec<&'static str> {
    let all = ["awk", "mawk", "gawk", "original-awk", "busybox awk"];
    let works = |awk: &&str| {
        let test =
            Command::new("sh").args(["-c", &format!("{awk} 'BEGIN {{}}' </dev/null")]).output();
        test.is_ok_and(|output| output.status.success())
    };
    let found: Vec<_> = all.into_iter().filter(works).collect();
    assert!(!found.is_empty(), "no awk here");
    found
}

#[test]
fn errors_per_minute_of_every_log_format() {
    check("errors-per-minute", "$AWK -f errors-per-minute.awk", "errors-per-minute");
}

#[test]
fn top_at_the_end_of_input() {
    check("top", "$AWK -v field=2 -v n=2 -f top.awk", "top");
}

#[test]
fn top_after_so_many_lines() {
    check("top", "$AWK -v field=2 -v n=1 -v every=4 -f top.awk", "top-every");
}

#[test]
fn prefixes_of_both_families() {
    check("prefixes", "$AWK -f prefixes.awk | LC_ALL=C sort", "prefixes");
}

#[test]
fn domain_and_what_is_below_it() {
    check("domain", "./domain.sh wikipedia.org .Example.net.", "domain");
}

#[test]
fn domain_prints_at_once() {
    check_prints_at_once("./domain.sh example.org", "GET http://www.example.org/ 200");
}

#[test]
fn anonymise_every_address() {
    check("anonymise", "./anonymise.sh", "anonymise");
}

#[test]
fn anonymise_one_field() {
    check("anonymise", "./anonymise.sh 3", "anonymise-field");
}

#[test]
fn anonymise_prints_at_once() {
    check_prints_at_once("./anonymise.sh", "no address here");
}
