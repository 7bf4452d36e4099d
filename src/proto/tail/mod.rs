//! Growing files, followed through rotation. Everything except the keys is in
//! [`crate::ingress::files`].

pub mod config;
