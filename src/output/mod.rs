//! Where lines leave: queues, child processes as state machines, files, datagrams.

pub mod file;
pub mod name;
pub mod queue;
pub mod supervisor;
