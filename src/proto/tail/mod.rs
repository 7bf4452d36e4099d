//! Files that grow, followed through rotation. All of it but the keys is in [`crate::ingress::files`].

pub mod config;
