//! The loop: joins the engine to sockets, children, the disk, signals and the control socket.
//!
//! One pass waits for readiness, hands everything that happened to the engine, then carries
//! out the engine's actions and writes to whoever has lines waiting. mio reports readiness
//! once, so what was not read to its end is kept in a list of its own and the next pass does
//! not wait.

mod admin;
pub mod children;
mod compress;
pub mod control;
pub mod disk;
pub mod door;
mod hand;
pub mod inherited;
pub mod links;
pub mod metrics;
mod notify;
pub mod readers;
pub mod receiver;
pub mod relp_in;
pub mod station;
pub mod syslog_in;
pub mod systemd;
pub mod tls;
pub mod transport;
pub mod udp_in;
pub mod udp_out;
pub mod unix_in;
mod usage;
pub mod wake;

use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::{Duration, SystemTime};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::sys::signal::Signal;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use crate::clock::{Clock, Mono, SystemClock};
use crate::config::plan::{
    BodyPlan, InputPlan, NodePlan, Plan, ServerTlsPlan, SourcePlan, SpoolPlan, TransportPlan,
};
use crate::engine::status::Status;
use crate::engine::{Action, DiskWork, Engine, Event, Ready, SpoolFound};
use crate::forward::deal::{lanes, reader};
use crate::fs::OsFs;
use crate::ids::NodeId;
use crate::limits;
use crate::metrics::{Pulse, Reloads};
use crate::spool::age::Now;
use crate::spool::recover::{self, Opened};

use children::{Children, Pipe};
use control::Control;
use disk::Disk;
use door::Bound;
use inherited::Inherited;
use links::Links;
use metrics::Metrics;
use readers::Readers;
use receiver::{DatagramSocket, Handle, Reply, Source};
use systemd::{Kept, Manager};
use tls::{ClientTls, ServerTls};
use udp_out::UdpOutputs;
use wake::Wake;

const WAKE: Token = Token(0);
const SIGNALS: Token = Token(1);
/// The control socket's tokens begin here: the listener, then its clients.
const CONTROL: usize = 2;
/// UDP outputs' tokens begin here, a node's at its id.
const UDP_OUT: usize = 1 << 32;
/// Children's tokens begin here.
const CHILDREN: usize = 1 << 40;
/// Forward outputs' tokens begin here, above all children's.
const LINKS: usize = 1 << 56;

/// Where a reload finds the new plan; an error is the whole report for the user.
pub type Reread = Box<dyn Fn() -> Result<Plan, String>>;

/// What is done with the state of the daemon.
pub type Tell = Box<dyn FnMut(&Status, &Plan)>;

/// Something to be done at intervals with the state of the daemon (udp2log's report).
pub struct Report {
    /// The interval.
    pub every: Duration,
    /// What to do.
    pub tell: Tell,
}

/// A daemon, ready to run.
pub struct Daemon {
    clock: SystemClock,
    poll: Poll,
    wake: Wake,
    engine: Engine,
    receivers: Vec<(NodeId, Handle)>,
    /// Inputs that are open but not read yet.
    opened: Vec<(String, InputPlan, Vec<Source>)>,
    children: Children,
    disk: Disk,
    readers: Readers,
    links: Links,
    /// Inputs that take no more lines, whose clients wait for their last answers.
    parting: Vec<(NodeId, Handle)>,
    udp: UdpOutputs,
    control: Option<Control>,
    metrics: Option<Metrics>,
    started: SystemTime,
    pulse: Pulse,
    reloads: Reloads,
    manager: Manager,
    signals: Signals,
    reread: Reread,
    report: Option<(Report, Mono)>,
    looked_at_pipes: Mono,
}

