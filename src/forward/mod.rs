//! Forwarding: what is said to a peer, and which peer it is said to, without sockets.
//!
//! [`relp`] and [`stream`] are the two protocols; [`link`] is one connection's worth of either,
//! with the peers it may go to, their back-off, and the way back to the first; [`partition`] says
//! which of several peers gets which lines. The engine gives a link the lines of its queue and
//! lets go of them when the link says that the peer has them; the driver moves bytes.

pub mod link;
pub mod out;
pub mod partition;
pub mod relp;
pub mod stream;
