//! The ways in for who looks after the daemon: the control socket and the metrics' port. They are
//! opened at the start, moved by a reload, and served by the loop.

use std::path::Path;
use std::time::Duration;

use mio::Token;

use super::control::{Control, Listening, Outcome, Request, Served};
use super::metrics::Metrics;
use super::wake::Wake;
use super::{CONTROL, Daemon, UDP_OUT};
use crate::clock::{Clock, Mono};
use crate::config::plan::{DaemonPlan, Plan};
use crate::limits::{PASS_LATE, TAP_PIECE};
use crate::logger::Verbosity;
use crate::metrics::{Pulse, Snapshot};

/// What a reload opened; nothing where it stays as it is.
pub(super) struct Opened {
    control: Option<Listening>,
    metrics: Option<Metrics>,
    log: Option<Verbosity>,
}

/// Makes the control socket; where it cannot be made, a warning says so.
pub(super) fn listen(path: &Path) -> Option<Listening> {
    let warn = |error: &std::io::Error| {
        let path = path.display();
        log::warn!("no control socket at {path}: {error}; top, tap and ctl cannot reach us");
    };
    Listening::open(path).inspect_err(warn).ok()
}

/// Opens the metrics' port, where there is to be one.
pub(super) fn open_metrics(plan: &DaemonPlan, wake: &Wake) -> Result<Option<Metrics>, String> {
    let Some(address) = plan.metrics else { return Ok(None) };
    let opened = Metrics::open(address, wake.clone());
    opened.map(Some).map_err(|error| format!("daemon.metrics = \"{address}\": {error}"))
}

impl Daemon {
    // ---- reload

    /// Opens what a reload has elsewhere. This is the last that can be refused: an address that
    /// shares its port with the old one can only be had when the old one is let go.
    pub(super) fn open_admin(&mut self, plan: &Plan) -> Result<Opened, String> {
        let (old, new) = (self.engine.plan().daemon.clone(), &plan.daemon);
        let control = match &new.control {
            Some(path) if new.control != old.control => {
                let refused = |error| format!("daemon.control = {path:?}: {error}");
                Some(Listening::open(path).map_err(refused)?)
            }
            // What could not be had before is tried again, and refuses nothing now either.
            Some(path) if self.control.is_none() => listen(path),
            _ => None,
        };
        let log = (new.log != old.log).then_some(new.log);
        if new.metrics == old.metrics {
            return Ok(Opened { control, metrics: None, log });
        }
        let port = |plan: &DaemonPlan| plan.metrics.map(|address| address.port());
        if port(new) == port(&old) {
            self.metrics = None;
        }
        let metrics = open_metrics(new, &self.wake).inspect_err(|_| {
            if self.metrics.is_none() {
                let again = open_metrics(&old, &self.wake);
                self.metrics = again.inspect_err(|error| log::error!("{error}")).unwrap_or(None);
            }
        })?;
        Ok(Opened { control, metrics, log })
    }

    /// Uses what was opened. Clients of the control stay; the old ways in are closed.
    pub(super) fn use_admin(&mut self, plan: &Plan, opened: Opened) {
        let registry = self.poll.registry();
        let moved = match (opened.control, &mut self.control) {
            (Some(listening), Some(control)) => control.move_to(listening, registry),
            (Some(listening), none) => Control::new(listening, registry, CONTROL, UDP_OUT)
                .map(|control| *none = Some(control)),
            (None, _) => Ok(()),
        };
        if let Err(error) = moved {
            log::error!("control: {error}");
        }
        // What `ctl log` asked for holds until the configuration itself asks for something else.
        if let Some(level) = opened.log {
            level.apply();
        }
        if plan.daemon.metrics != self.metrics.as_ref().map(Metrics::address) {
            self.metrics = opened.metrics;
        }
    }

    // ---- control

    pub(super) fn serve_control(&mut self, token: Token, now: Mono) {
        let Some(control) = &mut self.control else { return };
        let client = token.0 as u64;
        match control.ready(token, self.poll.registry(), now) {
            Served::Nothing => {}
            Served::Asks(request) => {
                let outcome = self.carry_out_request(token, request, now);
                let Some(control) = &mut self.control else { return };
                if control.answer(token, outcome, self.poll.registry(), now) == Served::Gone {
                    self.engine.close_tap(client);
                }
            }
            Served::Ends => self.engine.end_tap(client, "the tap is closed"),
            Served::Gone => self.engine.close_tap(client),
        }
    }

    fn carry_out_request(&mut self, client: Token, request: Request, now: Mono) -> Outcome {
        let nothing = || b"null".to_vec();
        match request {
            Request::Status => {
                self.children.look_at_pipes(&mut self.engine);
                let mut status = self.engine.status(now);
                status.log = Some(Verbosity::current());
                serde_json::to_vec(&status).map_err(|error| error.to_string())
            }
            Request::Reload => self.reload().map(|()| nothing()),
            Request::Rotate => {
                self.engine.reopen();
                Ok(nothing())
            }
            Request::Log { level } => {
                level.apply();
                Ok(nothing())
            }
            Request::Tap { node, matches } => {
                self.engine.open_tap(client.0 as u64, &node, matches.as_deref())?;
                if let Some(control) = &mut self.control {
                    control.taps(client);
                }
                Ok(nothing())
            }
        }
    }

    /// Gives whoever looks what left the nodes.
    pub(super) fn pour_taps(&mut self) {
        let Some(control) = self.control.as_mut().filter(|control| control.has_taps()) else {
            return;
        };
        let gone = control.pour(|client| self.engine.take_tapped(client, TAP_PIECE));
        for client in gone {
            self.engine.close_tap(client);
        }
    }

    // ---- metrics

    /// Gives whoever asks for metrics the state.
    pub(super) fn answer_metrics(&mut self, now: Mono) {
        while let Some(asks) = self.metrics.as_ref().and_then(Metrics::asked) {
            self.children.look_at_pipes(&mut self.engine);
            let snapshot = Snapshot {
                status: self.engine.status(now),
                memory: self.engine.plan().daemon.memory,
                stuck_after: self.engine.plan().daemon.stuck_after,
                started: self.started,
                pulse: self.pulse,
                reloads: self.reloads,
            };
            // One that has waited for too long is gone.
            let _ = asks.try_send(snapshot);
        }
    }

    /// The loop has been round since `woken`.
    pub(super) fn count_pass(&mut self, woken: Mono) {
        let Pulse { passes, busy, late } = &mut self.pulse;
        let took: Duration = self.clock.mono().since(woken);
        *passes += 1;
        *busy += took;
        *late += u64::from(took > PASS_LATE);
    }
}
