//! The generator of completions and manual pages leaves out no subcommand.

use clap::{Command, CommandFactory};

#[path = "../examples/assets.rs"]
#[expect(dead_code, reason = "its main is called when it is an example")]
mod generator;

/// The subcommands of a command and theirs, as the names of their pages.
fn pages(command: &Command, name: &str) -> Vec<String> {
    let below = command.get_subcommands().filter(|command| command.get_name() != "help");
    let below = below.map(|command| (command, format!("{name}-{}", command.get_name())));
    below.flat_map(|(c, name)| [vec![name.clone()], pages(c, &name)].concat()).collect()
}

#[test]
fn every_subcommand_has_a_page_and_is_completed_in_every_shell() {
    let folder = tempfile::tempdir().unwrap();
    generator::write(folder.path()).unwrap();
    let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).unwrap();

    let cli = logweir::cli::Cli::command();
    let names = pages(&cli, "logweir");
    assert!(names.contains(&"logweir-run".into()) && names.contains(&"logweir-spool-cat".into()));
    for name in &names {
        let page = read(&format!("man/{name}.1"));
        assert!(page.contains(&format!(".TH {} 1 20", name.to_uppercase())), "{page}");
        for part in [".SH NAME", ".SH SYNOPSIS", ".SH \"SEE ALSO\""] {
            assert!(page.contains(part), "{name}: {part}");
        }
    }
    let written = std::fs::read_dir(folder.path().join("man")).unwrap().count();
    assert_eq!(written, names.len(), "a page of nothing");

    for shell in ["logweir.bash", "_logweir", "logweir.fish"] {
        let completions = read(&format!("completions/{shell}"));
        for command in cli.get_subcommands() {
            assert!(completions.contains(command.get_name()), "{shell}: {}", command.get_name());
        }
    }
}
