//! The other end of the control socket: how `top`, `tap` and `ctl` ask a daemon.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::protocol::{Answer, Request, VERSION};

/// How long a daemon may leave a request unanswered.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks a daemon by its control socket.
///
/// # Errors
/// A sentence for the user: that no daemon answers, or the daemon's refusal.
pub fn ask(path: &Path, request: Request) -> Result<Value, String> {
    talk(path, &request).map(|(_, value)| value)
}

/// Asks a daemon for a tap; the connection on which the lines come.
///
/// # Errors
/// As [`ask`].
pub fn open(path: &Path, request: &Request) -> Result<BufReader<UnixStream>, String> {
    talk(path, request).map(|(stream, _)| stream)
}

fn talk(path: &Path, request: &Request) -> Result<(BufReader<UnixStream>, Value), String> {
    let at = path.display();
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("{at}: {error} (the socket is for its owner and its group: see ls -l {at})")
        }
        _ => format!("no daemon answers at {at}: {error} (another socket is named with --control)"),
    })?;
    let say = |stream: &mut UnixStream| -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        match stream.write_all(&request.line()?) {
            // One that is sent away is told why all the same.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    };
    say(&mut stream).map_err(|error| format!("{at}: {error}"))?;
    let mut stream = BufReader::new(stream);
    let mut text = String::new();
    let read = stream.read_line(&mut text).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => format!("{at}: the daemon has not answered in {PATIENCE:?}"),
        _ => format!("{at}: {error}"),
    })?;
    if read == 0 {
        return Err(format!("{at}: the daemon has ended the connection without an answer"));
    }
    let answer: Answer = serde_json::from_str(&text)
        .map_err(|error| format!("{at}: the daemon's answer is not understood: {error}"))?;
    match answer {
        Answer { error: Some(error), .. } => Err(error),
        Answer { version, .. } if version != VERSION => {
            Err(format!("{at}: the daemon speaks version {version}, this program {VERSION}"))
        }
        Answer { ok, .. } => Ok((stream, ok.unwrap_or(Value::Null))),
    }
}
