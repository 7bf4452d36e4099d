//! The loop: connects the engine to sockets, children, disk threads, signals and the control
//! socket.
//!
//! One pass waits for readiness, hands every event to the engine, then carries out the engine's
//! actions and writes the waiting lines. mio reports readiness once, so anything not read to its
//! end is kept in a list, and the next pass does not wait.

pub mod access;
mod admin;
pub mod children;
pub mod clients;
mod compress;
pub mod control;
pub mod disk;
mod disk_worker;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod inherited;
mod inputs;
pub mod links;
pub mod losses;
pub mod metrics;
mod minutes;
mod notify;
pub mod readers;
mod reload;
pub mod seconds;
mod signals;
mod spool_folders;
mod state_file;
pub mod systemd;
pub mod udp_out;
mod usage;
mod users;

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mio::{Events, Poll, Token, Waker};
use nix::sys::signal::Signal;

use crate::clock::{Clock, Mono, SystemClock};
use crate::config::plan::{DaemonPlan, Plan};
use crate::engine;
use crate::engine::status::Status;
use crate::engine::{Action, DiskWork, Engine, Event, SinkKind, SpoolFound};
use crate::fs::OsFs;
use crate::ids::NodeId;
use crate::ingress::told::Teller;
use crate::limits;
use crate::metrics::{Pulse, Reloads};
use crate::spool::recover::Opened;
use crate::sys::code::release_start;
use crate::sys::process::raise_open_files;

pub(crate) use crate::net::{tls, transport};
pub(crate) use crate::wake;
pub use reload::Reread;

use children::{Children, Pipe};
use control::Control;
use disk::DiskWorkers;
use inherited::Inherited;
use inputs::Inputs;
use links::Links;
use losses::Losses;
use metrics::Metrics;
use minutes::MinuteKeeper;
use readers::Readers;
use reload::{Before, OpenedInput, Reload, prepare};
use seconds::SecondKeeper;
use signals::Signals;
use systemd::Manager;
use udp_out::UdpOutputs;
use wake::Wake;

const WAKE: Token = Token(0);
const SIGNALS: Token = Token(1);
/// First token of the control socket: the listener's, followed by its clients'.
const CONTROL: usize = 2;
/// First token of UDP outputs; a node's token is offset by its id.
const UDP_OUT: usize = 1 << 32;
/// First token of children.
const CHILDREN: usize = 1 << 40;
/// First token of forward outputs, above all children's.
const LINKS: usize = 1 << 56;

/// The folder for what outlives a restart: that of the configuration, else the service manager's
/// (`StateDirectory=` of systemd.exec(5), of which the first is taken).
fn state_folder(plan: &DaemonPlan) -> Option<PathBuf> {
    let given = || {
        let folders = std::env::var_os("STATE_DIRECTORY")?;
        let folders = folders.as_bytes();
        let first = folders.split(|&byte| byte == b':').next()?;
        (!first.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(first)))
    };
    plan.state.clone().or_else(given)
}

/// A callback that is given the state of the daemon.
pub type ReportFn = Box<dyn FnMut(&Status, &Plan)>;

/// A callback to run at intervals with the state of the daemon (udp2log's report).
pub struct Report {
    /// The interval.
    pub every: Duration,
    /// The callback.
    pub run: ReportFn,
}

/// A daemon that is ready to run.
pub struct Daemon {
    clock: SystemClock,
    poll: Poll,
    wake: Wake,
    engine: Engine,
    inputs: Inputs,
    /// Inputs that are open but not being read.
    opened: Vec<OpenedInput>,
    children: Children,
    disk: DiskWorkers,
    readers: Readers,
    links: Links,
    udp: UdpOutputs,
    losses: Losses,
    minutes: MinuteKeeper,
    seconds: SecondKeeper,
    teller: Teller,
    control: Option<Control>,
    metrics: Option<Metrics>,
    started: SystemTime,
    pulse: Pulse,
    reloads: Reloads,
    manager: Manager,
    signals: Signals,
    reread: Arc<dyn Fn() -> Result<Plan, String> + Send + Sync>,
    reload: Reload,
    /// Clients that wait for files to be reopened.
    rotations: Vec<Token>,
    report: Option<(Report, Mono)>,
    looked_at_pipes: Mono,
}

impl Daemon {
    /// Opens all inputs and the control socket. Nothing is read and no child is started before
    /// [`Self::run`]. An input whose address is missing or whose port is in use is tried again
    /// while the daemon runs.
    ///
    /// # Errors
    /// A sentence for the user: what cannot be opened, and why.
    pub fn open(plan: &Plan, reread: Reread) -> Result<Self, String> {
        Self::open_as(plan, reread, true)
    }

