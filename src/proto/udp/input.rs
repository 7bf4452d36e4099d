//! Opening a UDP input.

use crate::ingress::datagrams::{DatagramSocket, Datagrams};
use crate::ingress::{OpenError, Source};
use crate::input::datagrams::RawLines;
use crate::parse::sequence::GapTracker;
use crate::proto::shared::datagrams::UdpInPlan;
use crate::proto::shared::udp_socket;
use crate::proto::traits::Opening;

/// Opens the input with the sockets it is given; reads nothing yet.
///
/// # Errors
/// Which resource cannot be opened, and why.
pub(super) fn open(
    plan: &UdpInPlan,
    opening: &mut Opening<'_>,
) -> Result<Vec<Box<dyn Source>>, OpenError> {
    let sockets = udp_socket::open("udp = \"", plan, opening)?;
    let (max_line, sequence) = (opening.max_line, opening.sequence);
    let receiver = |socket: DatagramSocket| -> Box<dyn Source> {
        let gaps = sequence.then(GapTracker::new);
        let keeper = udp_socket::keeper(plan, &socket.socket);
        let intake = RawLines::new(max_line).with_gaps(gaps);
        Box::new(Datagrams::new(socket, intake).with_keeper(keeper))
    };
    Ok(sockets.into_iter().map(receiver).collect())
}
