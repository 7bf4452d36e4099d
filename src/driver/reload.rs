//! Putting a configuration in force while the daemon runs.
//!
//! What touches files, looks names up or waits is done in a thread beside the loop: reading the
//! configuration and certificates, opening inputs and spools ([`prepare`]). When all of it went
//! well, the inputs that are gone are stopped, and the loop goes on taking what they had received
//! through the old flow. When the last of them has ended, the loop swaps the old flow for the new
//! one.
//!
//! Reloads that are asked for meanwhile become one that follows.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use mio::Token;

use super::control::{Control, Listening};
use super::inputs::Sockets;
use super::spool_folders::{self, LockedFolder};
use super::users::Users;
use super::{Daemon, admin, links};
use crate::clock::{Clock, Mono, SystemClock};
use crate::config::plan::{BodyPlan, DaemonPlan, InputPlan, NodePlan, Plan, SpoolPlan};
use crate::engine;
use crate::forward::partition::{lanes, reader};
use crate::fs::OsFs;
use crate::host;
use crate::ids::NodeId;
use crate::ingress::datagrams::DatagramSocket;
use crate::ingress::pending::{self, Pending};
use crate::ingress::told::Teller;
use crate::ingress::{Socket, Source};
use crate::limits;
use crate::logger;
use crate::net::tls::{ClientTls, ServerTls};
use crate::proto::traits::{Claim, Opening, SinkPlan};
use crate::spool::age::Now;
use crate::spool::recover::{self, Opened};

/// Where a reload finds the new plan; an error is the whole report for the user.
pub type Reread = Box<dyn Fn() -> Result<Plan, String> + Send + Sync>;

/// What is known before a plan is prepared.
pub(super) struct Before {
    /// The plan in force; without nodes at the start.
    pub(super) plan: Plan,
    /// Sockets that are bound already.
    pub(super) sockets: Sockets,
    /// Whether there is a control socket that can be reached.
    pub(super) has_control: bool,
    pub(super) clock: SystemClock,
    /// Where inputs learn what the daemon counts.
    pub(super) teller: Teller,
    /// Whether inputs that cannot be opened yet are tried again, as after a boot; otherwise the
    /// plan is refused.
    pub(super) patient: bool,
    /// The folders that spools of this daemon have locked.
    pub(super) locked: Vec<LockedFolder>,
}

/// A plan with all that it needs of the system, ready to be put in force.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    /// The flow, compiled; taken when it is put in force.
    pub(super) flow: Option<engine::Prepared>,
    inputs: Vec<OpenedInput>,
    /// Sockets of old inputs that no new one goes on with.
    surplus: Vec<DatagramSocket>,
    /// Certificates of inputs that stay as they are, read again.
    server_tls: Vec<(String, ServerTls)>,
    client_tls: Vec<(String, ClientTls)>,
    spools: Vec<(String, Opened<OsFs>)>,
    users: Users,
    pub(super) control: Option<Listening>,
}

/// An input that is open and not read yet.
pub(super) struct OpenedInput {
    name: String,
    claims: Vec<Claim>,
    sources: Vec<Box<dyn Source>>,
    /// Sockets that share the port of the old input. The kernel gives them a part of the datagrams
    /// from the moment they are bound.
    added: Vec<DatagramSocket>,
}

/// A plan that cannot be put in force.
pub(super) struct Refused {
    /// What is wrong, for the user.
    pub(super) error: String,
    /// Inputs that were opened.
    inputs: Vec<OpenedInput>,
}

impl From<String> for Refused {
    fn from(error: String) -> Self {
        Self { error, inputs: Vec::new() }
    }
}

/// The reload that is under way, and the one that follows.
#[derive(Default)]
pub(super) struct Reload {
    stage: Stage,
    /// Clients of the control socket that wait for its outcome.
    askers: Vec<Token>,
    /// Set where another one was asked for meanwhile: who waits for that.
    next: Option<Vec<Token>>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    /// The plan is prepared beside the loop.
    Preparing(Receiver<Result<Prepared, Refused>>),
    /// Inputs that are gone send what they have, until this time at the latest.
    Closing(Box<Prepared>, Mono),
}

