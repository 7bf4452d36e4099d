//! The order in which the hosts of a service are tried.

use std::net::SocketAddr;

use super::{Answer, Target, ask};
use crate::limits::{ADDRESSES_MAX, SERVICE_HOSTS_MAX};
use crate::url::resolve;

/// A place in the order of one priority. Sorted, such places are what RFC 2782 asks for: the chance
/// to be the first of those that are left is as the weight. Weight 0 has hardly any beside others.
pub fn place(weight: u16) -> f64 {
    -(1.0 - fastrand::f64()).ln() / f64::from(weight).max(0.001)
}

/// The hosts that an answer names, in an order drawn for once.
fn in_order(answer: Answer) -> Vec<Target> {
    let drawn = |target: Target| (target.priority, place(target.weight), target);
    let mut drawn: Vec<_> = answer.targets.into_iter().map(drawn).collect();
    drawn.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    drawn.into_iter().take(SERVICE_HOSTS_MAX).map(|(_, _, target)| target).collect()
}

/// Looks up a service and the addresses of its hosts, in the order in which to try them. Takes as
/// long as the servers and the resolver take.
///
/// # Errors
/// Why there is no address, in one sentence.
pub fn addresses(service: &str) -> Result<Vec<SocketAddr>, String> {
    let mut error = "DNS says that no host offers it".to_string();
    let mut addresses = Vec::new();
    for target in in_order(ask::look_up(service)?) {
        match resolve(&target.host, target.port) {
            Ok(found) => addresses.extend(found),
            Err(failed) => error = format!("{}: {failed}", target.host),
        }
    }
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() { Err(error) } else { Ok(addresses) }
}
