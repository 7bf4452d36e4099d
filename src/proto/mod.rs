//! The protocols: a folder each, and the lists that name them.

pub mod relp;
pub mod tcp;

use crate::forward::client::{Client, Offer};
use crate::url::Protocol;

/// A client for a connection to a peer of this protocol.
pub fn client(protocol: Protocol, offer: Offer) -> Box<dyn Client> {
    match protocol {
        Protocol::Relp | Protocol::RelpTls => Box::new(relp::client::RelpClient::new(offer)),
        _ => Box::new(tcp::client::TcpClient::default()),
    }
}
