//! The only folder with `unsafe`: system calls that no dependency wraps soundly or at all. Every
//! function returns plain Rust types.
#![expect(unsafe_code, reason = "system calls; each block has its SAFETY comment")]

pub mod code;
pub mod inherit;
pub mod lease;
pub mod memory;
pub mod pipe;
pub mod process;
pub mod read;
pub mod recv;
pub mod send;
pub mod socket;
