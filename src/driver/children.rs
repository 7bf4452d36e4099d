//! Child processes: starting them, their pipes, and reaping them.

mod own_pipes;
mod pipes;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use mio::unix::pipe;
use mio::{Interest, Registry, Token};
use nix::pty::openpty;
use nix::sys::signal::{Signal, killpg};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::users::Users;
use crate::batch::Batch;
use crate::clock::Mono;
use crate::engine::{Engine, Event};
use crate::ids::{LaneId, NodeId};
use crate::input::lines::LineBuffer;
use crate::limits;
use crate::sys::process::as_child;

use own_pipes::OwnPipes;
use pipes::{Stdins, enlarge, note_unread, pipe_holds, reader_of};

/// The child's pipe that a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipe {
    /// Its stdin is writable or was closed.
    In,
    /// Its stdout is readable.
    Out,
    /// Its stderr is readable.
    Err,
}

/// All running children.
#[derive(Debug, Default)]
pub struct Children {
    running: HashMap<LaneId, Running>,
    /// The loop's tokens for children's pipes.
    pub tokens: HashMap<Token, (LaneId, Pipe)>,
    next_token: usize,
    /// Children that had more output to read when their turn was over.
    pub again: Vec<(LaneId, Pipe)>,
    chunk: Vec<u8>,
    /// The users that children run as.
    pub(super) users: Users,
    /// Children that lines wait for.
    ready: Vec<LaneId>,
    /// Children whose pipes have room again, and when the first of them is written to.
    roomy: Vec<LaneId>,
    unblocked_at: Option<Mono>,
    /// Pipes that hold what several children get.
    own: OwnPipes,
}

#[derive(Debug)]
struct Running {
    child: std::process::Child,
    group: Pid,
    name: Arc<str>,
    stdin: Option<pipe::Sender>,
    /// A read end of its stdin, kept once ours is closed, so that what it leaves unread can be
    /// counted when it has ended.
    unread: Option<File>,
    stdout: Option<Output>,
    stderr: Output,
    tokens: Vec<Token>,
    limit: StderrLimit,
}

/// A pipe from a child, and an incomplete line read from it.
#[derive(Debug)]
struct Output {
    pipe: Option<Box<dyn ReadPipe>>,
    lines: LineBuffer,
    /// True if its lines enter the flow; false if they are only logged.
    stream: bool,
}

trait ReadPipe: Read + std::fmt::Debug {}
impl ReadPipe for pipe::Receiver {}

/// Limits how many stderr lines are logged per second.
#[derive(Debug, Default)]
struct StderrLimit {
    second: u64,
    lines: u32,
    suppressed: u64,
}

/// What tells Python to print each line at once.
const PYTHON_UNBUFFERED: &str = "PYTHONUNBUFFERED";

/// A terminal that changes nothing that is printed to it: our side and the child's.
fn raw_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let pty = openpty(None, None)?;
    let mut settings = tcgetattr(&pty.slave)?;
    cfmakeraw(&mut settings);
    tcsetattr(&pty.slave, SetArg::TCSANOW, &settings)?;
    Ok((pty.master, pty.slave))
}

impl Children {
    /// No children; their tokens count from `first_token`.
    pub fn new(first_token: usize) -> Self {
        let chunk = vec![0; limits::READ_CHUNK];
        Self { next_token: first_token, chunk, ..Self::default() }
    }

    /// Starts a child.
    pub fn start(&mut self, lane: LaneId, engine: &mut Engine, registry: &Registry, now: Mono) {
        match self.try_start(lane, engine, registry) {
            Ok((pid, pipe)) => engine.handle(Event::Started { lane, pid, pipe }, now),
            Err(error) => {
                engine.handle(Event::StartFailed { lane, error: error.to_string() }, now);
            }
        }
    }

