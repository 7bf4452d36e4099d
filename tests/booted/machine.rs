//! A container with a systemd of its own: a tree made with debootstrap, started by
//! systemd-nspawn, with loopback as its only network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The commands that a container needs, each with its Debian package.
const NEEDED: [(&str, &str); 4] = [
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("nsenter", "util-linux"),
    ("apt-get", "apt"),
];

/// What is in a tree beside the least that Debian is.
const INCLUDED: &str = "dbus,systemd,systemd-sysv";

/// What commands in a container find their programs by.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a container may take to boot; far longer than it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running container; ended and removed when dropped.
pub struct Machine {
    nspawn: Child,
    /// The process in it that is number 1 there.
    leader: u32,
    root: PathBuf,
    /// Where systemd-nspawn and the container say what they have to say.
    console: PathBuf,
    /// One at a time: systemd-nspawn has the same control groups for all of one session.
    _alone: MutexGuard<'static, ()>,
}

impl Machine {
    /// Boots a release of Debian; nothing where that cannot be done here, which is said.
    pub fn boot(release: &str) -> Option<Self> {
        match Self::try_boot(release) {
            Ok(machine) => Some(machine),
            Err(why) => {
                crate::util::skip_here(&format!(
                    "no container of Debian {release} boots here: {why}"
                ));
                None
            }
        }
    }

    fn try_boot(release: &str) -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("it needs root".into());
        }
        for (program, package) in NEEDED {
            let found = PATH.split(':').any(|folder| Path::new(folder).join(program).is_file());
            if !found {
                return Err(format!("it needs {program} (Debian's {package})"));
            }
        }
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("logweir-{}-{number}", std::process::id());
        let (root, console) = (cache().join(&name), cache().join(format!("{name}.console")));
        // A copy, so that each container begins as the first did.
        let mut copy = Command::new("cp");
        done(copy.args(["-a", "--reflink=auto"]).arg(tree(release)?).arg(&root))?;
        let said = fs::File::create(&console).map_err(|error| error.to_string())?;
        let nspawn = Command::new("systemd-nspawn")
            .args(["--quiet", "--register=no", "--keep-unit", "--private-network", "--boot"])
            .args(["--console=pipe", &format!("--machine={name}")])
            // The messages of the kernel, which the drop-in of docs/from-rsyslog.md lets one read.
            .args(["--capability=CAP_SYSLOG", "--bind=/dev/kmsg"])
            .arg(format!("--directory={}", root.display()))
            // Where the machine has the old hierarchies, a new systemd wants the new one.
            .env("UNIFIED_CGROUP_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(said.try_clone().map_err(|error| error.to_string())?)
            .stderr(said)
            .spawn();
        let nspawn = nspawn.map_err(|error| format!("systemd-nspawn: {error}"))?;
        let mut machine = Self { nspawn, leader: 0, root, console, _alone: alone };
        machine.wait_booted()?;
        Ok(machine)
    }

    fn wait_booted(&mut self) -> Result<(), String> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.nspawn.try_wait().is_ok_and(|ended| ended.is_some()) {
                let said = fs::read_to_string(&self.console).unwrap_or_default();
                return Err(format!("systemd-nspawn ended: {}", said.trim()));
            }
            if self.is_booted() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("its systemd was not up after {PATIENCE:?}"))
    }

    fn is_booted(&mut self) -> bool {
        let children = format!("/proc/{0}/task/{0}/children", self.nspawn.id());
        let children = fs::read_to_string(children).unwrap_or_default();
        let Some(leader) = children.split_whitespace().next() else { return false };
        self.leader = leader.parse().unwrap();
        let state = self.enter(&["systemctl", "is-system-running"]).output();
        state.is_ok_and(|state| [&b"running\n"[..], b"degraded\n"].contains(&&*state.stdout))
    }

    /// A command in the container.
    pub fn enter(&self, command: &[&str]) -> Command {
        let mut enter = Command::new("nsenter");
        enter.arg(format!("--target={}", self.leader)).args(["--all", "--"]).args(command);
        enter.env_clear().env("PATH", PATH).env("DEBIAN_FRONTEND", "noninteractive");
        enter.stdin(Stdio::null());
        enter
    }

    /// Runs a shell's command line in the container.
    pub fn sh(&self, script: &str) -> Output {
        self.enter(&["sh", "-c", script]).output().unwrap()
    }

    /// The same of one that must succeed; what it printed.
    pub fn run(&self, script: &str) -> String {
        let output = self.sh(script);
        let said = said(&output);
        assert!(output.status.success(), "{script}: {said}\n{}", self.journal());
        said
    }

    /// The last of what the container's services said.
    pub fn journal(&self) -> String {
        said(&self.sh("journalctl --no-pager -n 60 -o short-precise -u logweir"))
    }

    /// Where a file of the container is for us.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(path)).unwrap_or_default()).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.leader != 0 && std::thread::panicking() {
            eprintln!("{}", self.journal());
        }
        let groups = groups(self.leader);
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.nspawn.id()).unwrap());
        // It has the container shut down.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let start = Instant::now();
        while self.nspawn.try_wait().is_ok_and(|ended| ended.is_none()) {
            if start.elapsed() > PATIENCE / 2 {
                // What is in it goes with it.
                let _ = self.nspawn.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        groups.iter().for_each(|group| remove_group(group));
        let _ = fs::remove_file(&self.console);
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("{}: {error}", self.root.display());
        }
    }
}

