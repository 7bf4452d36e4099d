//! Batch send: sendmmsg(2), and UDP_SEGMENT (udp(7)) to have the kernel cut one buffer into
//! many datagrams.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use super::socket::set_int;
use crate::limits::SEND_SLOTS;

/// Headers for sendmmsg, allocated once and refilled for every call.
pub struct DatagramWriter {
    headers: Vec<libc::mmsghdr>,
    slices: Vec<libc::iovec>,
}

// SAFETY: the raw pointers in `headers` and `slices` are rewritten by every call of `write` before
// the kernel sees them, and are not read otherwise.
unsafe impl Send for DatagramWriter {}

impl DatagramWriter {
    /// Room for [`SEND_SLOTS`] messages.
    pub fn new() -> Self {
        // SAFETY: mmsghdr and iovec are plain C structs for which all zeroes is a valid value.
        let (header, slice) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Self { headers: vec![header; SEND_SLOTS], slices: vec![slice; SEND_SLOTS] }
    }

    /// Sends at most the first [`SEND_SLOTS`] of the messages on a connected socket. Returns the
    /// number sent. If that is smaller, the next message failed and the kernel does not report why:
    /// on a blocking socket it was an error; on a non-blocking one it may only have been a lack of
    /// room.
    ///
    /// # Errors
    /// The kernel's error for the first message; nothing was sent.
    pub fn write(&mut self, socket: BorrowedFd<'_>, messages: &[&[u8]]) -> io::Result<usize> {
        let count = messages.len().min(SEND_SLOTS);
        if count == 0 {
            return Ok(0);
        }
        for (slot, message) in messages[..count].iter().enumerate() {
            self.prepare(slot, message);
        }
        let slots = libc::c_uint::try_from(count).map_err(io::Error::other)?;
        loop {
            // SAFETY: the first `count` headers were just prepared: each points to one iovec of
            // this value, which points to a slice borrowed for longer than the call; sendmmsg only
            // reads the bytes.
            let sent =
                unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), slots, 0) };
            if let Ok(sent) = usize::try_from(sent) {
                return Ok(sent);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    fn prepare(&mut self, slot: usize, message: &[u8]) {
        let place = message.as_ptr().cast_mut().cast();
        self.slices[slot] = libc::iovec { iov_base: place, iov_len: message.len() };
        let header = &mut self.headers[slot].msg_hdr;
        header.msg_name = ptr::null_mut();
        header.msg_namelen = 0;
        header.msg_iov = &raw mut self.slices[slot];
        header.msg_iovlen = 1;
        header.msg_control = ptr::null_mut();
        header.msg_controllen = 0;
        header.msg_flags = 0;
    }
}

impl Default for DatagramWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for DatagramWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatagramWriter").field("slots", &SEND_SLOTS).finish_non_exhaustive()
    }
}

/// Makes the kernel split every message of a UDP socket into datagrams of `size` bytes (the last
/// may be shorter); 0 turns that off. A message may have at most 64 of them.
///
/// # Errors
/// The system's error; `ENOPROTOOPT` if the kernel is too old.
pub fn set_segment(socket: impl AsFd, size: u16) -> io::Result<()> {
    set_int(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, size.into())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (sender, receiver)
    }

    fn receive(socket: &UdpSocket) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let len = socket.recv(&mut buffer).unwrap();
        buffer.truncate(len);
        buffer
    }

    #[test]
    fn each_message_arrives_with_its_bytes_and_a_call_is_bounded() {
        let (sender, receiver) = pair();
        let texts: Vec<String> = (0..SEND_SLOTS + 6).map(|i| "x".repeat(i)).collect();
        let messages: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
        let mut writer = DatagramWriter::new();
        assert_eq!(writer.write(sender.as_fd(), &messages).unwrap(), SEND_SLOTS);
        assert_eq!(writer.write(sender.as_fd(), &messages[SEND_SLOTS..]).unwrap(), 6);
        assert_eq!(writer.write(sender.as_fd(), &[]).unwrap(), 0);
        for message in messages {
            assert_eq!(receive(&receiver), message);
        }
    }

    #[test]
    fn one_buffer_goes_as_many_datagrams() {
        let (sender, receiver) = pair();
        set_segment(&sender, 100).unwrap();
        let buffer: Vec<u8> = (0..64_u8).flat_map(|i| [i; 100]).collect();
        let mut writer = DatagramWriter::new();
        let messages: [&[u8]; 2] = [&buffer[..6400], &buffer[..250]];
        assert_eq!(writer.write(sender.as_fd(), &messages).unwrap(), 2);
        for i in 0..64 {
            assert_eq!(receive(&receiver), [i; 100]);
        }
        for (i, len) in [(0, 100), (1, 100), (2, 50)] {
            assert_eq!(receive(&receiver), vec![i; len]);
        }
        set_segment(&sender, 0).unwrap();
        assert_eq!(writer.write(sender.as_fd(), &messages[1..]).unwrap(), 1);
        assert_eq!(receive(&receiver).len(), 250);
    }

    #[test]
    fn a_message_refused_in_the_middle_is_the_first_of_the_next_call() {
        let (sender, receiver) = pair();
        let large = vec![b'x'; 65_508];
        let messages: [&[u8]; 3] = [b"one", &large, b"three"];
        let mut writer = DatagramWriter::new();
        assert_eq!(writer.write(sender.as_fd(), &messages).unwrap(), 1);
        let error = writer.write(sender.as_fd(), &messages[1..]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        assert_eq!(writer.write(sender.as_fd(), &messages[2..]).unwrap(), 1);
        assert_eq!(receive(&receiver), b"one");
        assert_eq!(receive(&receiver), b"three");
    }

    #[test]
    fn a_socket_that_does_not_wait_says_when_it_is_full() {
        let (sender, _receiver) = std::os::unix::net::UnixDatagram::pair().unwrap();
        sender.set_nonblocking(true).unwrap();
        let mut writer = DatagramWriter::new();
        let message = [b'x'; 1000];
        let messages = [&message[..]; SEND_SLOTS];
        let full = (0..10_000).find_map(|_| writer.write(sender.as_fd(), &messages).err());
        assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
    }
}
