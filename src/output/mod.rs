//! Where lines leave: queues, child processes as state machines, the names of files.

pub mod archive;
pub mod budget;
pub mod name;
pub mod open_files;
pub mod queue;
pub mod supervisor;
pub mod worker;
