//! A program whose standard output is read.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::wait::{Waited, wait};
use crate::sys::process::{Confine, as_child};
use crate::wake::Bell;

/// The most of a program's standard error that is kept.
const STDERR_MAX: u64 = 4096;

/// A program that runs; ended when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    output: File,
}

/// What came of waiting for output.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// So many bytes.
    Bytes(usize),
    /// The bell rang.
    Rang,
    /// The time is over.
    TimedOut,
    /// The program closed its output.
    Ended,
}

impl Program {
    /// Starts it.
    ///
    /// # Errors
    /// The system's, as when there is no such program.
    pub fn start(mut command: Command) -> io::Result<Self> {
        as_child(&mut command, Confine::default());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().map(OwnedFd::from).map(File::from);
        let output = output.ok_or_else(|| io::Error::other("it has no output"))?;
        Ok(Self { child, output })
    }

    /// Waits for output, for the bell, or for this time.
    ///
    /// # Errors
    /// The system's.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        bell: &Bell,
        longest: Option<Duration>,
    ) -> io::Result<Output> {
        match wait(self.output.as_fd(), bell, longest) {
            Waited::Stopped => return Ok(Output::Rang),
            Waited::TimedOut => return Ok(Output::TimedOut),
            Waited::Ready => {}
        }
        match self.output.read(buffer) {
            Ok(0) => Ok(Output::Ended),
            Ok(count) => Ok(Output::Bytes(count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Output::TimedOut),
            Err(error) => Err(error),
        }
    }

    /// Waits for its end, and says how it ended, with what it wrote to standard error.
    pub fn end(mut self) -> String {
        let mut said = Vec::new();
        if let Some(stderr) = self.child.stderr.take() {
            // What cannot be read is not known.
            let _ = stderr.take(STDERR_MAX).read_to_end(&mut said);
        }
        let status = self.child.wait();
        let said = String::from_utf8_lossy(&said);
        let said = said.lines().next().unwrap_or_default();
        match status {
            Ok(status) if said.is_empty() => format!("ended ({status})"),
            Ok(_) => said.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It fails where the program has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Program::start(command).unwrap()
    }

    #[test]
    fn output_comes_then_the_end_with_the_reason() {
        let mut program = shell("printf abc; echo no such thing >&2; exit 3");
        let (bell, mut buffer) = (Bell::new().unwrap(), [0; 16]);
        assert_eq!(program.read(&mut buffer, &bell, None).unwrap(), Output::Bytes(3));
        assert_eq!(program.read(&mut buffer, &bell, None).unwrap(), Output::Ended);
        assert_eq!(program.end(), "no such thing");
        let mut program = shell("exec sleep 1000");
        bell.ring();
        assert_eq!(program.read(&mut buffer, &bell, None).unwrap(), Output::Rang);
    }
}
