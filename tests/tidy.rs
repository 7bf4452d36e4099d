//! The project's own rules, checked: what ARCHITECTURE.md says is absent is absent.

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

#[test]
fn layers_know_only_what_is_below_them() {
    let pure = ["src/input", "src/filter", "src/output", "src/engine", "src/parse"];
    for (path, text) in sources("src") {
        let code: String = text.split("#[cfg(test)]").next().unwrap_or("").to_string();
        let uses = |what: &str| code.contains(what);
        let place = path.display();
        if pure.iter().any(|folder| path.starts_with(folder)) {
            for above in ["crate::sys", "crate::driver", "crate::cli", "Instant::now", "thread::"] {
                assert!(!uses(above), "{place} uses {above}");
            }
        }
        if !path.starts_with("src/driver") && !path.starts_with("src/cli") {
            assert!(!uses("crate::driver"), "{place} uses the driver");
        }
        if path.starts_with("src/engine") || path.starts_with("src/filter") {
            assert!(!uses("SystemTime::now") && !uses("std::fs"), "{place} looks at the world");
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