impl Daemon {
    /// Opens all inputs and the control socket. Nothing is read and no child is started.
    ///
    /// # Errors
    /// One sentence for the user: what cannot be opened, and why.
    pub fn open(plan: &Plan, reread: Reread) -> Result<Self, String> {
        let clock = SystemClock::new();
        let system =
            |error: io::Error| format!("the system refuses what every daemon needs: {error}");
        let poll = Poll::new().map_err(system)?;
        let wake = Wake::new(Waker::new(poll.registry(), WAKE).map_err(system)?);
        let signals = Signals::catch(&poll).map_err(system)?;
        let engine = Engine::new(plan, clock.mono())?;
        let mut manager = Manager::find();
        let mut inherited = Inherited::take(&mut manager);
        let mut opened = Vec::new();
        for (name, input) in inputs_of(plan) {
            let sockets = inherited_sockets(&mut inherited, input);
            let listener = input.source.listens_on().and_then(|at| inherited.listener(at));
            let sources = open_input(name, input, &sockets, listener)?;
            opened.push((name.to_string(), input.clone(), sources));
        }
        inherited.finish(&mut manager);
        let disk = Disk::new(wake.clone());
        let control = plan.daemon.control.as_deref().and_then(admin::listen);
        let control = control.map(|at| Control::new(at, poll.registry(), CONTROL, UDP_OUT));
        let control = control.transpose().map_err(system)?;
        let metrics = admin::open_metrics(&plan.daemon, &wake)?;
        let mut udp = UdpOutputs::new(UDP_OUT);
        for (node, to) in engine.udp_outputs() {
            udp.open(node, &to, poll.registry())?;
        }
        let mut links = Links::new(LINKS, wake.clone());
        for (node, tls) in client_tls(plan)? {
            if let Some(node) = engine.find(&node) {
                links.enter_tls(node, tls);
            }
        }
        let readers = Readers::new(wake.clone());
        let mut daemon = Self {
            clock,
            poll,
            wake,
            engine,
            receivers: Vec::new(),
            opened,
            children: Children::new(CHILDREN),
            disk,
            readers,
            links,
            parting: Vec::new(),
            udp,
            control,
            metrics,
            started: clock.wall(),
            pulse: Pulse::default(),
            reloads: Reloads::default(),
            manager,
            signals,
            reread,
            report: None,
            looked_at_pipes: Mono::default(),
        };
        daemon.open_spools()?;
        Ok(daemon)
    }

    /// Opens the spools that are not open yet.
    fn open_spools(&mut self) -> Result<(), String> {
        for (node, plan, readers) in self.engine.spools() {
            if self.disk.has(node) {
                continue;
            }
            let name = self.engine.name_of(node);
            let opened = open_spool(&name, &plan, &readers, self.clock)?;
            self.enter_spool(node, opened)?;
        }
        Ok(())
    }

    fn enter_spool(&mut self, node: NodeId, opened: Opened<OsFs>) -> Result<(), String> {
        let Opened { mut writer, cursors, .. } = opened;
        writer.set_readers(&self.engine.readers_named(node));
        let found = Box::new(SpoolFound {
            identity: writer.identity(),
            held: writer.held(),
            origins: writer.origins().into_iter().collect(),
            cursors: cursors.into_iter().collect(),
        });
        self.disk.take_spool(node, writer, self.clock).map_err(|error| error.to_string())?;
        let now = self.clock.mono();
        self.engine.handle(Event::SpoolOpened { node, found }, now);
        Ok(())
    }

    /// Has `report` told of the state at intervals.
    pub fn report(&mut self, report: Report) {
        let first = self.clock.mono() + report.every;
        self.report = Some((report, first));
    }

