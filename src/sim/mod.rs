//! A world for the engine: a clock, children and a disk that a test decides over. Never part
//! of a release.

pub(crate) mod fs;
pub(crate) mod pair;
pub(crate) mod world;