/// The control groups that systemd-nspawn makes for a container and for itself, and leaves
/// behind; removed, they must be empty.
fn groups(leader: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in fs::read_to_string(format!("/proc/{leader}/cgroup")).unwrap_or_default().lines() {
        let Some((name, path)) = line.split_once(':').and_then(|(_, rest)| rest.split_once(':'))
        else {
            continue;
        };
        let Some((before, _)) = path.split_once("/payload") else { continue };
        let mounts: &[&str] = match name {
            "" => &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"],
            _ => &["/sys/fs/cgroup/systemd"],
        };
        for mount in mounts {
            let folder = format!("{mount}{before}");
            found.extend(["payload", "supervisor"].map(|group| Path::new(&folder).join(group)));
        }
    }
    found
}

/// Removes a control group with those below it.
fn remove_group(group: &Path) {
    for below in fs::read_dir(group).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&below.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// Where trees are kept, and containers made.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ci/booted")
}

/// The tree of a release, made where it is not there yet.
fn tree(release: &str) -> Result<PathBuf, String> {
    let name = format!("{release}-{}", INCLUDED.replace(',', "-"));
    let tree = cache().join(&name);
    if tree.exists() {
        return Ok(tree);
    }
    fs::create_dir_all(cache()).map_err(|error| error.to_string())?;
    let unfinished = cache().join(format!("{name}.part"));
    let _ = fs::remove_dir_all(&unfinished);
    let mirror = mirror()?;
    eprintln!("making a tree of Debian {release}");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={INCLUDED}"), release]);
    done(debootstrap.arg(&unfinished).arg(mirror))?;
    fs::rename(&unfinished, &tree).map_err(|error| error.to_string())?;
    Ok(tree)
}

/// Where this machine has its own packages from.
fn mirror() -> Result<String, String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages"]);
    let targets = done(&mut targets)?;
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let release = release.ok_or("/etc/os-release names no release")?;
    let mine = |line: &&str| line.split_whitespace().nth(1) == Some(release);
    let mine = targets.lines().find(mine).ok_or("apt has no source of this machine's release")?;
    Ok(mine.split_whitespace().next().unwrap_or_default().to_string())
}

/// What a command printed, or what went wrong.
fn done(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{name}: {e}"))?;
    let said = said(&output);
    if output.status.success() {
        return Ok(said);
    }
    let last: Vec<_> = said.lines().rev().take(5).collect();
    Err(format!("{name}: {}", last.into_iter().rev().collect::<Vec<_>>().join("; ")))
}

fn said(output: &Output) -> String {
    let (out, errors) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(errors))
}
