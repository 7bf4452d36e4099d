//! Opening standard input.

use std::io;
use std::os::fd::AsFd;

use crate::ingress::descriptor::Descriptor;
use crate::ingress::{OpenError, Source};
use crate::parse::sequence::GapTracker;
use crate::proto::traits::Opening;

use super::config::StdinPlan;

/// Opens it; reads nothing yet.
///
/// # Errors
/// Which resource cannot be opened, and why.
pub(super) fn open(
    _: &StdinPlan,
    opening: &mut Opening<'_>,
) -> Result<Vec<Box<dyn Source>>, OpenError> {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let at = format!("input.{}: stdin", opening.name);
    let stdin = stdin.map_err(|error| OpenError::new(&at, error))?;
    let gaps = opening.sequence.then(GapTracker::new);
    Ok(vec![Box::new(Descriptor::new(stdin.into(), None, opening.max_line, gaps))])
}
