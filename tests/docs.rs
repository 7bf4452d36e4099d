//! docs/ shows nothing that was not run.
//!
//! A fenced block says by its first word what it is, and by that how it is tested; a block with
//! any other word, or none, fails:
//!
//! - `toml`: a configuration that `logweir check` finds fine, without a warning. `toml part` is a
//!   piece of one: streams it takes from become inputs, and what nothing takes from gets an output.
//! - `udp2log`: a configuration of udp2log, read by the drop-in.
//! - `console`: a session. What stands behind `$ ` (and `> ` on further lines) is run, in order and
//!   in one shell for the page, in a machine of its own ([`machine`]); what it prints is compared
//!   ([`compare`]: `…` stands for what varies, a line of it for any lines; moments, durations and
//!   identities only for their form).
//! - `sh host`: what needs a host's service or package manager. `sh -n` reads it, and each
//!   `logweir …` in it must be a command line that logweir takes.
//! - `ini`: a drop-in of logweir.service, or with `ini NAME` a unit of that name, which
//!   `systemd-analyze verify` reads in the machine.
//! - `rsyslog`, `syslog-ng`, `logrotate`, `nginx`, `haproxy`, `squid`: a whole configuration, that
//!   the program itself checks in the machine where it is installed. `nginx part` stands in `http`.
//! - `flume`: the configuration of an agent, which a real one runs with in [`crate::thrift`].
//! - `json`, `yaml`: read as that.
//!
//! A path behind the first word is the file that the block is written to in the machine, before the
//! sessions below it.
//! What only a host does stands in a comment: `<!-- test: COMMANDS -->` is run in the session and
//! must succeed (machine.sh has words for it: `start_logweir`, `settled`, …), and
//! `<!-- needs: PROGRAMS -->` names those without which a page's session is skipped.

mod commands;
mod compare;
mod links;
mod machine;
mod page;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use logweir::config::udp2log;
use logweir::engine::status::InputStatus;
use logweir::parse::syslog::Faults;

use crate::util::LOGWEIR;
use machine::{Machine, Step};
use page::{Block, Page};

/// The project's top folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages of docs/.
fn pages() -> Vec<Page> {
    let pages: Vec<_> =
        page::below(&root().join("docs")).iter().map(|path| Page::read(path)).collect();
    assert!(!pages.is_empty());
    pages
}

#[test]
fn every_block_of_a_page_is_of_a_kind_that_is_tested() {
    const KINDS: [&str; 15] = [
        "toml",
        "flume",
        "udp2log",
        "console",
        "sh",
        "ini",
        "rsyslog",
        "syslog-ng",
        "logrotate",
        "nginx",
        "haproxy",
        "squid",
        "json",
        "yaml",
        page::HIDDEN,
    ];
    for page in pages() {
        for block in &page.blocks {
            let known = KINDS.contains(&block.kind.as_str());
            let host = block.kind != "sh" || block.is("host") || block.path().is_some();
            assert!(known && host, "{}: no test for ```{}", block.place, block.info());
        }
    }
}

#[test]
fn every_configuration_is_fine() {
    let mut pages = pages();
    pages.push(Page::read(&root().join("README.md")));
    let mut checked = 0;
    for block in pages.iter().flat_map(|page| &page.blocks) {
        match block.kind.as_str() {
            "toml" => fine(block),
            "udp2log" => drop_in(block),
            "json" => drop(
                serde_json::from_str::<serde_json::Value>(&block.text)
                    .map_err(|error| panic!("{}: {error}", block.place)),
            ),
            _ => continue,
        }
        checked += 1;
    }
    assert!(checked > 20, "{checked} configurations");
}