impl Reload {
    /// When it goes on at the latest, whatever happens.
    pub(super) fn deadline(&self) -> Option<Mono> {
        match &self.stage {
            Stage::Closing(_, until) => Some(*until),
            _ => None,
        }
    }
}

/// Opens what a plan needs and what is not there before. Nothing of the daemon is changed.
///
/// # Errors
/// One sentence for the user: what cannot be opened, and why.
pub(super) fn prepare(plan: Plan, before: &Before) -> Result<Prepared, Refused> {
    host::ask();
    // What the engine refuses is known before anything is opened.
    let flow = Some(engine::Prepared::new(&plan)?);
    let mut prepared = Prepared {
        flow,
        inputs: Vec::new(),
        surplus: Vec::new(),
        server_tls: Vec::new(),
        client_tls: Vec::new(),
        spools: Vec::new(),
        users: Users::of(&plan),
        control: open_control(&plan.daemon, before)?,
        plan: Plan { daemon: plan.daemon.clone(), nodes: Vec::new() },
    };
    if let Err(error) = prepared.open_nodes(&plan, before) {
        return Err(Refused { error, inputs: prepared.inputs });
    }
    prepared.plan = plan;
    Ok(prepared)
}

impl Prepared {
    /// Opens what is not there before; the inputs last, for datagrams come to them at once.
    fn open_nodes(&mut self, plan: &Plan, before: &Before) -> Result<(), String> {
        let old: HashMap<&str, &NodePlan> =
            before.plan.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
        let was = |node: &NodePlan| old.get(node.name.as_str()).map(|before| &before.body);
        let readers = readers_by_spool(plan);
        let state = super::state_folder(&plan.daemon);
        let is_input = |node: &&NodePlan| matches!(node.body, BodyPlan::Input(_));
        let rest = plan.nodes.iter().filter(|node| !is_input(node));
        for node in rest.chain(plan.nodes.iter().filter(is_input)) {
            let name = || node.name.clone();
            match &node.body {
                BodyPlan::Input(input) if was(node) == Some(&node.body) => {
                    if let Some(tls) = input.source.tls() {
                        let said = |error| format!("input.{}: tls: {error}", node.name);
                        self.server_tls.push((name(), ServerTls::new(tls).map_err(said)?));
                    }
                }
                BodyPlan::Input(input) => {
                    self.open_input(&node.name, (input, state.as_deref()), before)?;
                }
                BodyPlan::Spool(spool) => {
                    let same = |other: &SpoolPlan| other.dir == spool.dir;
                    if !matches!(was(node), Some(BodyPlan::Spool(other)) if same(other)) {
                        let readers = readers.get(node.name.as_str()).cloned().unwrap_or_default();
                        let opened = open_spool((&node.name, spool), &readers, before)?;
                        self.spools.push((name(), opened));
                    }
                }
                body => {
                    if let Some(forward) = body.forward() {
                        let tls = links::tls_of(&node.name, forward)?;
                        self.client_tls.extend(tls.map(|tls| (name(), tls)));
                    }
                }
            }
        }
        Ok(())
    }

    fn open_input(
        &mut self,
        name: &str,
        (input, state): (&InputPlan, Option<&Path>),
        before: &Before,
    ) -> Result<(), String> {
        let protocol = &input.source;
        let claims = protocol.claims();
        let there = claims.iter().flat_map(|claim| before.sockets.get(claim).into_iter().flatten());
        let sockets = there.map(|socket| socket.try_clone()).collect::<Result<_, _>>();
        let sockets = sockets.map_err(|error| format!("input.{name}: {error}"))?;
        let place = Place { state, teller: &before.teller };
        let mut opening = opening_of(name, input, sockets, &place);
        let sources = match protocol.open(&mut opening) {
            Ok(sources) => sources,
            Err(error) if before.patient && error.may_pass() => {
                log::warn!("{error}");
                vec![Box::new(Pending::new(open_later(name, input, &place), error))
                    as Box<dyn Source>]
            }
            Err(error) => return Err(error.to_string()),
        };
        self.surplus.append(&mut opening.surplus);
        let (name, added) = (name.to_string(), opening.added);
        self.inputs.push(OpenedInput { name, claims, sources, added });
        Ok(())
    }
}