    /// Like [`Self::open`], but an input with an absent address or a port in use is an error too.
    ///
    /// # Errors
    /// One sentence for the user: what cannot be opened, and why.
    pub fn open_at_once(plan: &Plan, reread: Reread) -> Result<Self, String> {
        Self::open_as(plan, reread, false)
    }

    fn open_as(plan: &Plan, reread: Reread, patient: bool) -> Result<Self, String> {
        raise_open_files();
        let clock = SystemClock::new();
        let system = |error: io::Error| format!("cannot set up the event loop: {error}");
        let poll = Poll::new().map_err(system)?;
        let wake = Wake::new(Waker::new(poll.registry(), WAKE).map_err(system)?);
        let signals = Signals::catch(poll.registry(), SIGNALS).map_err(system)?;
        let mut manager = Manager::find();
        let teller = Teller::default();
        let mut inherited = Inherited::take(&mut manager);
        let before = Before {
            plan: Plan { daemon: plan.daemon.clone(), nodes: Vec::new() },
            sockets: inherited.sockets(reload::claims_of(plan)),
            has_control: false,
            clock,
            teller: teller.clone(),
            patient,
            locked: Vec::new(),
        };
        let mut prepared = prepare(plan.clone(), &before).map_err(|refused| refused.error)?;
        let flow = match prepared.flow.take() {
            Some(flow) => flow,
            None => engine::Prepared::new(plan)?,
        };
        let engine = Engine::with(flow, clock.mono());
        drop(before);
        inherited.finish(&mut manager);
        let control = prepared.control.take();
        let control = control.map(|at| Control::new(at, poll.registry(), CONTROL, UDP_OUT));
        let control = control.transpose().map_err(system)?;
        let metrics = admin::open_metrics(&plan.daemon, &wake, patient)?;
        let state = state_folder(&plan.daemon);
        let mut daemon = Self {
            clock,
            engine,
            inputs: Inputs::new(wake.clone()),
            opened: Vec::new(),
            children: Children::new(CHILDREN),
            disk: DiskWorkers::new(wake.clone()),
            readers: Readers::new(wake.clone()),
            links: Links::new(LINKS, wake.clone()),
            udp: UdpOutputs::new(UDP_OUT, wake.clone()),
            losses: Losses::new(state.as_deref(), clock),
            minutes: MinuteKeeper::new(state.as_deref(), clock, teller.clone()),
            seconds: SecondKeeper::new(clock),
            teller,
            control,
            metrics,
            started: clock.wall(),
            pulse: Pulse::default(),
            reloads: Reloads::default(),
            manager,
            signals,
            reread: Arc::from(reread),
            reload: Reload::default(),
            rotations: Vec::new(),
            report: None,
            looked_at_pipes: Mono::default(),
            poll,
            wake,
        };
        daemon.opened = daemon.enter(prepared, clock.mono())?;
        daemon.minutes.restore(&mut daemon.engine);
        Ok(daemon)
    }

    fn enter_spool(&mut self, node: NodeId, opened: Opened<OsFs>, now: Mono) -> Result<(), String> {
        let Opened { mut writer, cursors, .. } = opened;
        writer.set_readers(&self.engine.readers_of(node));
        let found = Box::new(SpoolFound {
            identity: writer.identity(),
            held: writer.held(),
            origins: writer.origins().into_iter().collect(),
            cursors: cursors.into_iter().collect(),
        });
        let named = (node, &*self.engine.name_of(node));
        self.disk.take_spool(named, writer, self.clock).map_err(|error| error.to_string())?;
        self.engine.handle(Event::SpoolOpened { node, found }, now);
        Ok(())
    }

    /// Runs `report` at intervals.
    pub fn report(&mut self, report: Report) {
        let first = self.clock.mono() + report.every;
        self.report = Some((report, first));
    }

