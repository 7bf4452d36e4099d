//! The page, `/metrics` and `/healthz` over HTTP: one thread serves all clients. However many there
//! are and however slow they are, memory is bounded and complete requests are answered.
//!
//! All complete requests are answered with the same snapshot. If there are too many clients, the
//! slowest one is disconnected.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};

use super::answers::{Answers, is_refused};
use super::listener::Listener;
use super::request::{Need, Page, Request};
use super::token;
use super::{Ask, Series, SeriesQuery};
use crate::config::plan::MetricsAt;
use crate::driver::wake::Wake;
use crate::limits::{
    LOOK_EVERY, METRICS_ANSWER, METRICS_ANSWERS_MAX, METRICS_CLIENTS_MAX, METRICS_FRESH,
    METRICS_PARTING, METRICS_REQUEST,
};
use crate::metrics::Snapshot;
use crate::net::stream::Stream;

const LISTENER: Token = Token(0);
const STOP: Token = Token(1);
const FIRST_CLIENT: usize = 2;
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// How long to wait after the system had no descriptor for a connection.
const NO_DESCRIPTOR: Duration = Duration::from_millis(100);

/// The server thread's state.
#[derive(Debug)]
pub(super) struct Server {
    poll: Poll,
    at: MetricsAt,
    /// What clients must show; `None` if anyone may ask.
    token: Option<token::Token>,
    /// `None` until it can listen.
    listener: Option<Listener>,
    asks: SyncSender<Ask>,
    /// The last snapshot. A page that asks often is shown it again while it is fresh.
    last: Option<(Instant, Arc<Snapshot>)>,
    wake: Wake,
    stop: Arc<AtomicBool>,
    /// Clients by token. Tokens only grow, so the first client is the oldest.
    clients: BTreeMap<usize, Client>,
    next: usize,
}

#[derive(Debug)]
struct Client {
    stream: Stream,
    state: State,
    /// When it is disconnected at the latest.
    until: Instant,
}

#[derive(Debug)]
enum State {
    /// The bytes of its request received so far.
    Asking(Vec<u8>),
    /// Its request is complete.
    Asked(Request),
    /// Its answer, and how much of it is written.
    Answered(Arc<[u8]>, usize),
    /// Its answer is written. Further input is read and discarded; closing at once could destroy
    /// the answer.
    Closing,
}

