//! Drawing the flow: as a tree of text, for graphviz, and for mermaid.

use std::fmt::Write;

use super::plan::{FieldPlan, Kind, NodePlan, Plan, SampleMode, SelectPlan, Wanted, Words};
use crate::parse::field::Field;
use crate::parse::syslog::names::{FACILITIES, SEVERITIES};
use crate::settings::units::show_time;

/// The width of the text drawing.
const COLUMNS: usize = 80;
/// The maximum number of characters of a label in a drawing without columns.
const LABEL_MAX: usize = 120;

/// The flow as a tree from the inputs. A node that reads from several nodes appears below each;
/// what follows it is drawn only the first time.
pub fn text(plan: &Plan) -> String {
    let takers = takers(plan);
    let mut drawn = vec![false; plan.nodes.len()];
    let mut out = String::new();
    // Nodes still to draw, the next one last: its number, the prefix of its line, and the prefix
    // of the lines below it.
    let mut open: Vec<(usize, String, String)> = Vec::new();
    for (node, plan) in plan.nodes.iter().enumerate().rev() {
        if plan.from.is_empty() {
            open.push((node, String::new(), String::new()));
        }
    }
    while let Some((node, before, below)) = open.pop() {
        let known = drawn[node];
        drawn[node] = true;
        let NodePlan { name, .. } = &plan.nodes[node];
        let again = known && !takers[node].is_empty();
        let what = if again { "(as above)".into() } else { label(&plan.nodes[node]) };
        out.push_str(&cut(&format!("{before}{name}  {what}"), COLUMNS));
        out.push('\n');
        if again {
            continue;
        }
        for (nth, &taker) in takers[node].iter().enumerate().rev() {
            let last = nth + 1 == takers[node].len();
            let (branch, trunk) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            open.push((taker, format!("{below}{branch}"), format!("{below}{trunk}")));
        }
    }
    out
}

/// The flow in graphviz' language.
pub fn dot(plan: &Plan) -> String {
    let mut out = "digraph logweir {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    for node in &plan.nodes {
        let shape = match node.body.kind() {
            Kind::Input => "cds",
            Kind::Filter => "box",
            Kind::Spool => "cylinder",
            Kind::Output => "note",
        };
        let name = dot_text(&node.name);
        let label = dot_text(&cut(&label(node), LABEL_MAX));
        let _ = writeln!(out, "  \"{name}\" [shape={shape}, label=\"{name}\\n{label}\"];");
    }
    for node in &plan.nodes {
        for from in &node.from {
            let _ = writeln!(out, "  \"{}\" -> \"{}\";", dot_text(from), dot_text(&node.name));
        }
    }
    out.push_str("}\n");
    out
}

/// The flow in mermaid's language.
pub fn mermaid(plan: &Plan) -> String {
    let mut out = "flowchart LR\n".to_owned();
    for (number, node) in plan.nodes.iter().enumerate() {
        let (open, close) = match node.body.kind() {
            Kind::Input => ("([", "])"),
            Kind::Filter => ("[", "]"),
            Kind::Spool => ("[(", ")]"),
            Kind::Output => ("[/", "/]"),
        };
        let name = mermaid_text(&node.name);
        let label = mermaid_text(&cut(&label(node), LABEL_MAX));
        let _ = writeln!(out, "  n{number}{open}\"{name}<br/>{label}\"{close}");
    }
    for (number, takers) in takers(plan).iter().enumerate() {
        for taker in takers {
            let _ = writeln!(out, "  n{number} --> n{taker}");
        }
    }
    out
}

/// For each node, the nodes that read from it.
fn takers(plan: &Plan) -> Vec<Vec<usize>> {
    let numbers = plan.nodes.iter().enumerate().map(|(number, node)| (node.name.as_str(), number));
    let numbers: std::collections::HashMap<&str, usize> = numbers.collect();
    let mut takers = vec![Vec::new(); plan.nodes.len()];
    for (number, node) in plan.nodes.iter().enumerate() {
        for from in &node.from {
            if let Some(&before) = numbers.get(from.as_str()) {
                takers[before].push(number);
            }
        }
    }
    takers
}

/// What a node selects and does, on one line.
fn label(node: &NodePlan) -> String {
    let mut words = Vec::new();
    selectors(&node.select, &mut words);
    words.extend(node.squeeze.map(|time| format!("squeeze {}", show_time(time))));
    words.push(node.body.describe());
    words.retain(|word| !word.is_empty());
    if words.is_empty() {
        words.push("passes all".into());
    }
    // A label is one line, whatever a command or a regex contains.
    let shown = words.join(", ");
    let lines = shown.chars().map(|c| if c.is_control() { ' ' } else { c });
    lines.collect::<String>().trim().to_owned()
}

