//! Growing files, followed through rotation. Everything except the keys and the header of messages
//! is in [`crate::ingress::files`].

pub mod config;
mod headed;
