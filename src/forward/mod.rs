//! Forwarding: what is said to a peer, and which peer it is said to, without sockets.
//!
//! [`client`] is what a protocol implements; [`link`] is one connection's worth of any of them,
//! with the peers it may go to, their back-off, and the way back to the first; [`partition`] says
//! which of several peers gets which lines. The engine gives a link the lines of its queue and
//! lets go of them when the link says that the peer has them; the driver moves bytes.

pub mod client;
pub mod link;
pub mod out;
pub mod partition;
pub mod plan;