    /// Runs until a signal or the end of all inputs ends it, drains, and logs the final
    /// ledger.
    ///
    /// # Errors
    /// Only where the system refuses what no daemon can do without.
    pub fn run(mut self) -> io::Result<()> {
        for (name, plan, sources) in std::mem::take(&mut self.opened) {
            self.start_receivers(&name, &plan, sources)?;
        }
        self.carry_out(self.clock.mono())?;
        self.tell_receivers();
        let mut events = Events::with_capacity(256);
        let mut woken = self.clock.mono();
        log::info!("running: {} nodes", self.engine.plan().nodes.len());
        self.keep_sockets();
        self.manager.ready();
        loop {
            let now = self.clock.mono();
            self.carry_out(now)?;
            if self.engine.is_done() && self.children.is_empty() {
                break;
            }
            let wait = self.longest_wait();
            self.count_pass(woken);
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => done?,
            }
            woken = self.clock.mono();
            self.pass(&events, woken)?;
        }
        for (_, handle) in &mut self.parting {
            handle.join();
        }
        self.engine.end_taps("the daemon has ended");
        self.pour_taps();
        self.control = None;
        self.manager.part();
        self.engine.close_ledgers();
        let grace = self.engine.plan().daemon.grace.max(limits::CLOSE_LEAST);
        self.disk.finish(grace);
        Ok(())
    }

    fn longest_wait(&mut self) -> Option<Duration> {
        if !self.children.again.is_empty() || self.receivers_again() || self.links.has_more() {
            return Some(Duration::ZERO);
        }
        let report = self.report.as_ref().map(|(_, at)| *at);
        let pipes = !self.engine.with_unread().is_empty();
        let pipes = pipes.then(|| self.looked_at_pipes + limits::PIPES_EVERY);
        let unacknowledged = self.links.acknowledge_all(&mut self.engine, self.clock.mono());
        let own = report.into_iter().chain(pipes).chain(unacknowledged);
        let own = own.chain(self.manager.deadline());
        let next = self.engine.deadline().into_iter().chain(own).min()?;
        // Rounded up, for mio counts in milliseconds and must not wake just before.
        Some(next.since(self.clock.mono()) + Duration::from_micros(500))
    }

    /// Takes in everything that happened.
    fn pass(&mut self, events: &Events, now: Mono) -> io::Result<()> {
        self.wake.looked();
        for (proc, pipe) in std::mem::take(&mut self.children.again) {
            self.children.read(proc, pipe, &mut self.engine, now);
        }
        for event in events {
            self.dispatch(event, now);
        }
        if now.since(self.looked_at_pipes) >= limits::PIPES_EVERY {
            self.looked_at_pipes = now;
            self.children.look_at_pipes(&mut self.engine);
        }
        while let Some(event) = self.disk.done().or_else(|| self.readers.done()) {
            self.engine.handle(event, now);
        }
        self.links.look(&mut self.engine, self.poll.registry(), now);
        self.receive(now)?;
        self.obey_signals(now);
        if let Some((report, at)) = &mut self.report
            && now >= *at
        {
            (report.tell)(&self.engine.status(now), self.engine.plan());
            *at = now + report.every;
        }
        self.answer_metrics(now);
        self.tell_manager(now);
        self.engine.handle(Event::Tick, now);
        self.pour_taps();
        self.hold_back();
        Ok(())
    }

    /// Has receivers leave what comes in the kernel where something behind them has enough to do.
    fn hold_back(&self) {
        let held = self.engine.held_back();
        for (node, handle) in &self.receivers {
            handle.wishes.hold.store(held.contains(node), Ordering::Relaxed);
        }
    }

    /// Has receivers hand on at once what goes into a spool, and write what goes to one file.
    fn tell_receivers(&self) {
        let spooled = self.engine.spooled_inputs();
        for (node, handle) in &self.receivers {
            handle.wishes.prompt.store(spooled.contains(node), Ordering::Relaxed);
            let is_alone = self.receivers.iter().filter(|(other, _)| other == node).count() == 1;
            let file = self.engine.only_file(*node).filter(|_| is_alone);
            handle.wishes.set_station(file.and_then(|file| self.disk.station_of(file)));
        }
    }

    /// Tells the service manager that the loop goes round, and how things are.
    fn tell_manager(&mut self, now: Mono) {
        self.manager.feed(now);
        if self.manager.wants_status(now) {
            let figures = self.engine.figures();
            self.manager.status(&figures, now);
        }
    }

    /// Puts the sockets of all inputs into the service manager's store.
    fn keep_sockets(&mut self) {
        let inputs = inputs_of(self.engine.plan()).map(|(name, _)| name);
        self.manager.keep_only(&inputs.collect::<Vec<_>>());
        for node in self.engine.inputs() {
            let handles = self.receivers.iter().filter(|(of, _)| *of == node);
            let sockets = handles.flat_map(|(_, handle)| {
                let socket = handle.socket.as_ref().and_then(|s| s.try_clone().ok());
                let listener = handle.listener.as_ref().and_then(|l| l.try_clone().ok());
                socket.map(Kept::Datagrams).into_iter().chain(listener.map(Kept::Listener))
            });
            let sockets = sockets.collect();
            self.manager.keep(&self.engine.name_of(node), sockets);
        }
    }

    fn dispatch(&mut self, event: &mio::event::Event, now: Mono) {
        let token = event.token();
        match token {
            WAKE => {}
            SIGNALS => self.signals.clear(),
            Token(at) if at < UDP_OUT => self.serve_control(token, now),
            Token(at) if at < CHILDREN => {
                self.engine.udp_writable(self.udp.node_of(token));
            }
            Token(at) if at >= LINKS => self.links.ready(event, &mut self.engine, now),
            _ => match self.children.tokens.get(&token) {
                Some(&(proc, Pipe::In)) => self.engine.writable(proc),
                Some(&(proc, pipe)) => self.children.read(proc, pipe, &mut self.engine, now),
                None => {}
            },
        }
    }

    /// Carries out the engine's actions and writes what waits, until there is nothing left
    /// that can be done now.
    fn carry_out(&mut self, now: Mono) -> io::Result<()> {
        loop {
            while let Some(action) = self.engine.poll_action() {
                self.act(action, now)?;
            }
            let Some(ready) = self.engine.poll_ready() else { return Ok(()) };
            match ready {
                Ready::Child(proc) => self.children.write(proc, &mut self.engine, now),
                Ready::Udp(node) => self.udp.write(node, &mut self.engine),
                Ready::Lane(lane) => self.links.write(lane, &mut self.engine, now),
            }
        }
    }

    fn act(&mut self, action: Action, now: Mono) -> io::Result<()> {
        match action {
            Action::Start(proc) => {
                self.children.start(proc, &mut self.engine, self.poll.registry(), now);
            }
            Action::CloseStdin(proc) => self.children.close_stdin(proc),
            Action::Terminate(proc) => self.children.signal(proc, Signal::SIGTERM),
            Action::Kill(proc) => self.children.signal(proc, Signal::SIGKILL),
            Action::Disk(job) => {
                if matches!(job.work, DiskWork::Close) {
                    self.readers.forget(job.node);
                }
                self.disk.hand(job)?;
            }
            Action::Read(job) => self.readers.hand(job)?,
            Action::Link(lane, command) => self.links.command(lane, command),
            Action::Settled { node, ticket } => self.reply(node, || Reply::Settled(ticket)),
            Action::Tell { node, ticket, lasts } => {
                self.reply(node, || Reply::Tell(ticket, lasts.clone()));
            }
            // A paused receiver is not taken from, and so waits by itself.
            Action::Pause(node) => {
                log::info!("{}: waits, a queue that blocks is full", self.engine.name_of(node));
            }
            Action::Resume(node) => {
                log::info!("{}: goes on", self.engine.name_of(node));
                let engine = &self.engine;
                self.children.resume(|proc| engine.node_of(proc) == node);
            }
        }
        Ok(())
    }

    // ---- inputs

    /// Says something to the receiver of an input.
    fn reply(&self, node: NodeId, reply: impl Fn() -> Reply) {
        let of_node = self.receivers.iter().chain(&self.parting).filter(|(of, _)| *of == node);
        for (_, handle) in of_node {
            if let Some(replies) = &handle.replies {
                replies.say(reply());
            }
        }
    }

    /// A receiver will give no more. One with clients stays until these are answered.
    fn receiver_ended(&mut self, node: NodeId, mut handle: Handle) {
        if handle.replies.is_some() {
            self.parting.push((node, handle));
        } else {
            handle.join();
        }
    }

    fn start_receivers(
        &mut self,
        name: &str,
        plan: &InputPlan,
        sources: Vec<Source>,
    ) -> io::Result<()> {
        let Some(node) = self.engine.find(name) else { return Ok(()) };
        let name = Arc::from(name);
        for source in sources {
            let handle = receiver::start(&name, plan, source, self.wake.clone())?;
            self.receivers.push((node, handle));
        }
        Ok(())
    }

    /// Whether a receiver may have more than the last turn took.
    fn receivers_again(&self) -> bool {
        self.receivers.iter().any(|(node, handle)| handle.more && !self.engine.is_paused(*node))
    }

    /// Takes what the receivers have, a turn's worth each.
    fn receive(&mut self, now: Mono) -> io::Result<()> {
        let mut ended = Vec::new();
        for (at, (node, handle)) in self.receivers.iter_mut().enumerate() {
            handle.more = true;
            for _ in 0..limits::TURN {
                if self.engine.is_paused(*node) {
                    break;
                }
                match handle.received.try_recv() {
                    Ok(received) => {
                        handle.wishes.waiting.fetch_sub(1, Ordering::Relaxed);
                        take(&mut self.engine, *node, received, now);
                    }
                    Err(TryRecvError::Empty) => {
                        handle.more = false;
                        break;
                    }
                    Err(TryRecvError::Disconnected) => {
                        handle.more = false;
                        ended.push(at);
                        break;
                    }
                }
            }
        }
        for at in ended.into_iter().rev() {
            let (node, handle) = self.receivers.remove(at);
            self.receiver_ended(node, handle);
            if self.receivers.iter().all(|(other, _)| *other != node) {
                self.engine.handle(Event::InputEnded { node }, now);
            }
        }
        if !self.engine.is_ending() && self.engine.inputs_ended() {
            log::info!("all inputs have ended");
            self.engine.terminate(now);
        }
        Ok(())
    }

    // ---- signals and control

    fn obey_signals(&mut self, now: Mono) {
        if self.signals.child.swap(false, Ordering::AcqRel) {
            self.children.reap(&mut self.engine, now);
        }
        if self.signals.reload.swap(false, Ordering::AcqRel) {
            // What came of it is in the log.
            let _ = self.reload();
        }
        if self.signals.end.swap(false, Ordering::AcqRel) {
            self.end(now);
        }
    }

    fn end(&mut self, now: Mono) {
        if self.engine.is_ending() {
            return;
        }
        log::info!("ending: inputs are closed, queues are drained");
        self.manager.stopping();
        for (_, handle) in &mut self.receivers {
            handle.stop();
        }
        self.engine.terminate(now);
    }

    // ---- reload

    /// Reads the configuration again and puts it in force; refused, nothing changes. Files
    /// are reopened either way, as logrotate expects of SIGHUP.
    fn reload(&mut self) -> Result<(), String> {
        self.manager.reloading();
        self.engine.reopen();
        let done = (self.reread)().and_then(|plan| self.put_in_force(&plan));
        self.keep_sockets();
        self.manager.ready();
        self.reloads.last_refused = done.is_err();
        match &done {
            Ok(()) => {
                self.reloads.done += 1;
                log::info!("reloaded: {} nodes", self.engine.plan().nodes.len());
            }
            Err(error) => {
                self.reloads.refused += 1;
                log::error!("reload refused, the old configuration goes on:\n{error}");
            }
        }
        done
    }

    fn put_in_force(&mut self, plan: &Plan) -> Result<(), String> {
        if self.engine.is_ending() {
            return Err("the daemon is ending".into());
        }
        // All that can be refused comes first.
        let old = self.engine.plan().clone();
        Engine::new(plan, Mono::default())?;
        let is_new = |name: &str, input: &InputPlan| {
            !inputs_of(&old).any(|(other, before)| other == name && before == input)
        };
        let mut opened = Vec::new();
        for (name, input) in inputs_of(plan).filter(|(name, input)| is_new(name, input)) {
            let sockets = self.sockets_at(input).map_err(|error| error.to_string())?;
            let listener = self.listener_at(input).map_err(|error| error.to_string())?;
            let sources = open_input(name, input, &sockets, listener)?;
            opened.push((name.to_string(), input.clone(), sources));
        }
        let mut renewed = Vec::new();
        for (name, input) in inputs_of(plan).filter(|(name, input)| !is_new(name, input)) {
            if let Some(tls) = input.source.tls() {
                let said = |error| format!("input.{name}: tls: {error}");
                renewed.push((name, ServerTls::new(tls).map_err(said)?));
            }
        }
        let tls = client_tls(plan)?;
        let mut spools = Vec::new();
        for node in &plan.nodes {
            let BodyPlan::Spool(spool) = &node.body else { continue };
            let is_open = old.nodes.iter().any(|before| {
                let same_dir = |other: &SpoolPlan| other.dir == spool.dir;
                before.name == node.name
                    && matches!(&before.body, BodyPlan::Spool(other) if same_dir(other))
            });
            if !is_open {
                let readers = readers_of(plan, &node.name);
                spools.push((
                    node.name.clone(),
                    open_spool(&node.name, spool, &readers, self.clock)?,
                ));
            }
        }
        let mut udp = Vec::new();
        for node in &plan.nodes {
            if let BodyPlan::Udp(to) = &node.body {
                udp.push((node.name.clone(), udp_out::connect(&node.name, &to.to)?));
            }
        }
        let admin = self.open_admin(plan)?;

        self.use_admin(plan, admin);
        for (name, tls) in renewed {
            self.renew_tls(name, &tls);
        }
        self.close_inputs_not_in(plan);
        let now = self.clock.mono();
        self.engine.reload(plan, now)?;
        for (name, socket) in udp {
            if let Some(node) = self.engine.find(&name) {
                self.udp.keep_or_enter(node, socket, self.poll.registry())?;
            }
        }
        for (name, tls) in tls {
            if let Some(node) = self.engine.find(&name) {
                self.links.enter_tls(node, tls);
            }
        }
        for (name, opened) in spools {
            if let Some(node) = self.engine.find(&name) {
                self.enter_spool(node, opened)?;
            }
        }
        for (name, input, sources) in opened {
            self.start_receivers(&name, &input, sources).map_err(|error| error.to_string())?;
        }
        self.carry_out(now).map_err(|error| error.to_string())?;
        self.tell_receivers();
        Ok(())
    }

    /// Has an input that stays as it is meet new clients with what its files hold now.
    fn renew_tls(&self, input: &str, tls: &ServerTls) {
        let node = self.engine.find(input);
        for (_, handle) in self.receivers.iter().filter(|(of, _)| Some(*of) == node) {
            if let Some(before) = &handle.tls {
                before.renew(tls);
            }
        }
    }

    /// The sockets that are bound to the address of an input already, whatever its name.
    fn sockets_at(&self, input: &InputPlan) -> io::Result<Vec<DatagramSocket>> {
        let same = |node: &NodeId| {
            let name = self.engine.name_of(*node);
            inputs_of(self.engine.plan())
                .any(|(other, plan)| *other == *name && has_same_socket(plan, input))
        };
        let sockets = self.receivers.iter().filter(|(node, _)| same(node));
        sockets
            .filter_map(|(_, handle)| handle.socket.as_ref())
            .map(DatagramSocket::try_clone)
            .collect()
    }

    /// The listening socket that is bound to the address of an input already.
    fn listener_at(&self, input: &InputPlan) -> io::Result<Option<std::net::TcpListener>> {
        let Some(wanted) = input.source.listens_on() else { return Ok(None) };
        for (node, handle) in &self.receivers {
            let name = self.engine.name_of(*node);
            let same = inputs_of(self.engine.plan())
                .any(|(other, plan)| *other == *name && plan.source.listens_on() == Some(wanted));
            if let (true, Some(listener)) = (same, &handle.listener) {
                return listener.try_clone().map(Some);
            }
        }
        Ok(None)
    }

    /// Stops the inputs that are not in the new plan; what they had received goes through the
    /// old flow yet.
    fn close_inputs_not_in(&mut self, plan: &Plan) {
        let old = self.engine.plan().clone();
        let kept = |name: &str| {
            let find = |plan: &Plan| {
                inputs_of(plan).find(|(other, _)| *other == name).map(|(_, input)| input.clone())
            };
            find(plan).is_some() && find(plan) == find(&old)
        };
        let (stay, mut go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.receivers)
            .into_iter()
            .partition(|(node, _)| kept(&self.engine.name_of(*node)));
        self.receivers = stay;
        for (_, handle) in &mut go {
            handle.stop();
        }
        let now = self.clock.mono();
        for (node, handle) in go {
            // The thread was told to stop and ends within a read or two, unless it writes to a
            // disk that does not answer.
            let ended = loop {
                let received = match handle.received.recv_timeout(limits::RECV_ENDS) {
                    Ok(received) => received,
                    Err(error) => break error == RecvTimeoutError::Disconnected,
                };
                take(&mut self.engine, node, received, now);
                if let Err(error) = self.carry_out(now) {
                    log::error!("{error}");
                }
            };
            if !ended {
                let name = self.engine.name_of(node);
                log::error!("{name}: its disk does not answer; what it has received is lost");
                continue;
            }
            self.receiver_ended(node, handle);
        }
    }
}

