//! Opening a named pipe.

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::fifo;
use crate::ingress::descriptor::Descriptor;
use crate::ingress::{OpenError, Source};
use crate::parse::sequence::GapTracker;
use crate::proto::traits::Opening;

use super::config::FifoPlan;

/// Opens it, with the sockets it is given; nothing is read yet.
///
/// # Errors
/// What cannot be opened, and why.
pub(super) fn open(
    plan: &FifoPlan,
    opening: &mut Opening<'_>,
) -> Result<Vec<Box<dyn Source>>, OpenError> {
    let at = format!("input.{}: fifo = {:?}", opening.name, plan.path.display());
    let file = make_fifo(&plan.path).and_then(|()| fifo::open(&plan.path));
    let file = file.map_err(|error| OpenError::new(&at, error))?;
    let gaps = opening.sequence.then(GapTracker::new);
    let path = Some(plan.path.clone());
    Ok(vec![Box::new(Descriptor::new(file, path, opening.max_line, gaps))])
}

/// Makes a FIFO where nothing is there.
fn make_fifo(path: &Path) -> io::Result<()> {
    match path.metadata() {
        Ok(data) if data.file_type().is_fifo() => Ok(()),
        Ok(_) => Err(io::Error::other("it exists and is no named pipe: remove it or name another")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mode = nix::sys::stat::Mode::from_bits_truncate(0o660);
            Ok(nix::unistd::mkfifo(path, mode)?)
        }
        Err(error) => Err(error),
    }
}
