//! From a file to a checked plan.
//!
//! [`read`] and [`parse`] read logweir's own TOML file, [`udp2log::parse`] reads udp2log's. The
//! TOML is walked as a tree with spans rather than through serde, which stops at its first error:
//! here all errors are reported at once, in file order.
//!
//! A table becomes a [`Section`]. The protocols read their own ([`crate::proto`]); `daemon`,
//! `filter`, `spool` and `select` read the rest; `keys` collects all keys; `flow` connects the
//! nodes; `checks` examines the whole. All of them write into one [`Report`].

mod advice;
mod checks;
mod daemon;
pub mod explain;
mod fields;
mod filter;
mod fit;
mod flow;
pub mod graph;
mod include;
mod input;
#[cfg(test)]
mod key_tests;
pub mod keys;
mod output;
pub mod plan;
pub mod schema;
pub(crate) mod select;
mod socket;
mod spool;
pub mod tee;
#[cfg(test)]
mod tests;
pub mod udp2log;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use toml::Spanned;
use toml::de::DeTable;

pub use self::daemon::CONTROL_DEFAULT;
use self::flow::{Draft, Flow};
use self::include::Included;
use self::plan::{BodyPlan, Kind, Plan, SelectPlan};
pub use self::socket::control_socket;
pub use crate::filter::regex as pattern;
use crate::limits;
pub use crate::proto::shared::format::shape_of;
use crate::settings::diagnostic::DIAGNOSTICS_MAX;
pub use crate::settings::units;
pub use crate::settings::{Diagnostic, Place, Refusal, Severity};
use crate::settings::{Entry, Report, Section, nearest};

/// The path of the configuration unless given otherwise.
pub const FILE_DEFAULT: &str = "/etc/logweir/logweir.toml";

const KINDS: [Kind; 4] = [Kind::Input, Kind::Filter, Kind::Spool, Kind::Output];

/// An accepted configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The plan.
    pub plan: Plan,
    /// Valid settings that are probably mistakes, in file order.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and checks a configuration file.
///
/// # Errors
/// If the file cannot be read, or for every error in it.
pub fn read(path: &Path) -> Result<Checked, Refusal> {
    let name = path.display().to_string();
    let text = text_of(&read_bytes(path, &name)?, &name)?;
    let parsed = DeTable::parse_recoverable(&text);
    let included = include::read(&parsed, &text, &name)?;
    parse_all((&text, parsed), &name, &included)
}

/// The tables and keys of a file, and what in it is not TOML.
type Parsed<'t> = (Spanned<DeTable<'t>>, Vec<toml::de::Error>);

/// The text of a file, which must be UTF-8.
fn text_of(bytes: &[u8], name: &str) -> Result<String, Refusal> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(error) => {
            let at = error.valid_up_to();
            let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            let message = format!("is not UTF-8: byte {at} (0x{:02x}), on line {line}", bytes[at]);
            Err(Refusal::whole(name, message, None))
        }
    }
}

