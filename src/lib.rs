//! logweir takes log lines in, splits the flow through filter processes and
//! sampling, and hands it on without losing count of a single line.
//!
//! Data flows one way, input → filter → spool → output, and the modules are listed in
//! that order of thought:
//!
//! - [`settings`] reads a table of the configuration, and knows no protocol;
//! - [`proto`] has the protocols, a folder each, and the lists that name them;
//! - [`config`] turns a file into a checked [`config::plan::Plan`];
//! - [`ingress`] holds the ways in, [`proto`] what is spoken there;
//! - [`input`] turns what the kernel gave us into whole lines, in a [`batch::Batch`];
//! - [`parse`] reads what stands in a line;
//! - [`engine`] is the whole daemon minus the kernel: batches in, queues and actions out;
//! - [`filter`] holds the selectors a batch passes;
//! - [`spool`] keeps lines on disk until every reader has passed them;
//! - [`output`] holds queues, child processes as state machines, and files;
//! - [`forward`] is what is said to other hosts, and to which of them;
//! - [`driver`] is the loop that joins the engine to sockets, children and disk;
//! - [`ledger`] counts every line's fate.
//!
//! `sys` is the only place with `unsafe`; [`limits`] holds every bound.

pub mod batch;
pub mod cli;
pub mod clock;
pub mod config;
pub mod driver;
pub mod engine;
pub mod fifo;
pub mod filter;
pub mod format;
pub mod forward;
pub mod fs;
pub mod host;
pub mod ids;
pub mod ingress;
pub mod input;
pub mod ledger;
pub mod limits;
pub mod logger;
pub mod metrics;
pub mod minute;
pub mod net;
pub mod output;
pub mod parse;
pub mod printable;
pub mod proto;
pub mod settings;
#[cfg(test)]
mod sim;
pub mod sources;
pub mod spool;
pub mod sys;
pub mod url;
pub mod wake;
