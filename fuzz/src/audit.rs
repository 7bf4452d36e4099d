//! Audit lines of other hosts, which may say anything: every window has an end and its rows, a
//! line that comes twice changes nothing, and the text for people is the same as that for programs.

use logweir::cli::audit::fuzzing::windows;
use serde_json::Value;

pub fn check(data: &[u8]) {
    let (json, metrics) = windows(data);
    let twice = [data, b"\n", data].concat();
    assert_eq!(windows(&twice), (json.clone(), metrics.clone()), "a line that comes twice");
    for line in json.lines() {
        let window: Value = serde_json::from_str(line).expect("JSON");
        for row in window["rows"].as_array().expect("rows") {
            let count = |field: &str| row[field].as_u64().expect("a count");
            let gone = count("lines_out").saturating_add(count("not_selected"));
            let adds_up = row["adds_up"].as_bool().expect("a verdict");
            assert!(gone <= count("lines_in") || !adds_up, "{row}");
        }
    }
    let values = metrics.lines().filter(|line| !line.starts_with('#'));
    for line in values {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        assert!(name.starts_with("logweir_audit_") && value.parse::<u64>().is_ok(), "{line}");
    }
}