fn fine(block: &Block) {
    let text = if block.is("part") { completed(block) } else { block.text.clone() };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let output = Command::new(LOGWEIR).arg("check").arg("-c").arg(file.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", block.place);
}

/// A piece of a configuration with the least that makes it whole: inputs for the streams that it
/// takes from and does not have, and an output where nothing takes from one.
fn completed(block: &Block) -> String {
    let table: toml::Table = block.text.parse().unwrap_or_else(|e| panic!("{}: {e}", block.place));
    let mut nodes: Vec<(&str, &str)> = Vec::new();
    let mut taken: Vec<&str> = Vec::new();
    for (kind, of_kind) in &table {
        for (name, node) in of_kind.as_table().into_iter().flatten().filter(|_| kind != "daemon") {
            nodes.push((kind, name));
            match node.get("from") {
                Some(toml::Value::Array(names)) => {
                    taken.extend(names.iter().map_while(|n| n.as_str()))
                }
                Some(name) => taken.extend(name.as_str()),
                None => {}
            }
        }
    }
    let mut text = block.text.clone();
    let has = |kind: &str| nodes.iter().any(|node| node.0 == kind);
    let missing: Vec<_> =
        taken.iter().filter(|name| !nodes.iter().any(|node| node.1 == **name)).collect();
    for (name, port) in missing.iter().zip(20_000..) {
        write!(text, "\n[input.\"{name}\"]\nudp = \"127.0.0.1:{port}\"\n").unwrap();
    }
    if !has("input") && missing.is_empty() {
        text += "\n[input.rest]\nudp = \"127.0.0.1:20999\"\n";
    }
    let loose =
        |(kind, name): &&(&str, &str)| ["filter", "spool"].contains(kind) && !taken.contains(name);
    for (number, (_, name)) in nodes.iter().filter(loose).enumerate() {
        write!(text, "\n[output.rest{number}]\nfrom = \"{name}\"\nfile = \"/tmp/rest{number}\"\n")
            .unwrap();
    }
    if !has("output") && !nodes.iter().any(|node| loose(&node)) {
        text += "\n[output.shown]\nstdout = true\n";
    }
    text
}

fn drop_in(block: &Block) {
    let address = "127.0.0.1:8420".parse().unwrap();
    let options = udp2log::Options { address, multicast: None, receive_kb: None };
    if let Err(refusal) = udp2log::parse(block.text.as_bytes(), "udp2log", &options) {
        panic!("{}: {refusal}", block.place);
    }
}

#[test]
fn every_command_for_a_host_is_one_that_logweir_takes() {
    let mut seen = 0;
    for block in pages().iter().flat_map(|page| &page.blocks).filter(|block| block.kind == "sh") {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &block.text).unwrap();
        let output = Command::new("sh").arg("-n").arg(file.path()).output().unwrap();
        assert!(output.status.success(), "{}: {output:?}", block.place);
        seen += commands::check(&block.text).unwrap_or_else(|e| panic!("{}: {e}", block.place));
    }
    assert!(seen >= 5, "{seen} commands");
}

#[test]
fn every_session_prints_what_its_page_shows() {
    let Some(machine) = Machine::new() else { return };
    let pages: Vec<_> = pages().into_iter().filter(|page| machine.can(page)).collect();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let machine = &machine;
        let run = |page| scope.spawn(move || session(machine, page));
        let running: Vec<_> = pages.iter().map(run).collect();
        running.into_iter().flat_map(|page| page.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs a page in the machine; what went otherwise. Then the page as it should be is written below
/// target/tmp.
fn session(machine: &Machine, page: &Page) -> Vec<String> {
    let steps: Vec<Step> = page.blocks.iter().flat_map(|block| machine.steps(block)).collect();
    let done = machine.run(&steps);
    let mut wrong = Vec::new();
    let mut right = page.text.clone();
    for (step, done) in steps.iter().zip(&done) {
        let place = &step.place;
        match &step.shown {
            None if done.failed => {
                wrong.push(format!("{place}: failed: {}\n{}", step.command, done.said))
            }
            Some(shown) if !compare::fits(shown, &done.said) => {
                let shown_so = format!("{}{shown}", step.source);
                right = right.replacen(&shown_so, &format!("{}{}", step.source, done.said), 1);
                wrong.push(format!("{place}: $ {}{}", step.command, done.said));
            }
            _ => {}
        }
    }
    if let Some(step) = steps.get(done.len()) {
        wrong.push(format!("{}: ended the session, or never ended: {}", step.place, step.command));
    }
    if !wrong.is_empty() {
        let file = as_it_should_be(page);
        std::fs::write(&file, right).unwrap();
        wrong.push(format!("{} is the page with what was printed", file.display()));
    }
    wrong
}

fn as_it_should_be(page: &Page) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docs");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(page.name.replace('/', "_"))
}

#[test]
fn links_lead_somewhere() {
    let mut pages = pages();
    for name in ["README.md", "ARCHITECTURE.md", "packaging/README.md", "filters/README.md"] {
        pages.push(Page::read(&root().join(name)));
    }
    let wrong: Vec<String> = pages.iter().flat_map(links::broken).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every reason of a drop and every input's count is explained in docs/tune.md.
#[test]
fn every_count_is_explained() {
    let tune = Page::read(&root().join("docs/tune.md")).text;
    let reasons = logweir::ledger::REASONS.map(logweir::ledger::Reason::word);
    let counts = InputStatus::default();
    let names =
        [serde_json::to_value(counts).unwrap(), serde_json::to_value(Faults::default()).unwrap()];
    let names = names.iter().flat_map(|counts| counts.as_object().unwrap().keys());
    let words = reasons.iter().copied().chain(names.map(String::as_str));
    for word in words {
        assert!(tune.contains(&format!("`{word}`")), "{word} is not in docs/tune.md");
    }
}

/// So is every alert of the packages.
#[test]
fn every_alert_is_explained() {
    let tune = Page::read(&root().join("docs/tune.md")).text;
    for entry in std::fs::read_dir(root().join("packaging/prometheus")).into_iter().flatten() {
        let rules = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
            assert!(tune.contains(alert), "{alert} is not in docs/tune.md");
        }
    }
}
