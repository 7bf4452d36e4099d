//! Where lines leave: queues, child processes as state machines, files, datagrams.

pub mod name;
