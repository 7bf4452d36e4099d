//! Newtypes for identifiers, so that one kind cannot be mistaken for another.

use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::time::SystemTime;

/// A node of the flow (an input, a filter, a spool or an output), for the life of the daemon.
///
/// A node keeps its id through a reload if its name and kind stay; ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// One lane of a node: a worker of a process, a file, a socket, a peer. A node with a single lane
/// has lane 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId {
    /// The output.
    pub node: NodeId,
    /// The lane's index, from 0.
    pub lane: u16,
}

impl NodeId {
    /// The lane of a node with a single lane.
    pub fn only_lane(self) -> LaneId {
        LaneId { node: self, lane: 0 }
    }
}

/// The identity of a spool: 128 random bits, generated once, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity([u8; 16]);

impl Identity {
    /// The identity with this number.
    pub const fn of(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    /// Its upper half, which says what kind of origin it is where origins are not random.
    pub fn kind(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Its lower half, which tells origins of one kind apart.
    pub fn part(self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// All identities of this kind.
    pub fn all_of(kind: u64) -> RangeInclusive<Self> {
        let first = u128::from(kind) << 64;
        Self::of(first)..=Self::of(first | u128::from(u64::MAX))
    }

    /// A new random identity.
    pub fn new() -> Self {
        // The standard library's hash maps are keyed with the system's randomness.
        let keyed = RandomState::new();
        let half = |which: u8| u128::from(keyed.hash_one((which, SystemTime::now())));
        Self::of(half(0) << 64 | half(1))
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Identity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match u128::from_str_radix(text, 16) {
            Ok(number) if digits && text.len() == 32 => Ok(Self::of(number)),
            _ => Err("a spool's identity has 32 hexadecimal digits"),
        }
    }
}