/// Reads a configuration file of a sensible size.
///
/// # Errors
/// If the file does not exist, cannot be read, or is too large.
pub fn read_bytes(path: &Path, name: &str) -> Result<Vec<u8>, Refusal> {
    let refuse = |error: std::io::Error| {
        let message = match error.kind() {
            ErrorKind::NotFound => "there is no such file".into(),
            ErrorKind::PermissionDenied => "cannot be read (permission denied)".into(),
            ErrorKind::IsADirectory => "is a folder, not a file".into(),
            _ => format!("cannot be read: {error}"),
        };
        Refusal::whole(name, message, None)
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(refuse)?;
    // One byte more than the limit shows that there is more; a length requested beforehand would be
    // wrong for a pipe.
    file.take(limits::CONFIG_MAX + 1).read_to_end(&mut bytes).map_err(refuse)?;
    if bytes.len() as u64 > limits::CONFIG_MAX {
        let message = format!("is larger than {}", units::show_size(limits::CONFIG_MAX));
        return Err(Refusal::whole(name, message, Some("is it really a configuration file?")));
    }
    Ok(bytes)
}

/// Checks a configuration consisting of one file.
///
/// # Errors
/// For every error in it.
pub fn parse(text: &str, file_name: &str) -> Result<Checked, Refusal> {
    parse_all((text, DeTable::parse_recoverable(text)), file_name, &[])
}

fn parse_all(
    (text, parsed): (&str, Parsed<'_>),
    file_name: &str,
    included: &[Included],
) -> Result<Checked, Refusal> {
    if text.trim().is_empty() {
        let help = "the minimum is an [input.NAME] and an [output.NAME]";
        return Err(Refusal::whole(file_name, "is empty".into(), Some(help)));
    }
    let mut report = Report::new(file_name, text);
    let main = toml_table((text, parsed), 0, &mut report);
    let mut others = Vec::new();
    for Included { name, text } in included {
        let base = report.add(name, text);
        let parsed = DeTable::parse_recoverable(text);
        others.push((toml_table((text, parsed), base, &mut report), base));
    }
    if report.has_errors() {
        // Values recovered from broken TOML would only produce misleading errors.
        return Err(report.refuse());
    }
    let root = Section::file(main.get_ref(), 0);
    check_root(&root, &mut report);
    let mut drafts = drafts(&root, &mut report);
    for (table, base) in &others {
        let root = Section::file(table.get_ref(), *base);
        check_included(&root, &mut report);
        drafts.extend(self::drafts(&root, &mut report));
    }
    let daemon_section = table(&root, "daemon", &mut report);
    let daemon = daemon::read(daemon_section.as_ref(), &mut report);
    if drafts.len() > limits::NODES_MAX {
        let (nodes, max) = (drafts.len(), limits::NODES_MAX);
        report.error_whole(format!("there are {nodes} nodes"), format!("the maximum is {max}"));
        return Err(report.refuse());
    }
    let flow = Flow::new(drafts, &mut report);
    checks::all(&flow, (&daemon, daemon_section.as_ref()), &mut report);
    let nodes = flow.into_nodes();
    let (warnings, nodes) = report.finish(nodes)?;
    Ok(Checked { plan: Plan { daemon, nodes }, warnings })
}

/// The tables and keys of a file; reports invalid TOML.
fn toml_table<'t>(
    (text, (table, errors)): (&str, Parsed<'t>),
    base: usize,
    report: &mut Report<'_>,
) -> Spanned<DeTable<'t>> {
    for error in errors.iter().take(DIAGNOSTICS_MAX) {
        let span = error.span().unwrap_or(text.len()..text.len());
        let message = format!("not TOML: {}", error.message());
        let finding = report.error(&(span.start + base..span.end + base), "", message);
        if let Some(help) = advice::advice(text, &span, error.message()) {
            finding.help(help);
        }
    }
    table
}

fn check_root(root: &Section<'_>, report: &mut Report<'_>) {
    let names = ["include", "daemon", "input", "filter", "spool", "output"];
    for entry in &root.entries {
        if !names.contains(&entry.key) {
            let help = nearest(entry.key, names).unwrap_or_else(|| {
                "there are: [daemon], [input.NAME], [filter.NAME], [spool.NAME], [output.NAME]"
                    .into()
            });
            entry.misplaced(report, "unknown table or key").help(help);
        }
    }
}

/// Checks that an included file only adds nodes.
fn check_included(root: &Section<'_>, report: &mut Report<'_>) {
    check_root(root, report);
    for entry in ["include", "daemon"].into_iter().filter_map(|name| root.get(name)) {
        let message = format!("`{}` is allowed only in the main file", entry.key);
        entry.misplaced(report, message).help("an included file may only add nodes");
    }
}

fn table<'t>(root: &Section<'t>, key: &str, report: &mut Report<'_>) -> Option<Section<'t>> {
    let entry = root.get(key)?;
    if let Some(table) = entry.named_table() {
        return Some(table);
    }
    let name = if key == "daemon" { "[daemon]".into() } else { format!("[{key}.NAME]") };
    entry.wrong(report, format!("expected a table: write {name}"));
    None
}

/// All nodes of one file.
fn drafts<'t>(root: &Section<'t>, report: &mut Report<'_>) -> Vec<Draft<'t>> {
    let mut drafts = Vec::new();
    for kind in KINDS {
        let Some(tables) = table(root, kind.word(), report) else { continue };
        for entry in &tables.entries {
            check_name(entry, report);
            let Some(section) = entry.named_table() else {
                let word = kind.word();
                let message =
                    format!("expected a table: write [{word}.NAME] and the keys below it");
                entry.misplaced(report, message);
                continue;
            };
            drafts.push(draft(entry.key, kind, section, report));
        }
    }
    drafts.sort_by_key(|draft| draft.section.span.start);
    drafts
}

fn check_name(entry: &Entry<'_>, report: &mut Report<'_>) {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let name = entry.key;
    if name.is_empty() {
        entry.misplaced(report, "the name is empty");
    } else if name.len() > limits::NAME_MAX {
        let max = limits::NAME_MAX;
        entry.misplaced(report, format!("a name can have {max} bytes at most"));
    } else if !name.bytes().all(good) {
        let message = "a name consists of letters (A-Z, a-z), digits, `_`, `.` and `-`";
        entry.misplaced(report, message);
    }
}

fn draft<'t>(
    name: &'t str,
    kind: Kind,
    section: Section<'t>,
    report: &mut Report<'_>,
) -> Draft<'t> {
    let body = match kind {
        Kind::Input => input::read(&section, report).map(BodyPlan::Input),
        Kind::Filter => filter::read(&section, report),
        Kind::Spool => {
            let form = keys::Table::of(Kind::Spool).form(&section, "");
            keys::check(&section, Kind::Spool, form, report);
            spool::read(&section, report).map(BodyPlan::Spool)
        }
        Kind::Output => output::read(&section, report),
    };
    let squeeze = match kind {
        Kind::Filter => filter::squeeze(&section, report),
        _ => None,
    };
    let own_spool = match kind {
        Kind::Output => output::own_spool(&section, report),
        _ => None,
    };
    let (mut from, mut select) = (None, SelectPlan::default());
    if kind != Kind::Input {
        let entry = section.get("from");
        // Names that could not be read are reported; the rest is checked as if every input were
        // named.
        from = entry.and_then(|entry| entry.names(report));
        select = select::read(&section, report);
    }
    Draft { name, kind, section, from, select, squeeze, body, own_spool }
}
