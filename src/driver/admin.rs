//! Administrative access: the control socket and the metrics port. Both are opened at start, moved
//! by a reload, and served by the loop.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use mio::Token;

use super::control::{Control, Listening, Outcome, Request, Served};
use super::metrics::{Ask, Metrics, Series, SeriesQuery};
use super::seconds::SecondsQuery;
use super::wake::Wake;
use super::{CONTROL, Daemon, UDP_OUT};
use crate::clock::{Clock, Mono};
use crate::config::plan::{DaemonPlan, MetricsAt, Plan};
use crate::engine::minutes::MinutesQuery;
use crate::limits::{PASS_LATE, TAP_PIECE};
use crate::logger::Verbosity;
use crate::metrics::{Pulse, Snapshot};

/// Creates the control socket; logs a warning if it cannot be created.
pub(super) fn listen(path: &Path) -> Option<Listening> {
    let warn = |error: &std::io::Error| {
        let path = path.display();
        log::warn!(
            "no control socket at {path}: {error}; top, tap and ctl cannot reach this daemon"
        );
    };
    Listening::open(path).inspect_err(warn).ok()
}

/// Opens the metrics port if one is configured. `patient`: one that cannot be opened yet is tried
/// again while the daemon runs.
pub(super) fn open_metrics(
    plan: &DaemonPlan,
    wake: &Wake,
    patient: bool,
) -> Result<Option<Metrics>, String> {
    let Some(plan) = &plan.metrics else { return Ok(None) };
    Metrics::open(plan, wake.clone(), patient).map(Some)
}

impl Daemon {
    // ---- reload

    /// Opens the metrics port if a reload moved it. This is the last step that can fail: an address
    /// that shares its port with the old one is free only once the old one is closed.
    pub(super) fn open_metrics(&mut self, plan: &Plan) -> Result<Option<Metrics>, String> {
        let (old, new) = (self.engine.plan().daemon.clone(), &plan.daemon);
        if new.metrics == old.metrics {
            return Ok(None);
        }
        // A socket's path is free only then, too.
        let port = |plan: &DaemonPlan| match plan.metrics.as_ref().map(|metrics| &metrics.at) {
            Some(MetricsAt::Tcp(address)) => Some(address.port()),
            Some(MetricsAt::Unix(_)) | None => None,
        };
        if port(new) == port(&old) {
            self.metrics = None;
        }
        open_metrics(new, &self.wake, false).inspect_err(|_| {
            if self.metrics.is_none() {
                let again = open_metrics(&old, &self.wake, true);
                self.metrics = again.inspect_err(|error| log::error!("{error}")).unwrap_or(None);
            }
        })
    }

    /// Switches to what was opened. Control clients stay connected; the old sockets are closed.
    pub(super) fn use_admin(
        &mut self,
        plan: &Plan,
        control: Option<Listening>,
        metrics: Option<Metrics>,
    ) {
        // A level set by `ctl log` stays until the configuration's level changes.
        if plan.daemon.log != self.engine.plan().daemon.log {
            plan.daemon.log.apply();
        }
        let registry = self.poll.registry();
        let moved = match (control, &mut self.control) {
            (Some(listening), Some(control)) => control.move_to(listening, registry),
            (Some(listening), none) => Control::new(listening, registry, CONTROL, UDP_OUT)
                .map(|control| *none = Some(control)),
            (None, _) => Ok(()),
        };
        if let Err(error) = moved {
            log::error!("control: {error}");
        }
        if plan.daemon.metrics.as_ref() != self.metrics.as_ref().map(Metrics::plan) {
            self.metrics = metrics;
        }
    }

    // ---- control

    pub(super) fn serve_control(&mut self, token: Token, now: Mono) {
        let Some(control) = &mut self.control else { return };
        let client = token.0 as u64;
        match control.ready(token, self.poll.registry(), now) {
            Served::Nothing => {}
            Served::Asks(request) => {
                if let Some(outcome) = self.carry_out_request(token, request, now) {
                    self.answer_control(token, outcome, now);
                }
            }
            Served::EndsTap => self.engine.end_tap(client, "the tap is closed"),
            Served::Gone => self.engine.close_tap(client),
        }
    }

