//! The outputs' queues, child processes as state machines, and file names.

pub mod archive;
pub mod budget;
pub mod name;
pub mod open_files;
pub mod queue;
pub mod supervisor;
pub mod worker;
