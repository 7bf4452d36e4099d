//! Two daemons and a connection between them: one forwards from its spool by RELP, the other has a
//! spool and a file downstream of its RELP input. Either machine can stop at any disk operation.

use std::time::Duration;

use super::fs::{Loss, SimFs};
use super::world::World;
use crate::batch::Inquiry;
use crate::engine::{Event, LinkEvent};
use crate::forward::link::Command;
use crate::ids::LaneId;
use crate::proto::relp::session::Session;

const SENDER: &str = r#"
[input.in]
udp = "127.0.0.1:1"
[output.hub]
from = "in"
forward = "relp://hub:1"
spool = { dir = "/spool", sync = "batch", segment = "64KiB", reserve = 0 }
"#;

/// Changes that reloads make to the sender, in turn: each one rebuilds its output.
const CHANGES: [(&str, &str); 4] = [
    ("forward =", "timeout = \"30s\"\nforward ="),
    ("\"relp://hub:1\"", "[\"relp://hub:1\", \"relp://other:1\"]"),
    ("forward =", "queue = \"1MiB\"\nforward ="),
    ("segment = \"64KiB\"", "segment = \"128KiB\""),
];

const RECEIVER: &str = r#"
[input.edge]
relp = "127.0.0.1:1"
[spool.hold]
from = "edge"
dir = "/hold"
segment = "64KiB"
sync = "batch"
reserve = 0
[output.f]
from = "hold"
file = "/log/NAME"
"#;

/// Two daemons.
pub(crate) struct Pair {
    pub(crate) sender: World,
    pub(crate) receiver: World,
    session: Option<Session>,
    lane: Option<LaneId>,
    barrier: u64,
    sender_text: String,
    receiver_text: String,
    /// True if syncs end only as time passes.
    slow_syncs: bool,
}

impl Pair {
    /// Both daemons on these disks; `name` is that of the final file.
    pub(crate) fn new(sender: SimFs, receiver: SimFs, name: &str) -> Self {
        let receiver_text = RECEIVER.replace("NAME", name);
        // A machine that stops while its daemon starts has lost nothing: it starts again.
        let start = |fs: SimFs, text| {
            World::on(fs.clone(), text)
                .unwrap_or_else(|_| World::on(fs.after_crash(Loss::All), text).unwrap())
        };
        Self {
            sender: start(sender, SENDER),
            sender_text: SENDER.into(),
            receiver: start(receiver, &receiver_text),
            receiver_text,
            session: None,
            lane: None,
            barrier: 0,
            slow_syncs: false,
        }
    }

    /// Reloads the sender with change `number` of its configuration.
    pub(crate) fn reload_sender(&mut self, number: usize) {
        let (before, after) = CHANGES[number % CHANGES.len()];
        self.sender_text = SENDER.replacen(before, after, 1);
        self.sender.reload(&self.sender_text);
    }

    /// Makes syncs end only as time passes, also on disks started later.
    pub(crate) fn slow_syncs(&mut self) {
        self.slow_syncs = true;
        self.sender.slow_syncs = true;
        self.receiver.slow_syncs = true;
    }

    /// Restarts the stopped machine with what `loss` has left.
    pub(crate) fn restart_stopped(&mut self, loss: Loss) -> bool {
        let mut any = false;
        if self.sender.fs.has_stopped() {
            self.session = None;
            self.lane = None;
            let fs = self.sender.fs.after_crash(loss);
            self.sender = World::on(fs, &self.sender_text).unwrap();
            self.sender.slow_syncs = self.slow_syncs;
            any = true;
        }
        if self.receiver.fs.has_stopped() {
            self.hang_up();
            self.receiver =
                World::on(self.receiver.fs.after_crash(loss), &self.receiver_text).unwrap();
            self.receiver.slow_syncs = self.slow_syncs;
            any = true;
        }
        any
    }

    fn hang_up(&mut self) {
        self.session = None;
        if let Some(lane) = self.lane.take() {
            let event = LinkEvent::Failed("hung up".into());
            self.sender.handle(Event::Link { lane, event });
        }
    }

    /// Lets time pass for both and handles everything that follows.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.sender.pass(time);
        self.receiver.pass(time);
        self.exchange();
    }

    /// Moves bytes in both directions until none are left.
    pub(crate) fn exchange(&mut self) {
        for _ in 0..1000 {
            let connected = self.commands();
            let sent = self.carry_to_receiver();
            let answered = self.carry_to_sender();
            if !connected && !sent && !answered {
                return;
            }
        }
        panic!("the two daemons never become idle");
    }

    fn commands(&mut self) -> bool {
        let Some((lane, command)) = self.sender.commands.pop_front() else { return false };
        match command {
            Command::Connect { url, .. } if self.receiver.fs.has_stopped() || url.host != "hub" => {
                let event = LinkEvent::Failed("connection refused".into());
                self.sender.handle(Event::Link { lane, event });
            }
            Command::Connect { .. } => {
                self.session = Some(Session::new(1000));
                self.lane = Some(lane);
                self.receiver.answers.clear();
                self.sender.handle(Event::Link { lane, event: LinkEvent::Connected });
            }
            Command::Disconnect if self.lane == Some(lane) => {
                self.session = None;
                self.lane = None;
            }
            Command::Disconnect | Command::NextAddress | Command::Probe(_) | Command::Find(_) => {}
        }
        true
    }

    fn carry_to_receiver(&mut self) -> bool {
        let (Some(session), Some(lane)) = (&mut self.session, self.lane) else { return false };
        let bytes: Vec<u8> = match self.sender.engine.out(lane) {
            Some(out) => out.pieces().iter().flat_map(|bytes| bytes.to_vec()).collect(),
            None => return false,
        };
        if bytes.is_empty() {
            return false;
        }
        session.push(&bytes).unwrap();
        self.sender.engine.wrote(lane, bytes.len());
        let node = self.receiver.engine.find("edge").unwrap();
        for piece in session.take_pieces() {
            let batch = piece.into_batch(&"edge".into(), self.receiver.minute().start());
            self.receiver.handle(Event::Lines { node, batch });
        }
        self.barrier += 1;
        session.sent(self.barrier);
        let origins = session.asks().into_iter().collect();
        let inquiry = Inquiry { origins, ..Inquiry::default() };
        self.receiver.handle(Event::Barrier { node, number: self.barrier, inquiry });
        self.sender.settle();
        true
    }

    fn carry_to_sender(&mut self) -> bool {
        let (Some(session), Some(lane)) = (&mut self.session, self.lane) else { return false };
        while let Some((_, lasts)) = self.receiver.answers.pop_front() {
            session.tell_last(&lasts[0]);
        }
        session.completed(self.receiver.completed);
        let bytes = std::mem::take(session.out());
        if bytes.is_empty() {
            return false;
        }
        let event = LinkEvent::Received(bytes);
        self.sender.handle(Event::Link { lane, event });
        true
    }

    /// The lines in the final files, file by file.
    pub(crate) fn received(&self) -> Vec<Vec<String>> {
        let files = self.receiver.fs.files().into_iter();
        let logs = files.filter(|(path, _)| path.starts_with("/log"));
        let lines = |bytes: Vec<u8>| -> Vec<String> {
            String::from_utf8(bytes).unwrap().lines().map(str::to_string).collect()
        };
        logs.map(|(_, bytes)| lines(bytes)).collect()
    }
}
