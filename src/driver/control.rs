//! The control socket: one JSON value a line, both ways.
//!
//! A request is `{"command": "status"}`; the answer is `{"version": 1, "ok": …}` or
//! `{"version": 1, "error": "…"}`. A client has one request under way at a time; what it
//! sends meanwhile waits in its socket, and what it does not read waits in ours, so that a
//! client that stops reading harms nobody.
//!
//! `{"command": "tap", "node": "…", "match": "…"}` is answered in the same way, and from then on by
//! pieces of what leaves the node: a head `{"lines": N, "bytes": N, "lost": N}` and so many bytes
//! of lines. The client can say no more; when it hangs up the tap is closed.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::Batch;
use crate::engine::tap::Tapped;
use crate::limits::{CONTROL_CLIENTS_MOST, CONTROL_REQUEST_MOST};

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// How long a daemon may leave a request unanswered.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a client with a tap is told that asks for something else.
const ONLY_TAP: &str = "a connection with a tap is good for nothing else";

/// What a client may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Request {
    /// The state of every node.
    Status,
    /// Read the configuration again.
    Reload,
    /// Open all files again by name.
    Rotate,
    /// Copy what leaves a node.
    Tap {
        /// Its name.
        node: String,
        /// Only lines that this regex finds something in.
        #[serde(rename = "match", skip_serializing_if = "Option::is_none", default)]
        matches: Option<String>,
    },
}

/// What is before each piece of lines of a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapHead {
    /// How many lines follow.
    pub lines: u64,
    /// How many bytes.
    pub bytes: usize,
    /// How many lines the tap has lost since it was opened.
    pub lost: u64,
}

/// What it is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// [`VERSION`].
    pub version: u32,
    /// What was asked for; `null` where there is nothing to say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ok: Option<Value>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// The daemon's end.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    listener: UnixListener,
    listening: Token,
    clients: HashMap<Token, Client>,
    next_token: usize,
    last_token: usize,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    /// Whether it gets what leaves a node.
    taps: bool,
}

impl Control {
    /// Makes the socket, mode 0660. Its tokens are from `first_token` up to `last_token`.
    ///
    /// # Errors
    /// The system's, or that another daemon answers there.
    pub fn open(
        path: &Path,
        registry: &Registry,
        first_token: usize,
        last_token: usize,
    ) -> io::Result<Self> {
        if path.symlink_metadata().is_ok_and(|data| data.file_type().is_socket()) {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::other("another daemon answers there"));
            }
            fs::remove_file(path)?;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        let listening = Token(first_token);
        registry.register(&mut listener, listening, Interest::READABLE)?;
        Ok(Self {
            path: path.to_path_buf(),
            listener,
            listening,
            clients: HashMap::new(),
            next_token: first_token + 1,
            last_token,
        })
    }

    /// Serves whoever is ready; `answer` carries out a request of the client of this number. The
    /// number of a client that had a tap and is gone.
    pub fn ready(
        &mut self,
        token: Token,
        registry: &Registry,
        mut answer: impl FnMut(u64, Request) -> Result<Value, String>,
    ) -> Option<u64> {
        if token == self.listening {
            self.accept(registry);
            return None;
        }
        let client = self.clients.get_mut(&token)?;
        let done = client.serve(&mut |request| answer(token.0 as u64, request));
        self.let_go_of_lost(token, done)
    }

    fn let_go_of_lost(&mut self, token: Token, done: io::Result<()>) -> Option<u64> {
        let Err(error) = done else { return None };
        if error.kind() != ErrorKind::UnexpectedEof {
            log::debug!("control: {error}");
        }
        let client = self.clients.remove(&token)?;
        client.taps.then_some(token.0 as u64)
    }

    /// Gives clients with a tap what `take` has for their number, as far as they have read what
    /// was before; the numbers of those that are gone.
    pub fn pour(&mut self, mut take: impl FnMut(u64) -> Option<Tapped>) -> Vec<u64> {
        let mut gone = Vec::new();
        let tapping = self.clients.iter().filter(|(_, client)| client.taps).map(|(at, _)| *at);
        for token in tapping.collect::<Vec<_>>() {
            let Some(client) = self.clients.get_mut(&token) else { continue };
            if !client.answer.is_empty() {
                continue;
            }
            let Some(tapped) = take(token.0 as u64) else { continue };
            if tapped.batches.is_empty() {
                continue;
            }
            client.pour(&tapped);
            let done = client.serve(&mut |_| Err(ONLY_TAP.into()));
            gone.extend(self.let_go_of_lost(token, done));
        }
        gone
    }

    /// Whether anybody has a tap.
    pub fn has_taps(&self) -> bool {
        self.clients.values().any(|client| client.taps)
    }

    fn accept(&mut self, registry: &Registry) {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    log::warn!("control: a client cannot be taken: {error}");
                    return;
                }
            };
            if self.clients.len() >= CONTROL_CLIENTS_MOST || self.next_token >= self.last_token {
                let refusal = Answer::refused("too many clients".into()).line();
                // Best effort: the client is sent away either way.
                let _ = stream.write(&refusal);
                continue;
            }
            let token = Token(self.next_token);
            self.next_token += 1;
            let both = Interest::READABLE | Interest::WRITABLE;
            if registry.register(&mut stream, token, both).is_ok() {
                let (request, answer) = (Vec::new(), Vec::new());
                let client = Client { stream, request, answer, taps: false };
                self.clients.insert(token, client);
            }
        }
    }

    /// Removes the socket.
    pub fn close(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::debug!("{}: {error}", self.path.display());
        }
    }
}