    /// Starts a child. Returns its process id and the size of its pipe.
    fn try_start(
        &mut self,
        lane: LaneId,
        engine: &Engine,
        registry: &Registry,
    ) -> io::Result<(u32, Option<u64>)> {
        let name = engine.name_of(lane.node);
        let prints = engine.prints(lane);
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(engine.command_of(lane));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let screen = match engine.is_unbuffered(lane) {
            true => {
                let (screen, terminal) = raw_terminal()?;
                command.stdout(terminal);
                Some(screen)
            }
            false => None,
        };
        if std::env::var_os(PYTHON_UNBUFFERED).is_none() {
            command.env(PYTHON_UNBUFFERED, "1");
        }
        // The service manager's variables are for the daemon alone.
        for name in ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"] {
            command.env_remove(name);
        }
        as_child(&mut command, self.users.confine(&engine.confinement(lane))?);
        let mut child = command.spawn()?;
        // It holds the terminal; the last one who does so ends what is read.
        drop(command);
        let pid = child.id();
        let group = Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX));
        let stdout = screen.map(ChildStdout::from).or_else(|| child.stdout.take());
        let taken = (child.stdin.take(), stdout, child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = taken else {
            return Err(ErrorKind::BrokenPipe.into());
        };
        let size = enlarge(&stdin);
        if let Some(size) = size.filter(|size| *size < limits::PIPE_BUFFER as u64) {
            log::info!(
                "{name}: the pipe to its process holds {size} bytes; the system allows no more \
                 (fs.pipe-max-size, fs.pipe-user-pages-soft)"
            );
        }
        let mut stdin = pipe::Sender::from(stdin);
        let mut stdout = pipe::Receiver::from(stdout);
        let mut stderr = pipe::Receiver::from(stderr);
        stdin.set_nonblocking(true)?;
        stdout.set_nonblocking(true)?;
        stderr.set_nonblocking(true)?;
        let tokens = vec![
            self.token(lane, Pipe::In),
            self.token(lane, Pipe::Out),
            self.token(lane, Pipe::Err),
        ];
        registry.register(&mut stdin, tokens[0], Interest::WRITABLE)?;
        registry.register(&mut stdout, tokens[1], Interest::READABLE)?;
        registry.register(&mut stderr, tokens[2], Interest::READABLE)?;
        let output = |pipe: pipe::Receiver, max_line: Option<usize>| Output {
            pipe: Some(Box::new(pipe)),
            lines: LineBuffer::new(max_line.unwrap_or(limits::STDERR_LINE_MAX)),
            stream: max_line.is_some(),
        };
        let running = Running {
            child,
            group,
            name,
            stdin: Some(stdin),
            unread: None,
            stdout: Some(output(stdout, prints)),
            stderr: output(stderr, None),
            tokens,
            limit: StderrLimit::default(),
        };
        self.running.insert(lane, running);
        Ok((pid, size))
    }

    fn token(&mut self, lane: LaneId, pipe: Pipe) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.tokens.insert(token, (lane, pipe));
        token
    }

    /// Notes that lines wait for a child, to be written by the next [`Self::write`].
    pub fn is_ready(&mut self, lane: LaneId) {
        self.ready.push(lane);
    }

    /// Notes that a child's pipe has room. It is written to a moment later, when there is more room
    /// and others have some too, so that they can share what they get.
    pub fn has_room(&mut self, lane: LaneId, now: Mono) {
        self.roomy.push(lane);
        self.unblocked_at.get_or_insert(now + limits::PIPE_REST);
    }

    /// When children with room are to be written to.
    pub fn deadline(&self) -> Option<Mono> {
        self.unblocked_at
    }

    /// Has children with room written to, once it is time.
    pub fn unblock(&mut self, engine: &mut Engine, now: Mono) {
        if self.unblocked_at.is_some_and(|at| at <= now) {
            self.unblocked_at = None;
            self.roomy.drain(..).for_each(|lane| engine.writable(lane));
        }
    }

    /// Writes what waits to the children that are ready. Returns whether there were any.
    pub fn write(&mut self, engine: &mut Engine, now: Mono) -> bool {
        let any = !self.ready.is_empty();
        let (running, own) = (&mut self.running, &mut self.own);
        let mut pipes = Stdins { running, own, retries: &mut self.roomy };
        engine.write_children(&mut self.ready, &mut pipes, now);
        if !self.roomy.is_empty() {
            self.unblocked_at.get_or_insert(now + limits::PIPE_REST);
        }
        any
    }

    /// Reads a child's stdout or stderr, at most one turn's worth.
    pub fn read(&mut self, lane: LaneId, pipe: Pipe, engine: &mut Engine, now: Mono) {
        let Some(running) = self.running.get_mut(&lane) else { return };
        if pipe == Pipe::Out && engine.is_paused(lane.node) {
            return;
        }
        if !running.read(lane, pipe, limits::TURN, &mut self.chunk, engine, now) {
            self.again.push((lane, pipe));
        }
    }

    /// Resumes reading the output of a node's children.
    pub fn resume(&mut self, node: NodeId) {
        let lanes = self.running.keys().copied().filter(|lane| lane.node == node);
        self.again.extend(lanes.map(|lane| (lane, Pipe::Out)));
    }

    /// Closes a child's stdin; what it has not read can still be counted.
    pub fn close_stdin(&mut self, lane: LaneId) {
        let Some(running) = self.running.get_mut(&lane) else { return };
        if let Some(stdin) = running.stdin.take() {
            running.unread = reader_of(&stdin).ok();
        }
    }

    /// Sends a signal to a child's process group. The child has not been reaped, so the group id is
    /// still its own.
    pub fn signal(&mut self, lane: LaneId, signal: Signal) {
        if let Some(running) = self.running.get(&lane) {
            // The group may have just ended; its exit is then about to be reported.
            let _ = killpg(running.group, signal);
        }
    }

    /// Reaps children that have ended after a SIGCHLD, without waiting.
    pub fn reap(&mut self, engine: &mut Engine, now: Mono) {
        let ended: Vec<LaneId> = self
            .running
            .iter()
            .filter(|(_, running)| running.has_ended())
            .map(|at| *at.0)
            .collect();
        for lane in ended {
            let Some(mut running) = self.running.remove(&lane) else { continue };
            // The rest of its group is killed while the group id is still its own.
            let _ = killpg(running.group, Signal::SIGKILL);
            running.read(lane, Pipe::Out, usize::MAX, &mut self.chunk, engine, now);
            running.read(lane, Pipe::Err, usize::MAX, &mut self.chunk, engine, now);
            running.end_outputs(lane, engine, now);
            let how = match running.child.wait() {
                Ok(status) => in_words(status),
                Err(error) => format!("ended; its exit status is unknown: {error}"),
            };
            let unread = match (&running.unread, &running.stdin) {
                (Some(reader), _) => pipe_holds(reader),
                (None, Some(stdin)) => pipe_holds(stdin),
                (None, None) => 0,
            };
            self.tokens.retain(|token, _| !running.tokens.contains(token));
            self.again.retain(|(other, _)| *other != lane);
            engine.handle(Event::Exited { lane, how, unread }, now);
        }
    }

    /// Notes how much children have read of what was written to them.
    pub fn look_at_pipes(&mut self, engine: &mut Engine) {
        let (running, own) = (&mut self.running, &mut self.own);
        let mut pipes = Stdins { running, own, retries: &mut self.roomy };
        engine.rest_pieces(&mut pipes);
        for lane in engine.with_unread() {
            if let Some(running) = self.running.get(&lane) {
                running.note_read(lane, engine);
            }
        }
    }

    /// Returns whether there are no children.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