/// What inputs find at the daemon.
struct Place<'p> {
    /// The folder for what outlives a restart.
    state: Option<&'p Path>,
    teller: &'p Teller,
}

/// Opens an input that could not be opened before.
fn open_later(name: &str, input: &InputPlan, place: &Place<'_>) -> pending::Open {
    let (name, input, teller) = (name.to_string(), input.clone(), place.teller.clone());
    let state = place.state.map(Path::to_path_buf);
    Box::new(move || {
        let place = Place { state: state.as_deref(), teller: &teller };
        input.source.open(&mut opening_of(&name, &input, Vec::new(), &place))
    })
}

/// What an input is opened with.
fn opening_of<'o>(
    name: &'o str,
    input: &InputPlan,
    sockets: Vec<Socket>,
    place: &Place<'o>,
) -> Opening<'o> {
    let (max_line, sequence, state) = (input.max_line, input.sequence, place.state);
    let (surplus, added, teller) = (Vec::new(), Vec::new(), place.teller.clone());
    Opening { name, max_line, sequence, state, sockets, surplus, teller, added }
}

/// Makes the control socket where it is to be elsewhere. What could not be had before is tried
/// again, and refuses nothing now either; nor is anything refused for it at the start.
fn open_control(new: &DaemonPlan, before: &Before) -> Result<Option<Listening>, String> {
    let Some(path) = &new.control else { return Ok(None) };
    if before.plan.daemon.control != new.control {
        let refused = |error| format!("daemon.control = {path:?}: {error}");
        return Listening::open(path).map(Some).map_err(refused);
    }
    Ok(if before.has_control { None } else { admin::listen(path) })
}

/// Opens a spool and says what there is to say.
fn open_spool(
    (name, plan): (&str, &SpoolPlan),
    readers: &[String],
    before: &Before,
) -> Result<Opened<OsFs>, String> {
    let now = Now { wall: before.clock.wall(), mono: before.clock.mono() };
    let opened = spool_folders::wait_until_free(&plan.dir, &before.locked)
        .and_then(|()| recover::open(OsFs, plan, readers, now))
        .map_err(|error| format!("spool of {name}: {error}"))?;
    for note in &opened.notes {
        log::warn!("{name}: {note}");
    }
    let held = opened.writer.held();
    let (lines, bytes) = (held.next - held.oldest, held.bytes);
    log::info!("{name}: {} holds {lines} lines, {bytes} bytes", plan.dir.display());
    Ok(opened)
}

/// The names of all spools' readers in a plan.
fn readers_by_spool(plan: &Plan) -> HashMap<&str, Vec<String>> {
    let is_spool = |node: &&NodePlan| matches!(node.body, BodyPlan::Spool(_));
    let spools = plan.nodes.iter().filter(is_spool).map(|node| (node.name.as_str(), Vec::new()));
    let mut readers: HashMap<&str, Vec<String>> = spools.collect();
    for node in &plan.nodes {
        for from in &node.from {
            let Some(readers) = readers.get_mut(from.as_str()) else { continue };
            match node.body.forward() {
                Some(plan) => {
                    readers.extend((0..lanes(plan)).map(|lane| reader(&node.name, plan, lane)));
                }
                None => readers.push(node.name.clone()),
            }
        }
    }
    readers
}

impl Daemon {
    /// Asks for a reload; `asker` is told what came of it. One that is under way may have read
    /// the configuration already, so another one follows.
    pub(super) fn ask_reload(&mut self, asker: Option<Token>, now: Mono) {
        match self.reload.stage {
            Stage::Idle => {
                self.reload.askers = asker.into_iter().collect();
                self.begin_reload(now);
            }
            _ => self.reload.next.get_or_insert_default().extend(asker),
        }
    }

