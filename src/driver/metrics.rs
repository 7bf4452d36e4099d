//! `/metrics` and `/healthz` over HTTP/1.1 (RFC 9112), as much of it as a scraper needs: one
//! request a connection, each in a thread of its own, few at a time. The loop is asked for its
//! state and never waits for anybody here.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::wake::Wake;
use crate::engine::status::Status;
use crate::limits::{METRICS_ANSWER, METRICS_CLIENTS_MOST, METRICS_REQUEST, METRICS_REQUEST_MOST};
use crate::metrics::{complaints, text};

/// Somebody who asks for the state of the daemon.
pub type Asks = SyncSender<Status>;

/// The loop's end.
#[derive(Debug)]
pub struct Metrics {
    asked: Receiver<Asks>,
}

impl Metrics {
    /// Listens on an address.
    ///
    /// # Errors
    /// The system's.
    pub fn open(address: SocketAddr, wake: Wake) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let (asks, asked) = sync_channel(METRICS_CLIENTS_MOST);
        let server = Server { asks, wake, clients: Arc::default() };
        std::thread::Builder::new().name("metrics".into()).spawn(move || server.run(&listener))?;
        Ok(Self { asked })
    }

    /// Who asks, if somebody does.
    pub fn asked(&self) -> Option<Asks> {
        self.asked.try_recv().ok()
    }
}

/// The other end.
#[derive(Debug, Clone)]
struct Server {
    asks: SyncSender<Asks>,
    wake: Wake,
    clients: Arc<AtomicUsize>,
}

impl Server {
    fn run(self, listener: &TcpListener) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // The system has no descriptor for it; others may go meanwhile.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            if self.clients.fetch_add(1, Ordering::AcqRel) >= METRICS_CLIENTS_MOST {
                self.clients.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let server = self.clone();
            let serve = move || {
                // A client that goes away is no fault of ours.
                let _ = server.serve(stream);
                server.clients.fetch_sub(1, Ordering::AcqRel);
            };
            if std::thread::Builder::new().name("scrape".into()).spawn(serve).is_err() {
                self.clients.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_write_timeout(Some(METRICS_REQUEST))?;
        let Some(request) = request(&mut stream)? else { return Ok(()) };
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let path = path.split('?').next().unwrap_or("");
        let (code, kind, body) = match (method, path) {
            ("GET" | "HEAD", "/metrics") => self.metrics(),
            ("GET" | "HEAD", "/healthz") => self.health(),
            ("GET" | "HEAD", _) => {
                ("404 Not Found", PLAIN, "there are /metrics and /healthz\n".into())
            }
            _ => ("405 Method Not Allowed", PLAIN, "only GET and HEAD\n".into()),
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {code}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        if method != "HEAD" {
            stream.write_all(body.as_bytes())?;
        }
        Ok(())
    }

    fn metrics(&self) -> (&'static str, &'static str, String) {
        match self.ask() {
            Some(status) => ("200 OK", OPEN_METRICS, text(status)),
            None => ("503 Service Unavailable", PLAIN, LATE.into()),
        }
    }

    fn health(&self) -> (&'static str, &'static str, String) {
        match self.ask().map(|status| complaints(&status)) {
            Some(complaints) if complaints.is_empty() => ("200 OK", PLAIN, "ok\n".into()),
            Some(complaints) => ("503 Service Unavailable", PLAIN, complaints.join("\n") + "\n"),
            None => ("503 Service Unavailable", PLAIN, LATE.into()),
        }
    }

    /// Asks the loop, which may be late.
    fn ask(&self) -> Option<Status> {
        let (answer, status) = sync_channel(1);
        self.asks.try_send(answer).ok()?;
        self.wake.wake();
        status.recv_timeout(METRICS_ANSWER).ok()
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const LATE: &str = "the daemon's loop is late\n";

/// Reads a request to the end of its head; its first line. `None` where it takes too long, or is
/// too long.
fn request(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let start = Instant::now();
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = METRICS_REQUEST.saturating_sub(start.elapsed());
        if left.is_zero() || head.len() > METRICS_REQUEST_MOST {
            return Ok(None);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => return Ok(None),
            count => head.extend_from_slice(&chunk[..count]),
        }
    }
    let first = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(first).into_owned()))
}