impl Running {
    fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.group), flags), Ok(WaitStatus::StillAlive))
    }

    /// Reads at most `turns` pieces. Returns whether everything available was read.
    fn read(
        &mut self,
        lane: LaneId,
        pipe: Pipe,
        turns: usize,
        chunk: &mut [u8],
        engine: &mut Engine,
        now: Mono,
    ) -> bool {
        for _ in 0..turns {
            let output = match pipe {
                Pipe::Err => &mut self.stderr,
                _ => match &mut self.stdout {
                    Some(output) => output,
                    None => return true,
                },
            };
            let Some(source) = &mut output.pipe else { return true };
            match source.read(chunk) {
                Ok(0) => {
                    output.pipe = None;
                    return true;
                }
                Ok(count) => {
                    let piece = output.lines.push(&chunk[..count]);
                    if pipe == Pipe::Out {
                        self.note_read(lane, engine);
                    }
                    self.take(lane, pipe, piece, engine, now);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // A terminal that nobody has open any more.
                    if error.raw_os_error() == Some(libc::EIO) {
                        output.pipe = None;
                    }
                    return true;
                }
            }
        }
        false
    }

    /// What a child has printed it has read before: so the ledger never says that it printed more
    /// than it read.
    fn note_read(&self, lane: LaneId, engine: &mut Engine) {
        match (&self.stdin, &self.unread) {
            (Some(stdin), _) => note_unread(lane, stdin, engine),
            (None, Some(reader)) => note_unread(lane, reader, engine),
            (None, None) => {}
        }
    }

    /// Passes printed lines into the flow, or stderr lines into the log.
    fn take(
        &mut self,
        lane: LaneId,
        pipe: Pipe,
        piece: Option<(bytes::Bytes, u32)>,
        engine: &mut Engine,
        now: Mono,
    ) {
        let output = match (pipe, &mut self.stdout) {
            (Pipe::Out, Some(output)) => output,
            _ => &mut self.stderr,
        };
        let counts = std::mem::take(&mut output.lines.counts);
        if !output.stream {
            if let Some((bytes, lines)) = piece {
                let body = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                engine.keep_stderr(lane.node, body.split(|&byte| byte == b'\n'), now);
                self.log(body, lines, now);
            }
            return;
        }
        if piece.is_some() || counts.oversize > 0 {
            let (bytes, lines) = piece.unwrap_or_default();
            let (input, received) = (Arc::clone(&self.name), SystemTime::now());
            let batch = Batch::new(bytes, lines, input, received);
            engine.handle(Event::Printed { lane, batch, counts }, now);
        }
    }

    /// Both pipes have ended with the child: a last line without a newline counts as a line.
    fn end_outputs(&mut self, lane: LaneId, engine: &mut Engine, now: Mono) {
        let last = self.stdout.as_mut().and_then(|output| output.lines.end());
        self.take(lane, Pipe::Out, last, engine, now);
        let last = self.stderr.lines.end();
        self.take(lane, Pipe::Err, last, engine, now);
        if self.limit.suppressed > 0 {
            log::warn!(
                "{}: {} more lines on stderr were not logged",
                self.name,
                self.limit.suppressed
            );
        }
    }

    fn log(&mut self, body: &[u8], lines: u32, now: Mono) {
        let second = now.0.as_secs();
        if second != self.limit.second {
            if self.limit.suppressed > 0 {
                let suppressed = self.limit.suppressed;
                log::warn!("{}: {suppressed} more lines on stderr were not logged", self.name);
            }
            self.limit = StderrLimit { second, ..StderrLimit::default() };
        }
        let left = limits::STDERR_LINES_PER_SECOND.saturating_sub(self.limit.lines);
        for line in body.split(|&byte| byte == b'\n').take(left as usize) {
            log::warn!("{}: stderr: {}", self.name, String::from_utf8_lossy(line).escape_debug());
        }
        self.limit.lines += lines.min(left);
        self.limit.suppressed += u64::from(lines.saturating_sub(left));
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(127), _) => "exited with 127 (command not found?)".into(),
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(number)) => {
            let name = Signal::try_from(number).map_or("an unknown signal", Signal::as_str);
            format!("was ended by {name}")
        }
        (None, None) => "ended".into(),
    }
}
