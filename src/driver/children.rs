//! Real children: starting them, their pipes, their end.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use mio::unix::pipe;
use mio::{Interest, Registry, Token};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, User, getgrouplist};

use crate::batch::Batch;
use crate::clock::Mono;
use crate::config::plan::ConfinePlan;
use crate::engine::{Engine, Event};
use crate::ids::ProcId;
use crate::input::lines::LineBuffer;
use crate::limits;
use crate::sys::pipe::unread;
use crate::sys::process::{Confine, as_child};

/// What a token of the loop means for a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipe {
    /// Its stdin has room or was closed.
    In,
    /// It printed.
    Out,
    /// It complained.
    Err,
}

/// All running children.
#[derive(Debug, Default)]
pub struct Children {
    running: HashMap<ProcId, Running>,
    /// The loop's tokens for children's pipes.
    pub tokens: HashMap<Token, (ProcId, Pipe)>,
    next_token: usize,
    /// Children with output left unread when their turn was over.
    pub again: Vec<(ProcId, Pipe)>,
    chunk: Vec<u8>,
}

#[derive(Debug)]
struct Running {
    child: std::process::Child,
    group: Pid,
    name: Arc<str>,
    stdin: Option<pipe::Sender>,
    /// The read end of its stdin, once ours is closed: so that what it leaves unread is still
    /// there when it has ended.
    unread: Option<File>,
    stdout: Option<Output>,
    stderr: Output,
    tokens: Vec<Token>,
    said: Said,
}

/// A pipe from a child, and the line that has no end yet.
#[derive(Debug)]
struct Output {
    pipe: Option<Box<dyn ReadPipe>>,
    lines: LineBuffer,
    /// Whether its lines are a stream, or only to be logged.
    stream: bool,
}

trait ReadPipe: Read + std::fmt::Debug {}
impl ReadPipe for pipe::Receiver {}

/// How many lines of its complaints were logged in this second.
#[derive(Debug, Default)]
struct Said {
    second: u64,
    lines: u32,
    unsaid: u64,
}

impl Children {
    /// Children whose tokens are counted from `first_token`.
    pub fn new(first_token: usize) -> Self {
        let chunk = vec![0; limits::READ_CHUNK];
        Self { next_token: first_token, chunk, ..Self::default() }
    }

    /// Starts a child.
    pub fn start(&mut self, proc: ProcId, engine: &mut Engine, registry: &Registry, now: Mono) {
        match self.try_start(proc, engine, registry) {
            Ok(pid) => engine.handle(Event::Started { proc, pid }, now),
            Err(error) => {
                engine.handle(Event::StartFailed { proc, error: error.to_string() }, now);
            }
        }
    }

