//! Tickets: what a client waits for that is answered only when its lines are on disk.
//!
//! A ticket is taken when lines of a client have entered the flow. It is settled when every
//! spool behind the input has made durable (or counted as dropped) all that had entered it by
//! then; queues are first in, first out, so a count is all there is to remember. An input
//! without a spool behind it has its tickets settled at once. Lines that a filter process
//! prints are lines of its own, and no ticket waits for them.

use std::collections::VecDeque;

use crate::ids::{Identity, NodeId};

use super::{Action, Body, Engine};

/// What the clients of one input wait for, oldest first.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    waiting: VecDeque<Ticket>,
}

#[derive(Debug)]
struct Ticket {
    number: u64,
    /// What each spool must have settled.
    marks: Vec<(NodeId, u64)>,
    /// The spool whose last line here is asked for.
    asks: Option<Identity>,
}

impl Engine {
    /// An input has handed in lines up to here, and a client waits for them under `number`,
    /// which only grows. `asks` is a spool whose last line on disk here it wants to know.
    pub(super) fn take_ticket(&mut self, input: NodeId, number: u64, asks: Option<Identity>) {
        let mut marks = Vec::new();
        for id in self.spools_behind(input) {
            if let Some(spool) = self.spool_mut(id) {
                let mark = spool.mark();
                spool.want(mark);
                marks.push((id, mark));
            }
        }
        let tickets = self.tickets.entry(input).or_default();
        tickets.waiting.push_back(Ticket { number, marks, asks });
        self.settle_tickets();
    }

    /// Tells of every ticket that is settled.
    pub(super) fn settle_tickets(&mut self) {
        let mut tickets = std::mem::take(&mut self.tickets);
        for (&node, tickets) in &mut tickets {
            let mut last = None;
            while let Some(ticket) = tickets.waiting.front()
                && ticket.marks.iter().all(|(id, mark)| {
                    // A spool that is gone has settled all it had.
                    self.spool(*id).is_none_or(|spool| spool.has_settled(*mark))
                })
            {
                last = Some(ticket.number);
                if let Some(asked) = ticket.asks {
                    let known = |(id, _): &(NodeId, u64)| {
                        self.spool(*id).and_then(|spool| spool.origins.get(&asked).copied())
                    };
                    let lasts = ticket.marks.iter().map(known).collect();
                    let ticket = ticket.number;
                    self.actions.push_back(Action::Tell { node, ticket, lasts });
                }
                tickets.waiting.pop_front();
            }
            if let Some(ticket) = last {
                self.actions.push_back(Action::Settled { node, ticket });
            }
        }
        self.tickets = tickets;
    }

    /// The spools that lines of `from` come to before any process.
    fn spools_behind(&self, from: NodeId) -> Vec<NodeId> {
        let mut found = self.ends_behind(from);
        found.retain(|id| matches!(self.node(*id).body, Body::Spool(_)));
        found
    }
}
