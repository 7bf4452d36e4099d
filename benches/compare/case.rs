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
    /// One stream into 1, 4, 10 and 40 pipes, beside a tee loop: 1,000,000 lines/s and as fast as
    /// one core sends, with GSO; the daemon and the readers have one core
    Fan,
    /// logweir alone, with 1, 10 and 100 outputs that each match a regex, 100,000 lines/s
    Regexes,
    /// logweir and rsyslog, each into the same rsyslog over RELP, at a rate and at full speed
    Relp,
    /// logweir to logweir and rsyslog to rsyslog over RELP, at full speed
    Pair,
    /// `logweir spool replay` and `cat | socat` into a TCP sink
    Replay,
    /// Followed files: at a rate and from a backlog beside rsyslog's imfile, a backlog of 2 GiB
    /// beside a bare read loop, and 10,000 idle files
    Tail,
    /// RFC 5424 over UDP into files by host and by severity: as fast as one core sends and
    /// 1,000,000 lines/s, with GSO, and 100,000 lines/s without
    SyslogUdp,
    /// RFC 5424 over 100 TCP connections (octet counting), at full speed, into one file; the
    /// daemon has one core
    SyslogTcp,
    /// Kills either end of a pair in the middle of a flow, and counts (not with --quick)
    Kills,
    /// A spool into six partitions of a real broker, beside kcat and rsyslog's omkafka
    KafkaOut,
    /// Six partitions of a real broker into a file, beside kcat and rsyslog's imkafka
    KafkaIn,
    /// Kills the daemon and brokers in the middle of a flow into three brokers, and counts (not
    /// with --quick)
    KafkaKills,
    /// logweir alone: its memory idle, in a flood, and with every output stalled, and the size of
    /// the binary; fails where one is more than it may be (not with --quick)
    Memory,
    /// logweir alone: a site of four hosts in namespaces, with trouble at random, whose every line
    /// is accounted for (--minutes; not with --quick)
    Soak,
}

impl CaseName {
    /// Whether one round says it all.
    pub(crate) fn is_no_figure(self) -> bool {
        matches!(self, Self::Kills | Self::KafkaKills | Self::Memory | Self::Soak)
    }
}

/// One load, and the case it belongs to.
#[derive(Clone, Copy, Debug)]
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
        let all = CaseName::value_variants().iter();
        let slow = |name: &CaseName| name.is_no_figure();
        let all: Vec<_> = all.copied().filter(|name| !quick || !slow(name)).collect();
        let names = if names.is_empty() { all } else { names.to_vec() };
        names.iter().flat_map(|&name| Self::loads(name, quick, lines)).collect()
    }

    /// The case's loads: one, but for RELP and for syslog over UDP.
    fn loads(name: CaseName, quick: bool, lines: Option<u64>) -> Vec<Self> {
        let case = Self::new(name, quick, lines);
        match name {
            CaseName::Relp => vec![Self { rate: Some(50_000), ..case }, case],
            CaseName::SyslogUdp => {
                let (flood, steady) = (Some(1_000_000), Some(100_000));
                let few = case.lines / 2;
                vec![
                    case,
                    Self { rate: flood, ..case },
                    Self { rate: steady, gso: false, lines: few, ..case },
                ]
            }
            _ => vec![case],
        }
    }

    fn new(name: CaseName, quick: bool, lines: Option<u64>) -> Self {
        let (full, few, rate) = match name {
            CaseName::Flood => (2_000_000, 200_000, None),
            CaseName::Steady => (1_500_000, 150_000, Some(150_000)),
            CaseName::Stalled => (500_000, 50_000, Some(50_000)),
            CaseName::Fan => (2_000_000, 100_000, None),
            CaseName::Regexes => (500_000, 50_000, Some(100_000)),
            CaseName::Relp => (500_000, 50_000, None),
            CaseName::Pair => (1_000_000, 100_000, None),
            CaseName::Replay => (4_000_000, 200_000, None),
            CaseName::Tail => (10_737_418, 500_000, None),
            CaseName::SyslogUdp => (2_000_000, 200_000, None),
            CaseName::SyslogTcp => (2_000_000, 100_000, None),
            CaseName::Kills => (600_000, 150_000, Some(50_000)),
            CaseName::KafkaOut | CaseName::KafkaIn => (2_000_000, 200_000, None),
            CaseName::KafkaKills => (600_000, 60_000, Some(8_000)),
            CaseName::Memory => (2_000_000, 500_000, None),
            // The time says how many.
            CaseName::Soak => (1, 1, None),
        };
        let lines = lines.unwrap_or(if quick { few } else { full });
        let gso = [CaseName::Flood, CaseName::Fan, CaseName::SyslogUdp, CaseName::Memory];
        let gso = gso.contains(&name);
        Self { name, lines, rate, gso }
    }

    /// Whether nothing of it may be lost: it comes in a stream, or at a pace.
    pub(crate) fn is_gentle(&self) -> bool {
        match self.name {
            CaseName::Steady | CaseName::SyslogTcp => true,
            CaseName::SyslogUdp => self.rate.is_some(),
            _ => false,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.to_possible_value();
        let name = name.as_ref().map_or("", |name| name.get_name());
        write!(f, "{name}: {} lines of {} bytes, ", self.lines, crate::load::LINE_BYTES)?;
        match self.rate {
            Some(rate) => write!(f, "{rate}/s")?,
            None if self.name == CaseName::Fan => write!(f, "at a rate and in a flood")?,
            None => write!(f, "as fast as it goes")?,
        }
        let udp = if self.gso { "UDP" } else { "no" };
        match self.name {
            CaseName::Relp | CaseName::Pair => {
                write!(f, ", in a stream (a named pipe for logweir, TCP for rsyslog)")
            }
            CaseName::Replay => write!(f, ", from a spool"),
            CaseName::KafkaOut => write!(f, ", into a topic"),
            CaseName::KafkaIn => write!(f, ", from a topic"),
            CaseName::KafkaKills => write!(f, ", into a file that is followed"),
            CaseName::Tail => write!(f, " or at a rate, from files"),
            CaseName::SyslogTcp => write!(f, ", over {} connections", crate::stream::CONNECTIONS),
            _ => write!(f, ", one a datagram, {udp} GSO"),
        }
    }
}
