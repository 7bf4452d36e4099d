//! The protocols: one folder each, and the lists that name them.
//!
//! To add a protocol: write its folder with a `config.rs` that implements [`traits::Input`] or
//! [`traits::Output`], and add it to a list below. The configuration's keys, the enums of the plan
//! and the dispatch of every method come from the lists.

pub mod fifo;
pub mod file;
pub mod forward;
pub mod pipe;
pub mod relp;
pub mod shared;
pub mod stdin;
pub mod stdout;
pub mod syslog;
pub mod tail;
pub mod tcp;
pub mod traits;
pub mod udp;

use self::shared::datagrams::UdpInPlan;
use self::shared::tls::ServerTlsPlan;
use self::traits::{Claim, Input, Nature, Opening};
use crate::forward::client::{Client, Offer};
use crate::ingress::{OpenError, Source};
use crate::settings::{Choice, Report, Section};
use crate::url::Protocol;

/// The inputs: the enum of their plans, with methods that dispatch to the plan.
macro_rules! inputs {
    ($($(#[$doc:meta])* $name:ident($plan:ty)),+ $(,)?) => {
        /// The source of an input's lines.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum SourcePlan {
            $($(#[$doc])* $name($plan),)+
        }

        /// The key, the name and the keys of each input.
        pub const INPUTS: &[Choice] = &[$(<$plan as Input>::CHOICE),+];

        impl SourcePlan {
            /// Reads the input whose key is `key`.
            pub fn read(
                section: &Section<'_>,
                key: &str,
                report: &mut Report<'_>,
            ) -> Option<Self> {
                let entry = section.get(key)?;
                $(if is_key(&<$plan as Input>::CHOICE, key) {
                    return Input::read(section, entry, report).map(Self::$name);
                })+
                None
            }

            /// What no other node can have at the same time.
            pub fn claims(&self) -> Vec<Claim> {
                match self { $(Self::$name(plan) => Input::claims(plan),)+ }
            }

            /// Its promises and limitations.
            pub fn nature(&self) -> Nature {
                match self { $(Self::$name(plan) => Input::nature(plan),)+ }
            }

            /// Describes it on one line.
            pub fn describe(&self) -> String {
                match self { $(Self::$name(plan) => Input::describe(plan),)+ }
            }

            /// Its TLS settings, if clients use TLS.
            pub fn tls(&self) -> Option<&ServerTlsPlan> {
                match self { $(Self::$name(plan) => Input::tls(plan),)+ }
            }

            /// Opens it with the sockets it is given; reads nothing yet.
            ///
            /// # Errors
            /// Which resource cannot be opened, and why.
            pub fn open(
                &self,
                opening: &mut Opening<'_>,
            ) -> Result<Vec<Box<dyn Source>>, OpenError> {
                match self { $(Self::$name(plan) => Input::open(plan, opening),)+ }
            }
        }
    };
}

inputs! {
    /// Raw lines, any number of them per datagram.
    Udp(UdpInPlan),
    /// Syslog messages, each of which is a line.
    Syslog(syslog::config::SyslogInPlan),
    /// Messages, each acknowledged once it is on disk.
    Relp(relp::config::RelpInPlan),
    /// Files that grow, followed through rotation.
    Tail(tail::config::TailPlan),
    /// The daemon's standard input; ends the daemon's work at end of file.
    Stdin(stdin::config::StdinPlan),
    /// A named pipe, created if missing and reopened at end of file.
    Fifo(fifo::config::FifoPlan),
}

/// The outputs, passed to the given macro: `config::plan` builds the enum of all nodes from them.
macro_rules! outputs {
    ($generate:ident) => {
        $generate! {
            /// An output process.
            Pipe($crate::proto::shared::process::ProcessPlan),
            /// An output file.
            File($crate::proto::file::config::FilePlan),
            /// An output to a UDP address, one line per datagram.
            Udp($crate::proto::udp::config::UdpOutPlan),
            /// Peers on other hosts.
            Forward($crate::proto::forward::config::ForwardPlan),
            /// The daemon's standard output.
            Stdout($crate::proto::stdout::config::StdoutPlan),
        }
    };
}
pub(crate) use outputs;

/// The clients of `forward` outputs.
macro_rules! clients {
    ($($folder:ident),+ $(,)?) => {
        /// The schemes of each client of `forward` outputs.
        pub const CLIENTS: &[&[Protocol]] = &[$($folder::config::SCHEMES),+];

        /// Creates a client for a connection to a peer with this scheme; `None` if no protocol
        /// forwards by it.
        pub fn client(scheme: Protocol, offer: Offer) -> Option<Box<dyn Client>> {
            $(if $folder::config::SCHEMES.contains(&scheme) {
                return Some(Box::new($folder::client::new(offer)));
            })+
            None
        }
    };
}

clients! { relp, tcp }

/// Returns whether a choice is selected by a key.
pub fn is_key(choice: &Choice, name: &str) -> bool {
    choice.key.as_ref().is_some_and(|key| key.name == name)
}