    /// Has the new configuration read and prepared. Files are reopened either way, as logrotate
    /// expects of SIGHUP.
    fn begin_reload(&mut self, now: Mono) {
        self.manager.reloading();
        self.engine.reopen();
        self.inputs.look();
        let patience = self.engine.plan().daemon.grace + limits::SPOOL_CLOSES;
        let before = Before {
            plan: self.engine.plan().clone(),
            sockets: self.inputs.sockets(),
            has_control: self.control.as_ref().is_some_and(Control::is_at_its_path),
            clock: self.clock,
            teller: self.teller.clone(),
            patient: false,
            locked: self.disk.folders().locked(&self.engine, patience),
        };
        let (done, prepared) = channel();
        let (reread, wake) = (Arc::clone(&self.reread), self.wake.clone());
        let work = move || {
            let outcome = reread().map_err(Refused::from);
            let outcome = outcome.and_then(|plan| prepare(plan, &before));
            // The daemon may be ending; then all that was opened is closed here.
            let _ = done.send(outcome);
            wake.wake();
        };
        match std::thread::Builder::new().name("reload".into()).spawn(work) {
            Ok(_) => self.reload.stage = Stage::Preparing(prepared),
            Err(error) => self.end_reload(Err(format!("no thread for it: {error}")), now),
        }
    }

    /// Goes on with the reload that is under way, as far as it goes now.
    pub(super) fn go_on_with_reload(&mut self, now: Mono) {
        match std::mem::take(&mut self.reload.stage) {
            Stage::Idle => {}
            Stage::Preparing(prepared) => match prepared.try_recv() {
                Ok(Ok(opened)) if self.engine.is_ending() => {
                    drop(opened);
                    self.end_reload(Err("the daemon is ending".into()), now);
                }
                Ok(Ok(prepared)) => self.close_what_goes(Box::new(prepared), now),
                Ok(Err(Refused { error, inputs })) => {
                    self.empty_added(inputs);
                    self.end_reload(Err(error), now);
                }
                Err(TryRecvError::Empty) => self.reload.stage = Stage::Preparing(prepared),
                Err(TryRecvError::Disconnected) => {
                    self.end_reload(Err("its thread has ended".into()), now);
                }
            },
            Stage::Closing(prepared, until) => {
                let closing = self.inputs.closing();
                if !closing.is_empty() && now < until {
                    self.reload.stage = Stage::Closing(prepared, until);
                    return;
                }
                for node in closing {
                    let name = self.engine.name_of(node);
                    log::error!("{name}: a receiver does not end; the reload goes on without it");
                }
                self.inputs.leave_closing(&self.engine);
                let done = self.swap(*prepared, now);
                self.end_reload(done, now);
            }
        }
    }

    /// All is prepared. What can be refused now is the port of the metrics; then the inputs are
    /// stopped that the new plan does not have.
    fn close_what_goes(&mut self, mut prepared: Box<Prepared>, now: Mono) {
        let opened = match self.open_metrics(&prepared.plan) {
            Ok(opened) => opened,
            Err(error) => {
                self.empty_added(std::mem::take(&mut prepared.inputs));
                // What was opened is closed before the answer says that nothing has changed.
                drop(prepared);
                return self.end_reload(Err(error), now);
            }
        };
        self.use_admin(&prepared.plan, prepared.control.take(), opened);
        let kept: HashMap<&str, &BodyPlan> =
            inputs_of(&prepared.plan).map(|node| (node.name.as_str(), &node.body)).collect();
        let goes = |node: &&NodePlan| kept.get(node.name.as_str()) != Some(&&node.body);
        let going: HashSet<&str> =
            inputs_of(self.engine.plan()).filter(goes).map(|node| node.name.as_str()).collect();
        let inputs = self.engine.inputs().into_iter();
        let going: HashSet<NodeId> =
            inputs.filter(|node| going.contains(&*self.engine.name_of(*node))).collect();
        for socket in &prepared.surplus {
            socket.leave_group();
        }
        self.inputs.close(&going);
        self.reload.stage = Stage::Closing(prepared, now + limits::RECV_ENDS);
        self.go_on_with_reload(now);
    }

    /// The plan is refused: the old input takes what has come to new sockets that share its port.
    fn empty_added(&mut self, inputs: Vec<OpenedInput>) {
        let names = self.engine.names();
        for input in inputs.into_iter().filter(|input| !input.added.is_empty()) {
            input.added.iter().for_each(DatagramSocket::leave_group);
            let Some(node) = names.get(input.name.as_str()) else { continue };
            if let Err(error) = self.inputs.empty((*node, &input.name), input.sources) {
                log::error!("input.{}: what came to its new sockets is lost: {error}", input.name);
            }
        }
    }

