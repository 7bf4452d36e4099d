//! Newtypes for the numbers that name things, so that one is never taken for another.

/// A node of the flow (an input, a filter or an output) for the life of the daemon.
///
/// A node keeps its id through a reload when its name and kind stay; ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// One copy of a child process slot (a `run` with `workers = 4` has four); never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcId(pub u32);
