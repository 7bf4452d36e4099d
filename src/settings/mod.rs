//! A toolkit for reading a table of the configuration. It knows no protocol and no node.
//!
//! A table becomes a [`section::Section`]. Each of its keys is described once, by a [`key::Key`]
//! next to its reader. All problems go into one [`report::Report`], so that every error is reported
//! at once.

pub mod diagnostic;
pub mod key;
pub mod report;
pub mod section;
pub mod units;

pub use diagnostic::{Diagnostic, Place, Refusal, Severity};
pub use key::{Choice, Default, Form, Key, Value};
pub use report::{Report, Span, nearest};
pub use section::{Entry, Section};
