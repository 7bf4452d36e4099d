//! Opening the standard input.

use std::io;
use std::os::fd::AsFd;

use crate::ingress::Source;
use crate::ingress::descriptor::Descriptor;
use crate::parse::sequence::GapTracker;
use crate::proto::traits::{Claim, Nature, OpenError, OpenInput, Opening};

/// The standard input. Its end is the daemon's.
#[derive(Debug)]
pub struct Stdin;

impl OpenInput for Stdin {
    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Stdin]
    }

    fn nature(&self) -> Nature {
        let label = "stdin".into();
        Nature { acknowledged: false, can_wait: true, longest_line: None, label }
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        let at = format!("input.{}: stdin", opening.name);
        let stdin = stdin.map_err(|error| OpenError::new(&at, error))?;
        let gaps = opening.sequence.then(GapTracker::new);
        Ok(vec![Box::new(Descriptor::new(stdin.into(), None, opening.max_line, gaps))])
    }
}