    fn try_start(&mut self, proc: ProcId, engine: &Engine, registry: &Registry) -> io::Result<u32> {
        let name = engine.name_of(engine.node_of(proc));
        let prints = engine.prints(proc);
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(engine.command_of(proc));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What the service manager says is for the daemon alone.
        for name in ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"] {
            command.env_remove(name);
        }
        as_child(&mut command, confine(engine.confined(proc))?);
        let mut child = command.spawn()?;
        let pid = child.id();
        let group = Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX));
        let taken = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = taken else {
            return Err(ErrorKind::BrokenPipe.into());
        };
        // Larger pipes mean fewer wake-ups; the kernel may refuse, and then it works as well.
        let wanted = i32::try_from(limits::PIPE_BUFFER).unwrap_or(i32::MAX);
        let _ = fcntl(&stdin, FcntlArg::F_SETPIPE_SZ(wanted));
        let mut stdin = pipe::Sender::from(stdin);
        let mut stdout = pipe::Receiver::from(stdout);
        let mut stderr = pipe::Receiver::from(stderr);
        stdin.set_nonblocking(true)?;
        stdout.set_nonblocking(true)?;
        stderr.set_nonblocking(true)?;
        let tokens = vec![
            self.token(proc, Pipe::In),
            self.token(proc, Pipe::Out),
            self.token(proc, Pipe::Err),
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
            said: Said::default(),
        };
        self.running.insert(proc, running);
        Ok(pid)
    }

    fn token(&mut self, proc: ProcId, pipe: Pipe) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.tokens.insert(token, (proc, pipe));
        token
    }

    /// Writes what waits for a child until it is all gone or the pipe is full.
    pub fn write(&mut self, proc: ProcId, engine: &mut Engine, now: Mono) {
        if !engine.take_up(proc) {
            return;
        }
        let Some(running) = self.running.get_mut(&proc) else { return };
        let Some(stdin) = &mut running.stdin else { return };
        loop {
            let mut slices = [IoSlice::new(&[]); limits::SLICES_MOST];
            let count = engine.slices(proc, &mut slices);
            if count == 0 {
                return;
            }
            match stdin.write_vectored(&slices[..count]) {
                Ok(bytes) => {
                    engine.wrote(proc, bytes);
                    tell_unread(proc, &*stdin, engine);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    engine.write_blocked(proc);
                    return;
                }
                Err(_) => {
                    // EPIPE: nobody reads any more. What is in the pipe is still there.
                    let unread = pipe_holds(&*stdin);
                    engine.handle(Event::StdinClosed { proc, unread }, now);
                    return;
                }
            }
        }
    }

    /// Reads what a child printed or complained, at most a turn's worth.
    pub fn read(&mut self, proc: ProcId, pipe: Pipe, engine: &mut Engine, now: Mono) {
        let Some(running) = self.running.get_mut(&proc) else { return };
        if pipe == Pipe::Out && engine.is_paused(engine.node_of(proc)) {
            return;
        }
        if !running.read(proc, pipe, limits::TURN, &mut self.chunk, engine, now) {
            self.again.push((proc, pipe));
        }
    }

    /// What a filter prints is wanted again.
    pub fn resume(&mut self, wanted: impl Fn(ProcId) -> bool) {
        let procs = self.running.keys().copied().filter(|proc| wanted(*proc));
        self.again.extend(procs.map(|proc| (proc, Pipe::Out)));
    }

    /// Closes a child's stdin, keeping what it has not read yet in reach.
    pub fn close_stdin(&mut self, proc: ProcId) {
        let Some(running) = self.running.get_mut(&proc) else { return };
        if let Some(stdin) = running.stdin.take() {
            running.unread = reader_of(&stdin).ok();
        }
    }

    /// Sends a signal to a child's process group. The child was not reaped yet, so that the
    /// group's number is still its own.
    pub fn signal(&mut self, proc: ProcId, signal: Signal) {
        if let Some(running) = self.running.get(&proc) {
            // The group may have ended just now; its end is on the way to us.
            let _ = killpg(running.group, signal);
        }
    }

    /// Looks which children have ended, after a SIGCHLD, without waiting for any.
    pub fn reap(&mut self, engine: &mut Engine, now: Mono) {
        let ended: Vec<ProcId> = self
            .running
            .iter()
            .filter(|(_, running)| running.has_ended())
            .map(|at| *at.0)
            .collect();
        for proc in ended {
            let Some(mut running) = self.running.remove(&proc) else { continue };
            // Whoever is left of its group ends with it, while the number is still its own.
            let _ = killpg(running.group, Signal::SIGKILL);
            running.read(proc, Pipe::Out, usize::MAX, &mut self.chunk, engine, now);
            running.read(proc, Pipe::Err, usize::MAX, &mut self.chunk, engine, now);
            running.end_outputs(proc, engine, now);
            let how = match running.child.wait() {
                Ok(status) => in_words(status),
                Err(error) => format!("ended, how is not known: {error}"),
            };
            let unread = match (&running.unread, &running.stdin) {
                (Some(reader), _) => pipe_holds(reader),
                (None, Some(stdin)) => pipe_holds(stdin),
                (None, None) => 0,
            };
            self.tokens.retain(|token, _| !running.tokens.contains(token));
            self.again.retain(|(other, _)| *other != proc);
            engine.handle(Event::Exited { proc, how, unread }, now);
        }
    }

    /// Looks how much children have read of what was written to them.
    pub fn look_at_pipes(&self, engine: &mut Engine) {
        for proc in engine.with_unread() {
            let Some(running) = self.running.get(&proc) else { continue };
            match (&running.stdin, &running.unread) {
                (Some(stdin), _) => tell_unread(proc, stdin, engine),
                (None, Some(reader)) => tell_unread(proc, reader, engine),
                (None, None) => {}
            }
        }
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

impl Running {
    fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.group), flags), Ok(WaitStatus::StillAlive))
    }

    /// Reads at most `turns` pieces; whether it came to the end of what is there.
    fn read(
        &mut self,
        proc: ProcId,
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
                    self.take(proc, pipe, piece, engine, now);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        false
    }

    /// Takes lines that were printed: into the flow, or into the log.
    fn take(
        &mut self,
        proc: ProcId,
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
                engine.complained(proc, body.split(|&byte| byte == b'\n'), now);
                self.log(body, lines, now);
            }
            return;
        }
        if piece.is_some() || counts.oversize > 0 {
            let (bytes, lines) = piece.unwrap_or_default();
            let (input, received) = (Arc::clone(&self.name), SystemTime::now());
            let batch = Batch::new(bytes, lines, input, received);
            engine.handle(Event::Printed { proc, batch, counts }, now);
        }
    }

    /// Both pipes have ended with the child: a last line without a newline is a line.
    fn end_outputs(&mut self, proc: ProcId, engine: &mut Engine, now: Mono) {
        let last = self.stdout.as_mut().and_then(|output| output.lines.end());
        self.take(proc, Pipe::Out, last, engine, now);
        let last = self.stderr.lines.end();
        self.take(proc, Pipe::Err, last, engine, now);
        if self.said.unsaid > 0 {
            log::warn!("{}: {} more lines on stderr were not logged", self.name, self.said.unsaid);
        }
    }

    fn log(&mut self, body: &[u8], lines: u32, now: Mono) {
        let second = now.0.as_secs();
        if second != self.said.second {
            if self.said.unsaid > 0 {
                let unsaid = self.said.unsaid;
                log::warn!("{}: {unsaid} more lines on stderr were not logged", self.name);
            }
            self.said = Said { second, ..Said::default() };
        }
        let left = limits::STDERR_LINES_PER_SECOND.saturating_sub(self.said.lines);
        for line in body.split(|&byte| byte == b'\n').take(left as usize) {
            log::warn!("{}: stderr: {}", self.name, String::from_utf8_lossy(line).escape_debug());
        }
        self.said.lines += lines.min(left);
        self.said.unsaid += u64::from(lines.saturating_sub(left));
    }
}

