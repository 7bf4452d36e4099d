//! Opening a named pipe.

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::ingress::Source;
use crate::ingress::descriptor::{Descriptor, open_fifo};
use crate::parse::sequence::GapTracker;
use crate::proto::traits::{Claim, Nature, OpenError, OpenInput, Opening};

/// A named pipe, made where it is missing and opened again at its end.
#[derive(Debug)]
pub struct Fifo<'p>(pub &'p Path);

impl OpenInput for Fifo<'_> {
    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Path(self.0.to_path_buf())]
    }

    fn nature(&self) -> Nature {
        let label = format!("fifo {}", self.0.display());
        Nature { acknowledged: false, can_wait: true, longest_line: None, label }
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        let at = format!("input.{}: fifo = {:?}", opening.name, self.0.display());
        let file = make_fifo(self.0).and_then(|()| open_fifo(self.0));
        let file = file.map_err(|error| OpenError::new(&at, error))?;
        let gaps = opening.sequence.then(GapTracker::new);
        let path = Some(self.0.to_path_buf());
        Ok(vec![Box::new(Descriptor::new(file, path, opening.max_line, gaps))])
    }
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