    /// Answers a client's request.
    pub(super) fn answer_control(&mut self, client: Token, outcome: Outcome, now: Mono) {
        let Some(control) = &mut self.control else { return };
        if control.answer(client, outcome, self.poll.registry(), now) == Served::Gone {
            self.engine.close_tap(client.0 as u64);
        }
    }

    /// Answers the clients that wait for files to be reopened, once no line can be written to an
    /// old file any more.
    pub(super) fn answer_rotations(&mut self, now: Mono) {
        if !self.rotations.is_empty() && !self.engine.is_reopening() {
            for client in std::mem::take(&mut self.rotations) {
                self.answer_control(client, Ok(b"null".to_vec()), now);
            }
        }
    }

    /// Carries out a client's request; `None` if it is answered later.
    fn carry_out_request(&mut self, client: Token, request: Request, now: Mono) -> Option<Outcome> {
        let nothing = || b"null".to_vec();
        Some(match request {
            Request::Status => {
                self.children.look_at_pipes(&mut self.engine);
                let mut status = self.engine.status(now);
                status.log = Some(Verbosity::current());
                let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
                status.started = started.as_secs_f64();
                serde_json::to_vec(&status).map_err(|error| error.to_string())
            }
            Request::Losses => {
                let losses = self.losses.all(&self.engine, now);
                serde_json::to_vec(&losses).map_err(|error| error.to_string())
            }
            Request::Minutes { node, minutes } => {
                let query = MinutesQuery { node, minutes };
                let report = self.minutes.report(&self.engine, &query);
                serde_json::to_vec(&report).map_err(|error| error.to_string())
            }
            Request::Seconds { node, seconds } => {
                let report = self.seconds.report(&SecondsQuery { node, seconds });
                serde_json::to_vec(&report).map_err(|error| error.to_string())
            }
            Request::Reload if self.engine.is_ending() => Err("the daemon is ending".into()),
            Request::Reload => {
                if let Some(control) = &mut self.control {
                    control.defer(client);
                }
                self.ask_reload(Some(client), now);
                return None;
            }
            Request::Rotate => {
                self.engine.reopen();
                if let Some(control) = &mut self.control {
                    control.defer(client);
                }
                self.rotations.push(client);
                return None;
            }
            Request::Log { level } => {
                level.apply();
                Ok(nothing())
            }
            Request::Tap { node, matches } => {
                self.open_tap(client, &node, matches.as_deref()).map(|()| nothing())
            }
        })
    }

    fn open_tap(&mut self, client: Token, node: &str, matches: Option<&str>) -> Result<(), String> {
        self.engine.open_tap(client.0 as u64, node, matches)?;
        if let Some(control) = &mut self.control {
            control.taps(client);
        }
        Ok(())
    }

    /// Sends tapped lines to their clients.
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

    /// Answers requests for metrics with a snapshot.
    pub(super) fn answer_metrics(&mut self, now: Mono) {
        while let Some(ask) = self.metrics.as_ref().and_then(Metrics::asked) {
            let asks = match ask {
                Ask::State(asks) => asks,
                Ask::Series(query, asks) => {
                    let series = match query {
                        SeriesQuery::Minutes(query) => {
                            Series::Minutes(self.minutes.report(&self.engine, &query))
                        }
                        SeriesQuery::Seconds(query) => Series::Seconds(self.seconds.report(&query)),
                    };
                    // The receiver is gone if it has waited too long.
                    let _ = asks.try_send(series);
                    continue;
                }
            };
            self.children.look_at_pipes(&mut self.engine);
            let snapshot = Snapshot {
                status: self.engine.status(now),
                memory: self.engine.plan().daemon.memory,
                stuck_after: self.engine.plan().daemon.stuck_after,
                started: self.started,
                pulse: self.pulse,
                reloads: self.reloads,
            };
            // The receiver is gone if it has waited too long.
            let _ = asks.try_send(snapshot);
        }
    }

    /// Counts a pass of the loop that began at `woken`.
    pub(super) fn count_pass(&mut self, woken: Mono) {
        let Pulse { passes, busy, late } = &mut self.pulse;
        let took: Duration = self.clock.mono().since(woken);
        *passes += 1;
        *busy += took;
        *late += u64::from(took > PASS_LATE);
    }
}
