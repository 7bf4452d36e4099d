//! Forwarding: what is sent to which peer, without sockets.
//!
//! [`client`] is the interface of a protocol; [`link`] manages the connections of any of them, with
//! its peers, their back-off, and the return to the first; [`partition`] decides which of several
//! peers gets which lines; [`service`] knows the hosts of a peer that is the name of a service. The
//! engine gives a link the lines of its queue and releases them when the link reports them
//! delivered; the driver moves bytes.

pub mod client;
pub mod link;
pub mod out;
pub mod partition;
pub mod plan;
pub mod service;
