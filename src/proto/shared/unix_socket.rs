//! The Unix socket of an input (unix(7)): its path, mode and owner, and how it is opened, for
//! datagrams or for connections.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{Group, User, getegid, geteuid};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::ingress::OpenError;
use crate::ingress::datagrams::{DatagramSocket, Keeper, Look};
use crate::ingress::listener::{self, Listener};
use crate::ingress::socket_path::SocketPath;
use crate::limits;
use crate::settings::key::{Key, MODE, Value};
use crate::settings::{Entry, Report, Section};

/// The Unix socket of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixInPlan {
    /// The path to bind.
    pub path: PathBuf,
    /// The mode of the socket.
    pub mode: u32,
    /// Its owner, `user` or `user:group`.
    pub owner: Option<String>,
}

/// The keys of an input on a Unix socket.
pub const KEYS: &[Key] = &[SOCKET_MODE, SOCKET_OWNER];

const SOCKET_MODE: Key = Key::or("mode", MODE, "\"0666\"", "The mode of the socket.");
const SOCKET_OWNER: Key = Key::or_else(
    "owner",
    Value::Text("user, user:group or :group", r"\S"),
    "the daemon's",
    "The owner of the socket.",
);

/// Reads the Unix socket of an input; `path` is the text after `unix://`.
pub fn read(
    section: &Section<'_>,
    entry: &Entry<'_>,
    path: &str,
    report: &mut Report<'_>,
) -> Option<UnixInPlan> {
    let max = limits::SOCKET_PATH_MAX;
    if !path.starts_with('/') {
        entry.wrong_help(report, "is not a whole path", "as in unix:///dev/log");
        return None;
    }
    if path.len() > max || path.contains('\0') {
        let message = format!("a socket's path has {max} bytes at most, this has {}", path.len());
        entry.wrong_help(report, message, "choose a folder nearer to /, as in unix:///run/x.sock");
        return None;
    }
    let mode = section.mode(&SOCKET_MODE, report).unwrap_or(limits::UNIX_MODE_DEFAULT);
    let owner = section.system_text(&SOCKET_OWNER, report).map(str::to_string);
    Some(UnixInPlan { path: PathBuf::from(path), mode, owner })
}

/// Binds a socket for datagrams. What another program left at the path and listens to no more is
/// replaced.
///
/// # Errors
/// A sentence for the user that names the path.
pub fn open(name: &str, plan: &UnixInPlan) -> Result<DatagramSocket, OpenError> {
    let (socket, path) = bind_at(&setting(name, "syslog", plan), plan, Type::DGRAM)?;
    log::info!("input.{name}: listening on {}", plan.path.display());
    Ok(DatagramSocket { path: Some(path), ..DatagramSocket::new(socket) })
}

/// Listens for connections at the path, under a setting whose key is `key`; `socket` is one that
/// does already.
///
/// # Errors
/// One sentence with the path in it, for the user.
pub fn listen(
    name: &str,
    key: &str,
    plan: &UnixInPlan,
    socket: Option<Listener>,
) -> Result<Listener, OpenError> {
    let at = setting(name, key, plan);
    if let Some(listener) = socket {
        permit_kept(&at, plan)?;
        return Ok(listener);
    }
    let (socket, path) = bind_at(&at, plan, Type::STREAM)?;
    let fail = |error: io::Error| OpenError::new(&at, error);
    socket.listen(BACKLOG).map_err(fail)?;
    log::info!("input.{name}: listening on {}", plan.path.display());
    Ok(Listener::Unix(socket.into(), Some(path)))
}

/// The maximum number of connections waiting to be accepted.
const BACKLOG: i32 = 1024;

/// The setting, for messages.
fn setting(name: &str, key: &str, plan: &UnixInPlan) -> String {
    format!("input.{name}: {key} = \"unix://{}\"", plan.path.display())
}

/// Binds a socket and sets the mode and the owner of its path.
fn bind_at(
    at: &str,
    plan: &UnixInPlan,
    kind: Type,
) -> Result<(Socket, Arc<SocketPath>), OpenError> {
    let fail = |what: &str| OpenError::new(at, what);
    make_way(&plan.path, kind).map_err(|error| fail(&error))?;
    let socket = bind(plan, kind).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => fail("the folder does not exist: create it first").by(&error),
        _ => fail(&error.to_string()),
    })?;
    // From here on the path is removed again on failure.
    let path = SocketPath::bound(&plan.path).map_err(|error| fail(&error.to_string()))?;
    permit(plan).map_err(|error| fail(&error))?;
    Ok((socket, path))
}

