//! The project's own rules, checked: what ARCHITECTURE.md says is absent is absent.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_path_buf(), text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn every_module_begins_by_saying_what_it_is_for() {
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        assert!(text.starts_with("//!"), "{}", path.display());
    }
}

#[test]
fn lines_are_at_most_a_hundred_columns() {
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        // Reports of a refused configuration stand there word for word.
        let verbatim = path.ends_with("config/tests.rs");
        for (number, line) in text.lines().enumerate().filter(|_| !verbatim) {
            let columns = line.chars().count();
            assert!(columns <= 100, "{}:{}: {columns} columns", path.display(), number + 1);
        }
    }
}

#[test]
fn unsafe_code_is_in_one_room_and_every_block_says_why_it_is_sound() {
    let word = concat!("un", "safe");
    for (path, text) in sources("src") {
        let inside = path.starts_with("src/sys");
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if !code.contains(&format!("{word} {{")) && !code.contains(&format!("{word} impl")) {
                continue;
            }
            assert!(inside, "{}:{}", path.display(), at + 1);
            let before = lines[at.saturating_sub(8)..at].join("\n");
            assert!(before.contains("// SAFETY:"), "{}:{}", path.display(), at + 1);
        }
    }
}

/// Each part of src, and what it may import; a part stands after all that it imports, so there can
/// be no circle.
const LAYERS: &[(&str, &[&str])] = &[
    // The base, which everything may use.
    ("limits", &[]),
    ("ids", &[]),
    ("clock", &[]),
    ("minute", &[]),
    ("ledger", &[]),
    ("printable", &[]),
    ("host", &[]),
    ("logger", BASE),
    ("url", &[]),
    ("sources", &[]),
    ("batch", BASE),
    ("fs", BASE),
    ("sys", BASE),
    ("fifo", BASE),
    ("wake", BASE),
    // Pure functions over bytes, and the toolkit for reading a table.
    ("settings", &[]),
    ("parse", &[]),
    ("filter", &["parse", "settings"]),
    ("format", &["parse"]),
    ("spool", &[]),
    ("input", &["parse"]),
    ("output", &["format", "parse"]),
    // Connections, the ways in, and what is said to other hosts.
    ("net", &[]),
    ("ingress", &["input", "net", "parse"]),
    ("forward", &["filter", "format", "net"]),
    // The protocols, and the file that they are configured in.
    (
        "proto",
        &["filter", "format", "forward", "ingress", "input", "net", "output", "parse", "settings"],
    ),
    (
        "config",
        &["filter", "format", "forward", "net", "output", "parse", "proto", "settings", "spool"],
    ),
    // The daemon.
    (
        "engine",
        &["config", "filter", "format", "forward", "input", "output", "parse", "proto", "spool"],
    ),
    ("metrics", &["engine"]),
    (
        "driver",
        &[
            "config", "engine", "format", "forward", "ingress", "input", "metrics", "net",
            "output", "proto", "spool",
        ],
    ),
    ("cli", &["config", "driver", "engine", "filter", "format", "input", "parse", "spool"]),
];
const BASE: &[&str] = &[
    "limits",
    "ids",
    "clock",
    "ledger",
    "minute",
    "printable",
    "host",
    "logger",
    "url",
    "sources",
    "batch",
    "fs",
    "sys",
    "fifo",
    "wake",
];
/// Parts that anything may import, and that may import anything: they are there for tests alone.
const FOR_TESTS: &[&str] = &["sim"];

/// The folders of protocols, which only themselves and the lists in src/proto/mod.rs name.
const PROTOCOLS: &[&str] = &[
    "audit",
    "containers",
    "fifo",
    "file",
    "fluent",
    "forward",
    "journal",
    "kafka",
    "kernel",
    "mark",
    "pipe",
    "relp",
    "stdin",
    "stdout",
    "syslog",
    "tail",
    "tcp",
    "terminals",
    "thrift",
    "udp",
];

/// Files that import a protocol: udp2log's configuration has files, and builds the plan of one.
const IMPORT_A_PROTOCOL: &[&str] = &["src/config/udp2log.rs"];

/// Protocols whose very name stands in no file but those of their folder and the lists.
const NAMELESS: &[&str] = &["fluent", "kafka", "relp", "scribe", "thrift"];

