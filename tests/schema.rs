//! `logweir schema` and `logweir explain`: an editor's checker takes what the daemon takes, and
//! refuses what it refuses.

use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::util::run;

fn schema() -> Value {
    let output = run(&["schema"], b"");
    assert_eq!(output.status.code(), Some(0));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A checker as an editor has it.
fn checker() -> Validator {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema));
    jsonschema::validator_for(&schema).unwrap()
}

/// A configuration as the checker sees it.
fn instance(text: &str) -> Value {
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}: {text}"));
    serde_json::to_value(table).unwrap()
}

fn accepts(checker: &Validator, text: &str, place: &str) {
    let instance = instance(text);
    let errors: Vec<_> = checker.iter_errors(&instance).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{place}:\n{text}\n{errors:#?}");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The examples that come with the project, whole ones and pieces, each with its place.
fn examples() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["examples", "packaging"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                found.push((path.display().to_string(), read(&path)));
            }
        }
    }
    let mut pages = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    for page in pages {
        for (number, block) in read(&page).split("\n```toml").skip(1).enumerate() {
            let block = block.split("\n```").next().unwrap();
            let text = block.split_once('\n').map_or("", |(_, text)| text);
            found.push((format!("{}, block {}", page.display(), number + 1), text.into()));
        }
    }
    found.extend(of_the_man_page());
    assert!(found.len() > 30, "{}", found.len());
    found
}

fn of_the_man_page() -> Vec<(String, String)> {
    let page = include_str!("../man/logweir.toml.5").replace("\\-", "-").replace("\\(dq", "\"");
    let page = page.replace("\\(aq", "'").replace("\\e", "\\");
    let examples = page.split(".nf\n").skip(1).filter_map(|rest| rest.split("\n.fi").next());
    let examples = examples.filter(|example| example.starts_with('['));
    let examples: Vec<_> =
        examples.map(|example| ("logweir.toml(5)".into(), example.into())).collect();
    assert!(examples.len() >= 3);
    examples
}

#[test]
fn every_example_of_the_project_is_what_the_schema_describes() {
    let checker = checker();
    for (place, text) in examples() {
        accepts(&checker, &text, &place);
    }
    for text in [crate::graph::HOSTILE, crate::graph::WIDE, crate::check::EXAMPLE] {
        accepts(&checker, text, "a flow of the tests");
    }
}

/// Of the mistakes that the daemon refuses, those that are about one key's name or value.
#[test]
fn what_the_daemon_refuses_about_one_key_the_schema_refuses_too() {
    let checker = checker();
    let fine = "[input.a]\nudp = \"0.0.0.0:8420\"\n[output.z]\nfile = \"/log/z\"\n";
    accepts(&checker, fine, "the least there is");
    let cases = include_str!("../src/config/mistakes.txt").split("\n\n").skip(1);
    let mut refused = 0;
    for (text, message) in cases.filter_map(|case| case.trim_end().split_once("\n=> ")) {
        let about = [
            "is neither a time nor a size: write",
            "unknown key",
            "unknown table",
            "is a key of",
            "expected ",
            "must be \"",
        ];
        let whole = ["needs one of", "only one of", "is no source", "is empty", "a name consists"];
        if !about.iter().chain(&whole).any(|what| message.contains(what)) {
            continue;
        }
        let text = format!("{fine}{text}");
        // What is no TOML, or a table where TOML has a list, is not for the schema.
        let Ok(table) = text.parse::<toml::Table>() else { continue };
        let instance = serde_json::to_value(table).unwrap();
        assert!(!checker.is_valid(&instance), "{text}\n{message}");
        refused += 1;
    }
    assert!(refused >= 40, "{refused}");
}

#[test]
fn every_key_has_a_description_and_no_table_takes_others() {
    fn walk(node: &Value, keys: &mut usize) {
        if let Some(properties) = node.get("properties").and_then(Value::as_object) {
            assert_eq!(node["additionalProperties"], json!(false), "{node}");
            for (name, property) in properties {
                let text = property["description"].as_str().unwrap_or_default();
                assert!(text.ends_with('.'), "{name}: {property}");
                *keys += 1;
            }
        }
        match node {
            Value::Object(map) => map.values().for_each(|inner| walk(inner, keys)),
            Value::Array(items) => items.iter().for_each(|inner| walk(inner, keys)),
            _ => {}
        }
    }
    let mut keys = 0;
    walk(&schema(), &mut keys);
    assert!(keys > 150, "{keys}");
    let stdin = schema()["properties"]["input"]["additionalProperties"]["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .find(|form| form["required"] == json!(["stdin"]))
        .unwrap()
        .clone();
    let sequence = &stdin["properties"]["sequence"];
    assert_eq!((&sequence["type"], &sequence["default"]), (&json!("boolean"), &json!(false)));
    assert_eq!(stdin["properties"]["max_line"]["default"], json!("64KiB"));
}

fn explain(key: &str) -> (Option<i32>, String, String) {
    let output = run(&["explain", key], b"");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_key_is_explained_in_every_table_that_has_it() {
    let (code, text, said) = explain("max_line");
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let expected = "\
[input.NAME] with udp
[input.NAME] with tail
[input.NAME] with stdin
[input.NAME] with fifo
[filter.NAME] with run
  max_line: Size from 64B to 16MiB.
  Longer lines are cut to this length and counted.
  Default: \"64KiB\".
";
    assert_eq!(text, expected);
    let (code, text, _) = explain("queue");
    assert_eq!(code, Some(0));
    for default in ["\"8MiB\"", "\"64MiB\"", "\"32MiB\""] {
        assert!(text.contains(&format!("Default: {default}.")), "{text}");
    }
    let (_, text, _) = explain("spool.queue");
    assert!(text.contains("[spool.NAME]\n") && !text.contains("\"8MiB\""), "{text}");
    let (_, text, _) = explain("output.tls.ca");
    assert!(text.starts_with("[output.NAME] with forward, in tls = {…}\n"), "{text}");
    let (code, text, said) = explain("smaple");
    assert_eq!((code, text.as_str()), (Some(2), ""));
    assert_eq!(said, "logweir: there is no key `smaple`: did you mean `sample`?\n");
}