/// Opens a spool and says what there is to say.
fn open_spool(
    name: &str,
    plan: &SpoolPlan,
    readers: &[String],
    clock: SystemClock,
) -> Result<Opened<OsFs>, String> {
    let now = Now { wall: clock.wall(), mono: clock.mono() };
    let opened = recover::open(OsFs, plan, readers, now)
        .map_err(|error| format!("spool of {name}: {error}"))?;
    for note in &opened.notes {
        log::warn!("{name}: {note}");
    }
    let held = opened.writer.held();
    let (lines, bytes) = (held.next - held.oldest, held.bytes);
    log::info!("{name}: {} holds {lines} lines, {bytes} bytes", plan.dir.display());
    Ok(opened)
}

/// The names of a spool's readers in a plan.
fn readers_of(plan: &Plan, spool: &str) -> Vec<String> {
    let takes = |node: &&NodePlan| node.from.iter().any(|from| from == spool);
    let mut names = Vec::new();
    for node in plan.nodes.iter().filter(takes) {
        match &node.body {
            BodyPlan::Forward(plan) => {
                names.extend((0..lanes(plan)).map(|lane| reader(&node.name, plan, lane)));
            }
            _ => names.push(node.name.clone()),
        }
    }
    names
}

/// What each forward output needs for TLS.
fn client_tls(plan: &Plan) -> Result<Vec<(String, Option<ClientTls>)>, String> {
    let mut tls = Vec::new();
    for node in &plan.nodes {
        if let BodyPlan::Forward(forward) = &node.body {
            tls.push((node.name.clone(), links::tls_of(&node.name, forward)?));
        }
    }
    Ok(tls)
}

