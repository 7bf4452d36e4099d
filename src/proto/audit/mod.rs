//! What the daemon itself counts, as lines of JSON: one for each node and closed window
//! (logweir-audit(7)).

pub mod config;
mod lines;
mod source;
