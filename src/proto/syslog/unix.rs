//! Opening the socket of a syslog input on a Unix path (unix(7)).

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::unistd::{Group, User, getegid, geteuid};
use socket2::{Domain, SockAddr, Socket, Type};

use super::config::UnixInPlan;
use crate::ingress::OpenError;
use crate::ingress::datagrams::{DatagramSocket, Keeper, Look, SocketPath};

/// Binds the socket. A socket that another program left at the path and no longer listens to is
/// replaced.
///
/// # Errors
/// A sentence for the user that names the path.
pub fn open(name: &str, plan: &UnixInPlan) -> Result<DatagramSocket, OpenError> {
    let path = plan.path.display();
    let at = format!("input.{name}: syslog = \"unix://{path}\"");
    let fail = |what: &str| OpenError::new(&at, what);
    make_way(&plan.path).map_err(|error| fail(&error))?;
    let socket = bind(plan).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => fail("the folder does not exist: create it first").by(&error),
        _ => fail(&error.to_string()),
    })?;
    // From here on the path is removed again on failure.
    let kept = SocketPath::bound(&plan.path).map_err(|error| fail(&error.to_string()))?;
    permit(plan).map_err(|error| fail(&error))?;
    log::info!("input.{name}: listening on {path}");
    Ok(DatagramSocket { path: Some(kept), ..DatagramSocket::new(socket) })
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
    let at = format!("input.{name}: syslog = \"unix://{}\"", plan.path.display());
    // If the path is gone, the receiver creates it again.
    if plan.path.symlink_metadata().is_ok()
        && let Err(error) = permit(plan)
    {
        // A path that a `.socket` unit made is not ours to change: its SocketMode= applies.
        if is_ours(&plan.path) {
            return Err(OpenError::new(&at, error));
        }
        let mode = plan.path.metadata().map_or(0, |data| data.mode() & 0o777);
        if plan.owner.is_some() || mode != plan.mode {
            log::warn!(
                "{at}: mode {mode:04o} and the owner stay, since the path is not ours: {error}"
            );
        }
    }
    socket.try_clone().map_err(|error| OpenError::new(&at, error))
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
fn make_way(path: &Path) -> Result<(), String> {
    let Ok(data) = path.symlink_metadata() else { return Ok(()) };
    if !data.file_type().is_socket() {
        return Err("there is something else at this path that is no socket: remove it, or name \
                    another path"
            .into());
    }
    let probe = UnixDatagram::unbound().map_err(|error| error.to_string())?;
    match probe.connect(path) {
        Ok(()) => Err("another program listens there (see who with: ss -xlp); end it, or name \
                       another path"
            .into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| format!("an old socket is there: {error}"))
        }
        Err(error) => Err(format!("there is a socket that is no syslog socket: {error}")),
    }
}

fn bind(plan: &UnixInPlan) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_passcred(true)?;
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
    use std::path::PathBuf;

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