    /// Runs until a signal arrives or all inputs end, then drains and logs the final ledger.
    ///
    /// # Errors
    /// A system call that the daemon cannot do without has failed.
    pub fn run(mut self) -> io::Result<()> {
        let opened = std::mem::take(&mut self.opened);
        self.start_inputs(opened).map_err(io::Error::other)?;
        self.carry_out(self.clock.mono())?;
        self.inputs.set_prompt(&self.engine.spooled_inputs());
        let mut events = Events::with_capacity(256);
        let mut woken = self.clock.mono();
        log::info!("running: {} nodes", self.engine.plan().nodes.len());
        self.keep_sockets();
        self.manager.ready();
        if let Err(error) = release_start() {
            log::debug!("the code of the start stays in memory: {error}");
        }
        loop {
            let now = self.clock.mono();
            self.carry_out(now)?;
            if self.engine.is_done() && self.children.is_empty() {
                break;
            }
            let wait = match self.has_more() {
                true => Some(Duration::ZERO),
                false => {
                    let due = self.links.acknowledge_all(&mut self.engine, self.clock.mono());
                    self.longest_wait(due)
                }
            };
            self.count_pass(woken);
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => done?,
            }
            woken = self.clock.mono();
            self.pass(&events, woken)?;
        }
        self.inputs.finish();
        self.engine.end_taps("the daemon has ended");
        self.pour_taps();
        self.control = None;
        self.manager.finish();
        self.engine.close_ledgers();
        self.minutes.finish(&mut self.engine);
        self.losses.finish();
        let grace = self.engine.plan().daemon.grace.max(limits::CLOSE_MIN);
        self.disk.finish(grace);
        Ok(())
    }

    /// Whether the next pass has something to do already.
    fn has_more(&self) -> bool {
        !self.children.again.is_empty() || self.inputs.has_more() || self.links.has_more()
    }

    /// How long nothing is to do unless something happens; `unacknowledged` is when the links want
    /// to acknowledge next.
    fn longest_wait(&self, unacknowledged: Option<Mono>) -> Option<Duration> {
        let report = self.report.as_ref().map(|(_, at)| *at);
        let pipes = self.engine.has_unread().then(|| self.looked_at_pipes + limits::PIPES_EVERY);
        let own = report.into_iter().chain(pipes).chain(unacknowledged);
        let own = own.chain(self.minutes.deadline()).chain(self.seconds.deadline());
        let own = own.chain(self.manager.deadline()).chain(self.reload.deadline());
        let own = own.chain(self.udp.deadline()).chain(self.children.deadline());
        let next = self.engine.deadline().into_iter().chain(own).min()?;
        // Rounded up: mio counts in milliseconds and must not wake just before the deadline.
        Some(next.since(self.clock.mono()) + Duration::from_micros(500))
    }

    /// Processes everything that happened since the last pass.
    fn pass(&mut self, events: &Events, now: Mono) -> io::Result<()> {
        self.wake.looked();
        for (lane, pipe) in std::mem::take(&mut self.children.again) {
            self.children.read(lane, pipe, &mut self.engine, now);
        }
        for event in events {
            self.dispatch(event, now);
        }
        self.children.unblock(&mut self.engine, now);
        if now.since(self.looked_at_pipes) >= limits::PIPES_EVERY {
            self.looked_at_pipes = now;
            self.children.look_at_pipes(&mut self.engine);
        }
        while let Some(event) = self.disk.done().or_else(|| self.readers.done()) {
            self.engine.handle(event, now);
        }
        self.links.look(&mut self.engine, self.poll.registry(), now);
        self.udp.look(&mut self.engine, self.poll.registry(), now);
        self.receive(now);
        self.go_on_with_reload(now);
        self.answer_rotations(now);
        self.obey_signals(now);
        if let Some((report, at)) = &mut self.report
            && now >= *at
        {
            (report.run)(&self.engine.status(now), self.engine.plan());
            *at = now + report.every;
        }
        if self.minutes.look(&mut self.engine, now) {
            self.inputs.look();
        }
        self.seconds.look(&self.engine, now);
        self.answer_metrics(now);
        self.notify_manager(now);
        self.engine.handle(Event::Tick, now);
        self.pour_taps();
        Ok(())
    }

    /// Takes batches from the receivers.
    fn receive(&mut self, now: Mono) {
        self.inputs.receive(&mut self.engine, now);
        if self.inputs.take_changed() {
            self.inputs.set_prompt(&self.engine.spooled_inputs());
            self.keep_sockets();
        }
        if self.inputs.take_ended() && !self.engine.is_ending() && self.engine.inputs_ended() {
            log::info!("all inputs have ended; shutting down");
            self.engine.terminate(now);
        }
    }

    /// Feeds the service manager's watchdog and reports the status.
    fn notify_manager(&mut self, now: Mono) {
        self.manager.feed(now);
        if self.manager.wants_status(now) {
            let figures = self.engine.figures();
            self.manager.status(&figures, now);
        }
    }

    /// Puts the sockets of all inputs into the service manager's store.
    fn keep_sockets(&mut self) {
        if !self.manager.is_there() {
            return;
        }
        let inputs = self.engine.inputs().into_iter();
        let sockets = inputs.map(|node| (self.engine.name_of(node), self.inputs.sockets_of(node)));
        self.manager.keep(sockets.collect());
    }

    fn dispatch(&mut self, event: &mio::event::Event, now: Mono) {
        let token = event.token();
        match token {
            WAKE => {}
            SIGNALS => self.signals.clear(),
            Token(at) if at < UDP_OUT => self.serve_control(token, now),
            Token(at) if at < CHILDREN => {
                self.engine.writable(self.udp.node_of(token).only_lane());
            }
            Token(at) if at >= LINKS => {
                let registry = self.poll.registry();
                self.links.ready(event, &mut self.engine, registry, now);
            }
            _ => match self.children.tokens.get(&token) {
                Some(&(lane, Pipe::In)) => self.children.has_room(lane, now),
                Some(&(lane, pipe)) => self.children.read(lane, pipe, &mut self.engine, now),
                None => {}
            },
        }
    }

    /// Carries out the engine's actions and writes waiting lines until nothing more can be done
    /// now.
    fn carry_out(&mut self, now: Mono) -> io::Result<()> {
        loop {
            while let Some(action) = self.engine.poll_action() {
                self.act(action, now)?;
            }
            let Some(lane) = self.engine.poll_ready() else {
                if self.children.write(&mut self.engine, now) {
                    continue;
                }
                return Ok(());
            };
            match self.engine.sink(lane) {
                Some(SinkKind::Child) => self.children.is_ready(lane),
                Some(SinkKind::Datagrams) => self.udp.write(lane, &mut self.engine, now),
                Some(SinkKind::Connection) => self.links.write(lane, &mut self.engine, now),
                // Those lanes are given jobs.
                Some(SinkKind::Jobs) | None => {}
            }
        }
    }

    fn act(&mut self, action: Action, now: Mono) -> io::Result<()> {
        match action {
            Action::Start(lane) => {
                self.children.start(lane, &mut self.engine, self.poll.registry(), now);
            }
            Action::CloseStdin(lane) => self.children.close_stdin(lane),
            Action::Terminate(lane) => self.children.signal(lane, Signal::SIGTERM),
            Action::Kill(lane) => self.children.signal(lane, Signal::SIGKILL),
            Action::Disk(job) => {
                if matches!(job.work, DiskWork::Close) {
                    self.readers.forget(job.node);
                }
                self.disk.submit(job)?;
            }
            Action::Read(job) => self.readers.submit(job)?,
            Action::Link(lane, command) => self.links.command(lane, command),
            Action::Report(loss) => self.losses.report(&loss, &self.engine, now),
            Action::Forget(node) => {
                self.udp.forget(node);
                self.links.forget(node);
            }
            Action::Completed { node, barrier } => self.inputs.completed(node, barrier),
            Action::Lost { node, barrier } => self.inputs.lost(node, barrier),
            Action::Resume { node, barrier, lasts } => self.inputs.answer(node, barrier, &lasts),
            Action::Kin { node, barrier, spools } => self.inputs.tell_kin(node, barrier, &spools),
            Action::Throttle(node, throttle) => self.inputs.throttle(node, throttle),
            Action::Wait(node, true) => self.inputs.hold(node),
            Action::Wait(node, false) => self.inputs.resume(node, &self.engine),
            // Nothing is taken from a paused receiver, so it waits by itself.
            Action::Pause(node) => {
                log::info!(
                    "{}: paused: a queue with when_full = \"block\" is full",
                    self.engine.name_of(node)
                );
                self.inputs.hold(node);
            }
            Action::Unpause(node) => {
                log::info!("{}: resumed", self.engine.name_of(node));
                self.inputs.resume(node, &self.engine);
                self.children.resume(node);
            }
        }
        Ok(())
    }

    // ---- signals and control

    fn obey_signals(&mut self, now: Mono) {
        if self.signals.child() {
            self.children.reap(&mut self.engine, now);
        }
        if self.signals.reload() {
            // The outcome is in the log.
            self.ask_reload(None, now);
        }
        if self.signals.end() {
            self.end(now);
        }
    }

    fn end(&mut self, now: Mono) {
        if self.engine.is_ending() {
            return;
        }
        log::info!("shutting down: closing inputs, draining queues");
        self.cancel_reload(now);
        self.manager.stopping();
        self.inputs.stop();
        self.engine.terminate(now);
    }
}
