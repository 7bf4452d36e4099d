//! `logweir check --graph`: what is drawn can be shown, by a terminal of 80 columns, by graphviz
//! and by what web forges draw.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use logweir::config::plan::Plan;
use logweir::config::{graph, parse};

/// Names that are words of mermaid or of graphviz, and labels full of what means something there.
pub const HOSTILE: &str = r#"
[input.end]
udp = "0.0.0.0:8420"
[input.class]
fifo = '/run/a "quoted" [x] {y} (z) |p| #35; &amp; &lt; <b> ; %% `tick` \ \n end'
[input.node]
syslog = "unix:///dev/log"
[filter.graph]
from = ["end", "class"]
match = '"/w/api\.php|#<b>`"'
sample = 10
[filter.subgraph]
from = "end"
run = "sed 's/--> end/ -.-> x/; s/é/漢字/' # comment %%{init: {}}%%"
[filter."o.x"]
from = "graph"
[filter.default]
from = "subgraph"
reject = '__init__|\*\*b\*\*|_x_|1. a'
[filter."-"]
from = "default"
[output.style]
from = ["graph", "subgraph", "o.x", "-"]
pipe = """awk '{ print }' |
  tee "/var/log/[a]" """
[output.edge]
from = "end"
file = "/var/log/{host}/%Y.log"
[output.strict]
from = "node"
sample = 3
forward = ["relp://h:1", "relp://h2:1"]
spool = { dir = "/s" }
[output."1."]
from = "class"
udp = "h:1"
"#;

/// The path of one of its inputs.
const FIFO: &str = r#"/run/a "quoted" [x] {y} (z) |p| #35; &amp; &lt; <b> ; %% `tick` \ \n end"#;

/// A flow of twenty nodes: several streams into one node, and one stream into several.
pub const WIDE: &str = r#"
[input.squid]
udp = "0.0.0.0:8420"
receive_buffer = "256MiB"
sockets = 4
[input.varnish]
fifo = "/run/logweir/varnish"
[input.edge-relp]
relp = "0.0.0.0:2514"
[input.network]
syslog = "udp://0.0.0.0:514"
[input.local]
syslog = "unix:///run/systemd/journal/syslog"
[filter.requests]
from = ["squid", "varnish", "edge-relp"]
reject = '^(Mon|Health|probe)-check|/healthz|/server-status|/favicon\.ico|/robots\.txt'
[filter.mobile]
from = "requests"
run = "grep --line-buffered --extended-regexp '(m|zero)\\.(wikipedia|wiktionary)\\.org/'"
workers = 4
[filter.mobile-errors]
from = "mobile"
match = ' TCP_[A-Z_]+/5[0-9][0-9] '
[filter.api]
from = "requests"
match = '/w/(api|index)\.php'
sample = 10
[filter.anonymous]
from = ["api", "mobile"]
run = "awk -f /usr/lib/logweir/filters/anonymise.awk"
[filter.system]
from = ["network", "local"]
severity = "warning"
host = ["~^(cp|mw|db)[0-9]{4}", "gateway.example.org"]
[output.all]
file = "/var/log/logweir/{input}/%Y-%m-%d/%H.log"
rotate = "1h"
[output.sampled-1000]
from = "requests"
sample = 1000
pipe = "awk -f /usr/lib/logweir/filters/countries.awk >> /srv/log/countries"
[output.sampled-hash]
from = "requests"
sample = 100
sample_mode = "hash"
sample_key = '^\S+ \S+ \S+ \S+ (\S+)'
file = "/srv/log/sampled/%Y-%m-%d.log"
[output.errors]
from = "mobile-errors"
rate = "1000/s"
pipe = "exec /usr/local/bin/page-somebody --threshold 500 --window 60s --quiet-hours 22-06"
[output.research]
from = "anonymous"
forward = ["relp://stat1:2514", "relp://stat2:2514", "relp+tls://stat3.example.org:2515"]
balance = "hash"
key = '^\S+ \S+ \S+ \S+ (\S+)'
spool = { dir = "/var/spool/logweir/research" }
[output.second]
from = ["anonymous", "api"]
udp = "second.example.org:8420"
[output.by-host]
from = "system"
file = "/var/log/hosts/{host}/{app}-%Y-%m-%d.log"
[output.console]
from = ["system", "mobile-errors"]
stdout = true
format = "text"
"#;

fn plan(text: &str) -> Plan {
    parse(text, "t").unwrap_or_else(|refusal| panic!("{refusal}")).plan
}

/// Which node gives to which, by name.
fn edges(plan: &Plan) -> BTreeSet<(String, String)> {
    let of = |node: &logweir::config::plan::NodePlan| {
        let name = node.name.clone();
        node.from.iter().map(move |from| (from.clone(), name.clone())).collect::<Vec<_>>()
    };
    plan.nodes.iter().flat_map(of).collect()
}

fn names(plan: &Plan) -> BTreeSet<String> {
    plan.nodes.iter().map(|node| node.name.clone()).collect()
}

/// The configurations that come with the project.
fn examples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["examples", "packaging"].map(|folder| std::fs::read_dir(root.join(folder)));
    let files =
        files.into_iter().flat_map(|folder| folder.unwrap()).map(|file| file.unwrap().path());
    let found: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    assert!(found.len() >= 2, "{found:?}");
    found
}

