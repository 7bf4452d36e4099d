//! Passwords and tokens, read anew for each connection: from a file, or from what a command prints.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::sasl::{Credentials, Mechanism};
use crate::ids::Identity;
use crate::limits::SECRET_COMMAND;
use crate::net::secret::{first_line, read};

/// Who we are to a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaslPlan {
    /// How it is said.
    pub mechanism: Mechanism,
    /// The user; empty with a token.
    pub user: String,
    /// Where the password or the token is.
    pub secret: SecretPlan,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlan {
    /// The first line of this file.
    File(PathBuf),
    /// What this command prints on its first line.
    Command(String),
}

/// Reads the secret of a new connection.
///
/// # Errors
/// Why there is none.
pub(super) fn credentials(plan: &SaslPlan) -> Result<Credentials, String> {
    let secret = match &plan.secret {
        SecretPlan::File(path) => read(path)?,
        SecretPlan::Command(command) => run(command)?,
    };
    let (mechanism, user) = (plan.mechanism, plan.user.clone());
    Ok(Credentials { mechanism, user, secret, nonce: Identity::new().to_string() })
}

fn run(command: &str) -> Result<String, String> {
    let said = |error: &dyn std::fmt::Display| format!("the command of token: {error}");
    let mut child = Command::new("/bin/sh");
    child.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = child.spawn().map_err(|error| said(&error))?;
    let start = Instant::now();
    // A token fits into the pipe, so the command can end before it is read.
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if start.elapsed() < SECRET_COMMAND => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(None) => {
                // It is ours and still runs.
                let _ = child.kill();
                let _ = child.wait();
                return Err(said(&format!("took longer than {SECRET_COMMAND:?}")));
            }
            Err(error) => return Err(said(&error)),
        }
    };
    if !status.success() {
        return Err(said(&format!("failed ({status})")));
    }
    let Some(stdout) = child.stdout.take() else { return Err(said(&"prints nothing")) };
    first_line(stdout).map_err(|error| said(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_first_line_of_a_file_or_of_what_a_command_prints() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "s e cret\nmore\n").unwrap();
        assert_eq!(read(&path).unwrap(), "s e cret");
        std::fs::write(&path, "\n").unwrap();
        assert!(read(&path).unwrap_err().contains("first line"));
        assert_eq!(run("echo abc; echo def").unwrap(), "abc");
        assert!(run("echo abc; exit 3").unwrap_err().contains("exit status: 3"));
        assert!(run("true").unwrap_err().contains("empty"));
    }
}
