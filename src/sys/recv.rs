//! Batch receive: recvmmsg(2) with UDP_GRO (udp(7)).
//!
//! The kernel may deliver several datagrams of one size as one message (generic receive offload); a
//! control message then gives the size of each. Without it, every message is one datagram.
//!
//! The sender of a message is recorded on request: its address on a UDP socket, its process on a
//! Unix socket (unix(7), SCM_CREDENTIALS, if SO_PASSCRED is set).

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;

use crate::limits::{AREAS_MAX, DATAGRAM_MAX, RECV_SLOTS};
use crate::sources::Source;

/// Room for the control messages: UDP_GRO's `int`, or the three of a process, with space to spare.
const CONTROL_LEN: usize = 64;

/// The size of an address of any family.
const NAME_LEN: libc::socklen_t = 128;
const _: () = assert!(NAME_LEN as usize == size_of::<libc::sockaddr_storage>());

/// Control messages start with a `usize`, so their buffer must be aligned like one.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_LEN]);

/// Buffers and headers for recvmmsg, allocated once and reused for every call.
pub struct DatagramReader {
    /// Maximum bytes of a message; the rest of a longer one is truncated.
    room: usize,
    /// Slot `i` (from 1) of a call lands at `(i - 1) * room`; slot 0 elsewhere. Empty while it is
    /// not borrowed.
    area: Vec<u8>,
    /// Number of slots of the last call.
    asked: usize,
    headers: Vec<libc::mmsghdr>,
    slices: Vec<libc::iovec>,
    control: Vec<Control>,
    /// Where the kernel writes addresses; empty if they are not requested.
    names: Vec<libc::sockaddr_storage>,
}

/// One message of the last call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Its length in bytes.
    pub len: usize,
    /// The size of each of its datagrams except the last, which may be shorter; equal to `len` if
    /// it is a single datagram.
    pub segment: usize,
}

/// The room that a reader borrows.
const AREA: usize = (RECV_SLOTS - 1) * DATAGRAM_MAX;

/// The number of readers there are.
static READERS: AtomicUsize = AtomicUsize::new(0);

/// The room of all readers. If there are more than [`AREAS_MAX`] readers, each borrows it for one
/// call only.
static AREAS: Mutex<Areas> = Mutex::new(Areas { free: Vec::new(), made: 0 });

struct Areas {
    free: Vec<Vec<u8>>,
    made: usize,
}

fn areas() -> MutexGuard<'static, Areas> {
    AREAS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Areas {
    fn borrow(&mut self) -> Option<Vec<u8>> {
        if self.free.is_empty() && self.made < AREAS_MAX {
            self.made += 1;
            return Some(vec![0; AREA]);
        }
        self.free.pop()
    }
}

// SAFETY: the raw pointers in `headers` and `slices` are rewritten by every call of `read` before
// the kernel sees them, and point only into this value and that call's buffer.
unsafe impl Send for DatagramReader {}

impl DatagramReader {
    /// Room for [`RECV_SLOTS`] messages; memory is only touched as messages arrive.
    pub fn new() -> Self {
        READERS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: mmsghdr and iovec are plain C structs for which all zeroes is a valid value.
        let (header, slice) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Self {
            room: DATAGRAM_MAX,
            area: Vec::new(),
            asked: 0,
            headers: vec![header; RECV_SLOTS],
            slices: vec![slice; RECV_SLOTS],
            control: vec![Control([0; CONTROL_LEN]); RECV_SLOTS],
            names: Vec::new(),
        }
    }

    /// Also records [`Self::source`].
    #[must_use]
    pub fn with_sources(mut self) -> Self {
        // SAFETY: sockaddr_storage is a plain C struct for which all zeroes is a valid value.
        self.names = vec![unsafe { mem::zeroed() }; RECV_SLOTS];
        self
    }

    /// Sets the maximum message size, which may exceed [`DATAGRAM_MAX`] on a Unix socket. The
    /// number of slots is reduced so that no more memory is used.
    #[must_use]
    pub fn with_room(mut self, room: usize) -> Self {
        self.room = room.max(1);
        self
    }

    /// The maximum number of messages per call.
    fn slots(&self) -> usize {
        (AREA / self.room + 1).min(RECV_SLOTS)
    }

    /// Borrows the room for all slots but the first; whether there is some.
    fn borrow_area(&mut self) -> bool {
        if self.area.is_empty()
            && let Some(area) = areas().borrow()
        {
            self.area = area;
        }
        !self.area.is_empty()
    }

    /// Gives up the messages of the last call, whose room another reader may need.
    pub fn release(&mut self) {
        if READERS.load(Ordering::Relaxed) > AREAS_MAX && !self.area.is_empty() {
            areas().free.push(mem::take(&mut self.area));
        }
    }

