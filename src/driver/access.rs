//! `logweir check --access`: tries what the configuration names, without changing anything.
//!
//! Addresses are bound and let go at once, names are looked up, and commands are read by `sh -n`.
//! Files and folders are asked about (access(2)), as the user of the service where root asks.

use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, Group, Uid, User, eaccess, getgroups, initgroups, setgid, setuid};
use socket2::{Domain, Socket, Type};

use super::control::{Request, ask};
use crate::config::plan::{BodyPlan, ConfinePlan, MetricsAt, NodePlan, Plan, SpoolPlan};
use crate::ingress::files::watch::Meant;
use crate::limits::MIB;
use crate::net::dns::order;
use crate::net::tls::{ClientTls, ServerTls};
use crate::proto::traits::{Claim, Need};
use crate::url::resolve;

/// The user of the packaged service.
const SERVICE_USER: &str = "logweir";
/// The folders that the packaged unit lets the service write to.
const UNIT_WRITES: [&str; 5] = [
    "/var/log/logweir",
    "/var/lib/logweir",
    "/var/spool/logweir",
    "/run/logweir",
    "/var/cache/logweir",
];
/// The folders that it hides.
const UNIT_HIDES: [&str; 3] = ["/home", "/root", "/run/user"];
/// The most files of a pattern that are asked about.
const FILES_MAX: usize = 10_000;

/// What cannot be had, a line each, and as whom it was tried.
#[derive(Debug)]
pub struct Found {
    /// What, at which node, and why.
    pub faults: Vec<String>,
    /// The user.
    pub user: String,
    /// True if that is the packaged service's, to which a unit may add rights and groups.
    pub is_service: bool,
}

/// Tries everything in a plan; as `user`, or else as the service's if root asks. The process must
/// end after it, for it may have become that user.
///
/// # Errors
/// There is no such user, or only root can try as another one.
pub fn look(plan: &Plan, user: Option<&str>) -> Result<Found, String> {
    let user = whom(user)?;
    let runs = plan.daemon.control.as_ref().is_some_and(|path| ask(path, Request::Status).is_ok());
    let mut look = Look { faults: Vec::new(), is_service: false, runs };
    // The service has the ports below 1024, whoever it runs as.
    plan.nodes.iter().for_each(|node| look.addresses(node));
    let name = match user {
        Some(user) => {
            look.is_service = user.name == SERVICE_USER;
            become_user(&user)?;
            user.name
        }
        None => own_name(),
    };
    if let Some(metrics) = &plan.daemon.metrics {
        match &metrics.at {
            MetricsAt::Tcp(address) => look.bind_tcp("daemon", *address),
            MetricsAt::Unix(path) => look.folder_of("daemon", path),
        }
        metrics.token.iter().for_each(|token| look.read("daemon", token));
    }
    if let Some(control) = &plan.daemon.control {
        look.folder_of("daemon", control);
    }
    plan.nodes.iter().for_each(|node| look.node(node));
    Ok(Found { faults: look.faults, user: name, is_service: look.is_service })
}

/// As whom to try; `None` for whoever asks.
fn whom(asked: Option<&str>) -> Result<Option<User>, String> {
    let is_root = Uid::effective().is_root();
    let name = match asked {
        Some(name) if name == own_name() => return Ok(None),
        Some(name) if !is_root => return Err(format!("only root can try as {name}")),
        Some(name) => name,
        None if !is_root => return Ok(None),
        None => SERVICE_USER,
    };
    let found = User::from_name(name).map_err(|error| format!("user {name}: {error}"))?;
    match (found, asked) {
        (None, Some(name)) => Err(format!("there is no user {name}")),
        (found, _) => Ok(found),
    }
}

fn own_name() -> String {
    let own = User::from_uid(Uid::effective()).ok().flatten();
    own.map_or_else(|| Uid::effective().to_string(), |user| user.name)
}

fn become_user(user: &User) -> Result<(), String> {
    let name = CString::new(user.name.as_str()).map_err(|error| error.to_string())?;
    initgroups(&name, user.gid)
        .and_then(|()| setgid(user.gid))
        .and_then(|()| setuid(user.uid))
        .map_err(|error| format!("cannot become {}: {error}", user.name))
}