/// Takes over a socket that is already bound.
///
/// # Errors
/// A sentence for the user that names the path.
pub fn keep(
    name: &str,
    plan: &UnixInPlan,
    socket: &DatagramSocket,
) -> Result<DatagramSocket, OpenError> {
    let at = setting(name, "syslog", plan);
    permit_kept(&at, plan)?;
    socket.try_clone().map_err(|error| OpenError::new(&at, error))
}

/// Sets the mode and the owner of the path of an existing socket.
fn permit_kept(at: &str, plan: &UnixInPlan) -> Result<(), OpenError> {
    // If the path is gone, the receiver of datagrams creates it again.
    if plan.path.symlink_metadata().is_ok()
        && let Err(error) = permit(plan)
    {
        // A path that a `.socket` unit made is not ours to change: its SocketMode= applies.
        if is_ours(&plan.path) {
            return Err(OpenError::new(at, error));
        }
        let mode = plan.path.metadata().map_or(0, |data| data.mode() & 0o777);
        if plan.owner.is_some() || mode != plan.mode {
            log::warn!(
                "{at}: mode {mode:04o} and the owner stay, since the path is not ours: {error}"
            );
        }
    }
    Ok(())
}

/// Binds the path again when it is gone, or belongs to another program that no longer listens.
#[derive(Debug)]
pub struct PathKeeper {
    name: String,
    plan: UnixInPlan,
    /// The path's file, if it leads to the socket.
    found: Option<Found>,
}

/// Identifies a file well enough to tell it from one that replaces it.
type Found = (u64, u64, Option<std::time::SystemTime>);

impl PathKeeper {
    /// Watches the path of the input `name`, whose socket is bound.
    pub fn new(name: &str, plan: &UnixInPlan) -> Self {
        let answers = UnixDatagram::unbound().and_then(|probe| probe.connect(&plan.path));
        let found = answers.ok().and_then(|()| find(&plan.path));
        Self { name: name.to_string(), plan: plan.clone(), found }
    }
}

impl Keeper for PathKeeper {
    fn look(&mut self, _: &Socket) -> Look {
        if self.found.is_some() && find(&self.plan.path) == self.found {
            return Look::Good;
        }
        match open(&self.name, &self.plan) {
            Ok(socket) => {
                self.found = find(&self.plan.path);
                Look::Anew(socket)
            }
            Err(error) => Look::Deaf(format!("{}: {}", self.plan.path.display(), error.what())),
        }
    }
}

/// Listens anew when the path of a listening socket is gone, or leads to something else.
#[derive(Debug)]
pub struct ListenerKeeper {
    name: String,
    key: &'static str,
    plan: UnixInPlan,
    /// The path's file, if it leads to the socket.
    found: Option<Found>,
}

impl ListenerKeeper {
    /// Watches the path of the input `name`, whose socket is listening under the key `key`.
    pub fn new(name: &str, key: &'static str, plan: &UnixInPlan) -> Self {
        let found = find(&plan.path);
        Self { name: name.to_string(), key, plan: plan.clone(), found }
    }
}

impl listener::Keeper for ListenerKeeper {
    fn look(&mut self) -> listener::Look {
        if self.found.is_some() && find(&self.plan.path) == self.found {
            return listener::Look::Good;
        }
        match listen(&self.name, self.key, &self.plan, None) {
            Ok(anew) => {
                self.found = find(&self.plan.path);
                listener::Look::Anew(anew)
            }
            Err(error) => {
                listener::Look::Deaf(format!("{}: {}", self.plan.path.display(), error.what()))
            }
        }
    }
}

fn find(path: &Path) -> Option<Found> {
    let data = path.symlink_metadata().ok()?;
    data.file_type().is_socket().then(|| (data.dev(), data.ino(), data.created().ok()))
}

fn is_ours(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|data| data.uid() == geteuid().as_raw())
}

