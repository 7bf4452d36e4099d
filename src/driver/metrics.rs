//! The loop's end of the metrics port. `metrics/server.rs` speaks HTTP in a thread of its own and
//! asks the loop for a snapshot; the loop answers in its next pass and never waits.

mod answers;
mod listener;
mod page;
pub(crate) mod request;
mod server;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use mio::Waker;
use serde::Serialize;

use super::seconds::{SecondsQuery, SecondsReport};
use super::wake::Wake;
use crate::config::plan::MetricsPlan;
use crate::engine::minutes::{MinutesQuery, MinutesReport};
use crate::metrics::Snapshot;

use server::Server;
use token::Token;

/// A request to the loop, and where it answers.
#[derive(Debug)]
pub enum Ask {
    /// For a snapshot of the daemon's state.
    State(SyncSender<Snapshot>),
    /// For what nodes counted over time.
    Series(SeriesQuery, SyncSender<Series>),
}

/// What nodes counted over time is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeriesQuery {
    /// By the minute.
    Minutes(MinutesQuery),
    /// By the second.
    Seconds(SecondsQuery),
}

/// What nodes counted over time.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Series {
    /// By the minute.
    Minutes(MinutesReport),
    /// By the second.
    Seconds(SecondsReport),
}

/// The loop's end. The port is closed on drop.
#[derive(Debug)]
pub struct Metrics {
    plan: MetricsPlan,
    asked: Option<Receiver<Ask>>,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Metrics {
    /// Listens where the plan says. If that is not possible yet, a `patient` server logs a warning
    /// and tries again every second: at boot an address may come later than the daemon.
    ///
    /// # Errors
    /// A sentence for the user: the port cannot be opened, there is no token, or the thread cannot
    /// be started.
    pub fn open(plan: &MetricsPlan, wake: Wake, patient: bool) -> Result<Self, String> {
        let said = |error: std::io::Error| format!("daemon.metrics = \"{}\": {error}", plan.at);
        let token = plan.token.clone().map(Token::new).transpose();
        let token = token.map_err(|error| format!("daemon.metrics_token = {error}"))?;
        // At most one request is pending: a slow loop is not asked again before it has answered.
        let (asks, asked) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let opened = Server::new(plan.at.clone(), token, asks, wake, Arc::clone(&stop));
        let (mut server, waker) = opened.map_err(said)?;
        match server.listen() {
            Err(error) if patient => log::warn!("{}; tried again every second", said(error)),
            listening => listening.map_err(said)?,
        }
        let thread = std::thread::Builder::new().name("metrics".into());
        let thread = Some(thread.spawn(move || server.run()).map_err(said)?);
        let plan = plan.clone();
        Ok(Self { plan, asked: Some(asked), stop, waker: Arc::new(waker), thread })
    }

    /// Where it listens, and for whom.
    pub fn plan(&self) -> &MetricsPlan {
        &self.plan
    }

    /// The pending request, if there is one.
    pub fn asked(&self) -> Option<Ask> {
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
