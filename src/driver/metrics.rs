//! The metrics' port: the loop's end. `metrics/server.rs` talks HTTP in a thread of its own and
//! asks the loop for a snapshot; the loop answers when it comes by, and waits for nobody.

pub(crate) mod request;
mod server;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use mio::Waker;

use super::wake::Wake;
use crate::ingress::acceptor;
use crate::metrics::Snapshot;

use server::Server;

/// Somebody who asks for the state of the daemon.
pub type Asks = SyncSender<Snapshot>;

/// The loop's end. Dropped, the port is closed.
#[derive(Debug)]
pub struct Metrics {
    address: SocketAddr,
    asked: Option<Receiver<Asks>>,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Metrics {
    /// Listens on an address.
    ///
    /// # Errors
    /// The system's.
    pub fn open(address: SocketAddr, wake: Wake) -> io::Result<Self> {
        let listener = acceptor::bind(address)?;
        // One at a time: a loop that is late is not asked again before it has answered.
        let (asks, asked) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let (server, waker) = Server::new(listener, asks, wake, Arc::clone(&stop))?;
        let thread = std::thread::Builder::new().name("metrics".into());
        let thread = Some(thread.spawn(move || server.run())?);
        Ok(Self { address, asked: Some(asked), stop, waker: Arc::new(waker), thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who asks, if somebody does.
    pub fn asked(&self) -> Option<Asks> {
        self.asked.as_ref()?.try_recv().ok()
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Who waits for the loop's answer sees at once that there will be none.
        self.asked = None;
        if let Err(error) = self.waker.wake() {
            log::error!("the metrics' port stays open: {error}");
            return;
        }
        if let Some(thread) = self.thread.take() {
            // It has no panic to tell of: a panic ends the daemon.
            let _ = thread.join();
        }
    }
}
