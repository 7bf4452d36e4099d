//! The plan: the whole configuration, checked, with every default filled in.
//!
//! It can represent only what the checks accept, so that the engine and the driver need no error
//! path for a wrong configuration. Plans compare by value: a reload keeps whatever is equal in the
//! old and the new one.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::filter::plan::{
    FieldPlan, RatePlan, SampleMode, SamplePlan, SelectPlan, Wanted, Words,
};
pub use crate::format::plan::{FormatPlan, Shape};
pub use crate::forward::plan::{BalancePlan, ForwardPlan};
use crate::fs::Fs;
pub use crate::logger::Verbosity;
pub use crate::net::peers::PeerName;
pub use crate::net::plan::{ClientTlsPlan, ServerTlsPlan};
use crate::output::worker::{Worker, Workplace};
pub use crate::proto::SourcePlan;
pub use crate::proto::shared::process::{ConfinePlan, ProcessPlan, WhenFull};
use crate::proto::traits::{Claim, Need, Output, SinkPlan};
use crate::settings::{Choice, Report, Section};
pub use crate::spool::plan::{SpoolFull, SpoolKeep, SpoolPlan, Sync};

/// The complete configuration of a daemon.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The `[daemon]` table.
    pub daemon: DaemonPlan,
    /// All nodes; a node comes after all that its `from` names.
    pub nodes: Vec<NodePlan>,
}

/// The `[daemon]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonPlan {
    /// The path of the control socket; `None` for no control (udp2log's drop-in).
    pub control: Option<PathBuf>,
    /// Where metrics and the page are served; `None` for nowhere.
    pub metrics: Option<MetricsPlan>,
    /// The folder for state that survives a restart; `None` for the service manager's.
    pub state: Option<PathBuf>,
    /// A node whose queue has released nothing for this long is stuck.
    pub stuck_after: Duration,
    /// The budget of all queues together, in bytes.
    pub memory: u64,
    /// The time to drain at SIGTERM.
    pub grace: Duration,
    /// The log level.
    pub log: Verbosity,
}

/// Where metrics and the page are served, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsPlan {
    /// Where clients connect.
    pub at: MetricsAt,
    /// The file with the token that clients must show; `None` if anyone may ask.
    pub token: Option<PathBuf>,
}

/// Where clients of the metrics connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAt {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for MetricsAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// One node of the flow.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePlan {
    /// The name the user chose, unique among all nodes.
    pub name: String,
    /// The nodes whose streams it reads; empty for an input, never empty otherwise.
    pub from: Vec<String>,
    /// What it selects from those streams.
    pub select: SelectPlan,
    /// Joins the repeats of a message that come within this time; only filters without a process.
    pub squeeze: Option<Duration>,
    /// What it is.
    pub body: BodyPlan,
}

