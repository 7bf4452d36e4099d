//! The protocols: one folder each, and the lists that name them.
//!
//! To add a protocol: write its folder with a `config.rs` that implements [`traits::Input`] or
//! [`traits::Output`], and add it to a list below. The configuration's keys, the enums of the plan
//! and the dispatch of every method come from the lists.

pub mod audit;
pub mod containers;
pub mod fifo;
pub mod file;
pub mod fluent;
pub mod forward;
pub mod journal;
pub mod kafka;
pub mod kernel;
pub mod mark;
pub mod pipe;
pub mod relp;
pub mod shared;
pub mod stdin;
pub mod stdout;
pub mod syslog;
pub mod tail;
pub mod tcp;
pub mod terminals;
pub mod thrift;
pub mod traits;
pub mod udp;

use std::any::Any;

use self::shared::datagrams::UdpInPlan;
use self::shared::tls::ServerTlsPlan;
use self::traits::{Claim, ClientPlan, Input, Nature, Need, Opening};
use crate::forward::client::{Client, Offer, OpenClients};
use crate::ingress::{OpenError, Source};
use crate::settings::{Choice, Key, Report, Section};
use crate::url::{Protocol, Url};

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

            /// What it needs beside its claims and its TLS settings.
            pub fn needs(&self) -> Vec<Need> {
                match self { $(Self::$name(plan) => Input::needs(plan),)+ }
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
    /// The output of containers, from the files of their runtime.
    Containers(containers::config::ContainersPlan),
    /// Records of the Fluent forward protocol; a chunk is acknowledged once it is on disk.
    Fluent(fluent::config::FluentInPlan),
    /// The system's journal.
    Journal(journal::config::JournalPlan),
    /// The messages of the kernel.
    Kernel(kernel::config::KernelPlan),
    /// Marks: a message from time to time.
    Mark(mark::config::MarkPlan),
    /// Records of a cluster of brokers.
    Kafka(kafka::input_config::KafkaInPlan),
    /// Calls of Scribe and Flume over Thrift, each answered once it is on disk.
    Thrift(thrift::config::ThriftInPlan),
    /// What the daemon itself counts.
    Audit(audit::config::AuditPlan),
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
            /// The terminals of users.
            Terminals($crate::proto::terminals::config::TerminalsPlan),
            /// Topics of a cluster of brokers.
            Kafka($crate::proto::kafka::config::KafkaOutPlan),
        }
    };
}
pub(crate) use outputs;

/// The clients of `forward` outputs, each with the plan of the keys that it has beside those of
/// every output: the struct of all plans, and what asks them.
macro_rules! clients {
    ($($(#[$doc:meta])* $folder:ident: $plan:ty),+ $(,)?) => {
        /// The schemes of each client of `forward` outputs.
        pub const CLIENTS: &[&[Protocol]] = &[$($folder::config::SCHEMES),+];

        /// The keys specific to each client.
        pub const CLIENT_KEYS: &[&[Key]] = &[$(<$plan as ClientPlan>::KEYS),+];

        /// An output's plan for each protocol that it may forward by.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct ClientPlans {
            $($(#[$doc])* pub $folder: $plan,)+
        }

        impl ClientPlans {
            /// Reads the plan of each protocol.
            pub fn read(
                section: &Section<'_>,
                peers: &[Url],
                report: &mut Report<'_>,
            ) -> Option<Self> {
                $(refuse_keys_of_no_peer(
                    section,
                    (<$plan as ClientPlan>::KEYS, $folder::config::SCHEMES),
                    peers,
                    report,
                );)+
                $(let $folder = ClientPlan::read(section, report);)+
                Some(Self { $($folder: $folder?),+ })
            }
        }

        impl OpenClients for ClientPlans {
            fn client(&self, scheme: Protocol, offer: Offer) -> Option<Box<dyn Client>> {
                $(if $folder::config::SCHEMES.contains(&scheme) {
                    return Some(Box::new($folder::client::new(offer, &self.$folder)));
                })+
                None
            }

            fn equals(&self, other: &dyn Any) -> bool {
                other.downcast_ref::<Self>() == Some(self)
            }
        }
    };
}

clients! {
    /// RELP has no keys of its own.
    relp: (),
    /// Lines over plain TCP.
    tcp: tcp::config::TcpOutPlan,
    /// Fluent forward.
    fluent: fluent::out_config::FluentOutPlan,
    /// Scribe.
    thrift: thrift::config::ScribeOutPlan,
}

/// Refuses keys of a protocol by which no peer is reached.
fn refuse_keys_of_no_peer(
    section: &Section<'_>,
    (keys, schemes): (&[Key], &[Protocol]),
    peers: &[Url],
    report: &mut Report<'_>,
) {
    if peers.iter().any(|peer| schemes.contains(&peer.protocol)) {
        return;
    }
    let schemes: Vec<_> = schemes.iter().map(|one| format!("{}://", one.word())).collect();
    for entry in keys.iter().filter_map(|key| section.entry(key)) {
        entry
            .misplaced(report, format!("needs a peer that is reached by {}", schemes.join(" or ")));
    }
}

/// Returns whether a choice is selected by a key.
pub fn is_key(choice: &Choice, name: &str) -> bool {
    choice.key.as_ref().is_some_and(|key| key.name == name)
}
