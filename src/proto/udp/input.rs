//! Opening a UDP input.

use crate::config::plan::UdpInPlan;
use crate::ingress::Source;
use crate::ingress::datagrams::Datagrams;
use crate::input::datagrams::RawLines;
use crate::limits::DATAGRAM_SENT_MOST;
use crate::parse::sequence::GapTracker;
use crate::proto::traits::{Claim, Nature, OpenError, OpenInput, Opening};

use super::socket;

impl OpenInput for UdpInPlan {
    fn claims(&self) -> Vec<Claim> {
        vec![socket::claim(self)]
    }

    fn nature(&self) -> Nature {
        let label = format!("udp {}", self.address);
        let longest_line = Some(DATAGRAM_SENT_MOST);
        Nature { acknowledged: false, can_wait: false, longest_line, label }
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        let sockets = socket::open("udp = \"", self, opening)?;
        let (max_line, sequence) = (opening.max_line, opening.sequence);
        let receiver = |socket| -> Box<dyn Source> {
            let gaps = sequence.then(GapTracker::new);
            Box::new(Datagrams::new(socket, RawLines::new(max_line).with_gaps(gaps)))
        };
        Ok(sockets.into_iter().map(receiver).collect())
    }
}