/// Files outside of its folder that name such a protocol: a question to the user has its URL as an
/// example, the importer reads other programs' words, a drop-in has the name and the words of what
/// it replaces, and the schemes of all URLs are in one table.
const NAME_A_PROTOCOL: &[&str] = &[
    "src/cli/import/rsyslog/action.rs",
    "src/cli/import/rsyslog/map/directive.rs",
    "src/cli/import/rsyslog/map/receive.rs",
    "src/cli/import/rsyslog/source.rs",
    "src/cli/init.rs",
    "src/cli/mod.rs",
    "src/cli/tee.rs",
    "src/config/tee.rs",
    "src/config/tee/properties.rs",
    "src/url.rs",
];

/// The most lines of a file, its tests among them.
const LINES_MAX: usize = 700;

/// Words that are not used, each with the one that is.
const BANNED: &[(&str, &str)] = &[
    ("how-manieth", "the ordinal"),
    ("sort of", "kind of"),
    ("sorts of", "kinds of"),
    ("sort_words", "names of kinds"),
    ("so-manieth", "the n-th"),
];

/// Files in which such a word stands still. This list only becomes shorter.
const WITH_A_BANNED_WORD: &[(&str, &str)] = &[];

/// A file without its tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod").next().unwrap_or("")
}

fn is_for_tests(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.ends_with("tests.rs") || FOR_TESTS.contains(&part(path).as_str())
}

/// The part of src that a file belongs to.
fn part(path: &Path) -> String {
    let part = path.strip_prefix("src").unwrap().iter().next().unwrap().to_str().unwrap();
    part.strip_suffix(".rs").unwrap_or(part).into()
}

/// The words behind `before` in the code of a file, comments left out.
fn words_after<'t>(text: &'t str, before: &'t str) -> Vec<&'t str> {
    let lines = code(text).lines().map(|line| line.split("//").next().unwrap_or(""));
    let parts = lines.flat_map(|line| line.split(before).skip(1).collect::<Vec<_>>());
    let end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    parts.map(|rest| rest.split(end).next().unwrap_or("")).collect()
}

/// What was found must be what is excused: nothing more, and nothing that is no longer so.
fn only_what_is_excused(found: BTreeSet<String>, excused: BTreeSet<String>, what: &str) {
    let more: Vec<_> = found.difference(&excused).collect();
    let mended: Vec<_> = excused.difference(&found).collect();
    assert!(more.is_empty(), "{what}: {more:#?}");
    assert!(mended.is_empty(), "{what} no longer, take it off the list: {mended:#?}");
}

