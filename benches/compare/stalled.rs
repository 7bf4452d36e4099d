//! The two children of the stalled case: one that never reads, one that does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program::Place;

/// The scripts; some peers take no more than the name of a program.
pub(crate) struct Children {
    pub(crate) sleeping: PathBuf,
    pub(crate) reading: PathBuf,
}

/// Writes the scripts to the run's folder.
pub(crate) fn children(place: &Place<'_>) -> Result<Children> {
    let sleeping = place.dir.join("sleeping");
    let reading = place.dir.join("reading");
    script(&sleeping, &format!("{}\n", sleeper(place.dir)))?;
    script(&reading, &format!("exec cat > '{}'\n", place.output().display()))?;
    Ok(Children { sleeping, reading })
}

/// A command that never reads.
pub(crate) fn sleeper(dir: &Path) -> String {
    format!("echo $$ > '{}'; exec sleep 1000", pid_file(dir).display())
}

/// Ends a sleeper that its daemon left behind.
pub(crate) fn clean_up(dir: &Path) {
    let Ok(text) = fs::read_to_string(pid_file(dir)) else { return };
    let Ok(pid) = text.trim().parse::<i32>() else { return };
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.trim() == "sleep" {
        // It may have ended since; then there is nothing to do.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn pid_file(dir: &Path) -> PathBuf {
    dir.join("sleeping.pid")
}

fn script(file: &Path, body: &str) -> Result<()> {
    fs::write(file, format!("#!/bin/sh\n{body}"))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