fn take(engine: &mut Engine, node: NodeId, received: receiver::Received, now: Mono) {
    if received.counts != crate::input::InputCounts::default() {
        engine.handle(Event::Counts { node, counts: received.counts }, now);
    }
    if let Some(batch) = received.batch {
        engine.handle(Event::Lines { node, batch }, now);
    }
    if let Some((number, asks)) = received.ticket {
        engine.handle(Event::Ticket { node, number, asks }, now);
    }
}

fn inputs_of(plan: &Plan) -> impl Iterator<Item = (&str, &InputPlan)> {
    plan.nodes.iter().filter_map(|NodePlan { name, body, .. }| match body {
        BodyPlan::Input(input) => Some((name.as_str(), input)),
        _ => None,
    })
}

/// The sockets for an input's datagrams that the service manager handed over.
fn inherited_sockets(inherited: &mut Inherited, input: &InputPlan) -> Vec<DatagramSocket> {
    if let Some(udp) = input.source.udp() {
        return inherited.udp(udp.address);
    }
    match &input.source {
        SourcePlan::Syslog(syslog) => match &syslog.transport {
            TransportPlan::Unix(unix) => inherited.unix(&unix.path).into_iter().collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn open_input(
    name: &str,
    plan: &InputPlan,
    old: &[DatagramSocket],
    listener: Option<std::net::TcpListener>,
) -> Result<Vec<Source>, String> {
    match &plan.source {
        SourcePlan::Udp(udp) => datagrams(udp_in::open(name, "udp = \"", udp, old)?),
        SourcePlan::Relp(relp) => {
            let at = format!("input.{name}: relp = \"{}\"", relp.address);
            let bound = listen(&at, relp.address, (&relp.tls, relp.max_connections), listener)?;
            Ok(vec![Source::Relp(bound)])
        }
        SourcePlan::Syslog(syslog) => match &syslog.transport {
            TransportPlan::Udp(udp) => {
                datagrams(udp_in::open(name, "syslog = \"udp://", udp, old)?)
            }
            TransportPlan::Unix(unix) => match old.first() {
                Some(socket) => datagrams(vec![unix_in::keep(name, unix, socket)?]),
                None => datagrams(vec![unix_in::open(name, unix)?]),
            },
            TransportPlan::Tcp(tcp) => {
                let scheme = if tcp.tls.is_some() { "tls" } else { "tcp" };
                let at = format!("input.{name}: syslog = \"{scheme}://{}\"", tcp.address);
                let bound = listen(&at, tcp.address, (&tcp.tls, tcp.max_connections), listener)?;
                Ok(vec![Source::Syslog(bound)])
            }
        },
        SourcePlan::Stdin => {
            let stdin = io::stdin().as_fd().try_clone_to_owned();
            let stdin = stdin.map_err(|error| format!("input.{name}: stdin: {error}"))?;
            Ok(vec![Source::Stream(stdin.into(), None)])
        }
        SourcePlan::Fifo(path) => {
            let said = |error| format!("input.{name}: fifo = {:?}: {error}", path.display());
            let file = make_fifo(path).and_then(|()| receiver::open_fifo(path)).map_err(said)?;
            Ok(vec![Source::Stream(file, Some(path.clone()))])
        }
    }
}

fn datagrams(sockets: Vec<DatagramSocket>) -> Result<Vec<Source>, String> {
    Ok(sockets.into_iter().map(Source::Datagrams).collect())
}

/// Listens on an address, or goes on with a socket that does; `at` begins what is said where it
/// cannot.
fn listen(
    at: &str,
    address: SocketAddr,
    (tls, max_connections): (&Option<ServerTlsPlan>, usize),
    listener: Option<std::net::TcpListener>,
) -> Result<Bound, String> {
    let tls = tls.as_ref().map(ServerTls::new).transpose();
    let tls = tls.map_err(|error| format!("{at}: tls: {error}"))?;
    let listener = match listener {
        Some(listener) => listener,
        None => door::bind(address).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => {
                format!("{at}: the port is in use (see who has it with: ss -tlnp): {error}")
            }
            ErrorKind::PermissionDenied => {
                format!("{at}: ports below 1024 need CAP_NET_BIND_SERVICE: {error}")
            }
            _ => format!("{at}: {error}"),
        })?,
    };
    Ok(Bound { listener, tls, max_connections })
}

/// Whether two inputs have the same socket for datagrams.
fn has_same_socket(one: &InputPlan, other: &InputPlan) -> bool {
    if let (Some(one), Some(other)) = (one.source.udp(), other.source.udp()) {
        return one.address == other.address
            && one.multicast == other.multicast
            && one.interface == other.interface;
    }
    let path = |plan: &InputPlan| match &plan.source {
        SourcePlan::Syslog(syslog) => match &syslog.transport {
            TransportPlan::Unix(unix) => Some(unix.path.clone()),
            _ => None,
        },
        _ => None,
    };
    path(one).is_some() && path(one) == path(other)
}

/// Makes a FIFO where nothing is there.
fn make_fifo(path: &Path) -> io::Result<()> {
    match path.metadata() {
        Ok(data) if data.file_type().is_fifo() => Ok(()),
        Ok(_) => Err(io::Error::other("it exists and is no named pipe: remove it or name another")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mode = nix::sys::stat::Mode::from_bits_truncate(0o660);
            Ok(nix::unistd::mkfifo(path, mode)?)
        }
        Err(error) => Err(error),
    }
}

/// Signals, as flags that the loop looks at, and a pipe that wakes it.
struct Signals {
    end: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    child: Arc<AtomicBool>,
    woken: UnixStream,
}

impl Signals {
    fn catch(poll: &Poll) -> io::Result<Self> {
        let (mut woken, waker) = UnixStream::pair()?;
        poll.registry().register(&mut woken, SIGNALS, Interest::READABLE)?;
        let waker = std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(waker));
        let flag = Arc::<AtomicBool>::default;
        let (end, reload, child) = (flag(), flag(), flag());
        let wanted = [(SIGTERM, &end), (SIGINT, &end), (SIGHUP, &reload), (SIGCHLD, &child)];
        for (signal, flag) in wanted {
            // The flag first: when the pipe wakes the loop, it is set.
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Self { end, reload, child, woken })
    }

    fn clear(&mut self) {
        let mut chunk = [0; 64];
        while matches!(self.woken.read(&mut chunk), Ok(count) if count > 0) {}
    }
}
