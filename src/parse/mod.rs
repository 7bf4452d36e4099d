//! What can be read out of a line's bytes.

pub mod field;
pub mod framing;
pub mod glob;
pub mod sequence;
pub mod syslog;
