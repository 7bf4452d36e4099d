//! The loads of the fan: how many pipes, of which kinds, how fast.

use std::fmt;

/// What the pipes take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Every line, all of them.
    Equal,
    /// Every line, every tenth line, and what a regex finds, in turn.
    Mixed,
    /// Every line; the first one never reads.
    Stalled,
}

/// One load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) pipes: usize,
    pub(super) kind: Kind,
    /// Lines a second; none is as fast as one core sends.
    pub(super) rate: Option<u64>,
}

/// The selection of one pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    All,
    Tenth,
    Matching,
    /// All, but it never reads.
    Nothing,
}

impl Load {
    /// All loads, in the order of the table.
    pub(super) fn all() -> Vec<Self> {
        let fast = Some(1_000_000);
        let equal = |pipes, rate| Self { pipes, kind: Kind::Equal, rate };
        let mut loads: Vec<_> = [1, 4, 10, 40].map(|pipes| equal(pipes, fast)).to_vec();
        loads.extend([1, 4, 10, 40].map(|pipes| equal(pipes, None)));
        loads.push(Self { pipes: 10, kind: Kind::Mixed, rate: fast });
        loads.push(Self { pipes: 10, kind: Kind::Mixed, rate: None });
        loads.push(Self { pipes: 10, kind: Kind::Stalled, rate: Some(200_000) });
        loads
    }

    /// What the pipe of this number takes.
    pub(super) fn takes(&self, number: usize) -> Takes {
        match (self.kind, number) {
            (Kind::Stalled, 0) => Takes::Nothing,
            (Kind::Mixed, n) if n % 3 == 1 => Takes::Tenth,
            (Kind::Mixed, n) if n % 3 == 2 => Takes::Matching,
            _ => Takes::All,
        }
    }

    /// Whether the tee loop can do it.
    pub(super) fn suits_the_tee_loop(&self) -> bool {
        self.kind == Kind::Equal
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Equal => "equal",
            Kind::Mixed => "mixed",
            Kind::Stalled => "one stalled",
        };
        match self.rate {
            Some(rate) => write!(f, "{} {kind}, {rate}/s", self.pipes),
            None => write!(f, "{} {kind}, flood", self.pipes),
        }
    }
}
