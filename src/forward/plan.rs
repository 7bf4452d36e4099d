//! The peers of an output, as the configuration has them.

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
    /// What TLS needs, where a peer is reached through it.
    pub tls: ClientTlsPlan,
    /// What makes its clients.
    pub clients: Clients,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}

/// Which of several peers gets which lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BalancePlan {
    /// The first that answers gets all.
    Failover,
    /// They take turns.
    RoundRobin,
    /// The same key goes to the same peer.
    Hash {
        /// A field in braces, or a regex with one group, which is the key.
        key: String,
    },
}
