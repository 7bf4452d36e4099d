//! Opening a named pipe.

use crate::fifo;
use crate::ingress::descriptor::Descriptor;
use crate::ingress::{OpenError, Source};
use crate::parse::sequence::GapTracker;
use crate::proto::traits::Opening;

use super::config::FifoPlan;

/// Opens it; reads nothing yet.
///
/// # Errors
/// Which resource cannot be opened, and why.
pub(super) fn open(
    plan: &FifoPlan,
    opening: &mut Opening<'_>,
) -> Result<Vec<Box<dyn Source>>, OpenError> {
    let at = format!("input.{}: fifo = {:?}", opening.name, plan.path.display());
    let file = fifo::make(&plan.path).and_then(|()| fifo::open(&plan.path));
    let file = file.map_err(|error| OpenError::new(&at, &error).by(&error))?;
    let gaps = opening.sequence.then(GapTracker::new);
    let path = Some(plan.path.clone());
    Ok(vec![Box::new(Descriptor::new(file, path, opening.max_line, gaps))])
}
