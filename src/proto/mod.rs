//! What is spoken on the ways in, a folder for each protocol.

pub mod fifo;
pub mod relp;
pub mod stdin;
pub mod syslog;
pub mod traits;
pub mod udp;

use crate::config::plan::SourcePlan;
use traits::OpenInput;

/// How the input of a plan is opened.
pub fn input(source: &SourcePlan) -> Box<dyn OpenInput + '_> {
    match source {
        SourcePlan::Udp(plan) => Box::new(plan),
        SourcePlan::Stdin => Box::new(stdin::input::Stdin),
        SourcePlan::Fifo(path) => Box::new(fifo::input::Fifo(path)),
        SourcePlan::Relp(plan) => Box::new(plan),
        SourcePlan::Syslog(plan) => Box::new(plan),
    }
}