/// The enum of all nodes: the outputs in the list, and the nodes that no list names.
macro_rules! body {
    ($($(#[$doc:meta])* $name:ident($plan:ty)),+ $(,)?) => {
        /// What a node is and does.
        #[derive(Debug, Clone, PartialEq)]
        pub enum BodyPlan {
            /// Receives lines.
            Input(InputPlan),
            /// A filter without a process: its stream is what it selects.
            Pass,
            /// A filter process: its stream is what it prints.
            Run(ProcessPlan),
            /// A spool: its stream is what enters it, once on disk.
            Spool(SpoolPlan),
            $($(#[$doc])* $name($plan),)+
        }

        /// The key, the name and the keys of each output.
        pub const OUTPUTS: &[Choice] = &[$(<$plan as Output>::CHOICE),+];

        impl BodyPlan {
            /// The kind of table this body is written in.
            pub fn kind(&self) -> Kind {
                match self {
                    Self::Input(_) => Kind::Input,
                    Self::Pass | Self::Run(_) => Kind::Filter,
                    Self::Spool(_) => Kind::Spool,
                    $(Self::$name(_))|+ => Kind::Output,
                }
            }

            /// Its process, if it runs one.
            pub fn process(&self) -> Option<&ProcessPlan> {
                match self.sink()? {
                    SinkPlan::Children(process) => Some(process),
                    _ => None,
                }
            }

            /// Its peers, if it has connections.
            pub fn forward(&self) -> Option<&ForwardPlan> {
                match self.sink()? {
                    SinkPlan::Connections(forward) => Some(forward),
                    _ => None,
                }
            }

            /// The sink of an output, or of a filter process.
            pub fn sink(&self) -> Option<SinkPlan<'_>> {
                match self {
                    Self::Run(process) => Some(SinkPlan::Children(process)),
                    Self::Input(_) | Self::Pass | Self::Spool(_) => None,
                    $(Self::$name(plan) => Some(Output::sink(plan)),)+
                }
            }

            /// Returns whether an output knows by a count which lines its peer has.
            pub fn resumes_by_count(&self) -> bool {
                match self {
                    Self::Run(_) | Self::Input(_) | Self::Pass | Self::Spool(_) => false,
                    $(Self::$name(plan) => Output::resumes_by_count(plan),)+
                }
            }

            /// Opens the worker of an output with jobs.
            pub fn worker<F: Fs + 'static>(
                &self,
                workplace: Workplace<'_, F>,
            ) -> Option<Box<dyn Worker>> {
                match self {
                    Self::Run(_) | Self::Input(_) | Self::Pass | Self::Spool(_) => None,
                    $(Self::$name(plan) => Output::worker(plan, workplace),)+
                }
            }

            /// The bound of its queue, if it has one.
            pub fn queue(&self) -> Option<u64> {
                match self {
                    Self::Run(process) => Some(process.queue),
                    Self::Spool(spool) => Some(spool.queue),
                    Self::Input(_) | Self::Pass => None,
                    $(Self::$name(plan) => Some(Output::queue(plan)),)+
                }
            }

            /// How an output writes its lines.
            pub fn format(&self) -> Option<&FormatPlan> {
                match self {
                    Self::Input(_) | Self::Pass | Self::Run(_) | Self::Spool(_) => None,
                    $(Self::$name(plan) => Some(Output::format(plan)),)+
                }
            }

            /// How the lines in an output's queue are formatted already; `None` if they are raw.
            pub fn queue_format(&self) -> Option<&FormatPlan> {
                match self {
                    Self::Input(_) | Self::Pass | Self::Run(_) | Self::Spool(_) => None,
                    $(Self::$name(plan) => {
                        (!Output::formats_when_written(plan)).then(|| Output::format(plan))
                    })+
                }
            }

            /// What no other node can have at the same time; `inputs` names the inputs whose
            /// lines come to it.
            pub fn claims(&self, inputs: &mut dyn FnMut() -> Vec<String>) -> Vec<Claim> {
                match self {
                    Self::Input(input) => input.source.claims(),
                    Self::Spool(spool) => vec![Claim::Folder(spool.dir.clone())],
                    Self::Pass | Self::Run(_) => Vec::new(),
                    $(Self::$name(plan) => Output::claims(plan, inputs),)+
                }
            }

            /// What it needs beside its claims.
            pub fn needs(&self) -> Vec<Need> {
                match self {
                    Self::Input(input) => input.source.needs(),
                    Self::Pass | Self::Run(_) | Self::Spool(_) => Vec::new(),
                    $(Self::$name(plan) => Output::needs(plan),)+
                }
            }

            /// Describes it on one line; empty for a filter that only selects.
            pub fn describe(&self) -> String {
                match self {
                    Self::Input(input) => input.source.describe(),
                    Self::Pass => String::new(),
                    Self::Run(process) => process.describe_as("run"),
                    Self::Spool(spool) => format!("spool {}", spool.dir.display()),
                    $(Self::$name(plan) => Output::describe(plan),)+
                }
            }

            /// Reads the output whose key is `key`.
            pub fn read_output(
                section: &Section<'_>,
                key: &str,
                report: &mut Report<'_>,
            ) -> Option<Self> {
                let entry = section.get(key)?;
                $(if crate::proto::is_key(&<$plan as Output>::CHOICE, key) {
                    return Output::read(section, entry, report).map(Self::$name);
                })+
                None
            }
        }
    };
}

crate::proto::outputs!(body);

impl BodyPlan {
    /// The command of a process.
    pub fn command(&self) -> Option<&str> {
        self.process().map(|process| process.command.as_str())
    }
}

/// The kinds of node, as the configuration's tables are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `[input.NAME]`
    Input,
    /// `[filter.NAME]`
    Filter,
    /// `[spool.NAME]`, or `spool = {…}` on an output.
    Spool,
    /// `[output.NAME]`
    Output,
}

impl Kind {
    /// The word the user writes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Filter => "filter",
            Self::Spool => "spool",
            Self::Output => "output",
        }
    }
}

/// An input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPlan {
    /// The source of its lines.
    pub source: SourcePlan,
    /// Longer lines are truncated to this many bytes and counted.
    pub max_line: usize,
    /// True if each line begins with a sender name and a sequence number (as those of squid,
    /// varnishncsa and `logweir gen` do), whose gaps are counted.
    pub sequence: bool,
}