    /// Puts the new plan in force.
    fn swap(&mut self, mut prepared: Prepared, now: Mono) -> Result<(), String> {
        if let Some(flow) = prepared.flow.take() {
            self.engine.apply(flow, now);
        }
        self.inputs.adopt_late(&self.engine);
        let inputs = self.enter(prepared, now)?;
        self.start_inputs(inputs)?;
        self.carry_out(now).map_err(|error| error.to_string())?;
        self.inputs.set_prompt(&self.engine.spooled_inputs());
        Ok(())
    }

    /// Gives the nodes of the plan in force what was opened for them; the inputs, which are still
    /// to be started.
    ///
    /// # Errors
    /// The system's, where it has no thread or descriptor for one.
    pub(super) fn enter(
        &mut self,
        prepared: Prepared,
        now: Mono,
    ) -> Result<Vec<OpenedInput>, String> {
        self.children.users.extend(prepared.users);
        let names = self.engine.names();
        let found = |name: &str| names.get(name).copied();
        for (name, tls) in &prepared.server_tls {
            found(name).into_iter().for_each(|node| self.inputs.renew_tls(node, tls));
        }
        for node in &prepared.plan.nodes {
            if let Some(SinkPlan::Datagrams { to }) = node.body.sink()
                && let Some(id) = found(&node.name)
            {
                self.udp.enter(id, self.engine.name_of(id), to, now);
            }
        }
        for (name, tls) in prepared.client_tls {
            if let Some(node) = found(&name) {
                self.links.enter_tls(node, tls);
            }
        }
        self.engine.retry_connections(now);
        for (name, opened) in prepared.spools {
            if let Some(node) = found(&name) {
                self.enter_spool(node, opened, now)?;
            }
        }
        Ok(prepared.inputs)
    }

    /// Has inputs read from now on.
    ///
    /// # Errors
    /// The system's, where it has no thread or descriptor for one.
    pub(super) fn start_inputs(&mut self, inputs: Vec<OpenedInput>) -> Result<(), String> {
        let names = self.engine.names();
        for OpenedInput { name, claims, sources, .. } in inputs {
            if let Some(node) = names.get(name.as_str()) {
                let started = self.inputs.start((*node, &name), claims, sources);
                started.map_err(|error| format!("input.{name}: {error}"))?;
            }
        }
        Ok(())
    }

    /// Says what came of a reload, and begins the next one where there is to be one.
    fn end_reload(&mut self, done: Result<(), String>, now: Mono) {
        self.reload.stage = Stage::Idle;
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
                log::error!("reload refused, the old configuration goes on:");
                logger::lines(log::Level::Error, error);
            }
        }
        for asker in std::mem::take(&mut self.reload.askers) {
            self.answer_control(asker, done.clone().map(|()| b"null".to_vec()), now);
        }
        if let Some(askers) = self.reload.next.take() {
            self.reload.askers = askers;
            if self.engine.is_ending() {
                return self.end_reload(Err("the daemon is ending".into()), now);
            }
            self.begin_reload(now);
        }
    }

    /// The daemon ends: no reload comes about.
    pub(super) fn cancel_reload(&mut self, now: Mono) {
        if let Stage::Idle = self.reload.stage {
            return;
        }
        self.inputs.keep_closing(&mut self.engine, now);
        self.end_reload(Err("the daemon is ending".into()), now);
    }
}

fn inputs_of(plan: &Plan) -> impl Iterator<Item = &NodePlan> {
    plan.nodes.iter().filter(|node| matches!(node.body, BodyPlan::Input(_)))
}

/// What a plan's inputs claim.
pub(super) fn claims_of(plan: &Plan) -> impl Iterator<Item = Claim> {
    plan.nodes.iter().flat_map(|node| match &node.body {
        BodyPlan::Input(input) => input.source.claims(),
        _ => Vec::new(),
    })
}