#[test]
fn each_part_imports_only_what_is_below_it() {
    for (at, (part, imports)) in LAYERS.iter().enumerate() {
        let below = |import: &&&str| LAYERS[..at].iter().any(|(lower, _)| lower == *import);
        let in_base = BASE.contains(part);
        let upwards: Vec<_> = imports.iter().filter(|import| !in_base && !below(import)).collect();
        assert!(upwards.is_empty(), "{part} stands before {upwards:?}");
    }
    let mut found = BTreeSet::new();
    for (path, text) in sources("src") {
        let part = part(&path);
        if is_for_tests(&path) || ["lib", "main"].contains(&part.as_str()) {
            continue;
        }
        let (at, (_, allowed)) = LAYERS
            .iter()
            .enumerate()
            .find(|(_, (name, _))| *name == part)
            .unwrap_or_else(|| panic!("give {part} a place in LAYERS"));
        for import in words_after(&text, "crate::") {
            let known = LAYERS.iter().position(|(name, _)| *name == import);
            let Some(other) = known.filter(|_| import != part) else { continue };
            let good = allowed.contains(&import) || BASE.contains(&import);
            if !good || other > at {
                found.insert(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "an import goes upwards: {found:#?}");
}

#[test]
fn a_protocol_is_known_to_its_folder_and_to_the_lists() {
    let lists = Path::new("src/proto/mod.rs");
    let (mut imports, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (path, text) in sources("src") {
        let shown = path.display().to_string();
        if path == lists || is_for_tests(&path) {
            continue;
        }
        for protocol in PROTOCOLS {
            let own = path.starts_with(Path::new("src/proto").join(protocol));
            if !own && words_after(&text, "proto::").contains(protocol) {
                imports.insert(shown.clone());
            }
            if !own && NAMELESS.contains(protocol) && code(&text).to_lowercase().contains(protocol)
            {
                names.insert(shown.clone());
            }
        }
    }
    let excused = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    only_what_is_excused(imports, excused(IMPORT_A_PROTOCOL), "a file imports a protocol");
    only_what_is_excused(names, excused(NAME_A_PROTOCOL), "a file names a protocol");
    let folders = std::fs::read_dir(root().join("src/proto")).unwrap().map(Result::unwrap);
    let folders = folders.filter(|entry| entry.path().is_dir());
    let folders = folders.map(|entry| entry.file_name().into_string().unwrap());
    let folders: BTreeSet<_> = folders.filter(|name| name != "shared").collect();
    only_what_is_excused(folders, excused(PROTOCOLS), "a folder of src/proto is not known");
}

#[test]
fn no_file_is_too_long() {
    for (path, text) in sources("src") {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines: split it", path.display());
    }
}

#[test]
fn words_that_the_project_does_not_use_are_not_there() {
    let mut texts = sources("src");
    for folder in ["man", "docs"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let text = std::fs::read_to_string(&path).unwrap();
                texts.push((path.strip_prefix(root()).unwrap().into(), text));
            }
        }
    }
    let mut found = BTreeSet::new();
    for (path, text) in texts {
        for (word, instead) in BANNED.iter().filter(|(word, _)| text.contains(word)) {
            found.insert(format!("{}: \"{word}\", write \"{instead}\"", path.display()));
        }
    }
    let instead = |word| BANNED.iter().find(|(banned, _)| *banned == word).unwrap().1;
    let excused = WITH_A_BANNED_WORD
        .iter()
        .map(|(path, word)| format!("{path}: \"{word}\", write \"{}\"", instead(*word)));
    only_what_is_excused(found, excused.collect(), "a banned word");
}

/// A file that no `mod` names is compiled by nobody.
#[test]
fn every_file_is_part_of_the_program() {
    let mut all = sources("src");
    all.extend(sources("tests"));
    let modules: BTreeSet<PathBuf> = all
        .iter()
        .flat_map(|(path, text)| {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let top = ["mod", "lib", "main"].contains(&stem) || path == Path::new("tests/tests.rs");
            let here = path.parent().unwrap();
            let folder = if top { here.to_path_buf() } else { here.join(stem) };
            let declared = text.lines().filter_map(|line| {
                let line = line.trim().strip_suffix(';')?;
                let (_, name) = line.rsplit_once("mod ").filter(|(before, _)| {
                    ["", "pub ", "pub(crate) ", "pub(super) "].contains(before)
                })?;
                Some(name.trim_start_matches("r#").to_string())
            });
            let files = |name: String| {
                [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")]
            };
            declared.flat_map(files).collect::<Vec<_>>()
        })
        .collect();
    let tops = ["src/lib.rs", "src/main.rs", "tests/tests.rs"].map(Path::new);
    for (path, _) in &all {
        let known = modules.contains(path) || tops.contains(&path.as_path());
        assert!(known, "{} is part of nothing", path.display());
    }
}

#[test]
fn the_pure_parts_do_not_look_at_the_world() {
    let pure = ["src/input", "src/filter", "src/output", "src/engine", "src/parse", "src/settings"];
    for (path, text) in sources("src") {
        let (code, place) = (code(&text), path.display());
        if pure.iter().any(|folder| path.starts_with(folder)) {
            for above in ["crate::sys", "Instant::now", "thread::"] {
                assert!(!code.contains(above), "{place} uses {above}");
            }
        }
        if path.starts_with("src/engine") || path.starts_with("src/filter") {
            let world = code.contains("SystemTime::now") || code.contains("std::fs");
            assert!(!world, "{place} looks at the world");
        }
    }
}

#[test]
fn the_manual_names_every_subcommand_and_every_reason_of_a_drop() {
    let manual = std::fs::read_to_string(root().join("man/logweir.1")).unwrap();
    let manual = manual.replace("\\-", "-");
    let help = std::process::Command::new(crate::util::LOGWEIR).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands = commands.lines().filter(|line| !line.starts_with("   "));
    for command in commands.filter_map(|line| line.split_whitespace().next()) {
        assert!(command == "help" || manual.contains(command), "{command}");
    }
    for reason in logweir::ledger::REASONS {
        assert!(manual.contains(reason.word()), "{}", reason.word());
    }
}
