//! Losses: what each node loses, in episodes.
//!
//! An episode of a node and a cause begins with the first lost line and ends when nothing was lost
//! for [`LOSS_QUIET`]. It is reported when it begins, every [`LOSS_EVERY`] while it lasts, and when
//! it ends. The counts stay where they are, in the ledger and the input's counts; here they are
//! only compared with those of the last look, so a line costs nothing.

use std::sync::Arc;

use crate::clock::Mono;
use crate::ids::NodeId;
use crate::ledger::Reason;
use crate::limits::{LOSS_EVERY, LOSS_LATELY, LOSS_QUIET};

use super::cx::Cx;
use super::graph::Node;
use super::{Action, Engine};

/// What a node can lose, and what tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Lines were dropped for this reason.
    Dropped(Reason),
    /// The kernel dropped datagrams before they were received.
    Kernel,
    /// Lines were truncated.
    Oversize,
    /// Sequence numbers are missing: lines were lost before they came here.
    Sequence,
}

/// Every cause. Lines dropped at the end of the grace are logged by themselves; a duplicate is no
/// loss, nor is a repeat that a line counts.
const CAUSES: [Cause; 11] = [
    Cause::Dropped(Reason::QueueFull),
    Cause::Dropped(Reason::ChildGone),
    Cause::Dropped(Reason::Rate),
    Cause::Dropped(Reason::DiskError),
    Cause::Dropped(Reason::SendError),
    Cause::Dropped(Reason::SpoolFull),
    Cause::Dropped(Reason::Damaged),
    Cause::Dropped(Reason::Oversize),
    Cause::Kernel,
    Cause::Oversize,
    Cause::Sequence,
];

/// The cause of lines that are dropped unread: known at once, and counted by the output when it
/// comes to them.
const UNREAD: Cause = Cause::Dropped(Reason::SpoolFull);

/// What happens to the lines of a cause, by its word.
pub fn verb(cause: &str) -> &'static str {
    match cause {
        "kernel_drops" => "losing datagrams in the kernel",
        "oversize" => "truncating",
        "sequence_lost" => "missing lines of its senders",
        _ => "dropping",
    }
}

/// A count with commas and its unit, as in "206,735 lines".
pub fn amount(count: u64, unit: &str) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let unit = if count == 1 { unit.trim_end_matches('s') } else { unit };
    text + " " + unit
}

impl Cause {
    /// The word for it in the log, the metrics and `top`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dropped(reason) => reason.word(),
            Self::Kernel => "kernel_drops",
            Self::Oversize => "oversize",
            Self::Sequence => "sequence_lost",
        }
    }

    /// What is counted.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Kernel => "datagrams",
            _ => "lines",
        }
    }

    fn count(self, node: &Node) -> u64 {
        match self {
            Self::Dropped(reason) => node.ledger.dropped(reason).lines,
            Self::Kernel => node.counts.kernel_drops,
            Self::Oversize => node.counts.oversize,
            Self::Sequence => node.counts.sequence_lost,
        }
    }
}

/// An episode of losses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The node.
    pub id: NodeId,
    /// The node's name.
    pub node: Arc<str>,
    /// Why it lost lines.
    pub cause: Cause,
    /// How many, in [`Cause::unit`]s.
    pub count: u64,
    /// When the first was lost.
    pub began: Mono,
    /// When the last was lost.
    pub last: Mono,
    /// True once nothing was lost for [`LOSS_QUIET`], or the node is gone.
    pub ended: bool,
}

/// The episodes of one node.
#[derive(Debug, Default)]
pub(super) struct Losses {
    seen: [u64; CAUSES.len()],
    open: Vec<Open>,
    /// The episode that ended last.
    pub(super) past: Option<Loss>,
}

/// An episode that lasts.
#[derive(Debug)]
struct Open {
    loss: Loss,
    /// When it was last reported, if it was.
    reported: Option<Mono>,
    /// True if lines were lost since then.
    is_more: bool,
}

impl Open {
    fn deadline(&self) -> Mono {
        let ends = self.loss.last + LOSS_QUIET;
        let again = self.reported.map_or(self.loss.began, |at| at + LOSS_EVERY);
        if self.is_more && again < self.loss.last + LOSS_LATELY { again } else { ends }
    }

    /// Returns whether it is to be reported now. If nothing was lost lately, only its end is.
    fn is_due(&self, now: Mono) -> bool {
        let again = self.reported.is_none_or(|at| now >= at + LOSS_EVERY);
        self.loss.ended || self.is_more && again && now < self.loss.last + LOSS_LATELY
    }
}

impl Losses {
    /// The episodes that last.
    pub(super) fn open(&self) -> impl Iterator<Item = &Loss> {
        self.open.iter().map(|open| &open.loss)
    }

    /// When to look again if nothing is lost until then.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.open.iter().map(Open::deadline).min()
    }

    /// Enters what was lost since the last look.
    fn enter(&mut self, (id, name): (NodeId, &Arc<str>), cause: Cause, lost: u64, now: Mono) {
        if let Some(open) = self.open.iter_mut().find(|open| open.loss.cause == cause) {
            open.loss.count += lost;
            open.loss.last = now;
            open.is_more = true;
            return;
        }
        let (node, began, last, ended) = (Arc::clone(name), now, now, false);
        let loss = Loss { id, node, cause, count: lost, began, last, ended };
        self.open.push(Open { loss, reported: None, is_more: true });
    }

    /// Takes the episodes to report now; those that have ended are the node's no longer. All of
    /// them end if the node is `gone`.
    fn take_due(&mut self, gone: bool, now: Mono) -> Vec<Loss> {
        let mut due = Vec::new();
        self.open.retain_mut(|open| {
            open.loss.ended = gone || now >= open.loss.last + LOSS_QUIET;
            if open.is_due(now) {
                due.push(open.loss.clone());
                open.reported = Some(now);
                open.is_more = false;
            }
            !open.loss.ended
        });
        due
    }
}

