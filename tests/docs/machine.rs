//! The machine in which a page's session is run: namespaces of its own over the system's files
//! (machine.sh), so that paths and ports are those that the page shows and nothing is left behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::page::{Block, HIDDEN, Page};
use super::root;
use crate::util::LOGWEIR;

/// What makes the machine, and what every session begins with.
const MACHINE: &str = include_str!("machine.sh");
const SESSION: &str = include_str!("session.sh");

/// What machine.sh prints when the machine is there; behind it each command's end is marked.
const READY: &str = "\u{2}ready\u{3}\n";

/// What a session does at one place of its page.
pub struct Step {
    pub place: String,
    pub command: String,
    /// The command as it stands in the page.
    pub source: String,
    /// What the page says that it prints; a test, which shows nothing, must succeed.
    pub shown: Option<String>,
}

/// What became of a step.
pub struct Done {
    pub said: String,
    pub failed: bool,
}

/// Where machines are made.
pub struct Machine {
    syslog_ng: Option<SyslogNg>,
}

impl Machine {
    /// None, and a message, where this user cannot make one.
    pub fn new() -> Option<Self> {
        let machine = Self { syslog_ng: SyslogNg::find() };
        if !nix::unistd::Uid::effective().is_root() {
            crate::util::skip_here("the sessions of docs/ need root");
            return None;
        }
        let said = machine.output(&[]);
        if !said.starts_with(READY) {
            crate::util::skip_here(&format!("no machine for the sessions of docs/: {said}"));
            return None;
        }
        Some(machine)
    }

    /// Whether the programs are there that a page's session needs.
    pub fn can(&self, page: &Page) -> bool {
        let missing: Vec<_> = page.needs.iter().filter(|name| !installed(name)).collect();
        if !missing.is_empty() {
            crate::util::skip_missing(&format!("{missing:?} for the session of {}", page.name));
        }
        missing.is_empty()
    }

    /// What a block asks to be done.
    pub fn steps(&self, block: &Block) -> Vec<Step> {
        let mut steps: Vec<_> =
            block.path().map(|path| test(block, &write(path, &block.text))).into_iter().collect();
        match block.kind.as_str() {
            "console" => steps.extend(session(block)),
            HIDDEN => steps.push(test(block, &block.text)),
            _ => steps.extend(self.checked(block).map(|command| test(block, &command))),
        }
        steps
    }

    /// The command by which a program checks its configuration, if it is there.
    fn checked(&self, block: &Block) -> Option<String> {
        let needs = |program: &str| {
            if !installed(program) {
                crate::util::skip_missing(&format!("{program} for {}", block.place));
            }
            installed(program).then_some(())
        };
        let file = "/tmp/block";
        let (text, command) = match block.kind.as_str() {
            "rsyslog" => {
                needs("rsyslogd")?;
                (block.text.clone(), format!("rsyslogd -N1 -f {file}"))
            }
            "syslog-ng" => {
                let Some(program) = &self.syslog_ng else {
                    crate::util::skip_missing(&format!("syslog-ng for {}", block.place));
                    return None;
                };
                (block.text.clone(), format!("{} -s --no-caps -f {file}", program.command))
            }
            "logrotate" => {
                needs("logrotate")?;
                (
                    block.text.clone(),
                    format!("says_nothing_of {file} logrotate -d -s /tmp/state {file}"),
                )
            }
            "nginx" => {
                needs("nginx")?;
                let text = match block.is("part") {
                    true => format!("events {{}}\nhttp {{\n{}}}\n", block.text),
                    false => block.text.clone(),
                };
                (text, format!("mkdir -p /var/log/nginx && nginx -t -c {file}"))
            }
            "haproxy" => {
                needs("haproxy")?;
                (block.text.clone(), format!("haproxy -c -f {file}"))
            }
            "squid" => {
                needs("squid")?;
                (block.text.clone(), format!("squid -k parse -f {file}"))
            }
            "yaml" => {
                needs("python3")?;
                let load = "import sys, yaml; list(yaml.safe_load_all(open(sys.argv[1])))";
                let has = "python3 -c 'import yaml' 2>/dev/null";
                (block.text.clone(), format!("if {has}; then python3 -c '{load}' {file}; fi"))
            }
            "ini" => {
                needs("systemd-analyze")?;
                let (path, unit) = match block.word().filter(|word| !word.starts_with('/')) {
                    Some(unit) => (unit.to_string(), unit),
                    None => ("logweir.service.d/docs.conf".into(), "logweir.service"),
                };
                let path = format!("/etc/systemd/system/{path}");
                let verify =
                    format!("says_nothing_of {path} systemd-analyze verify --man=no {unit}");
                return Some(format!("{}\n{verify}", write(&path, &block.text)));
            }
            _ => return None,
        };
        Some(format!("{}\n{command}", write(file, &text)))
    }

