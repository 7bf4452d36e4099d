//! The peers of an output, as configured.

use std::time::Duration;

use super::client::Clients;
use crate::format::plan::FormatPlan;
use crate::net::plan::ClientTlsPlan;
use crate::url::Url;

/// An output to other hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardPlan {
    /// The peers, in the order of the configuration.
    pub peers: Vec<Url>,
    /// Which of them gets which lines.
    pub balance: BalancePlan,
    /// How lines are written.
    pub format: FormatPlan,
    /// How long a peer may leave everything unanswered.
    pub timeout: Duration,
    /// The TLS settings, for peers that use it.
    pub tls: ClientTlsPlan,
    /// What makes its clients.
    pub clients: Clients,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}

/// How lines are distributed over several peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BalancePlan {
    /// The first peer that answers gets everything.
    Failover,
    /// The peers take turns.
    RoundRobin,
    /// The same key goes to the same peer.
    Hash {
        /// A field in braces, or a regex with one group, which is the key.
        key: String,
    },
}
