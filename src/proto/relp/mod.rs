//! RELP: messages, each acknowledged once it is on disk.

pub mod input;
pub mod session;
pub mod wire;
