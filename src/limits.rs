//! Every bound of the daemon in one place, with the relations between them checked
//! by the compiler. Sizes are bytes unless the name says otherwise.

use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The largest payload a UDP datagram over IPv4 or IPv6 can carry, rounded up (RFC 768).
pub const DATAGRAM_MAX: usize = 65_536;
/// Default longest line; a longer one is cut and counted.
pub const LINE_MAX_DEFAULT: usize = 64 * 1024;
/// Bounds of the `max_line` key.
pub const LINE_MAX_LEAST: usize = 64;
/// The most `max_line` may be set to.
pub const LINE_MAX_MOST: usize = 16 * 1024 * 1024;

/// What a batch costs in a queue beside its bytes.
pub const BATCH_OVERHEAD: u64 = 96;
/// The shared memory that batches are cut from comes in pieces of this size.
pub const BLOCK: usize = 512 * 1024;

/// Default of `daemon.memory`.
pub const MEMORY_DEFAULT: u64 = 64 * MIB;
/// The least `daemon.memory` may be.
pub const MEMORY_LEAST: u64 = MIB;
/// Default `queue` of a process.
pub const QUEUE_DEFAULT: u64 = 8 * MIB;
/// Default `queue` of a file, a socket or standard output.
pub const QUEUE_FILE_DEFAULT: u64 = 64 * MIB;
/// Default `queue` of a spool.
pub const QUEUE_SPOOL_DEFAULT: u64 = 32 * MIB;
/// The least a `queue` may be.
pub const QUEUE_LEAST: u64 = 4 * KIB;

/// The longest time any key may be set to.
pub const TIME_MOST: Duration = Duration::from_secs(366 * 86_400);
/// The longest path of a Unix socket (`sun_path` without its final NUL).
pub const SOCKET_PATH_MOST: usize = 107;
/// The longest name of a node.
pub const NAME_MOST: usize = 64;
/// Default of `daemon.grace`.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(10);
/// Default of `receive_buffer`.
pub const RECEIVE_BUFFER_DEFAULT: u64 = 64 * MIB;
/// The least `receive_buffer` may be.
pub const RECEIVE_BUFFER_LEAST: u64 = 4 * KIB;
/// The most `receive_buffer` may be: the kernel takes no more than half of `INT_MAX`.
pub const RECEIVE_BUFFER_MOST: u64 = 1024 * MIB - 1;
/// The most `sockets` may be.
pub const SOCKETS_MOST: u16 = 64;
/// The most `workers` may be.
pub const WORKERS_MOST: u16 = 64;
/// The most nodes a configuration may have.
pub const NODES_MOST: usize = 10_000;
/// The longest configuration file, and the most bytes of it and all that it includes.
pub const CONFIG_MOST: u64 = 4 * MIB;
/// The most files that a configuration may include.
pub const INCLUDED_MOST: usize = 1000;
/// Default first and longest wait before a child is started again.
pub const RESTART_DEFAULT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The least first wait before a child is started again.
pub const RESTART_LEAST: Duration = Duration::from_millis(10);
/// The least time a file is written to before it is rotated.
pub const ROTATE_TIME_LEAST: Duration = Duration::from_secs(1);
/// The least size a file is rotated at.
pub const ROTATE_SIZE_LEAST: u64 = KIB;
/// Default of `mode`, the mode of a new file.
pub const FILE_MODE_DEFAULT: u32 = 0o640;
/// Default of `mode` of a Unix socket: any process of the host may log, as with /dev/log.
pub const UNIX_MODE_DEFAULT: u32 = 0o666;
/// The least `idle_timeout` may be.
pub const IDLE_LEAST: Duration = Duration::from_secs(1);
/// The least memory a child may be given: less does not start a shell.
pub const CHILD_MEMORY_LEAST: u64 = 8 * MIB;
/// The least files a child may be given.
pub const CHILD_FILES_LEAST: u64 = 8;
/// Default of `stop_grace`.
pub const STOP_GRACE_DEFAULT: Duration = Duration::from_secs(5);

const _: () = assert!(LINE_MAX_LEAST < LINE_MAX_DEFAULT && LINE_MAX_DEFAULT <= LINE_MAX_MOST);
const _: () = assert!(DATAGRAM_MAX <= BLOCK);
const _: () = assert!(QUEUE_LEAST <= QUEUE_DEFAULT && QUEUE_DEFAULT <= QUEUE_FILE_DEFAULT);
const _: () = assert!(QUEUE_FILE_DEFAULT <= MEMORY_DEFAULT);