/// A folder, or the nearest one above it that is there.
fn existing(folder: &Path) -> Option<&Path> {
    let mut there = folder;
    while !there.exists() {
        let parent = there.parent()?;
        there = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    }
    Some(there)
}

struct Look {
    faults: Vec<String>,
    /// True if it tries as the packaged service, which a unit confines.
    is_service: bool,
    /// True if a daemon with this control socket runs, which has the addresses.
    runs: bool,
}

impl Look {
    fn fault(&mut self, node: &str, text: impl AsRef<str>) {
        let line = format!("{node}: {}", text.as_ref());
        if !self.faults.contains(&line) {
            self.faults.push(line);
        }
    }

    fn addresses(&mut self, node: &NodePlan) {
        let at = title(node);
        for claim in node.body.claims(&mut Vec::new) {
            match claim {
                Claim::Udp { address, .. } => {
                    let bound = UdpSocket::bind(address).map(drop);
                    self.bound(&at, address, bound);
                }
                Claim::Tcp(address) => self.bind_tcp(&at, address),
                _ => {}
            }
        }
    }

    fn bind_tcp(&mut self, at: &str, address: SocketAddr) {
        let bound = Socket::new(Domain::for_address(address), Type::STREAM, None).and_then(|one| {
            one.set_reuse_address(true)?;
            one.bind(&address.into())
        });
        self.bound(at, address, bound);
    }

    fn bound(&mut self, at: &str, address: SocketAddr, bound: io::Result<()>) {
        let Err(error) = bound else { return };
        let why = match error.kind() {
            ErrorKind::AddrInUse if self.runs => return,
            ErrorKind::AddrInUse => "is used by another program".into(),
            ErrorKind::AddrNotAvailable => "is no address of this host now".into(),
            ErrorKind::PermissionDenied => {
                "needs root or CAP_NET_BIND_SERVICE, which the packaged service has".into()
            }
            _ => error.to_string(),
        };
        self.fault(at, format!("{address} {why}"));
    }

    fn node(&mut self, node: &NodePlan) {
        let at = title(node);
        for claim in node.body.claims(&mut Vec::new) {
            match claim {
                Claim::UnixPath(path) | Claim::UnixListener(path) => self.folder_of(&at, &path),
                Claim::Path(path) => self.fifo(&at, &path),
                Claim::Followed(meant) => self.followed(&at, &meant),
                Claim::File(path) => self.written(&at, &path),
                Claim::Folder(path) => self.folder(&at, &path),
                Claim::Udp { .. } | Claim::Tcp(_) => {}
                Claim::Stdin | Claim::Stdout | Claim::Counts => {}
            }
        }
        if let BodyPlan::Spool(spool) = &node.body {
            self.room(&at, spool);
        }
        for need in node.body.needs() {
            self.need(&at, need);
        }
        if let BodyPlan::Input(input) = &node.body
            && let Some(tls) = input.source.tls()
            && let Err(error) = ServerTls::new(tls)
        {
            self.fault(&at, format!("tls: {error}"));
        }
        if let Some(process) = node.body.process() {
            self.command(&at, &process.command);
            self.confinement(&at, &process.confine);
        }
    }

    fn need(&mut self, at: &str, need: Need) {
        match need {
            Need::Read(path) => self.read(at, &path),
            Need::Peer { host, port } => {
                let found = match port {
                    0 => order::addresses(&host),
                    _ => resolve(&host, port),
                };
                if let Err(error) = found {
                    self.fault(at, format!("{host}: {error}; it is looked up again and again"));
                }
            }
            Need::Tls(tls) => {
                if let Err(error) = ClientTls::new(&tls) {
                    self.fault(at, format!("tls: {error}"));
                }
            }
            Need::Owner { user, group } => self.owner(at, user.as_deref(), group.as_deref()),
            Need::Program(name) => self.program(at, name),
        }
    }

    // ---- files

    fn read(&mut self, at: &str, path: &Path) {
        match std::fs::File::open(path) {
            Err(error) => self.fault(at, format!("{} cannot be read ({error})", path.display())),
            Ok(_) => self.hidden(at, path),
        }
    }