impl Node {
    /// Compares the counts with those of the last look. Returns the episodes to report.
    fn look_for_losses(&mut self, id: NodeId, unread: Option<u64>, now: Mono) -> Vec<Loss> {
        for (at, cause) in CAUSES.into_iter().enumerate() {
            let mut count = cause.count(self);
            if cause == UNREAD {
                count += unread.unwrap_or(0);
            }
            // What was unread may turn out to have been read in time.
            let lost = count.saturating_sub(self.losses.seen[at]);
            if lost > 0 {
                self.losses.seen[at] = count;
                self.losses.enter((id, &self.name), cause, lost, now);
            }
        }
        let gone = unread.is_none();
        if self.losses.open.is_empty() { Vec::new() } else { self.losses.take_due(gone, now) }
    }

    /// What was reported here before this ledger has it, the node's successor does not report
    /// again.
    pub(super) fn hand_over_losses(&self, successor: &mut Self) {
        let Some(at) = CAUSES.iter().position(|cause| *cause == UNREAD) else { return };
        let reported = self.losses.seen[at].saturating_sub(UNREAD.count(self));
        successor.losses.seen[at] += reported;
        if successor.losses.past.is_none() {
            successor.losses.past.clone_from(&self.losses.past);
        }
    }
}

impl Engine {
    /// Reports the losses of a node that are due; all of them if it is gone. `unread` lines were
    /// dropped from its spool and are not in its ledger yet; `None` if it is gone.
    pub(super) fn report_losses(id: NodeId, node: &mut Node, unread: Option<u64>, cx: &mut Cx) {
        for loss in node.look_for_losses(id, unread, cx.now) {
            if loss.ended {
                node.losses.past = Some(loss.clone());
            }
            cx.act(Action::Report(loss));
        }
    }

    /// The episodes that last.
    pub fn open_losses(&self) -> impl Iterator<Item = &Loss> {
        self.graph.iter().flat_map(|(_, node)| node.losses.open())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FULL: Cause = Cause::Dropped(Reason::QueueFull);

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    /// What is reported at these seconds, where so many lines are lost: count, and whether the
    /// episode has ended.
    fn reported(history: &[(u64, u64)]) -> Vec<(u64, u64, bool)> {
        let (mut losses, name) = (Losses::default(), Arc::from("x"));
        let mut reports = Vec::new();
        for &(second, lost) in history {
            if lost > 0 {
                losses.enter((NodeId(1), &name), FULL, lost, at(second));
            }
            let due = losses.take_due(false, at(second));
            reports.extend(due.iter().map(|loss| (second, loss.count, loss.ended)));
        }
        reports
    }

    #[test]
    fn an_episode_is_reported_at_its_beginning_every_minute_and_at_its_end() {
        let every: Vec<_> = (100..=230).map(|second| (second, 2)).collect();
        let all: Vec<_> = every.into_iter().chain((231..400).map(|second| (second, 0))).collect();
        assert_eq!(
            reported(&all),
            [(100, 2, false), (160, 122, false), (220, 242, false), (290, 262, true)]
        );
    }

    #[test]
    fn the_end_alone_is_reported_where_nothing_was_lost_lately() {
        let history = |last: u64| {
            let lost = move |second| (second, u64::from(second == 100 || second == last));
            reported(&(100..=300).map(lost).collect::<Vec<_>>())
        };
        assert_eq!(history(105), [(100, 1, false), (165, 2, true)]);
        assert_eq!(history(155), [(100, 1, false), (160, 2, false), (215, 2, true)]);
    }

    #[test]
    fn a_single_loss_is_reported_twice_and_a_later_one_is_another_episode() {
        let rest = |from: u64, to: u64| (from..to).map(|second| (second, 0));
        let all: Vec<_> = std::iter::once((10, 7))
            .chain(rest(11, 200))
            .chain([(200, 1)])
            .chain(rest(201, 300))
            .collect();
        assert_eq!(
            reported(&all),
            [(10, 7, false), (70, 7, true), (200, 1, false), (260, 1, true)]
        );
    }

    #[test]
    fn the_deadline_is_that_of_the_next_report() {
        let (mut losses, name) = (Losses::default(), Arc::from("x"));
        assert_eq!(losses.deadline(), None);
        losses.enter((NodeId(1), &name), FULL, 1, at(100));
        losses.take_due(false, at(100));
        assert_eq!(losses.deadline(), Some(at(160)));
        losses.enter((NodeId(1), &name), Cause::Kernel, 1, at(130));
        losses.take_due(false, at(130));
        losses.enter((NodeId(1), &name), FULL, 1, at(140));
        losses.take_due(false, at(140));
        assert_eq!(losses.deadline(), Some(at(160)));
        assert_eq!(losses.take_due(false, at(160)).len(), 1);
        assert_eq!(losses.deadline(), Some(at(190)));
        assert_eq!(losses.take_due(true, at(161)).len(), 2, "its node is gone");
        assert_eq!(losses.deadline(), None);
    }
}
