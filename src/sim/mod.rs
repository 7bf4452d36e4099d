//! A simulated world for the engine: clock, children and disk are under the control of a test. Not
//! part of a release.

pub(crate) mod fs;
pub(crate) mod pair;
pub(crate) mod world;