impl Client {
    /// Puts lines behind what is to be written.
    fn pour(&mut self, tapped: &Tapped) {
        let count = |of: fn(&Batch) -> u64| tapped.batches.iter().map(of).sum::<u64>();
        let bytes = count(|batch| batch.bytes.len() as u64);
        let head = TapHead {
            lines: count(|batch| u64::from(batch.lines)),
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            lost: tapped.lost,
        };
        self.answer.extend(serde_json::to_vec(&head).unwrap_or_default());
        self.answer.push(b'\n');
        for batch in &tapped.batches {
            self.answer.extend_from_slice(&batch.bytes);
        }
    }

    /// Goes on as far as the client lets us.
    fn serve(
        &mut self,
        carry_out: &mut impl FnMut(Request) -> Result<Value, String>,
    ) -> io::Result<()> {
        loop {
            while !self.answer.is_empty() {
                match self.stream.write(&self.answer) {
                    Ok(count) => drop(self.answer.drain(..count)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            // A tap's answers are large; their room is not kept.
            self.answer.shrink_to(CONTROL_REQUEST_MOST);
            if let Some(end) = memchr::memchr(b'\n', &self.request) {
                let line: Vec<u8> = self.request.drain(..=end).collect();
                let answer = Answer::to(&line, carry_out);
                let is_tap = matches!(serde_json::from_slice(&line), Ok(Request::Tap { .. }));
                self.taps |= is_tap && answer.error.is_none();
                self.answer = answer.line();
                continue;
            }
            if self.request.len() > CONTROL_REQUEST_MOST {
                let said = format!("a request is a line of at most {CONTROL_REQUEST_MOST} bytes");
                // Best effort: the client is sent away either way.
                let _ = self.stream.write(&Answer::refused(said).line());
                return Err(ErrorKind::InvalidData.into());
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.request.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Answer {
    fn to(line: &[u8], carry_out: &mut impl FnMut(Request) -> Result<Value, String>) -> Self {
        match serde_json::from_slice(line) {
            Ok(request) => match carry_out(request) {
                Ok(value) => Self { version: VERSION, ok: Some(value), error: None },
                Err(error) => Self::refused(error),
            },
            Err(error) => Self::refused(format!(
                "not a request of version {VERSION} ({error}); there are \
                 {{\"command\": \"status\"}}, \"reload\", \"rotate\" and \"tap\""
            )),
        }
    }

    fn refused(error: String) -> Self {
        Self { version: VERSION, ok: None, error: Some(error) }
    }

    fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

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
pub fn open(path: &Path, request: &Request) -> Result<BufReader<StdStream>, String> {
    talk(path, request).map(|(stream, _)| stream)
}

fn talk(path: &Path, request: &Request) -> Result<(BufReader<StdStream>, Value), String> {
    let at = path.display();
    let mut stream = StdStream::connect(path).map_err(|error| {
        format!("no daemon answers at {at}: {error} (another socket is named with --control)")
    })?;
    let say = |stream: &mut StdStream| -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line)
    };
    say(&mut stream).map_err(|error| format!("{at}: {error}"))?;
    let mut stream = BufReader::new(stream);
    let mut text = String::new();
    stream.read_line(&mut text).map_err(|error| format!("{at}: {error}"))?;
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