/// Messages of one sendmmsg(2).
pub const SEND_SLOTS: usize = 64;
/// The largest payload of a UDP datagram over IPv4.
pub const DATAGRAM_SENT_MOST: usize = 65_507;
/// Message slots of one recvmmsg(2); each can take the largest datagram.
pub const RECV_SLOTS: usize = 64;
/// How long a receiver waits after a read that was not full while a stream is steady, and while
/// something behind it has enough to do.
pub const RECV_PAUSE: Duration = Duration::from_millis(1);
/// After so many of those waits what was gathered is handed on.
pub const RECV_PAUSES_MOST: u32 = 20;
/// A mean message of so many bytes is received in place, one message a call.
pub const RECV_LARGE: usize = 8 * 1024;
/// When the connections of an input brought so many bytes in one pass, more is taken at once.
pub const STREAM_FULL: usize = 256 * 1024;
/// How often a receiver looks whether what is sent to its address still arrives, and an input that
/// could not be opened is tried again.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a receiver asks the kernel for its drops.
pub const DROPS_EVERY: Duration = Duration::from_secs(1);
/// How long a receiver that was told to stop may take to hand over the next lines.
pub const RECV_ENDS: Duration = Duration::from_secs(5);
/// Calls of recvmmsg(2) that a stopped receiver makes at most to empty its socket.
pub const RECV_LAST_READS: usize = 10_000;
/// Batches taken from one input, or reads of one child's output, before others get a turn.
pub const TURN: usize = 16;
/// Full batches that a receiver in a flood hands over at once: each hand-over wakes the loop, and
/// that one the disk.
pub const PIECES_TOGETHER: usize = 4;
/// Batches that may wait between a receiver and the loop.
pub const RECEIVED_WAITING: usize = 8;
const _: () = assert!(PIECES_TOGETHER <= RECEIVED_WAITING);
/// Bytes that all receivers may have sent to the loop that it has not taken yet. One that has
/// nothing there may always send, so that none waits for another.
pub const RECEIVED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The blocks that all receivers fill at a time; many of them have smaller ones.
pub const BLOCKS_FILLED_MAX: usize = 4 * 1024 * 1024;
/// The smallest block.
pub const BLOCK_MIN: usize = 128 * 1024;
const _: () = assert!(DATAGRAM_MAX <= BLOCK_MIN && BLOCK_MIN <= BLOCK);
/// Blocks that nobody holds and that all receivers keep for reuse in a flood.
pub const BLOCKS_FREE_MAX: usize = 16;
/// Receivers that may receive several datagrams by one call at a time; the others receive one.
pub const AREAS_MAX: usize = 4;
/// Blocks a receiver keeps an eye on for reuse when nobody holds them any more.
pub const BLOCKS_KEPT: usize = 64;

/// The most slices of one writev(2) (UIO_MAXIOV is 1024).
pub const SLICES_MOST: usize = 64;
/// An append of so many bytes has room set aside for it and for what may follow.
pub const AHEAD_LEAST: u64 = 512 * KIB;
/// So much room is set aside for what may follow: enough for few such calls, and little enough
/// to be left behind by a daemon that is killed.
pub const AHEAD: u64 = 8 * MIB;
/// The most bytes of one job for the disk: so few that they are in the processor's cache yet.
pub const DISK_JOB_MOST: u64 = 2 * MIB;
/// Threads that write files; beyond that many outputs, some share one.
pub const DISK_THREADS_MOST: usize = 64;
/// A file that is being written to when the grace is over has this long yet; and at the end
/// the files have at least this long to be closed and compressed.
pub const CLOSE_LEAST: Duration = Duration::from_secs(1);
/// While more than this waits for a file, receivers leave what comes in the kernel's buffer,
/// up to half of it.
pub const HOLD_BYTES: u64 = 2 * MIB;
/// A file that has not caught up in this time is slow, and nobody holds back for it any more.
pub const HOLD_MOST: Duration = Duration::from_secs(1);
/// What is asked for as the buffer of a child's pipe (fcntl(2), F_SETPIPE_SZ).
pub const PIPE_BUFFER: usize = 1024 * 1024;
/// How often it is looked how much children have read, when nothing is written to them.
pub const PIPES_EVERY: Duration = Duration::from_millis(500);
/// One read of a child's output, a FIFO or standard input.
pub const READ_CHUNK: usize = 64 * 1024;
/// The longest line of a child's stderr that is logged.
pub const STDERR_LINE_MAX: usize = 1024;
/// A child's stderr lines logged in a second; more are counted.
pub const STDERR_LINES_PER_SECOND: u32 = 20;
/// The last lines of stderr that a process' node keeps, for `top` to show.
pub const STDERR_LINES_KEPT: usize = 10;
/// How long the disk rests after an error before it is tried again.
pub const DISK_RETRY: Duration = Duration::from_secs(1);
/// Open files of one output; the least recently written is closed first.
pub const OPEN_FILES_MOST: usize = 256;
/// A child that ran for less than this did not run well, however short its waits are.
pub const RAN_WELL_LEAST: Duration = Duration::from_secs(5);
/// Failures in a row after which a child counts as being in a crash loop.
pub const CRASH_LOOP: u32 = 3;