    /// Runs steps until the session ends.
    pub fn run(&self, steps: &[Step]) -> Vec<Done> {
        let said = self.output(steps);
        let (_, session) = said.split_once(READY).unwrap_or_else(|| panic!("no machine: {said}"));
        let mut done = Vec::new();
        let mut rest = session;
        while let Some((said, more)) = rest.split_once('\u{2}') {
            let (code, more) = more.split_once("\u{3}\n").unwrap_or((more, ""));
            let newline = if said.is_empty() || said.ends_with('\n') { "" } else { "\n" };
            done.push(Done { said: format!("{said}{newline}"), failed: code != "0" });
            rest = more;
        }
        done
    }

    fn output(&self, steps: &[Step]) -> String {
        let scratch = tempfile::tempdir().unwrap();
        let script = tempfile::NamedTempFile::new().unwrap();
        let mut text = SESSION.to_string();
        for step in steps {
            let command = step.command.trim_end();
            text += &format!("failed=0\n{command}\nprintf '\\002%s\\003\\n' $failed\n");
        }
        std::fs::write(script.path(), text).unwrap();
        let output = Command::new("timeout")
            .args([
                "--signal=KILL",
                "300",
                "unshare",
                "--mount",
                "--net",
                "--pid",
                "--uts",
                "--ipc",
            ])
            .args(["--fork", "--kill-child", "bash", "-c", MACHINE, "machine.sh"])
            .arg(scratch.path())
            .arg(root())
            .arg(LOGWEIR)
            .arg(self.syslog_ng.as_ref().map_or_else(|| Path::new(""), |found| &found.root))
            .arg(script.path())
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout);
                format!("{said}{}", String::from_utf8_lossy(&output.stderr))
            }
            Err(error) => error.to_string(),
        }
    }
}

/// The commands of a session, with what it shows behind each.
fn session(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            let (command, source) = (format!("{command}\n"), format!("{line}\n"));
            let place = block.place.clone();
            steps.push(Step { place, command, source, shown: Some(String::new()) });
            continue;
        }
        let Some(step) = steps.last_mut() else {
            panic!("{}: a session begins with `$ `", block.place);
        };
        let shown =
            step.shown.as_mut().filter(|shown| !shown.is_empty() || !line.starts_with("> "));
        match shown {
            Some(shown) => *shown += &format!("{line}\n"),
            None => {
                step.command += &format!("{}\n", &line[2..]);
                step.source += &format!("{line}\n");
            }
        }
    }
    steps
}

fn test(block: &Block, command: &str) -> Step {
    let source = String::new();
    Step { place: block.place.clone(), command: command.into(), source, shown: None }
}

/// The command that writes a file.
fn write(path: &str, text: &str) -> String {
    format!("mkdir -p \"$(dirname {path})\" && cat >{path} <<'END OF BLOCK'\n{text}END OF BLOCK")
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .any(|folder| folder.join(program).is_file())
}

/// A syslog-ng, which is unpacked below `LOGWEIR_SYSLOG_NG_ROOT` or installed.
struct SyslogNg {
    /// The folder, or nothing where it is installed.
    root: PathBuf,
    command: String,
}

impl SyslogNg {
    fn find() -> Option<Self> {
        let Some(root) = std::env::var_os("LOGWEIR_SYSLOG_NG_ROOT").map(PathBuf::from) else {
            let command = "syslog-ng".to_string();
            return installed(&command).then(|| Self { root: PathBuf::new(), command });
        };
        let mut libraries = Vec::new();
        let mut modules = PathBuf::new();
        files(&root, &mut |file| {
            let folder = file.parent().unwrap().to_path_buf();
            let name = file.file_name().unwrap().to_string_lossy();
            if name == "libaffile.so" {
                modules = folder;
            } else if name.contains(".so") && !libraries.contains(&folder) {
                libraries.push(folder);
            }
        });
        let libraries = std::env::join_paths(libraries).unwrap();
        let command = format!(
            "LD_LIBRARY_PATH={} {} --module-path {}",
            libraries.display(),
            root.join("usr/sbin/syslog-ng").display(),
            modules.display()
        );
        Some(Self { root, command })
    }
}

/// Calls `each` for every file below a folder.
fn files(folder: &Path, each: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => files(&entry.path(), each),
            false => each(&entry.path()),
        }
    }
}
