//! logweir's configuration at either end of a chain.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::place::{Peer, Place, Way};
use crate::door::Door;

/// The command that starts it as a sender: input, spool, RELP.
pub(crate) fn sender(logweir: &Path, receiver: Peer, place: &Place) -> Result<Command> {
    let input = match place.door(Peer::Logweir) {
        Door::Fifo(path) => format!("fifo = \"{}\"", path.display()),
        Door::Udp(port) => format!("udp = \"127.0.0.1:{port}\"\nreceive_buffer = \"64MiB\""),
        Door::Tcp(port) => anyhow::bail!("no input for plain TCP ({port})"),
    };
    let format = match receiver {
        Peer::Logweir => "line",
        Peer::Rsyslog => "rfc5424",
    };
    // As rsyslog does: who can wait is made to wait. Nobody can make a datagram wait.
    let when_full = match place.way {
        Way::Stream => "block",
        Way::Datagrams => "drop-oldest",
    };
    let nodes = format!(
        "[input.in]\n{input}\n\n\
         [output.hub]\nfrom = \"in\"\nforward = \"relp://127.0.0.1:{}\"\nformat = \"{format}\"\n\
         spool = {{ dir = \"{}\", segment = \"{}\", max_size = \"8GiB\", sync = \"1s\", \
         when_full = \"{when_full}\" }}\n",
        place.relp_port,
        place.spool().display(),
        place.segment,
    );
    command(logweir, &nodes, &place.sender_dir)
}

/// The command that starts it as a receiver: RELP, spool, file.
pub(crate) fn receiver(logweir: &Path, place: &Place) -> Result<Command> {
    let nodes = format!(
        "[input.edge]\nrelp = \"127.0.0.1:{}\"\n\n\
         [spool.hold]\nfrom = \"edge\"\ndir = \"{}\"\nmax_size = \"8GiB\"\n\n\
         [output.f]\nfrom = \"hold\"\nfile = \"{}\"\n",
        place.relp_port,
        place.receiver_dir.join("spool").display(),
        place.output().display(),
    );
    command(logweir, &nodes, &place.receiver_dir)
}

fn command(logweir: &Path, nodes: &str, dir: &Path) -> Result<Command> {
    let config = dir.join("logweir.toml");
    let control = dir.join("control.sock");
    let daemon =
        format!("[daemon]\ncontrol = \"{}\"\ngrace = \"2s\"\n\n{nodes}", control.display());
    fs::write(&config, daemon)?;
    let mut command = Command::new(logweir);
    command.args(["run", "-c"]).arg(config);
    Ok(command)
}
