//! The definitions of keys agree with the readers and with the man page.

use super::keys::{DAEMON, TABLES, TOP, Table};
use super::parse;
use crate::settings::key::{Choice, Default, Form, Key};

/// A value for each key of which a node has exactly one, and for those that a table requires.
const VALUES: &[(&str, &str)] = &[
    ("input.udp", "\"127.0.0.1:1\""),
    ("input.syslog", "\"SCHEME://127.0.0.1:1\""),
    ("input.relp", "\"127.0.0.1:1\""),
    ("input.tail", "\"/l/*.log\""),
    ("input.containers", "\"/var/log/pods\""),
    ("input.fluent", "\"127.0.0.1:1\""),
    ("input.journal", "true"),
    ("input.kernel", "true"),
    ("input.mark", "\"20m\""),
    ("input.kafka", "{ brokers = [\"h:1\"], topic = \"t\" }"),
    ("input.thrift", "\"127.0.0.1:1\""),
    ("input.stdin", "true"),
    ("input.fifo", "\"/f\""),
    ("filter.run", "\"cat\""),
    ("spool.dir", "\"/s\""),
    ("output.pipe", "\"cat\""),
    ("output.file", "\"/l/%F\""),
    ("output.udp", "\"h:1\""),
    ("output.forward", "[\"relp://h:1\", \"tls://h:1\", \"fluent://h:1\", \"scribe://h:1\"]"),
    ("output.stdout", "true"),
    ("output.users", "[\"root\"]"),
    ("output.kafka", "{ brokers = [\"h:1\"], topic = \"t\" }"),
];

/// Lines that a key requires alongside it.
const BESIDE: &[(&str, &str)] = &[
    ("sample_mode", "sample = 2\n"),
    ("facility", "as = \"message\"\n"),
    ("severity", "as = \"message\"\n"),
];

fn value(path: &str, scheme: &str) -> String {
    let (_, value) = VALUES
        .iter()
        .find(|(name, _)| *name == path)
        .unwrap_or_else(|| panic!("give {path} a value in VALUES"));
    match scheme {
        "unix" => "\"unix:///s\"".into(),
        _ => value.replace("SCHEME", scheme),
    }
}

/// A configuration whose node of this form has an additional line.
fn configuration(table: &Table, choice: &Choice, form: &Form, line: &str) -> String {
    let kind = table.kind.word();
    let scheme = form.scheme.unwrap_or("");
    let mut node = format!("[{kind}.x]\n");
    if let Some(key) = &choice.key {
        node += &format!("{} = {}\n", key.name, value(&format!("{kind}.{}", key.name), scheme));
    }
    for key in form.all().filter(|key| key.default == Default::Required) {
        node += &format!("{} = {}\n", key.name, value(&format!("{kind}.{}", key.name), scheme));
    }
    if scheme == "tls" {
        node += "tls = { cert = \"c\", key = \"k\" }\n";
    }
    let rest = "[input.source]\nfifo = \"/rest\"\n[output.rest]\nfile = \"/rest\"\n";
    let taker = "[output.taker]\nfrom = \"x\"\nfile = \"/taker\"\n";
    let taker = if kind == "output" { "" } else { taker };
    format!("{node}{line}{rest}{taker}")
}

#[test]
fn a_default_that_is_written_down_changes_nothing() {
    let mut checked = 0;
    for table in &TABLES {
        let common = || table.common.iter().flat_map(|group| group.iter());
        for choice in table.choices {
            for form in choice.forms {
                for key in form.all().chain(common()) {
                    let Default::Value(default) = key.default else { continue };
                    let beside = BESIDE.iter().find(|(name, _)| *name == key.name);
                    let beside = beside.map_or("", |(_, line)| *line);
                    let plan = |line: &str| {
                        let text = configuration(table, choice, form, line);
                        parse(&text, "t").unwrap_or_else(|r| panic!("{text}\n{r}")).plan
                    };
                    let with = plan(&format!("{beside}{} = {default}\n", key.name));
                    assert_eq!(with, plan(beside), "{}: {}", form.name, key.name);
                    checked += 1;
                }
            }
        }
    }
    let base = "[input.i]\nstdin = true\n[output.o]\nstdout = true\n";
    for key in DAEMON {
        let Default::Value(default) = key.default else { continue };
        let with = parse(&format!("[daemon]\n{} = {default}\n{base}", key.name), "t").unwrap();
        assert_eq!(with, parse(base, "t").unwrap(), "{}", key.name);
        checked += 1;
    }
    assert!(checked > 60, "{checked}");
}

