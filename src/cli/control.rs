//! How `top`, `tap` and `ctl` find the daemon: by `--control`, else by the key of that name in the
//! configuration, even a broken one, else at the default path.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config;
use crate::driver::control::{Request, ask};
use crate::engine::status::Status;

/// The daemon's location; for `ctl`, before or after its command
#[derive(Debug, clap::Args)]
pub struct Daemon {
    /// The daemon's control socket
    #[arg(long, global = true, value_name = "SOCK")]
    control: Option<PathBuf>,
    /// The daemon's configuration, which names its control socket
    #[arg(short, long, global = true, value_name = "FILE", default_value = super::DEFAULT_CONFIG)]
    config: PathBuf,
}

impl Daemon {
    /// Sends a request to the daemon.
    ///
    /// # Errors
    /// That the daemon is not found, or its refusal.
    pub fn ask(&self, request: Request) -> anyhow::Result<Value> {
        ask(&self.path(), request).map_err(anyhow::Error::msg)
    }

    /// The path of its control socket. The configuration may be missing or broken: the daemon may
    /// still run with the previous one.
    pub fn path(&self) -> PathBuf {
        if let Some(path) = &self.control {
            return path.clone();
        }
        let bytes = config::read_bytes(&self.config, "").unwrap_or_default();
        config::control_socket(&String::from_utf8_lossy(&bytes))
    }

    /// The state of every node.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn status(&self) -> anyhow::Result<Status> {
        status_at(&self.path()).map_err(anyhow::Error::msg)
    }
}

/// The state of every node of the daemon with this control socket.
///
/// # Errors
/// A sentence for the user: that no daemon answers, or that its answer is invalid.
pub fn status_at(path: &Path) -> Result<Status, String> {
    let value = ask(path, Request::Status)?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}
