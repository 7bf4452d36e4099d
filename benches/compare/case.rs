//! The cases: which load, and what each is there to show.

use std::fmt;

use clap::ValueEnum;

/// What can be asked for with `--case`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CaseName {
    /// As fast as one core sends, with UDP GSO, into one file
    Flood,
    /// 150,000 lines/s, one a datagram, without GSO, into one file
    Steady,
    /// 50,000 lines/s into a pipe that never reads and, beside it, one that does
    Stalled,
    /// logweir alone, with 1, 10 and 100 outputs that each match a regex, 100,000 lines/s
    Regexes,
}

/// One load, and the case it belongs to.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: CaseName,
    pub(crate) lines: u64,
    /// Lines a second; none is as fast as it goes.
    pub(crate) rate: Option<u64>,
    /// Whether the sender hands the kernel many datagrams as one.
    pub(crate) gso: bool,
}

impl Case {
    /// The cases with these names, or all of them.
    pub(crate) fn chosen(names: &[CaseName], quick: bool, lines: Option<u64>) -> Vec<Self> {
        let names = if names.is_empty() { CaseName::value_variants() } else { names };
        names.iter().map(|&name| Self::new(name, quick, lines)).collect()
    }

    fn new(name: CaseName, quick: bool, lines: Option<u64>) -> Self {
        let (full, few, rate) = match name {
            CaseName::Flood => (2_000_000, 200_000, None),
            CaseName::Steady => (1_500_000, 150_000, Some(150_000)),
            CaseName::Stalled => (500_000, 50_000, Some(50_000)),
            CaseName::Regexes => (500_000, 50_000, Some(100_000)),
        };
        let lines = lines.unwrap_or(if quick { few } else { full });
        Self { name, lines, rate, gso: name == CaseName::Flood }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{:?}", self.name).to_lowercase();
        write!(f, "{name}: {} lines of {} bytes, ", self.lines, crate::load::LINE_BYTES)?;
        match self.rate {
            Some(rate) => write!(f, "{rate}/s")?,
            None => write!(f, "as fast as one core sends")?,
        }
        write!(f, ", one a datagram, {} GSO", if self.gso { "UDP" } else { "no" })
    }
}