    /// A file that is written, and made where it is missing.
    fn written(&mut self, at: &str, path: &Path) {
        let path = fixed(path);
        if path.is_dir() {
            return self.folder(at, &path);
        }
        match may(&path, AccessFlags::W_OK) {
            Ok(()) => self.read_only(at, &path),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                self.folder_of(at, &path);
            }
            Err(error) => self.fault(at, format!("{} cannot be written ({error})", path.display())),
        }
    }

    /// The folder in which something is made.
    fn folder_of(&mut self, at: &str, path: &Path) {
        self.folder(at, path.parent().unwrap_or_else(|| Path::new("/")));
    }

    /// A folder in which files are made; it is made where it is missing.
    fn folder(&mut self, at: &str, folder: &Path) {
        let Some(there) = existing(folder) else { return };
        let made = match there == folder {
            true => String::new(),
            false => format!(" ({} is missing)", folder.display()),
        };
        let shown = there.display();
        if !there.is_dir() {
            return self.fault(at, format!("{shown} is not a folder{made}"));
        }
        match may(there, AccessFlags::W_OK | AccessFlags::X_OK) {
            Ok(()) => self.read_only(at, folder),
            Err(error) => {
                self.fault(at, format!("nothing can be made in {shown} ({error}){made}"));
            }
        }
    }

    /// A spool keeps no line in what `reserve` leaves free.
    fn room(&mut self, at: &str, spool: &SpoolPlan) {
        let Some(Ok(disk)) = existing(&spool.dir).map(statvfs) else { return };
        let bytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size());
        let (all, free) = (bytes(disk.blocks()), bytes(disk.blocks_available()));
        let reserve = spool.reserve.div_ceil(MIB);
        if spool.reserve >= all {
            let all = all / MIB;
            self.fault(
                at,
                format!(
                    "reserve is {reserve} MiB and its disk has {all} MiB in all, so that no line \
                     is kept: lower reserve, or name a folder on a larger disk"
                ),
            );
        } else if spool.reserve >= free {
            let free = free / MIB;
            self.fault(
                at,
                format!(
                    "reserve is {reserve} MiB and its disk has {free} MiB free, so that it is \
                     full from the beginning: free space, or lower reserve"
                ),
            );
        }
    }

    /// Where the packaged unit lets nothing be written, whoever owns it.
    fn read_only(&mut self, at: &str, path: &Path) {
        let is_below = |folder: &str| path.starts_with(folder);
        if self.is_service && !UNIT_WRITES.iter().any(|folder| is_below(folder)) {
            let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
            self.fault(
                at,
                format!(
                    "{} is read-only for the packaged service: systemctl edit logweir, [Service], \
                     ReadWritePaths={}",
                    path.display(),
                    folder.display()
                ),
            );
        }
    }

    /// What the packaged unit hides.
    fn hidden(&mut self, at: &str, path: &Path) {
        if self.is_service && UNIT_HIDES.iter().any(|folder| path.starts_with(folder)) {
            let why = "is hidden from the packaged service: systemctl edit logweir, [Service], \
                       ProtectHome=read-only";
            self.fault(at, format!("{} {why}", path.display()));
        }
        if self.is_service && path.starts_with("/dev") {
            let why = "is hidden from the packaged service: see logweir.toml(5)";
            self.fault(at, format!("{} {why}", path.display()));
        }
    }

    fn fifo(&mut self, at: &str, path: &Path) {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.folder_of(at, path),
            Err(error) => self.fault(at, format!("{}: {error}", path.display())),
            Ok(data) if !data.file_type().is_fifo() => {
                self.fault(at, format!("{} is not a named pipe", path.display()));
            }
            Ok(_) => {
                if let Err(error) = may(path, AccessFlags::R_OK) {
                    self.fault(at, format!("{} cannot be read ({error})", path.display()));
                }
            }
        }
    }

    fn followed(&mut self, at: &str, meant: &Meant) {
        let mut left = FILES_MAX;
        for glob in &meant.globs {
            let root = glob.root();
            if !root.exists() {
                self.fault(at, format!("{} is not there yet", root.display()));
                continue;
            }
            self.hidden(at, &root);
            let mut open = vec![root];
            while let Some(folder) = open.pop() {
                let entries = match std::fs::read_dir(&folder) {
                    Ok(entries) => entries,
                    Err(error) => {
                        let why = format!("{} cannot be listed ({error})", folder.display());
                        self.fault(at, why);
                        continue;
                    }
                };
                for path in entries.flatten().map(|entry| entry.path()) {
                    left = left.saturating_sub(1);
                    if left == 0 {
                        return;
                    }
                    if path.is_dir() && glob.enters(&path) {
                        open.push(path);
                    } else if meant.has(&path) && may(&path, AccessFlags::R_OK).is_err() {
                        self.fault(at, format!("{} cannot be read", path.display()));
                    }
                }
            }
        }
    }

    // ---- users and commands

    fn owner(&mut self, at: &str, user: Option<&str>, group: Option<&str>) {
        let is_root = Uid::effective().is_root();
        if let Some(name) = user {
            match (id_of_user(name), is_root) {
                (None, _) => self.fault(at, format!("owner: there is no user {name}")),
                (Some(uid), false) if uid != Uid::effective().as_raw() => {
                    self.fault(at, format!("owner: only root, or CAP_CHOWN, gives files to {name}"))
                }
                _ => {}
            }
        }
        if let Some(name) = group {
            let own: Vec<_> = getgroups().unwrap_or_default().iter().map(|g| g.as_raw()).collect();
            let own_group = nix::unistd::getegid().as_raw();
            match (id_of_group(name), is_root) {
                (None, _) => self.fault(at, format!("group: there is no group {name}")),
                (Some(gid), false) if gid != own_group && !own.contains(&gid) => self.fault(
                    at,
                    format!(
                        "group: {} is not in the group {name}: usermod -a -G {name} {0}",
                        own_name()
                    ),
                ),
                _ => {}
            }
        }
    }

    fn confinement(&mut self, at: &str, confine: &ConfinePlan) {
        let Some(name) = &confine.user else { return };
        if id_of_user(name).is_none() {
            self.fault(at, format!("user: there is no user {name}"));
        } else if !Uid::effective().is_root() && *name != own_name() {
            self.fault(
                at,
                format!("user: running as {name} needs root, or CAP_SETUID and CAP_SETGID"),
            );
        }
    }

    /// Has the shell read a command without running it, and looks for its first program.
    fn command(&mut self, at: &str, command: &str) {
        let read =
            Command::new("/bin/sh").args(["-n", "-c", command]).stdin(Stdio::null()).output();
        match read {
            Ok(read) if !read.status.success() => {
                let said = String::from_utf8_lossy(&read.stderr);
                let said = said.lines().next().unwrap_or_default();
                return self
                    .fault(at, format!("the shell does not understand its command: {said}"));
            }
            Ok(_) => {}
            Err(error) => return self.fault(at, format!("/bin/sh: {error}")),
        }
        let mut words = command.split_whitespace().skip_while(|word| *word == "exec");
        let is_plain =
            |word: &&str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_./+-".contains(&b));
        if let Some(word) = words.next().filter(is_plain) {
            self.program(at, word);
        }
    }

    fn program(&mut self, at: &str, name: &str) {
        let found = Command::new("/bin/sh")
            .args(["-c", "command -v -- \"$0\"", name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_ok_and(|status| !status.success()) {
            self.fault(at, format!("there is no program {name}, or it may not be run"));
        }
    }
}

/// A node as its table is called.
fn title(node: &NodePlan) -> String {
    format!("{}.{}", node.body.kind().word(), node.name)
}

/// A path up to where the fields of a line begin.
fn fixed(path: &Path) -> PathBuf {
    let parts = path.components();
    parts.take_while(|part| !part.as_os_str().as_encoded_bytes().contains(&b'{')).collect()
}

fn may(path: &Path, how: AccessFlags) -> io::Result<()> {
    eaccess(path, how).map_err(io::Error::from)
}

fn id_of_user(name: &str) -> Option<u32> {
    let found = User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
    found.or_else(|| name.parse().ok())
}

fn id_of_group(name: &str) -> Option<u32> {
    let found = Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
    found.or_else(|| name.parse().ok())
}