impl Server {
    /// A server without a socket yet, and the waker that makes it notice that it should stop.
    pub(super) fn new(
        at: MetricsAt,
        token: Option<token::Token>,
        asks: SyncSender<Ask>,
        wake: Wake,
        stop: Arc<AtomicBool>,
    ) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), STOP)?;
        let (clients, next) = (BTreeMap::new(), FIRST_CLIENT);
        let (listener, last) = (None, None);
        let server = Self { poll, at, token, listener, asks, last, wake, stop, clients, next };
        Ok((server, waker))
    }

    /// Listens on its address. If that fails, [`Self::run`] tries again every second.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        self.listener = Some(Listener::open(&self.at, self.poll.registry(), LISTENER)?);
        Ok(())
    }

    /// Serves until it should stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let until = self.clients.values().map(|client| client.until).min();
            let wait = until.map(|at| at.saturating_duration_since(Instant::now()));
            let wait = if self.listener.is_none() { Some(LOOK_EVERY) } else { wait };
            // Rounded up: the system counts in milliseconds.
            let wait = wait.map(|wait| wait + Duration::from_millis(1));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    log::error!("the metrics port is closed: {error}");
                    return;
                }
                _ if self.stop.load(Ordering::Acquire) => return,
                _ => {}
            }
            if self.listener.is_none() && self.listen().is_ok() {
                log::info!("daemon.metrics: listening on {}", self.at);
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    Token(at) => self.serve(at),
                }
            }
            self.answer();
            let now = Instant::now();
            self.clients.retain(|_, client| client.until > now);
        }
    }

    fn accept(&mut self) {
        for _ in 0..METRICS_CLIENTS_MAX {
            let Some(listener) = &mut self.listener else { return };
            match listener.accept() {
                Ok(stream) => self.take_in(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The system has no descriptor for it; others may be released meanwhile.
                Err(_) => {
                    std::thread::sleep(NO_DESCRIPTOR);
                    break;
                }
            }
        }
        // There may be more; others get their turn first.
        let Some(listener) = &mut self.listener else { return };
        if let Err(error) = listener.again(self.poll.registry(), LISTENER) {
            log::error!("metrics: {error}");
        }
    }

    fn take_in(&mut self, mut stream: Stream) {
        if self.clients.len() >= METRICS_CLIENTS_MAX {
            let at_fault = |client: &Client| !matches!(client.state, State::Asked(_));
            let slowest = self.clients.iter().find(|(_, client)| at_fault(client));
            if let Some(at) = slowest.map(|(at, _)| *at) {
                self.clients.remove(&at);
            }
        }
        let at = self.next;
        self.next += 1;
        if self.poll.registry().register(&mut stream, Token(at), BOTH).is_ok() {
            let until = Instant::now() + METRICS_REQUEST;
            self.clients.insert(at, Client { stream, state: State::Asking(Vec::new()), until });
        }
    }

    fn serve(&mut self, at: usize) {
        let Some(client) = self.clients.get_mut(&at) else { return };
        // A client that disconnects is not an error of ours.
        if client.proceed().is_err() {
            self.clients.remove(&at);
        }
    }

    /// Answers all complete requests.
    fn answer(&mut self) {
        let asked = self.clients.iter().filter_map(|(at, client)| match &client.state {
            State::Asked(request) => Some((*at, request.clone())),
            _ => None,
        });
        let mut asked: Vec<_> = asked.collect();
        if let Some(token) = &self.token {
            for (_, request) in &mut asked {
                if let Some(refusal) = is_refused(token, request) {
                    request.page = refusal;
                }
            }
        }
        let start = Instant::now();
        let pages = asked.iter().map(|(_, request)| &request.page);
        let snapshot = self.snapshot_for(pages, start);
        let mut answers = Answers::new(snapshot, start.elapsed());
        for (at, request) in asked {
            if !self.clients.contains_key(&at) {
                continue;
            }
            let answer =
                answers.to(&request.page, request.head_only, |query| self.ask_series(query));
            let Some(client) = self.clients.get_mut(&at) else { continue };
            client.state = State::Answered(answer, 0);
            client.until = Instant::now() + METRICS_REQUEST;
            self.serve(at);
        }
        while self.answers_held() > METRICS_ANSWERS_MAX {
            let is_answered = |client: &Client| matches!(client.state, State::Answered(..));
            let first = self.clients.iter().find(|(_, client)| is_answered(client));
            let Some(at) = first.map(|(at, _)| *at) else { return };
            self.clients.remove(&at);
        }
    }

    /// Number of different answers held for clients that read slowly.
    fn answers_held(&self) -> usize {
        let answers = self.clients.values().filter_map(|client| match &client.state {
            State::Answered(answer, _) => Some(answer.as_ptr()),
            _ => None,
        });
        answers.collect::<HashSet<_>>().len()
    }

    /// The snapshot that these pages need; `None` if they need none, or the loop is too slow. Pages
    /// in browsers ask often, and alone do not have the loop make more than a few a second.
    fn snapshot_for<'p>(
        &mut self,
        pages: impl Iterator<Item = &'p Page>,
        now: Instant,
    ) -> Option<Arc<Snapshot>> {
        let need = pages.map(Page::need).max().unwrap_or(Need::Nothing);
        let last = self.last.as_ref();
        let fresh = last.filter(|(at, _)| now.duration_since(*at) < METRICS_FRESH);
        match (need, fresh) {
            (Need::Nothing, _) => return None,
            (Need::Fresh, Some((_, snapshot))) => return Some(Arc::clone(snapshot)),
            (Need::Fresh | Need::New, _) => {}
        }
        let snapshot = Arc::new(self.ask()?);
        self.last = Some((Instant::now(), Arc::clone(&snapshot)));
        Some(snapshot)
    }

    /// Asks the loop for a snapshot; `None` if it is too slow.
    fn ask(&self) -> Option<Snapshot> {
        let (answer, snapshot) = sync_channel(1);
        self.asks.try_send(Ask::State(answer)).ok()?;
        self.wake.wake();
        snapshot.recv_timeout(METRICS_ANSWER).ok()
    }

    /// Asks the loop for what nodes counted over time; `None` if it is too slow.
    fn ask_series(&self, query: &SeriesQuery) -> Option<Series> {
        let (answer, report) = sync_channel(1);
        self.asks.try_send(Ask::Series(query.clone(), answer)).ok()?;
        self.wake.wake();
        report.recv_timeout(METRICS_ANSWER).ok()
    }
}

