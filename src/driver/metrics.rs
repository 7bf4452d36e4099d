//! The loop's end of the metrics port. `metrics/server.rs` speaks HTTP in a thread of its own and
//! asks the loop for a snapshot; the loop answers in its next pass and never waits.

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
use crate::metrics::Snapshot;

use server::Server;

/// A request for a snapshot of the daemon's state.
pub type Asks = SyncSender<Snapshot>;

/// The loop's end. The port is closed on drop.
#[derive(Debug)]
pub struct Metrics {
    address: SocketAddr,
    asked: Option<Receiver<Asks>>,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Metrics {
    /// Listens on an address. If it cannot be bound yet, a `patient` server logs a warning and
    /// tries again every second: at boot an address may come later than the daemon.
    ///
    /// # Errors
    /// The port cannot be opened, or the thread cannot be started.
    pub fn open(address: SocketAddr, wake: Wake, patient: bool) -> io::Result<Self> {
        // At most one request is pending: a slow loop is not asked again before it has answered.
        let (asks, asked) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let (mut server, waker) = Server::new(address, asks, wake, Arc::clone(&stop))?;
        match server.listen() {
            Err(error) if patient => {
                log::warn!("daemon.metrics = \"{address}\": {error}; tried again every second");
            }
            listening => listening?,
        }
        let thread = std::thread::Builder::new().name("metrics".into());
        let thread = Some(thread.spawn(move || server.run())?);
        Ok(Self { address, asked: Some(asked), stop, waker: Arc::new(waker), thread })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The pending request, if there is one.
    pub fn asked(&self) -> Option<Asks> {
        self.asked.as_ref()?.try_recv().ok()
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A thread waiting for an answer then sees at once that none will come.
        self.asked = None;
        if let Err(error) = self.waker.wake() {
            log::error!("cannot close the metrics port: {error}");
            return;
        }
        if let Some(thread) = self.thread.take() {
            // A panic would already have ended the daemon, so there is none to report.
            let _ = thread.join();
        }
    }
}
