//! `logweir check`, as the user meets it: exit codes, messages, drawings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub const EXAMPLE: &str = r#"
[daemon]
control = "/run/logweir/control.sock"
memory  = "64MiB"
grace   = "10s"

[input.squid]
udp = "0.0.0.0:8420"
receive_buffer = "64MiB"
sockets = 1

[filter.api]
from  = "squid"
match = '/w/api\.php'
sample = 10

[filter.mobile]
from = "squid"
run  = "grep --line-buffered m.wikipedia"
workers = 1

[output.apilog]
from = ["api", "mobile"]
file = "/var/log/logweir/{input}/%Y-%m-%d.log"
rotate = "1h"
keep = 48
compress = "zstd"

[output.sampled]
from = "squid"
sample = 1000
pipe = "awk -f /usr/lib/logweir/filters/countries.awk >> /srv/log/countries"

[output.hub]
udp = "hub1:8420"
"#;

struct Dir(TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn check(path: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
    command.args(["check", "-c"]).arg(path).args(more).stdin(Stdio::null()).output().unwrap()
}

fn fine(path: &Path, more: &[&str]) -> String {
    let output = check(path, more);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(path: &Path) -> String {
    let output = check(path, &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let report = String::from_utf8(output.stderr).unwrap();
    assert!(report.ends_with(&format!("in {}\n", path.display())), "{report}");
    report
}

#[test]
fn the_example_is_fine() {
    let dir = Dir::new();
    let path = dir.file("logweir.toml", EXAMPLE);
    let said = fine(&path, &[]);
    assert_eq!(said, format!("{}: 1 input, 2 filters, 3 outputs: fine\n", path.display()));
    // Nothing but the configuration was touched.
    assert_eq!(fs::read_dir(dir.0.path()).unwrap().count(), 1);
}

#[test]
fn warnings_do_not_refuse() {
    let dir = Dir::new();
    let path = dir.file("c", "[input.a]\nstdin = true\n[filter.f]\n[output.o]\nstdout = true\n");
    let output = check(&path, &[]);
    assert_eq!(output.status.code(), Some(0));
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(
        warning.contains("c:3:9: warning: filter.f: nothing reads from this filter"),
        "{warning}"
    );
    assert!(output.stdout.ends_with(b": 1 input, 1 filter, 1 output: fine\n"));
}

#[test]
fn a_line_that_fits_into_no_queue_is_told_before_it_is_dropped() {
    let dir = Dir::new();
    let path = dir.file(
        "c",
        "[daemon]\ncontrol = \"/nowhere/control\"\n\
         [input.long]\nstdin = true\nmax_line = \"1MiB\"\n\
         [output.o]\nstdout = true\nqueue = \"4KiB\"\n",
    );
    let warning = String::from_utf8(check(&path, &[]).stderr).unwrap();
    let said = "c:8:9: warning: output.o.queue: lines of `long` may be 1MiB long, and one of 4000B \
                or more never fits into the queue before this: it is always dropped";
    assert!(warning.contains(said), "{warning}");
    for (length, kept) in [(3999, true), (4000, false)] {
        let line = "x".repeat(length) + "\n";
        let output = crate::util::run(&["run", "-c", path.to_str().unwrap()], line.as_bytes());
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.stdout == line.as_bytes(), kept, "{log}");
        assert_eq!(log.contains("queue_full 1"), !kept, "{log}");
    }
}

#[test]
fn a_mistake_is_shown_with_its_place() {
    let dir = Dir::new();
    let path = dir.file("c", EXAMPLE.replace("sample = 10\n", "smaple = 10\n"));
    let expected = format!(
        "{path}:15:1: error: filter.api.smaple: unknown key `smaple`\n   |\n15 | smaple = 10\n   \
         | ^^^^^^\n   |\n   = help: did you mean `sample`?\n1 error in {path}\n",
        path = path.display()
    );
    assert_eq!(refused(&path), expected);
}

#[test]
fn drawings() {
    let dir = Dir::new();
    let path = dir.file("c", EXAMPLE);
    let text = fine(&path, &["--graph", "text"]);
    let expected = "\
squid  udp 0.0.0.0:8420, buffer 64MiB
├─ api  match '/w/api\\.php', sample 10
│  └─ apilog  file /var/log/logweir/{input}/%Y-%m-%d.log
├─ mobile  run \"grep --line-buffered m.wikipedia\"
│  └─ apilog  file /var/log/logweir/{input}/%Y-%m-%d.log
├─ sampled  sample 1000, pipe \"awk -f /usr/lib/logweir/filters/countries.awk >>…
└─ hub  udp hub1:8420
";
    assert_eq!(text, expected);
    assert!(fine(&path, &["--graph", "dot"]).contains("\"mobile\" -> \"apilog\";"));
    assert!(fine(&path, &["--graph", "mermaid"]).starts_with("flowchart LR\n"));
    let output = check(&path, &["--graph", "svg"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn files_that_are_no_configuration() {
    let dir = Dir::new();
    assert!(refused(&dir.file("empty", "")).contains("error: is empty\n"));
    assert!(refused(&dir.file("json", "{ \"input\": 1 }\n")).contains(":1:1: error: not TOML: "));
    let latin1 = dir.file("latin1", b"[input.a]\nstdin = true\n# caf\xe9\n");
    assert!(refused(&latin1).contains("error: is not UTF-8: byte 28 (0xe9), on line 3\n"));
    let large = dir.file("large", vec![b'\n'; 10 << 20]);
    assert!(refused(&large).contains("error: is larger than 4MiB\n"));
    assert!(refused(&dir.0.path().join("nowhere")).contains("error: there is no such file\n"));
    assert!(refused(dir.0.path()).contains("error: is a folder, not a file\n"));
}

#[test]
fn without_a_file_the_default_is_read() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
    let output = command.args(["check", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("[default: /etc/logweir/logweir.toml]"), "{help}");
}

/// The main file in a folder of its own, with `conf.d` beside it.
fn with_drop_ins(main: &str, drop_ins: &[(&str, &str)]) -> (Dir, PathBuf) {
    let dir = Dir::new();
    fs::create_dir(dir.0.path().join("conf.d")).unwrap();
    for (name, text) in drop_ins {
        dir.file(&format!("conf.d/{name}"), text);
    }
    let path = dir.file("logweir.toml", main);
    (dir, path)
}

const MAIN: &str = "include = \"conf.d/*.toml\"\n[input.a]\nudp = \"0.0.0.0:8420\"\n";

#[test]
fn a_file_includes_others_whose_nodes_join_its_flow() {
    let (dir, path) = with_drop_ins(
        MAIN,
        &[
            ("20-out.toml", "[output.z]\nfrom = \"f\"\nfile = \"/log/z\"\n"),
            ("10-filter.toml", "# nothing but a filter\n[filter.f]\nfrom = \"a\"\n"),
            ("empty.toml", ""),
            ("30-out.toml.bak", "[output.z]\nnope = 1\n"),
            (".hidden.toml", "[output.z]\nnope = 1\n"),
        ],
    );
    let said = fine(&path, &[]);
    assert_eq!(said, format!("{}: 1 input, 1 filter, 1 output: fine\n", path.display()));
    let drawing = "a  udp 0.0.0.0:8420, buffer 64MiB\n└─ f  passes all\n   └─ z  file /log/z\n";
    assert_eq!(fine(&path, &["--graph", "text"]), drawing);
    // A path is counted from the folder of the file, wherever the program was started.
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
    command.args(["check", "-c", "logweir.toml"]).current_dir(dir.0.path());
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    // A pattern without files is fine; the flow then lacks what they would bring.
    let (_dir, path) = with_drop_ins(MAIN, &[]);
    assert!(refused(&path).contains("there is no output"));
}

#[test]
fn errors_name_the_file_they_are_in() {
    let (dir, path) = with_drop_ins(
        MAIN,
        &[
            ("10.toml", "[daemon]\nmemory = \"1GiB\"\n[output.z]\nfile = \"/log/z\"\n"),
            (
                "20.toml",
                "\n[input.b]\nudp = \"127.0.0.1:8420\"\nnope = 1\n[output.a]\nstdout = 1\n",
            ),
        ],
    );
    let report = refused(&path);
    let conf = dir.0.path().join("conf.d");
    let (first, second) = (conf.join("10.toml"), conf.join("20.toml"));
    let (main, first, second) = (path.display(), first.display(), second.display());
    let bound = "0.0.0.0:8420 is bound by [input.a]";
    for headline in [
        format!("{first}:1:2: error: daemon: `daemon` is allowed only in the main file"),
        format!("{second}:3:7: error: input.b.udp: {bound} on line 3 of {main}"),
        format!("{second}:4:1: error: input.b.nope: unknown key `nope`"),
        format!(
            "{second}:5:9: error: output.a: the name is taken by [input.a] on line 2 of {main}"
        ),
        format!("{second}:6:10: error: output.a.stdout: expected true or false, found an integer"),
    ] {
        assert!(report.lines().any(|line| line == headline), "{headline}\n{report}");
    }
    let clash = format!(
        "  |\n3 | udp = \"127.0.0.1:8420\"\n  |       ^^^^^^^^^^^^^^^^\n  |\n \
         ::: {main}:3:7\n  |\n3 | udp = \"0.0.0.0:8420\"\n  |       -------------- bound here\n"
    );
    assert!(report.contains(&clash), "{report}");
    assert!(report.ends_with(&format!("5 errors in {main}\n")), "{report}");
}

#[test]
fn an_include_that_is_wrong_is_refused() {
    let rest = "[input.a]\nstdin = true\n[output.z]\nstdout = true\n";
    for (include, said) in [
        ("include = 1", ":1:11: error: include: expected a name or a list of names\n"),
        ("include = \"c*/x.toml\"", "only the last part of a path can have * and ?\n"),
        ("include = \"more.toml\"", "more.toml: error: there is no such file\n"),
        ("include = \"conf.d\"", "conf.d: error: is a folder, not a file\n"),
        (
            "include = [\"conf.d/1.toml\", \"conf.d/*.toml\"]",
            "1.toml:1:1: error: include: `include` is allowed",
        ),
        ("include = \"conf.d/2.t?t\"", "2.txt:1:3: error: not TOML"),
    ] {
        let (dir, path) =
            with_drop_ins(&format!("{include}\n{rest}"), &[("1.toml", "include = \"x\"\n")]);
        dir.file("conf.d/2.txt", "a b\n");
        let output = check(&path, &[]);
        let report = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{include}: {report}");
        assert!(report.contains(said), "{include}: {report}");
    }
}

/// What `check --access` says of a configuration, and its exit code.
fn access(dir: &TempDir, nodes: &str, user: Option<&str>) -> (Option<i32>, String) {
    let file = dir.path().join("access.toml");
    let dir = dir.path().display().to_string();
    let text = format!("[daemon]\ncontrol = \"{{dir}}/sock\"\n{nodes}").replace("{dir}", &dir);
    fs::write(&file, text).unwrap();
    let mut command = Command::new(crate::util::LOGWEIR);
    command.args(["check", "--access", "-c"]).arg(&file);
    command.args(user.map(|user| format!("--user={user}")));
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// What is in a folder.
fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// As whoever runs the tests.
fn own() -> String {
    nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap().unwrap().name
}

#[test]
fn access_is_tried_and_nothing_is_changed() {
    let dir = TempDir::new().unwrap();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (used, free) = (taken.local_addr().unwrap().port(), crate::util::free_port());
    fs::write(dir.path().join("file"), "kept").unwrap();
    let fine = format!(
        "[input.u]\nudp = \"127.0.0.1:{free}\"\n[input.t]\nsyslog = \"tcp://127.0.0.1:{free}\"\n\
         [input.f]\nfifo = \"{{dir}}/fifo\"\n\
         [filter.r]\nrun = \"exec cat\"\n\
         [output.new]\nfile = \"{{dir}}/a/b/{{host}}.log\"\n\
         [output.old]\nfrom = \"r\"\nfile = \"{{dir}}/file\"\n\
         [output.s]\nudp = \"127.0.0.1:9\"\nspool = {{ dir = \"{{dir}}/spool\" }}\n"
    );
    fs::write(dir.path().join("access.toml"), "").unwrap();
    let before = names(dir.path());
    assert_eq!(access(&dir, &fine, Some(&own())), (Some(0), String::new()));
    let wrong = format!(
        "[input.u]\nudp = \"127.0.0.1:{used}\"\n[input.n]\nudp = \"192.0.2.1:{free}\"\n\
         [input.l]\ntail = \"{{dir}}/none/*.log\"\n\
         [output.c]\npipe = \"cat |\"\n[output.p]\npipe = \"no-such-program-here x\"\n\
         [output.d]\nfile = \"{{dir}}/file/x\"\n\
         [output.o]\nfile = \"{{dir}}/o\"\nowner = \"no-such-user\"\ngroup = \"no-such-group\"\n\
         [output.r]\nudp = \"127.0.0.1:9\"\n\
         spool = {{ dir = \"{{dir}}/r\", reserve = \"1000000GiB\" }}\n\
         [output.t]\nforward = \"tls://127.0.0.1:9\"\ntls = {{ ca = \"{{dir}}/none.pem\" }}\n"
    );
    let (code, said) = access(&dir, &wrong, Some(&own()));
    assert_eq!(code, Some(1), "{said}");
    let dir_name = dir.path().display();
    for line in [
        format!("input.u: 127.0.0.1:{used} is used by another program"),
        format!("input.n: 192.0.2.1:{free} is no address of this host now"),
        format!("input.l: {dir_name}/none is not there yet"),
        "output.c: the shell does not understand its command: ".into(),
        "output.p: there is no program no-such-program-here, or it may not be run".into(),
        format!("output.d: {dir_name}/file is not a folder"),
        "output.o: owner: there is no user no-such-user".into(),
        "output.o: group: there is no group no-such-group".into(),
        format!("output.t: tls: {dir_name}/none.pem: "),
        "r.spool: reserve is 1024000000 MiB and its disk has ".into(),
        format!("logweir: 10 things cannot be had by {}", own()),
    ] {
        assert!(said.contains(&line), "{line}\n{said}");
    }
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"kept");
    assert_eq!(before, names(dir.path()));
}

#[test]
fn access_of_another_user_is_what_that_user_may_do() {
    if !nix::unistd::geteuid().is_root() {
        return crate::util::skip_here("needs root");
    }
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("secret"), "").unwrap();
    let nodes = "[input.u]\nudp = \"127.0.0.1:0\"\n\
                 [output.f]\nfile = \"{dir}/new\"\nowner = \"root\"\n\
                 [output.p]\npipe = \"cat\"\nuser = \"daemon\"\n"
        .replace(":0", &format!(":{}", crate::util::free_port()));
    assert_eq!(access(&dir, &nodes, Some("root")).0, Some(0));
    let (code, said) = access(&dir, &nodes, Some("nobody"));
    assert_eq!(code, Some(1), "{said}");
    for line in [
        format!("output.f: nothing can be made in {} (", dir.path().display()),
        "output.f: owner: only root, or CAP_CHOWN, gives files to root".into(),
        "output.p: user: running as daemon needs root, or CAP_SETUID and CAP_SETGID".into(),
        "cannot be had by nobody".into(),
    ] {
        assert!(said.contains(&line), "{line}\n{said}");
    }
    let (code, said) = access(&dir, &nodes, Some("no-such-user"));
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no user no-such-user"), "{said}");
}

#[test]
fn repeats_held_in_memory_are_warned_about_where_a_sender_was_told_otherwise() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("c.toml");
    let said = |input: &str| {
        let text = format!(
            "[input.i]\n{input}\n[filter.f]\nsqueeze = \"30s\"\n[spool.s]\nfrom = \"f\"\n\
             dir = \"/var/spool/logweir/s\"\n"
        );
        fs::write(&file, text).unwrap();
        let output = crate::util::run(&["check", "-c", file.to_str().unwrap()], b"");
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    let warning = "filter.f.squeeze: the repeats that it holds are in memory only";
    assert!(said("relp = \"127.0.0.1:2514\"").contains(warning));
    assert!(!said("kernel = true").contains(warning));
    assert!(!said("udp = \"127.0.0.1:8420\"").contains(warning));
}