/// Sets the mode and the owner of the path, if they differ: without an `owner`, to those that a new
/// socket would have.
fn permit(plan: &UnixInPlan) -> Result<(), String> {
    let now = plan.path.symlink_metadata().map_err(|error| error.to_string())?;
    if now.mode() & 0o7777 != plan.mode {
        let mode = fs::Permissions::from_mode(plan.mode);
        fs::set_permissions(&plan.path, mode).map_err(|error| format!("mode: {error}"))?;
    }
    let owner = plan.owner.as_deref().unwrap_or_default();
    let (user, group) = ids(owner).map_err(|error| format!("owner: {error}"))?;
    let folder = plan.path.parent().and_then(|folder| folder.metadata().ok());
    let inherits = folder.filter(|folder| folder.mode() & libc::S_ISGID != 0);
    let user = user.unwrap_or_else(|| geteuid().as_raw());
    let own = inherits.map_or_else(|| getegid().as_raw(), |folder| folder.gid());
    let group = group.unwrap_or(own);
    if (now.uid(), now.gid()) != (user, group) {
        chown(&plan.path, Some(user), Some(group)).map_err(|error| format!("owner: {error}"))?;
    }
    Ok(())
}

/// Removes a socket that no program listens to.
fn make_way(path: &Path, kind: Type) -> Result<(), String> {
    let Ok(data) = path.symlink_metadata() else { return Ok(()) };
    if !data.file_type().is_socket() {
        return Err("there is something else at this path that is no socket: remove it, or name \
                    another path"
            .into());
    }
    let probe = Socket::new(Domain::UNIX, kind, None).map_err(|error| error.to_string())?;
    let address = SockAddr::unix(path).map_err(|error| error.to_string())?;
    match probe.connect(&address) {
        Ok(()) => Err("another program listens there (see who with: ss -xlp); end it, or name \
                       another path"
            .into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| format!("an old socket is there: {error}"))
        }
        Err(error) => Err(format!("there is a socket of another kind: {error}")),
    }
}

fn bind(plan: &UnixInPlan, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?;
    if kind == Type::DGRAM {
        socket.set_passcred(true)?;
    }
    socket.bind(&SockAddr::unix(&plan.path)?)?;
    Ok(socket)
}

/// The numeric ids of `user` or `user:group`.
fn ids(owner: &str) -> Result<(Option<u32>, Option<u32>), String> {
    let (user, group) = owner.split_once(':').map_or((owner, None), |(u, g)| (u, Some(g)));
    let user = match user {
        "" => None,
        name => match User::from_name(name) {
            Ok(Some(user)) => Some(user.uid.as_raw()),
            _ => return Err(format!("there is no user `{name}`")),
        },
    };
    let group = match group {
        None | Some("") => None,
        Some(name) => match Group::from_name(name) {
            Ok(Some(group)) => Some(group.gid.as_raw()),
            _ => return Err(format!("there is no group `{name}`")),
        },
    };
    Ok((user, group))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(path: PathBuf) -> UnixInPlan {
        UnixInPlan { path, mode: 0o620, owner: None }
    }

    #[test]
    fn a_socket_is_bound_with_its_mode_and_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let socket = open("sys", &plan(path.clone())).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o620);
        let again = open("sys", &plan(path.clone())).unwrap_err().to_string();
        assert!(again.contains("another program listens there"), "{again}");
        let twin = socket.try_clone().unwrap();
        drop(socket);
        assert!(path.exists());
        drop(twin);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_at_the_path_is_replaced_only_where_it_is_an_old_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        drop(UnixDatagram::bind(&path).unwrap());
        drop(open("sys", &plan(path.clone())).unwrap());
        fs::write(&path, "mine").unwrap();
        let error = open("sys", &plan(path.clone())).unwrap_err().to_string();
        assert!(error.contains("no socket: remove it"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let error = open("sys", &plan(folder.path().join("no/log"))).unwrap_err().to_string();
        assert!(error.contains("the folder does not exist"), "{error}");
        let mut owned = plan(folder.path().join("other"));
        owned.owner = Some("nobody-of-this-name".into());
        let error = open("sys", &owned).unwrap_err().to_string();
        assert!(error.contains("there is no user `nobody-of-this-name`"), "{error}");
        assert!(!owned.path.exists());
    }
}