fn selectors(select: &SelectPlan, words: &mut Vec<String>) {
    // Every selector is named here, so that a new one cannot be forgotten.
    let SelectPlan { fields, matches, reject, rate, sample } = select;
    words.extend(fields.iter().map(field));
    if let Some(regex) = matches {
        words.push(format!("match '{regex}'"));
    }
    if let Some(regex) = reject {
        words.push(format!("reject '{regex}'"));
    }
    if let Some(rate) = rate {
        words.push(format!("rate {rate}"));
    }
    if let Some(sample) = sample {
        let mode = match &sample.mode {
            SampleMode::Every | SampleMode::EveryFromStart => String::new(),
            SampleMode::Random => " random".into(),
            SampleMode::Hash { key } => format!(" by '{key}'"),
        };
        words.push(format!("sample {}{mode}", sample.n));
    }
}

/// A field selector and its accepted values.
fn field(FieldPlan { field, wanted }: &FieldPlan) -> String {
    let words = match wanted {
        Wanted::Numbers(mask) => {
            let all: &[&str] = match field {
                Field::Facility => &FACILITIES,
                _ => &SEVERITIES,
            };
            let chosen = all.iter().enumerate().filter(|(at, _)| mask & (1 << at) != 0);
            chosen.map(|(_, word)| (*word).to_string()).collect()
        }
        Wanted::Text { only, not } => {
            let words = |words: &Words, before: &str| -> Vec<String> {
                let patterns = words.patterns.iter().map(|pattern| format!("'{pattern}'"));
                let all = words.names.iter().cloned().chain(patterns);
                all.map(|word| format!("{before}{word}")).collect()
            };
            let mut shown = only.as_ref().map_or_else(Vec::new, |only| words(only, ""));
            shown.extend(words(not, "!"));
            shown
        }
    };
    format!("{field} {}", words.join("|"))
}

fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(columns - 1).collect();
    cut.push('…');
    cut
}

/// Graphviz interprets `&NAME;` as a character, and a backslash as itself only if doubled.
fn dot_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('\\', "\\\\").replace('"', "\\\"")
}

/// Mermaid interprets `#NUMBER;` as a character; everything that has a meaning to it, to Markdown,
/// or to the HTML it generates is written that way.
fn mermaid_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || " .,:/-'%×…()".contains(c) || !c.is_ascii() {
            out.push(c);
        } else {
            let _ = write!(out, "#{};", u32::from(c));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[input.squid]
udp = "0.0.0.0:8420"
[input.edge]
fifo = "/run/logweir/varnish"
[filter.api]
from = "squid"
match = '"/w/api\.php|#<b>`"'
sample = 10
[filter.mobile]
from = ["squid", "edge"]
run = "grep --line-buffered m.wikipedia"
workers = 2
[output.all]
file = "/var/log/all"
[output.hub]
from = ["api", "mobile"]
pipe = """awk '{ print }' |
  tee /var/log/a-rather-long-name-of-a-file-that-goes-past-the-margin"""
rate = "5/s"
"#;

    fn plan() -> Plan {
        crate::config::parse(TEXT, "t").unwrap_or_else(|refusal| panic!("{refusal}")).plan
    }

    #[test]
    fn as_text() {
        let expected = "\
squid  udp 0.0.0.0:8420, buffer 64MiB
├─ api  match '\"/w/api\\.php|#<b>`\"', sample 10
│  └─ hub  rate 5/s, pipe \"awk '{ print }' |   tee /var/log/a-rather-long-name-…
├─ mobile  run ×2 \"grep --line-buffered m.wikipedia\"
│  └─ hub  rate 5/s, pipe \"awk '{ print }' |   tee /var/log/a-rather-long-name-…
└─ all  file /var/log/all
edge  fifo /run/logweir/varnish
├─ mobile  (as above)
└─ all  file /var/log/all
";
        assert_eq!(text(&plan()), expected);
        assert!(expected.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn for_graphviz() {
        let dot = dot(&plan());
        let api = r#"  "api" [shape=box, label="api\nmatch '\"/w/api\\.php|#<b>`\"', sample 10"];"#;
        assert!(dot.contains(api), "{dot}");
        assert!(dot.contains("  \"squid\" -> \"api\";\n"), "{dot}");
        assert!(dot.starts_with("digraph logweir {\n") && dot.ends_with("}\n"));
    }

    #[test]
    fn for_mermaid() {
        let mermaid = mermaid(&plan());
        let api = r"  n2[match '#34;/w/api#92;.php#124;#35;#60;b#62;#96;#34;', sample 10]";
        let api = api.replace("[match", "[\"api<br/>match").replace("10]", "10\"]");
        assert!(mermaid.contains(&api), "{mermaid}");
        assert!(
            mermaid.starts_with("flowchart LR\n  n0([\"squid<br/>udp 0.0.0.0:8420"),
            "{mermaid}"
        );
        assert!(mermaid.contains("  n0 --> n2\n"), "{mermaid}");
    }
}