    /// Returns whether the last call brought as many messages as it could take: `count` is what it
    /// returned.
    pub fn was_full(&self, count: usize) -> bool {
        count > 0 && count >= self.asked
    }

    /// Maximum bytes of a message.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Receives available messages, at most `slots`, without waiting; only one if too many other
    /// readers receive at the same time. The first is written after the content of `first`, whose
    /// length does not change (see [`Self::keep_first`]); the others are written into this value.
    ///
    /// # Errors
    /// The kernel's error; `WouldBlock` if there are no messages.
    pub fn read(
        &mut self,
        socket: BorrowedFd<'_>,
        slots: usize,
        first: &mut BytesMut,
    ) -> io::Result<usize> {
        let mut slots = slots.clamp(1, self.slots());
        if slots > 1 && !self.borrow_area() {
            slots = 1;
        }
        self.asked = slots;
        let most = libc::c_uint::try_from(slots).unwrap_or(1);
        let spare = first.spare_capacity_mut();
        assert!(spare.len() >= self.room, "no room for a datagram");
        self.prepare(0, spare.as_mut_ptr().cast());
        for slot in 1..slots {
            let place = self.area[(slot - 1) * self.room..].as_mut_ptr();
            self.prepare(slot, place.cast());
        }
        loop {
            // SAFETY: the first `slots` headers were just prepared: each points to one iovec of
            // `room` writable bytes and to CONTROL_LEN bytes of control buffer, all of which
            // outlive the call, and no two overlap.
            let count = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    most,
                    // Report the full length of truncated messages, too.
                    libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                    ptr::null_mut(),
                )
            };
            if let Ok(count) = usize::try_from(count) {
                self.headers[..count].iter().for_each(|header| close_rights(&header.msg_hdr));
                return Ok(count);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// Both lengths hold what the kernel last wrote and must be reset for every call; otherwise
    /// control messages are truncated from the second call on.
    fn prepare(&mut self, slot: usize, place: *mut libc::c_void) {
        self.slices[slot] = libc::iovec { iov_base: place, iov_len: self.room };
        let header = &mut self.headers[slot].msg_hdr;
        header.msg_iov = &raw mut self.slices[slot];
        header.msg_iovlen = 1;
        (header.msg_name, header.msg_namelen) = match self.names.get_mut(slot) {
            Some(name) => ((&raw mut *name).cast(), NAME_LEN),
            None => (ptr::null_mut(), 0),
        };
        header.msg_control = self.control[slot].0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_LEN as _;
        header.msg_flags = 0;
    }

    /// Message `slot` of the last call; `slot` must be below the number it returned.
    pub fn message(&self, slot: usize) -> Message {
        let header = &self.headers[slot];
        let len = (header.msg_len as usize).min(self.room);
        let segment = self.segment(&header.msg_hdr).filter(|&size| size > 0).unwrap_or(len);
        Message { len, segment }
    }

    /// The number of bytes of message `slot` of the last call that were truncated.
    pub fn cut(&self, slot: usize) -> usize {
        (self.headers[slot].msg_len as usize).saturating_sub(self.room)
    }

    /// The bytes of message `slot`, for slots from 1 on.
    pub fn bytes(&self, slot: usize) -> &[u8] {
        let start = (slot - 1) * self.room;
        &self.area[start..start + self.message(slot).len]
    }

    /// Appends message 0 of the last call to `first`, the buffer it was received into.
    pub fn keep_first(&self, first: &mut BytesMut) {
        let len = self.message(0).len;
        assert!(first.capacity() - first.len() >= len, "not the buffer of the last read");
        // SAFETY: the kernel wrote `len` bytes after the end of `first` in the last call of `read`,
        // and the assertion keeps the new length within the capacity.
        unsafe { first.set_len(first.len() + len) };
    }

    /// The sender of message `slot` of the last call, if it was requested and is known.
    pub fn source(&self, slot: usize) -> Option<Source> {
        let header = &self.headers[slot].msg_hdr;
        let name = self.names.get(slot)?;
        if let Some(address) = address(name, header.msg_namelen) {
            return Some(Source::Address(address));
        }
        // SAFETY: SCM_CREDENTIALS carries a `ucred`.
        let process =
            unsafe { control::<libc::ucred>(header, libc::SOL_SOCKET, libc::SCM_CREDENTIALS) }?;
        Some(Source::Process { pid: process.pid.unsigned_abs(), uid: process.uid })
    }

    fn segment(&self, header: &libc::msghdr) -> Option<usize> {
        // SAFETY: UDP_GRO carries an `int`.
        let size = unsafe { control::<libc::c_int>(header, libc::SOL_UDP, libc::UDP_GRO) };
        size.and_then(|size| usize::try_from(size).ok())
    }
}

/// Closes descriptors that arrived with a message (unix(7), SCM_RIGHTS): any process that may write
/// to the socket can send some, and they are not used.
fn close_rights(header: &libc::msghdr) {
    if header.msg_controllen == 0 {
        return;
    }
    // SAFETY: the kernel filled msg_control up to msg_controllen with complete control messages;
    // the CMSG macros stay within that length. SCM_RIGHTS carries as many descriptors as its length
    // says. The kernel created them for this process and nothing else in it knows them; each is
    // read once, right after the call that brought it.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            if ((*message).cmsg_level, (*message).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS)
            {
                let bytes = (*message).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let first = libc::CMSG_DATA(message).cast::<RawFd>();
                for at in 0..bytes / size_of::<RawFd>() {
                    drop(OwnedFd::from_raw_fd(ptr::read_unaligned(first.add(at))));
                }
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
}

/// The control message of this level and kind that the kernel put into `header`, if any.
///
/// # Safety
/// `header` is as the kernel left it. Messages of this level and kind carry a `T`, for which any
/// bytes are valid.
unsafe fn control<T>(header: &libc::msghdr, level: libc::c_int, kind: libc::c_int) -> Option<T> {
    if header.msg_controllen == 0 {
        return None;
    }
    // SAFETY: the kernel filled msg_control up to msg_controllen with complete control messages;
    // the CMSG macros stay within that length. The caller guarantees the type of the message.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            if (*message).cmsg_level == level && (*message).cmsg_type == kind {
                return Some(ptr::read_unaligned(libc::CMSG_DATA(message).cast::<T>()));
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
}

/// An internet address as written by the kernel.
fn address(name: &libc::sockaddr_storage, len: libc::socklen_t) -> Option<SocketAddr> {
    let family = if len == 0 { 0 } else { name.ss_family };
    let name = ptr::from_ref(name);
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: the kernel wrote a sockaddr_in there, which is smaller and has the same
            // alignment.
            let name = unsafe { ptr::read(name.cast::<libc::sockaddr_in>()) };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddr::new(ip.into(), u16::from_be(name.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the kernel wrote a sockaddr_in6 there, which is smaller and has the same
            // alignment.
            let name = unsafe { ptr::read(name.cast::<libc::sockaddr_in6>()) };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            Some(SocketAddr::new(ip.into(), u16::from_be(name.sin6_port)))
        }
        _ => None,
    }
}

impl Drop for DatagramReader {
    fn drop(&mut self) {
        READERS.fetch_sub(1, Ordering::Relaxed);
        if !self.area.is_empty() {
            areas().free.push(mem::take(&mut self.area));
        }
    }
}

impl Default for DatagramReader {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for DatagramReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatagramReader").field("slots", &RECV_SLOTS).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (sender, receiver)
    }

    #[test]
    fn the_first_message_lands_in_place_and_the_others_beside() {
        let (sender, receiver) = pair();
        let mut reader = DatagramReader::new();
        for round in 0..3 {
            for text in ["one\n", "", "three"] {
                sender.send(text.as_bytes()).unwrap();
            }
            let mut first = BytesMut::with_capacity(DATAGRAM_MAX + 2);
            first.extend_from_slice(b"x\n");
            let count = reader.read(receiver.as_fd(), 64, &mut first).unwrap();
            assert_eq!(count, 3, "round {round}");
            reader.keep_first(&mut first);
            assert_eq!(&first[..], b"x\none\n");
            assert_eq!(reader.bytes(1), b"");
            assert_eq!(reader.bytes(2), b"three");
            assert_eq!(reader.message(2), Message { len: 5, segment: 5 });
        }
    }

    #[test]
    fn nothing_there_would_block() {
        let (_sender, receiver) = pair();
        let mut first = BytesMut::with_capacity(DATAGRAM_MAX);
        let error = DatagramReader::new().read(receiver.as_fd(), 64, &mut first).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_largest_datagram_comes_whole() {
        let (sender, receiver) = pair();
        let sent = vec![b'x'; 65_507];
        sender.send(&sent).unwrap();
        let mut first = BytesMut::with_capacity(DATAGRAM_MAX);
        let mut reader = DatagramReader::new();
        assert_eq!(reader.read(receiver.as_fd(), 1, &mut first).unwrap(), 1);
        reader.keep_first(&mut first);
        assert_eq!(first.len(), sent.len());
    }
}
