//! Starts that must be refused, with a message and exit code 2.

use crate::util::{Daemon, run};

fn refused(config: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, config.replace("{dir}", dir.path().to_str().unwrap())).unwrap();
    let output = run(&["run", "-c", path.to_str().unwrap()], b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn a_fifo_that_is_a_file_is_refused() {
    let said = refused(
        "[daemon]\ncontrol = \"{dir}/c\"\n[input.in]\nfifo = \"{dir}/c.toml\"\n\
         [output.out]\nstdout = true\n",
    );
    assert!(said.contains("it exists and is not a named pipe"), "{said}");
}

#[test]
fn a_second_daemon_on_one_control_socket_runs_without() {
    let first = Daemon::start("[output.out]\nfrom = \"in\"\nfile = \"{dir}/x\"\n");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let control = first.path("control.sock");
    let text = format!(
        "[daemon]\ncontrol = {control:?}\n[input.in]\nstdin = true\n[output.out]\nstdout = true\n"
    );
    std::fs::write(&path, text).unwrap();
    let output = run(&["run", "-c", path.to_str().unwrap()], b"a line\n");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"a line\n");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("another daemon answers there"), "{said}");
    assert_eq!(first.status().nodes.len(), 2, "the first is still reached");
}

#[test]
fn a_spool_whose_folder_cannot_be_used_is_refused() {
    let spool = |dir: &str| {
        refused(&format!(
            "[daemon]\ncontrol = \"{{dir}}/c\"\n[input.in]\nudp = \"127.0.0.1:0\"\n\
             [output.out]\nstdout = true\nspool = {{ dir = \"{dir}\" }}\n"
        ))
    };
    let said = spool("{dir}/c.toml");
    assert!(said.contains("spool of out.spool: ") && said.contains("Not a directory"), "{said}");
    // A file system that cannot be written to.
    assert!(spool("/proc/spool").contains("/proc/spool: "));
}

#[test]
fn a_spool_in_a_folder_with_other_files_is_refused_and_touches_none() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("letter.txt"), "dear sirs").unwrap();
    let folder = dir.path().display();
    let said = refused(&format!(
        "[daemon]\ncontrol = \"{{dir}}/c\"\n[input.in]\nudp = \"127.0.0.1:0\"\n\
         [output.out]\nstdout = true\nspool = {{ dir = \"{folder}\" }}\n"
    ));
    assert!(said.contains("holds files that do not belong to a spool (letter.txt)"), "{said}");
    assert_eq!(std::fs::read(dir.path().join("letter.txt")).unwrap(), b"dear sirs");
}

#[test]
fn a_spool_at_the_root_of_a_file_system_is_used_beside_its_folder_of_found_files() {
    let found = "spool/lost+found";
    let daemon = Daemon::start_with(
        "[output.out]\nfile = \"/dev/null\"\nspool = { dir = \"{dir}/spool\" }\n",
        |dir| std::fs::create_dir_all(dir.join(found)).unwrap(),
    );
    daemon.send_numbered(0, 10);
    daemon.wait_node("out", |node| node.lines_out == 10);
    assert!(daemon.path(found).is_dir());
    // Only a folder is one of those.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lost+found"), "a file").unwrap();
    let said = refused(&format!(
        "[daemon]\ncontrol = \"{{dir}}/c\"\n[input.in]\nudp = \"127.0.0.1:0\"\n\
         [output.out]\nstdout = true\nspool = {{ dir = \"{}\" }}\n",
        dir.path().display()
    ));
    assert!(said.contains("holds files that do not belong to a spool (lost+found)"), "{said}");
}

#[test]
fn certificates_that_are_none_are_named() {
    let said = refused(
        "[daemon]\ncontrol = \"{dir}/c\"\n[input.in]\nrelp = \"127.0.0.1:0\"\n\
         tls = { cert = \"{dir}/c.toml\", key = \"{dir}/none\" }\n[output.out]\nstdout = true\n",
    );
    assert!(said.contains("relp = \"127.0.0.1:0\": tls: ") && said.contains("c.toml: "), "{said}");
}