#[test]
fn a_drawing_of_text_fits_into_eighty_columns_and_shows_every_node() {
    let examples = examples().into_iter().map(|path| std::fs::read_to_string(path).unwrap());
    let flows = [HOSTILE, WIDE].map(str::to_string).into_iter().chain(examples);
    for plan in flows.map(|text| plan(&text)) {
        let text = graph::text(&plan);
        let mut drawn = BTreeSet::new();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
            let node = line.trim_start_matches([' ', '│', '├', '└', '─']);
            let (name, what) = node.split_once("  ").unwrap_or_else(|| panic!("{line}"));
            assert!(what.chars().count() >= 5, "{line}");
            drawn.insert(name.to_string());
        }
        assert_eq!(drawn, names(&plan));
    }
    assert_eq!(plan(WIDE).nodes.len(), 20);
}

#[test]
fn graphviz_draws_the_nodes_and_edges_there_are() {
    let Ok(version) = Command::new("dot").arg("-V").output() else {
        crate::util::skip_missing("dot (Debian's graphviz)");
        return;
    };
    assert!(version.status.success());
    for text in [HOSTILE, WIDE] {
        let plan = plan(text);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("flow.dot");
        std::fs::write(&file, graph::dot(&plan)).unwrap();
        let output = Command::new("dot").arg("-Tsvg").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
        let svg = String::from_utf8(output.stdout).unwrap();
        let titles: BTreeSet<_> = inside(&svg, "<title>", "</title>").into_iter().collect();
        let mut want = names(&plan);
        want.extend(edges(&plan).iter().map(|(from, to)| format!("{from}->{to}")));
        want.insert("logweir".into());
        assert_eq!(titles, want);
        // Each label has the name above what the node does.
        let texts = inside(&svg, "<text", "</text>");
        assert_eq!(texts.len(), plan.nodes.len() * 2);
        let texts: Vec<_> = texts.iter().map(|text| text.split_once('>').unwrap().1).collect();
        for node in &plan.nodes {
            assert!(texts.contains(&node.name.as_str()), "{}", node.name);
        }
        if text == HOSTILE {
            let fifo = format!("fifo {FIFO}");
            assert!(texts.contains(&fifo.as_str()), "{texts:?}");
        }
    }
}

/// What stands between two words in XML, each time, as plain text.
fn inside(xml: &str, open: &str, close: &str) -> Vec<String> {
    let parts = xml.split(open).skip(1).map(|part| part.split(close).next().unwrap());
    let known = [("&#45;", "-"), ("&#39;", "'"), ("&#160;", " "), ("&quot;", "\"")];
    let known = known.iter().chain(&[("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]);
    let plain =
        |part: &str| known.clone().fold(part.to_string(), |text, (is, to)| text.replace(is, to));
    parts.map(plain).collect()
}

#[test]
fn mermaid_is_given_nothing_that_it_could_misread() {
    for text in [HOSTILE, WIDE] {
        let plan = plan(text);
        let drawing = graph::mermaid(&plan);
        let mut lines = drawing.lines();
        assert_eq!(lines.next(), Some("flowchart LR"));
        let mut nodes = Vec::new();
        let mut drawn = BTreeSet::new();
        for line in lines {
            if let Some((from, to)) = line.split_once(" --> ") {
                let name = |id: &str| -> &(String, String) { &nodes[number(id)] };
                assert!(drawn.insert((name(from).0.clone(), name(to).0.clone())), "{line}");
            } else {
                assert!(drawn.is_empty(), "a node behind an edge: {line}");
                nodes.push(label(line, nodes.len()));
            }
        }
        assert_eq!(drawn, edges(&plan));
        assert_eq!(nodes.iter().map(|node| node.0.clone()).collect::<BTreeSet<_>>(), names(&plan));
        if text == HOSTILE {
            let fifo = format!("fifo {FIFO}");
            assert!(nodes.contains(&("class".into(), fifo)), "{nodes:?}");
        }
    }
}

/// The number of a node in an edge.
fn number(id: &str) -> usize {
    id.trim_start().strip_prefix('n').and_then(|digits| digits.parse().ok()).unwrap()
}

/// The name and the rest of a node's label: `  nNUMBER OPEN "NAME<br/>REST" CLOSE`, in which
/// nothing stands that means something to mermaid, but for characters by their numbers.
fn label(line: &str, number: usize) -> (String, String) {
    let shape = line.strip_prefix(&format!("  n{number}")).unwrap_or_else(|| panic!("{line}"));
    let (open, rest) = shape.split_once('"').unwrap_or_else(|| panic!("{line}"));
    let (text, close) = rest.split_once('"').unwrap_or_else(|| panic!("{line}"));
    let shapes = [("([", "])"), ("[", "]"), ("[(", ")]"), ("[/", "/]")];
    assert!(shapes.contains(&(open, close)), "{line}");
    let (name, what) = text.split_once("<br/>").unwrap_or_else(|| panic!("{line}"));
    (decoded(name), decoded(what))
}

fn decoded(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        if first == '#' {
            let (digits, behind) = rest.split_once(';').unwrap_or_else(|| panic!("{text}"));
            plain.push(char::from_u32(digits.parse().unwrap()).unwrap());
            rest = behind;
        } else {
            let harmless = first.is_ascii_alphanumeric() || " .,:/-'%()".contains(first);
            assert!(harmless || !first.is_ascii(), "{first:?} in {text}");
            plain.push(first);
        }
    }
    plain
}
