//! Parsing the bytes of a line.

pub mod field;
pub mod framing;
pub mod glob;
pub mod sequence;
pub mod syslog;