/// The plain text of a manual page.
fn plain(page: &str) -> String {
    let mut out = String::new();
    for line in page.lines().filter(|line| !line.starts_with(".\\\"")) {
        let text = match line.strip_prefix('.').and_then(|line| line.split_once(' ')) {
            // Alternating fonts: the words follow each other without spaces.
            Some(("BR" | "RB" | "IR" | "RI" | "BI" | "IB", words)) => joined(words),
            Some((_, words)) => words.replace('"', ""),
            None if line.starts_with('.') => "\n".into(),
            None => line.into(),
        };
        out += &text;
        out.push(' ');
    }
    let out = out.replace("\\-", "-").replace("\\(dq", "\"").replace("\\(aq", "'");
    out.replace("\\(->", "→").replace("\\e", "\\").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of a macro that joins them.
fn joined(words: &str) -> String {
    let mut out = String::new();
    for (number, part) in words.split('"').enumerate() {
        // Quoted text keeps its spaces.
        if number % 2 == 1 {
            out += part;
        } else {
            out.extend(part.split_whitespace());
        }
    }
    out
}

#[test]
fn the_man_page_says_of_each_key_what_its_definition_says() {
    let page = include_str!("../../man/logweir.toml.5");
    let mut missing = String::new();
    let mut check = |section: &str, key: &Key| {
        let start = page.find(&format!(".SH {section}\n")).unwrap_or_else(|| panic!("{section}"));
        let section_text = &page[start + 4..];
        let end = section_text.find("\n.SH ").unwrap_or(section_text.len());
        // A key may have several entries in a section, for instance one for each kind of output.
        let entry = format!("\n.TP\n.B {}\n", key.name.replace('-', "\\-"));
        let entries = section_text[..end].split(&entry).skip(1);
        let entries = entries.map(|rest| {
            let end = ["\n.TP\n", "\n.PP\nFor ", "\n.SS "].iter().filter_map(|end| rest.find(end));
            plain(&rest[..end.min().unwrap_or(rest.len())])
        });
        let wanted = format!("{}. {}", key.value.describe(), key.doc);
        let good =
            |entry: &String| entry.starts_with(&wanted) && entry.contains(&key.default_sentence());
        if !entries.into_iter().any(|entry| good(&entry)) {
            let default = key.default_sentence();
            missing += &format!("{section}: {}: {wanted} {default}\n", key.name);
        }
    };
    for (section, keys) in sections() {
        keys.into_iter().for_each(|key| check(section, key));
    }
    assert!(missing.is_empty(), "the man page does not say:\n{missing}");
}

/// Each key with its section of the page.
fn sections() -> Vec<(&'static str, Vec<&'static Key>)> {
    use crate::config::select::{FROM, SELECTORS};
    use crate::proto::shared::process;
    let of = |table: &Table| -> Vec<&'static Key> {
        let choices = table.choices;
        let own = choices.iter().filter_map(|choice| choice.key.as_ref());
        let forms = choices.iter().flat_map(|choice| choice.forms).flat_map(|form| form.all());
        let process = |key: &&Key| process::KEYS.iter().any(|one| one.doc == key.doc);
        own.chain(forms.filter(|key| !process(key))).collect()
    };
    let [input, filter, spool, output] = &TABLES;
    let own_spool = output.common.iter().flat_map(|group| group.iter());
    let own_spool = own_spool.filter(|key| key.name == "spool");
    vec![
        ("\"INCLUDED FILES\"", TOP.iter().collect()),
        ("[daemon]", DAEMON.iter().collect()),
        ("[input.NAME]", of(input)),
        ("SELECTORS", FROM.iter().chain(SELECTORS).collect()),
        ("[filter.NAME]", of(filter)),
        ("PROCESSES", process::KEYS.iter().collect()),
        ("[output.NAME]", of(output).into_iter().chain(own_spool).collect()),
        ("[spool.NAME]", of(spool)),
    ]
}