/// How often the service manager is told how things are.
pub const STATUS_EVERY: Duration = Duration::from_secs(5);
/// What waits for a service manager that does not listen.
pub const NOTES_MOST: usize = 256;
/// The watchdog is fed so many times in the time that it waits.
pub const WATCHDOG_PARTS: u32 = 4;
/// Taps at one time.
pub const TAPS_MOST: usize = 16;
/// What a tap holds that was not taken yet; lines beyond are lost to it.
pub const TAP_BYTES: usize = 4 * 1024 * 1024;
/// What all taps together hold.
pub const TAPS_BYTES: usize = 8 * 1024 * 1024;
/// About as much of it is written to a client at once.
pub const TAP_PIECE: usize = 256 * 1024;
/// Clients of the metrics at one time; the one that is slowest makes room for another.
pub const METRICS_CLIENTS_MOST: usize = 128;
/// The longest request for metrics.
pub const METRICS_REQUEST_MOST: usize = 8 * 1024;
/// How long a request for metrics may take to come, and its answer to be read.
pub const METRICS_REQUEST: Duration = Duration::from_secs(5);
/// How long a client that was answered may take to hang up.
pub const METRICS_PARTING: Duration = Duration::from_secs(1);
/// Answers of different moments that clients have not read yet.
pub const METRICS_ANSWERS_MOST: usize = 8;
/// A loop that gives no state in this time is late.
pub const METRICS_ANSWER: Duration = Duration::from_secs(2);
/// A pass of the loop that takes longer than this is late, and counted.
pub const PASS_LATE: Duration = Duration::from_millis(500);
/// Default of `stuck_after`: an output that has let nothing go for so long is stuck.
pub const STUCK_DEFAULT: Duration = Duration::from_secs(60);
/// The least `stuck_after` may be.
pub const STUCK_LEAST: Duration = Duration::from_secs(1);
/// Clients of the control socket at one time.
pub const CONTROL_CLIENTS_MOST: usize = 64;
/// Clients that may wait to be taken.
pub const CONTROL_BACKLOG: i32 = 128;
/// A client that has asked nothing for so long makes room where there are too many.
pub const CONTROL_IDLE: Duration = Duration::from_secs(10);
/// The longest request on the control socket.
pub const CONTROL_REQUEST_MOST: usize = 64 * 1024;
/// When more bytes of answers than this wait to be read, nobody is answered more.
pub const CONTROL_ANSWERS_MOST: usize = 4 * 1024 * 1024;

const _: () = assert!(TAP_PIECE <= TAP_BYTES && TAP_BYTES <= TAPS_BYTES);

/// Senders whose sequence numbers an input follows.
pub const SENDERS_MOST: usize = 4096;
/// The longest name of such a sender.
pub const SENDER_NAME_MOST: usize = 255;
/// A number this far ahead of the last one is a sender that began anew, not a loss.
pub const SEQUENCE_JUMP_MOST: u64 = 1 << 32;
/// Senders that `packet-loss` tells apart; lines of more count as invalid.
pub const PACKET_LOSS_HOSTS_MOST: usize = 65_536;

