//! What can be read out of a line's bytes.

pub mod relp;
pub mod sequence;