impl Client {
    /// Reads and writes until the client blocks; an error if it should be disconnected.
    fn proceed(&mut self) -> io::Result<()> {
        if let State::Asking(request) = &mut self.state {
            while !read(&mut self.stream, Some(request))? {
                if let Some(request) = Request::read(request) {
                    self.state = State::Asked(request);
                    break;
                }
            }
        }
        if let State::Answered(answer, written) = &mut self.state {
            while *written < answer.len() {
                match self.stream.write(&answer[*written..]) {
                    Ok(count) => *written += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            self.stream.end()?;
            self.state = State::Closing;
            self.until = Instant::now() + METRICS_PARTING;
        }
        if matches!(self.state, State::Closing) {
            while !read(&mut self.stream, None)? {
                if Instant::now() > self.until {
                    return Err(ErrorKind::TimedOut.into());
                }
            }
        }
        Ok(())
    }
}

/// Reads some bytes. Returns true if none are available now, an error at the end.
fn read(stream: &mut Stream, into: Option<&mut Vec<u8>>) -> io::Result<bool> {
    let mut chunk = [0; 4096];
    match stream.read(&mut chunk) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(count) => {
            if let Some(into) = into {
                into.extend_from_slice(&chunk[..count]);
            }
            Ok(false)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::Metrics;
    use super::*;
    use crate::clock::Mono;
    use crate::config::plan::MetricsPlan;
    use crate::metrics::{Pulse, Reloads};

    fn snapshot() -> Snapshot {
        let text = "[input.in]\nudp = \"127.0.0.1:8420\"\n[output.out]\nfile = \"/nowhere/x\"\n";
        let plan = crate::config::parse(text, "test").unwrap().plan;
        let engine = crate::engine::Engine::new(&plan, Mono::default()).unwrap();
        Snapshot {
            status: engine.status(Mono::default()),
            memory: 1 << 26,
            stuck_after: Duration::from_secs(60),
            started: std::time::SystemTime::UNIX_EPOCH,
            pulse: Pulse::default(),
            reloads: Reloads::default(),
        }
    }

    fn get(at: SocketAddr, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(at).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_loop_that_does_not_answer_is_reported_until_it_does() {
        let poll = Poll::new().unwrap();
        let wake = Wake::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let port = std::net::TcpListener::bind(at).unwrap().local_addr().unwrap();
        let plan = MetricsPlan { at: MetricsAt::Tcp(port), token: None };
        let metrics = Metrics::open(&plan, wake, false).unwrap();
        for path in ["/healthz", "/metrics"] {
            let answer = get(port, path);
            assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
            assert!(answer.ends_with("\r\n\r\nthe daemon's loop has not answered within 2s\n"));
        }
        // It was asked once, and not again before it has answered.
        let first = metrics.asked().unwrap();
        assert!(metrics.asked().is_none());
        let Ask::State(first) = first else { panic!("{first:?}") };
        assert!(first.try_send(snapshot()).is_err(), "its receiver is gone");
        let client = std::thread::spawn(move || (get(port, "/healthz"), get(port, "/healthz")));
        for complains in [false, true] {
            let asks = loop {
                if let Some(asks) = metrics.asked() {
                    break asks;
                }
                std::thread::yield_now();
            };
            let mut snapshot = snapshot();
            snapshot.status.nodes[1].stuck_seconds = complains.then_some(60.5);
            let Ask::State(asks) = asks else { panic!("{asks:?}") };
            asks.send(snapshot).unwrap();
        }
        let (green, red) = client.join().unwrap();
        assert!(green.starts_with("HTTP/1.1 200 OK\r\n") && green.ends_with("\r\n\r\nok\n"));
        let said = "\r\n\r\nout: nothing has left its queue for 60 s: the disk has taken \
                    nothing for 60 s; find out what it waits for\n";
        assert!(red.ends_with(said), "{red}");
        drop(metrics);
        assert!(std::net::TcpStream::connect(port).is_err(), "the port is closed");
    }
}
