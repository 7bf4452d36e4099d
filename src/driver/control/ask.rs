//! The client's end of the control socket, used by `top`, `tap` and `ctl`.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::protocol::{Answer, Request, VERSION};

/// How long to wait for a daemon's answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a request to a daemon and returns its answer.
///
/// # Errors
/// A sentence for the user: no daemon answers, or the daemon refused.
pub fn ask(path: &Path, request: Request) -> Result<Value, String> {
    talk(path, &request).map(|(_, value)| value)
}

/// Opens a tap; returns the connection on which the lines arrive.
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
            format!("{at}: {error} (only the socket's owner and group may connect: see ls -l {at})")
        }
        _ => format!("no daemon answers at {at}: {error} (another socket is named with --control)"),
    })?;
    let say = |stream: &mut UnixStream| -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        match stream.write_all(&request.line()?) {
            // A client that is refused still gets to read the reason.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    };
    say(&mut stream).map_err(|error| format!("{at}: {error}"))?;
    let mut stream = BufReader::new(stream);
    let mut text = String::new();
    let read = stream.read_line(&mut text).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => format!("{at}: the daemon has not answered within {PATIENCE:?}"),
        _ => format!("{at}: {error}"),
    })?;
    if read == 0 {
        return Err(format!("{at}: the daemon closed the connection without an answer"));
    }
    let answer: Answer = serde_json::from_str(&text)
        .map_err(|error| format!("{at}: cannot parse the daemon's answer: {error}"))?;
    match answer {
        Answer { error: Some(error), .. } => Err(error),
        Answer { version, .. } if version != VERSION => {
            Err(format!("{at}: the daemon speaks version {version}, this program {VERSION}"))
        }
        Answer { ok, .. } => Ok((stream, ok.unwrap_or(Value::Null))),
    }
}
