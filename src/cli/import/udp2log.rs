//! Converting udp2log's configuration to logweir's.

use std::path::Path;

use super::document::{Document, Table};
use crate::config;
use crate::config::plan::{BodyPlan, NodePlan};
use crate::config::udp2log::{INPUT, Options, parse};

/// The port that udp2log listens on, which is not part of its configuration.
const ADDRESS: ([u8; 4], u16) = ([0, 0, 0, 0], 8420);

/// Reads udp2log's configuration.
///
/// # Errors
/// For every invalid line.
pub(super) fn import(file: &Path) -> Result<Document, String> {
    let name = file.display().to_string();
    let options = Options { address: ADDRESS.into(), multicast: None, receive_kb: None };
    let bytes = config::read_bytes(file, &name).map_err(|refusal| refusal.to_string())?;
    let plan = parse(&bytes, &name, &options).map_err(|refusal| refusal.to_string())?;
    let mut document = Document::default();
    document.note(&format!("From {name}, a configuration of udp2log."));
    document
        .note("Port, receive buffer and multicast group are options of udp2log: set them here.");
    let mut input = Table::new("input", document.name(INPUT));
    input.text("udp", &options.address.to_string());
    document.push(input);
    for node in &plan.nodes {
        output(node, &mut document);
    }
    if !document.has("output") {
        document.leave(&name, "there is no output", "add an [output.NAME]");
    }
    Ok(document)
}

fn output(node: &NodePlan, document: &mut Document) {
    // The name is line and kind, as in `12:file`.
    let line = node.name.split(':').next().unwrap_or_default();
    let (word, key, value, mode) = match &node.body {
        BodyPlan::File(file) => {
            // Special characters of our names are not special in udp2log's.
            let path = file.path.as_str();
            if path.contains(['{', '}']) {
                let instead = "braces name fields in logweir: name another file";
                document.leave(&format!("line {line}"), &format!("the file {path}"), instead);
                return;
            }
            let base = path.rsplit('/').next().unwrap_or(path);
            (base, "file", path.replace('%', "%%"), Some(file.access.mode))
        }
        BodyPlan::Pipe(pipe) => {
            let command = pipe.command.strip_prefix("exec ").unwrap_or(&pipe.command);
            let program = command.split_whitespace().next().unwrap_or("pipe");
            let word = program.rsplit('/').next().unwrap_or(program);
            (word, "pipe", pipe.command.clone(), None)
        }
        _ => return,
    };
    let mut table = Table::new("output", document.name(word.split('.').next().unwrap_or(word)));
    table.comment(&format!("line {line}"));
    table.text("from", INPUT);
    if let Some(sample) = &node.select.sample {
        table.raw("sample", sample.n.to_string());
    }
    table.text(key, &value);
    if let Some(mode) = mode {
        table.text("mode", &format!("{mode:04o}"));
    }
    document.push(table);
}