/// A read end of the pipe whose write end is `stdin`, also where its reader is gone (proc(5),
/// /proc/pid/fd: opening a pipe there gives that pipe).
fn reader_of(stdin: &pipe::Sender) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", stdin.as_fd().as_raw_fd());
    std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// How many bytes are in a pipe.
fn pipe_holds(pipe: impl AsFd) -> usize {
    // FIONREAD does not fail on a pipe; were it to, all that was written would count as read.
    unread(pipe).unwrap_or(0)
}

fn tell_unread(proc: ProcId, pipe: impl AsFd, engine: &mut Engine) {
    if let Ok(bytes) = unread(pipe) {
        engine.unread(proc, bytes);
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

/// What the system is told of a child's confinement.
fn confine(plan: &ConfinePlan) -> io::Result<Confine> {
    let user = match &plan.user {
        None => None,
        Some(name) => {
            let user = User::from_name(name)?;
            let user =
                user.ok_or_else(|| io::Error::other(format!("there is no user `{name}`")))?;
            let groups = getgrouplist(&CString::new(name.as_str())?, user.gid)?;
            let groups = groups.into_iter().map(|group| group.as_raw()).collect();
            Some((user.uid.as_raw(), user.gid.as_raw(), groups))
        }
    };
    Ok(Confine {
        user,
        nice: plan.nice.into(),
        limits: [plan.memory, plan.cpu, plan.files],
        may_gain_privileges: plan.may_gain_privileges,
    })
}