/// The most bytes one batch of a spool may hold; a row that says more is damaged.
pub const RECORD_MOST: usize = LINE_MAX_MOST + 2 * BLOCK;
/// The first read of a segment; each further one is twice as large.
pub const SCAN_FIRST: usize = 4 * 1024;
/// The largest one.
pub const SCAN_CHUNK: usize = 256 * 1024;
/// Default of `segment`.
pub const SEGMENT_DEFAULT: u64 = 64 * MIB;
/// The least `segment` may be.
pub const SEGMENT_LEAST: u64 = 64 * KIB;
/// Default of a spool's `max_size`.
pub const SPOOL_SIZE_DEFAULT: u64 = 10 * 1024 * MIB;
/// Default of a spool's `reserve`: so much of the disk is left free.
pub const RESERVE_DEFAULT: u64 = 64 * MIB;
/// Default of a spool's `sync`.
pub const SYNC_DEFAULT: Duration = Duration::from_secs(1);
/// The least time of a spool's `sync`.
pub const SYNC_LEAST: Duration = Duration::from_millis(1);
/// So much is written to a spool at most before it is synced, whatever `sync` says.
pub const UNSYNCED_MOST: u64 = 4 * MIB;
/// With `sync` a time and nobody who waits, lines are gathered for a spool until there are so
/// many bytes of them or so much time has passed: every job wakes a thread. Not for long: a
/// killed daemon loses what is gathered.
pub const GATHER_BYTES: u64 = 256 * KIB;
/// The longest such gathering.
pub const GATHER_MOST: Duration = Duration::from_millis(1);
/// A spool asks how much of the disk is free once it has written so many bytes since.
pub const FREE_EVERY: u64 = 4 * MIB;
/// The most bytes of one job for a spool.
pub const SPOOL_JOB_MOST: u64 = 4 * MIB;
/// How often cursors are written, at most.
pub const CURSOR_EVERY: Duration = Duration::from_secs(1);
/// Other spools whose lines one spool keeps count of; the one not heard of for longest is
/// forgotten.
pub const ORIGINS_MOST: usize = 4096;
/// The inputs of one segment.
pub const INPUTS_MOST: u16 = 9999;
/// The longest cursor file.
pub const CURSOR_MOST: u64 = MIB;
/// One read of a reader of a spool.
pub const FEED_READ: usize = 1024 * 1024;
/// A reader of a spool is given more when its queue holds less than this.
pub const FEED_LOW: u64 = 4 * MIB;
/// A reader of a spool holds no more than this, beside the last batch.
pub const FEED_HIGH: u64 = 8 * MIB;

const _: () =
    assert!(SEGMENT_LEAST <= SEGMENT_DEFAULT && 2 * SEGMENT_DEFAULT <= SPOOL_SIZE_DEFAULT);
const _: () = assert!(FEED_LOW <= FEED_HIGH && FEED_HIGH <= MEMORY_DEFAULT);

/// The most bytes of lines in one `lines` frame between two logweirs, but for a single line.
pub const LINES_FRAME_MOST: usize = 128 * 1024;
/// Frames that a RELP client has under way at most.
pub const RELP_WINDOW: usize = 4096;
/// Bytes of lines that a forwarder has under way at most.
pub const FORWARD_WINDOW: u64 = 4 * MIB;
/// Bytes that wait to be written to a connection before a forwarder makes more of them.
pub const FORWARD_OUT: usize = 512 * 1024;
/// How often the same line may be refused by a peer before it is given up.
pub const REFUSALS_MOST: u32 = 3;
/// How long a connection may take to be made and opened.
pub const CONNECT_MOST: Duration = Duration::from_secs(10);
/// Default of a forwarder's `timeout`: how long a peer may leave everything unanswered.
pub const ANSWER_DEFAULT: Duration = Duration::from_secs(60);
/// First and longest wait before a peer is tried again.
pub const RECONNECT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// How often it is asked how much the peer's TCP has acknowledged.
pub const UNACKED_EVERY: Duration = Duration::from_millis(50);
/// The most peers of one forwarder.
pub const PEERS_MOST: usize = 64;
/// Answers that wait for a client to read them, in bytes, before it is read from no more.
pub const ANSWERS_MOST: usize = 1024 * 1024;
/// How long a client may take to open its session.
pub const OPEN_MOST: Duration = Duration::from_secs(30);
/// Where there are as many connections as may be, a client that has sent nothing since it came
/// makes room for a new one after this time.
pub const YIELDS_SILENT: Duration = Duration::from_secs(10);
/// A client that has sent something makes room after it was idle for this long.
pub const YIELDS_IDLE: Duration = Duration::from_secs(300);
/// Default of `max_message`.
pub const MESSAGE_DEFAULT: usize = 64 * 1024;
/// The largest count of octets that a syslog client may announce; one that says more is let go.
pub const COUNT_MOST: u64 = 1024 * MIB;
/// What all clients of a syslog input together may have sent of messages that have no end yet.
pub const UNFINISHED_MOST: usize = 16 * 1024 * 1024;
/// The longest part of a file name that fields and times make: so many bytes leave room for what
/// is appended when the file is set aside (a name has 255 at most).
pub const NAME_PART_MOST: usize = 220;
/// Names that a file output with fields in its name remembers.
pub const ROUTES_MOST: usize = 4096;
/// Files that lines of one write may go to.
pub const FILES_AT_ONCE: usize = 128;
/// Default of `max_connections`.
pub const CONNECTIONS_DEFAULT: u64 = 1000;
/// The most `max_connections` may be.
pub const CONNECTIONS_MOST: u64 = 100_000;
