//! What mutations begin with: the corpus of the tests, and what broke something before.

use std::fs;
use std::path::Path;

/// Where inputs that broke something are kept.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/fuzz/seeds");
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");

/// All of them, those that broke something first.
pub(crate) fn all() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = files(FOLDER).iter().filter_map(|path| fs::read(path).ok()).collect();
    for path in files(CORPUS) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let table: toml::Table = text.parse().unwrap_or_default();
        for cases in table.values().filter_map(toml::Value::as_array) {
            seeds.extend(cases.iter().filter_map(bytes));
        }
    }
    seeds.push(Vec::new());
    seeds
}

fn files(folder: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(Path::new(folder)).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The bytes of a case.
fn bytes(case: &toml::Value) -> Option<Vec<u8>> {
    if let Some(text) = case.get("bytes") {
        return Some(text.as_str()?.as_bytes().to_vec());
    }
    let digits: Vec<_> = case.get("hex")?.as_str()?.bytes().filter(|b| *b != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}
