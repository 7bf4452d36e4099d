//! The protocols: a folder each, and the lists that name them.
//!
//! To add a protocol: write its folder with a `config.rs` that implements [`traits::Input`] or
//! [`traits::Output`], and add it to a list below. The keys of the configuration, the enums of
//! the plan and every question that the rest of the program asks of it come from the lists.

pub mod fifo;
pub mod file;
pub mod forward;
pub mod pipe;
pub mod relp;
pub mod shared;
pub mod stdin;
pub mod stdout;
pub mod syslog;
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

/// The inputs: the enum of their plans, and each question as a method that asks the plan.
macro_rules! inputs {
    ($($(#[$doc:meta])* $name:ident($plan:ty)),+ $(,)?) => {
        /// Where an input's lines come from.
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

            /// What it promises and what it cannot do.
            pub fn nature(&self) -> Nature {
                match self { $(Self::$name(plan) => Input::nature(plan),)+ }
            }

            /// What it is, on one line.
            pub fn describe(&self) -> String {
                match self { $(Self::$name(plan) => Input::describe(plan),)+ }
            }

            /// Its TLS, where clients come through it.
            pub fn tls(&self) -> Option<&ServerTlsPlan> {
                match self { $(Self::$name(plan) => Input::tls(plan),)+ }
            }

            /// Opens it, with the sockets it is given; nothing is read yet.
            ///
            /// # Errors
            /// What cannot be opened, and why.
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
    /// Raw lines, any number of them in a datagram.
    Udp(UdpInPlan),
    /// Syslog messages, each a line.
    Syslog(syslog::config::SyslogInPlan),
    /// Messages, each acknowledged once it is on disk.
    Relp(relp::config::RelpInPlan),
    /// The daemon's standard input; ends the daemon's work at end of file.
    Stdin(stdin::config::StdinPlan),
    /// A named pipe, created where missing, reopened at end of file.
    Fifo(fifo::config::FifoPlan),
}

/// The outputs, handed to the macro that is named: `config::plan` makes the enum of all nodes of
/// them.
macro_rules! outputs {
    ($generate:ident) => {
        $generate! {
            /// An output process.
            Pipe($crate::proto::shared::process::ProcessPlan),
            /// An output file.
            File($crate::proto::file::config::FilePlan),
            /// An output to a UDP address, one line a datagram.
            Udp($crate::proto::udp::config::UdpOutPlan),
            /// Other hosts.
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

        /// A client for a connection to a peer that is reached by this scheme; `None` where no
        /// protocol forwards by it.
        pub fn client(scheme: Protocol, offer: Offer) -> Option<Box<dyn Client>> {
            $(if $folder::config::SCHEMES.contains(&scheme) {
                return Some(Box::new($folder::client::new(offer)));
            })+
            None
        }
    };
}

clients! { relp, tcp }

/// Returns whether a choice is made by a key.
pub fn is_key(choice: &Choice, name: &str) -> bool {
    choice.key.as_ref().is_some_and(|key| key.name == name)
}
