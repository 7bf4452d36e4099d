//! Where lines leave: queues, child processes as state machines, files, datagrams.

pub mod archive;
pub mod file;
pub mod name;
pub mod open_files;
pub mod queue;
pub mod supervisor;
pub mod worker;
