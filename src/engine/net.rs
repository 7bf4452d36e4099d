//! UDP outputs: one line a datagram.

use crate::batch::Batch;
use crate::ids::NodeId;
use crate::ledger::Reason;
use crate::output::queue::Queue;

use super::{Body, Engine, Ready};

/// A UDP output.
#[derive(Debug)]
pub(super) struct UdpOut {
    pub(super) queue: Queue,
    listed: bool,
    blocked: bool,
}

impl UdpOut {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue, listed: false, blocked: false }
    }
}

impl Engine {
    pub(super) fn queue_for_udp(&mut self, to: NodeId, batch: Batch) {
        let Some(node) = &mut self.nodes[to.0 as usize] else { return };
        let Body::Udp(udp) = &mut node.body else { return };
        if let Err(left) = udp.queue.push(batch, &mut self.budget) {
            node.ledger.drop(Reason::QueueFull, left.lines, left.bytes);
        }
        self.list_udp(to);
    }

    pub(super) fn list_udp(&mut self, to: NodeId) {
        let Body::Udp(udp) = &mut self.node_mut(to).body else { return };
        if !udp.queue.is_empty() && !udp.blocked && !udp.listed {
            udp.listed = true;
            self.ready.push_back(Ready::Udp(to));
        }
    }

    /// The first lines that wait for a UDP output that was named as ready.
    pub fn datagrams(&mut self, from: NodeId) -> Option<Batch> {
        let Some(Some(node)) = self.nodes.get_mut(from.0 as usize) else { return None };
        let Body::Udp(udp) = &mut node.body else { return None };
        udp.listed = false;
        udp.queue.front().cloned()
    }

    /// What became of the first lines: `sent` bytes of lines went out, then `refused` bytes of
    /// lines were refused by the network and are given up.
    pub fn sent(&mut self, from: NodeId, sent: usize, refused: usize) {
        let Some(Some(node)) = self.nodes.get_mut(from.0 as usize) else { return };
        let Body::Udp(udp) = &mut node.body else { return };
        let done = udp.queue.advance(sent, &mut self.budget);
        let lost = udp.queue.advance(refused, &mut self.budget);
        self.settle(from.only_lane(), done, None);
        self.settle(from.only_lane(), lost, Some(Reason::SendError));
        self.list_udp(from);
    }

    /// The socket takes no more until [`Self::udp_writable`].
    pub fn udp_blocked(&mut self, from: NodeId) {
        if let Some(Some(node)) = self.nodes.get_mut(from.0 as usize)
            && let Body::Udp(udp) = &mut node.body
        {
            udp.blocked = true;
        }
    }

    /// The socket takes datagrams again.
    pub fn udp_writable(&mut self, from: NodeId) {
        if let Some(Some(node)) = self.nodes.get_mut(from.0 as usize)
            && let Body::Udp(udp) = &mut node.body
        {
            udp.blocked = false;
            self.list_udp(from);
        }
    }
}
