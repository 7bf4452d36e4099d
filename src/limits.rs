//! All limits of the daemon in one place; the compiler checks the relations between them. Sizes are
//! in bytes unless the name says otherwise.

use std::time::Duration;

const KIB: u64 = 1024;
/// A mebibyte.
pub(crate) const MIB: u64 = 1024 * KIB;

/// The largest payload a UDP datagram over IPv4 or IPv6 can carry, rounded up (RFC 768).
pub const DATAGRAM_MAX: usize = 65_536;
/// Default maximum length of a line; longer lines are truncated and counted.
pub const LINE_LENGTH_DEFAULT: usize = 64 * 1024;
/// Minimum of the `max_line` key.
pub const LINE_LENGTH_MIN: usize = 64;
/// Maximum of the `max_line` key.
pub const LINE_LENGTH_MAX: usize = 16 * 1024 * 1024;

/// Overhead of a batch in a queue, in addition to its bytes.
pub const BATCH_OVERHEAD: u64 = 96;
/// Size of the shared blocks of memory that batches are cut from.
pub const BLOCK: usize = 512 * 1024;

/// Default of `daemon.memory`.
pub const MEMORY_DEFAULT: u64 = 64 * MIB;
/// Minimum of `daemon.memory`.
pub const MEMORY_MIN: u64 = MIB;
/// Default `queue` of a process.
pub const QUEUE_DEFAULT: u64 = 8 * MIB;
/// Default `queue` of a file, a socket or standard output.
pub const QUEUE_FILE_DEFAULT: u64 = 64 * MIB;
/// Default `queue` of a spool.
pub const QUEUE_SPOOL_DEFAULT: u64 = 32 * MIB;
/// Minimum of `queue`.
pub const QUEUE_MIN: u64 = 4 * KIB;

/// Maximum of every key that is a time.
pub const TIME_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Maximum length of a Unix socket's path (`sun_path` without its final NUL).
pub const SOCKET_PATH_MAX: usize = 107;
/// Maximum length of a node's name.
pub const NAME_MAX: usize = 64;
/// Default of `daemon.grace`.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(10);
/// Default of `receive_buffer`.
pub const RECEIVE_BUFFER_DEFAULT: u64 = 64 * MIB;
/// Minimum of `receive_buffer`.
pub const RECEIVE_BUFFER_MIN: u64 = 4 * KIB;
/// Maximum of `receive_buffer`: the kernel accepts at most half of `INT_MAX`.
pub const RECEIVE_BUFFER_MAX: u64 = 1024 * MIB - 1;
/// Maximum of `sockets`.
pub const SOCKETS_MAX: u16 = 64;
/// Maximum of `workers`.
pub const WORKERS_MAX: u16 = 64;
/// Maximum number of nodes in a configuration.
pub const NODES_MAX: usize = 10_000;
/// Maximum size of a configuration file, and of all included files together.
pub const CONFIG_MAX: u64 = 4 * MIB;
/// Maximum number of files that a configuration may include.
pub const INCLUDED_MAX: usize = 1000;
/// Default first and longest wait before a child is restarted.
pub const RESTART_DEFAULT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Minimum of the first wait before a child is restarted.
pub const RESTART_MIN: Duration = Duration::from_millis(10);
/// Minimum time between rotations of a file.
pub const ROTATE_TIME_MIN: Duration = Duration::from_secs(1);
/// Minimum size at which a file is rotated.
pub const ROTATE_SIZE_MIN: u64 = KIB;
/// Default of `mode`, the mode of a new file.
pub const FILE_MODE_DEFAULT: u32 = 0o640;
/// Default of `mode` of a Unix socket: any local process may log, as with /dev/log.
pub const UNIX_MODE_DEFAULT: u32 = 0o666;
/// Minimum of `idle_timeout`.
pub const IDLE_MIN: Duration = Duration::from_secs(1);
/// Minimum memory limit of a child: a shell does not start with less.
pub const CHILD_MEMORY_MIN: u64 = 8 * MIB;
/// Minimum limit of open files of a child.
pub const CHILD_FILES_MIN: u64 = 8;
/// Default of `stop_grace`.
pub const STOP_GRACE_DEFAULT: Duration = Duration::from_secs(5);

const _: () =
    assert!(LINE_LENGTH_MIN < LINE_LENGTH_DEFAULT && LINE_LENGTH_DEFAULT <= LINE_LENGTH_MAX);
const _: () = assert!(DATAGRAM_MAX <= BLOCK);
const _: () = assert!(QUEUE_MIN <= QUEUE_DEFAULT && QUEUE_DEFAULT <= QUEUE_FILE_DEFAULT);
const _: () = assert!(QUEUE_FILE_DEFAULT <= MEMORY_DEFAULT);

/// Messages of one sendmmsg(2).
pub const SEND_SLOTS: usize = 64;
/// The largest payload of a UDP datagram over IPv4.
pub const DATAGRAM_SENT_MAX: usize = 65_507;
/// Message slots of one recvmmsg(2); each can take the largest datagram.
pub const RECV_SLOTS: usize = 64;
/// Pause after a read that was not full while a stream is steady, and while something downstream is
/// busy.
pub const RECV_PAUSE: Duration = Duration::from_millis(1);
/// The longest rest after a read of a pipe, in those pauses.
pub const RECV_RESTS_MAX: u32 = 4;
/// Number of those pauses after which the collected lines are sent to the loop.
pub const RECV_PAUSES_MAX: u32 = 20;
/// If messages have this mean size, they are received in place, one message per call.
pub const RECV_LARGE: usize = 8 * 1024;
/// If the connections of an input brought this many bytes in one pass, more is read at once.
pub const STREAM_FULL: usize = 256 * 1024;
/// Interval at which a receiver checks that its address still exists, and at which an input that
/// could not be opened is tried again.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time between two looks of a receiver whether it may read on, while datagrams are left in the
/// kernel.
pub const RECV_THROTTLED: Duration = Duration::from_micros(200);
/// Minimum of the kernel's buffer that is kept free for what comes between two looks.
pub const RECV_SPARE: u32 = 2 * 1024 * 1024;
/// Number of reads after it, in which a receiver sends no more than the loop takes at once.
pub const RECV_CAREFUL: u32 = 1024;
/// Interval at which a receiver reads the kernel's drop counters.
pub const DROPS_EVERY: Duration = Duration::from_secs(1);
/// Time, beyond the grace, that a reload waits for a removed spool whose folder it asks for again.
pub const SPOOL_CLOSES: Duration = Duration::from_secs(5);
/// Time that a stopped receiver has to hand over its remaining lines.
pub const RECV_ENDS: Duration = Duration::from_secs(5);
/// Maximum number of recvmmsg(2) calls with which a stopped receiver empties its socket.
pub const RECV_LAST_READS: usize = 10_000;
/// Batches taken from one input, or reads of one child's output, before others get a turn.
pub const TURN: usize = 16;
/// Full batches that a receiver in a flood hands over at once: each hand-over wakes the loop, which
/// in turn wakes a disk thread.
pub const PIECES_TOGETHER: usize = 4;
/// Full batches that all receivers together hold back for that, if each has at least one.
pub const PIECES_TOGETHER_ALL: usize = 8;
/// Capacity of the channel from a receiver to the loop, in batches.
pub const RECEIVED_WAITING: usize = 8;
const _: () = assert!(PIECES_TOGETHER <= RECEIVED_WAITING);
/// A receiver that waits for room there goes on once no more are left.
pub const RECEIVED_FEW: u32 = 2;
/// Maximum bytes that all receivers together have sent to a loop that has not taken them. A
/// receiver that has nothing there may always send, so that none waits for another.
pub const RECEIVED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How often at least a receiver that sent more than that looks whether the loop has taken it.
pub const TAKEN_EVERY: Duration = Duration::from_millis(16);
/// Number of filled blocks that all receivers together remember for reuse.
pub const BLOCKS_KEPT: usize = 256;
/// Total size of the blocks that all receivers fill at a time; many receivers have smaller ones.
pub const BLOCKS_FILLED_MAX: usize = 2 * 1024 * 1024;
/// Size of the smallest block.
pub const BLOCK_MIN: usize = 128 * 1024;
const _: () = assert!(DATAGRAM_MAX < BLOCK_MIN && BLOCK_MIN <= BLOCK);
/// Number of receivers that can receive several datagrams per call at the same time; each needs
/// 4 MiB, if the datagrams are that large. The others receive one per call.
pub const AREAS_MAX: usize = 4;

/// Maximum number of slices of one writev(2) (UIO_MAXIOV is 1024).
pub const SLICES_MAX: usize = 64;
/// Minimum size of an append for which space is preallocated.
pub const PREALLOCATION_MIN: u64 = 512 * KIB;
/// Space preallocated beyond an append: large enough to make such calls rare, small enough to be
/// left over by a daemon that is killed.
pub const PREALLOCATION: u64 = 8 * MIB;
/// Maximum size of a disk job: small enough that its bytes are still in the processor's cache.
pub const DISK_JOB_MAX: u64 = 2 * MIB;
/// Maximum number of disk threads; with more outputs, some share a thread.
pub const DISK_THREADS_MAX: usize = 64;
/// Extra time for a file that is being written when the grace is over, and the minimum time for
/// closing and compressing files at exit.
pub const CLOSE_MIN: Duration = Duration::from_secs(1);
/// While more bytes than this wait for a file, receivers leave data in the kernel's buffer, up to
/// half of it.
pub const HOLD_BYTES: u64 = 2 * MIB;
/// A file that has not caught up within this time is slow, and inputs are no longer throttled for
/// it.
pub const HOLD_MAX: Duration = Duration::from_secs(1);
/// A child that has read nothing for this long is stalled, and inputs are not throttled for it.
pub const STALLED_AFTER: Duration = Duration::from_millis(100);
/// Requested buffer size of a child's pipe (fcntl(2), F_SETPIPE_SZ).
pub const PIPE_BUFFER: usize = 1024 * 1024;
/// Smaller sizes are not requested: every pipe has as much unless the user has too many.
pub const PIPE_BUFFER_MIN: i32 = 64 * 1024;
/// Time that a reader of a full pipe has before it is written to again: a fast one has emptied it.
pub const PIPE_REST: Duration = Duration::from_micros(500);
/// Maximum size of a piece of lines that several children's pipes share (tee(2)): a whole batch.
pub const PIECE: usize = BLOCK;
/// Number of such pieces that are held at a time: more than fit into a child's pipe.
pub const PIECES_HELD: usize = 4;
const _: () = assert!(PIECE * PIECES_HELD >= 2 * PIPE_BUFFER);
/// Lines of fewer bytes are written to each child: a piece takes whole pages of each pipe.
pub const SHARED_MIN: usize = 16 * 1024;
/// Interval at which unread bytes in children's pipes are checked while nothing is written to them.
pub const PIPES_EVERY: Duration = Duration::from_millis(500);
/// Size of one read of a child's output, a FIFO or standard input.
pub const READ_CHUNK: usize = 64 * 1024;
/// Maximum length of a child's stderr line in the log.
pub const STDERR_LINE_MAX: usize = 1024;
/// A child's stderr lines logged per second; more are only counted.
pub const STDERR_LINES_PER_SECOND: u32 = 20;
/// Number of stderr lines kept for each process node, shown by `top`.
pub const STDERR_LINES_KEPT: usize = 10;
/// Pause after a disk error before the disk is tried again.
pub const DISK_RETRY: Duration = Duration::from_secs(1);
/// Maximum number of open files of one output; the least recently written is closed first.
pub const OPEN_FILES_MAX: usize = 256;
/// Maximum number of open files of all outputs together, if the descriptor limit allows it.
pub const FILES_OPEN_MAX: usize = 4096;
/// Maximum number of descriptors that clients of inputs leave to everything else.
pub const DESCRIPTORS_RESERVED: u64 = 32;
/// Divisor of the descriptor limit that gives the share of outputs' files.
pub const FILES_OPEN_PART: usize = 2;
/// Minimum run time after which a child counts as having run well, however short its waits are.
pub const RAN_WELL_MIN: Duration = Duration::from_secs(5);
/// Consecutive failures after which a child counts as being in a crash loop.
pub const CRASH_LOOP: u32 = 3;

/// Interval of status messages to the service manager.
pub const STATUS_EVERY: Duration = Duration::from_secs(5);
/// Messages that may wait for a service manager that is not reading.
pub const NOTES_MAX: usize = 256;
/// The watchdog is fed this many times per timeout.
pub const WATCHDOG_PARTS: u32 = 4;
/// Maximum number of taps at one time.
pub const TAPS_MAX: usize = 16;
/// Maximum bytes waiting in a tap; further lines are lost to it.
pub const TAP_BYTES: usize = 4 * 1024 * 1024;
/// Maximum bytes waiting in all taps together.
pub const TAPS_BYTES: usize = 8 * 1024 * 1024;
/// Approximate size of a piece of a tap that is written to a client at once.
pub const TAP_PIECE: usize = 256 * 1024;
/// Maximum number of metrics clients at one time; the slowest is disconnected for a new one.
pub const METRICS_CLIENTS_MAX: usize = 128;
/// Maximum length of a request for metrics.
pub const METRICS_REQUEST_MAX: usize = 8 * 1024;
/// Time limit for receiving a request for metrics, and again for writing its answer.
pub const METRICS_REQUEST: Duration = Duration::from_secs(5);
/// Time that a client has to disconnect after its answer.
pub const METRICS_PARTING: Duration = Duration::from_secs(1);
/// Maximum number of different answers held for slow clients.
pub const METRICS_ANSWERS_MAX: usize = 8;
/// A snapshot of this age is still shown to a page.
pub const METRICS_FRESH: Duration = Duration::from_millis(250);
/// A loop that provides no snapshot within this time is too slow.
pub const METRICS_ANSWER: Duration = Duration::from_secs(2);
/// A pass of the loop that takes longer than this counts as late.
pub const PASS_LATE: Duration = Duration::from_millis(500);
/// How often losses that last are reported.
pub const LOSS_EVERY: Duration = Duration::from_secs(60);
/// Losses have ended when nothing was lost for this long.
pub const LOSS_QUIET: Duration = Duration::from_secs(60);
/// An episode that lasts is only reported again if something was lost in this time.
pub const LOSS_LATELY: Duration = Duration::from_secs(30);
/// Episodes of losses that are remembered; of more the oldest is forgotten.
pub const LOSSES_MAX: usize = 4096;
/// For how long they are remembered.
pub const LOSSES_KEPT: Duration = Duration::from_secs(24 * 3600);
/// The file of losses is rewritten when it is larger than this.
pub const LOSSES_FILE_MAX: u64 = 1 << 20;
/// Minutes by which every node counts, a day.
pub const MINUTES_KEPT: u32 = 24 * 60;
/// How many minutes ahead the clock of another logweir may be for its minutes to be believed.
pub const MINUTES_AHEAD: u32 = 10;
/// Rows of minutes that all nodes keep together, of 64 bytes each and about 100 more in a minute
/// with drops. Up to 91 busy nodes keep a whole day; of more, each keeps less.
pub const MINUTES_ROWS: usize = 128 * 1024;
/// Rows of minutes that a node keeps at least, however many nodes there are.
pub const MINUTES_ROWS_MIN: usize = 30;
/// How long after its end a minute counts as closed.
pub const MINUTES_CLOSE: Duration = Duration::from_secs(5);
/// The file of minutes is rewritten when it is larger than this.
pub const MINUTES_FILE_MAX: u64 = 32 << 20;
/// Seconds by which every node counts, an hour.
pub const SECONDS_KEPT: u32 = 60 * 60;
/// Rows of seconds that all nodes keep together, of 24 bytes each. Up to 36 busy nodes keep a whole
/// hour; of more, each keeps less.
pub const SECONDS_ROWS: usize = 128 * 1024;
/// Rows of seconds that a node keeps at least, however many nodes there are.
pub const SECONDS_ROWS_MIN: usize = 60;
/// Seconds of all nodes in an answer where none are asked for: a minute.
pub const SECONDS_DEFAULT: u32 = 60;
/// Rows of seconds in an answer, about 60 bytes each; of more nodes, fewer seconds are told.
pub const SECONDS_ANSWER: usize = 20_000;
/// Audit lines that enter together, in bytes.
pub const AUDIT_PIECE: usize = 64 * 1024;
/// Closed windows that wait to be told; of more, the oldest are told later, with what changes.
pub const TOLD_WAITING: usize = 4;
/// Windows of nodes that `logweir audit` holds, about 300 bytes each; of more, the oldest are left
/// out.
pub const AUDIT_ENTRIES_MAX: usize = 400_000;
/// Minutes of all nodes in an answer where none are asked for: an hour.
pub const MINUTES_DEFAULT: u32 = 60;
/// Rows of minutes in an answer, about 100 bytes each; of more nodes, fewer minutes are told.
pub const MINUTES_ANSWER: usize = 20_000;
/// Nodes that are gone whose minutes are kept.
pub const MINUTES_DEPARTED: usize = 64;
/// Changes of the minute that are remembered of the lines of a spool, so that lines that were
/// dropped unread can be dated; of more, the oldest are forgotten. 16 bytes each.
pub const SPOOL_DATES_MAX: usize = 8192;
/// Default of `stuck_after`: an output that has released no lines for this long is stuck.
pub const STUCK_DEFAULT: Duration = Duration::from_secs(60);
/// Minimum of `stuck_after`.
pub const STUCK_MIN: Duration = Duration::from_secs(1);
/// Maximum number of control clients at one time.
pub const CONTROL_CLIENTS_MAX: usize = 64;
/// Backlog of the control socket.
pub const CONTROL_BACKLOG: i32 = 128;
/// If there are too many clients and each has asked for something, one that has been idle for this
/// long is disconnected.
pub const CONTROL_IDLE: Duration = Duration::from_secs(10);
/// Maximum length of a request on the control socket.
pub const CONTROL_REQUEST_MAX: usize = 64 * 1024;
/// While more bytes of answers than this are unread, further requests are refused.
pub const CONTROL_ANSWERS_MAX: usize = 4 * 1024 * 1024;

const _: () = assert!(TAP_PIECE <= TAP_BYTES && TAP_BYTES <= TAPS_BYTES);

/// Lines a second that an output writes to terminals at most.
pub const TERMINAL_LINES: u32 = 20;
/// Bytes of a line that a terminal shows at most.
pub const TERMINAL_LINE_MAX: usize = 1024;

/// Shortest `squeeze`.
pub const SQUEEZE_MIN: Duration = Duration::from_secs(1);
/// Maximum number of senders whose repeats a filter joins at a time. Beyond, the repeats of the one
/// that began first pass.
pub const SQUEEZE_SENDERS_MAX: usize = 1024;
/// Maximum size of the last messages of all those senders together.
pub const SQUEEZE_TEXT_MAX: usize = 1 << 20;
/// Longer lines are not compared with others: they pass.
pub const SQUEEZE_LINE_MAX: usize = 8 << 10;

/// Maximum number of senders whose sequence numbers an input tracks.
pub const SENDERS_MAX: usize = 4096;
/// Maximum length of such a sender's name.
pub const SENDER_NAME_MAX: usize = 255;
/// A number this far ahead of the last one means that the sender restarted, not that lines were
/// lost.
pub const SEQUENCE_JUMP_MAX: u64 = 1 << 32;
/// Maximum number of senders that `packet-loss` distinguishes; lines of others count as invalid.
pub const PACKET_LOSS_HOSTS_MAX: usize = 65_536;

/// Maximum size of a batch in a spool; a row that claims more is damaged.
pub const RECORD_MAX: usize = LINE_LENGTH_MAX + 2 * BLOCK;
/// Size of the first read of a segment; each further read is twice as large.
pub const SCAN_FIRST: usize = 4 * 1024;
/// Maximum size of such a read.
pub const SCAN_CHUNK: usize = 256 * 1024;
/// Default of `segment`.
pub const SEGMENT_DEFAULT: u64 = 64 * MIB;
/// Minimum of `segment`.
pub const SEGMENT_MIN: u64 = 64 * KIB;
/// Default of a spool's `max_size`.
pub const SPOOL_SIZE_DEFAULT: u64 = 10 * 1024 * MIB;
/// Default of a spool's `reserve`: this much of the disk is left free.
pub const RESERVE_DEFAULT: u64 = 64 * MIB;
/// Default of a spool's `sync`.
pub const SYNC_DEFAULT: Duration = Duration::from_secs(1);
/// Minimum of a spool's `sync`, if it is a time.
pub const SYNC_MIN: Duration = Duration::from_millis(1);
/// A spool is synced once this many bytes wait for it, whatever `sync` says: its readers get only
/// durable lines, and its queue holds the others.
pub const UNSYNCED_MAX: u64 = 4 * MIB;
/// A wall clock that gains more than this on the monotonic clock has jumped.
pub const CLOCK_STEP: Duration = Duration::from_secs(60);
/// A wall clock that jumped ahead is trusted, and lines are dropped for their age by it, once it
/// has been ahead for this long.
pub const CLOCK_BELIEVED: Duration = Duration::from_secs(3600);
/// If `sync` is a time and no client waits, lines for a spool are collected up to this size or
/// [`GATHER_MAX`], because every job wakes a thread. The time is short because a killed daemon
/// loses collected lines.
pub const GATHER_BYTES: u64 = 256 * KIB;
/// Maximum time for which lines are collected.
pub const GATHER_MAX: Duration = Duration::from_millis(1);
/// A spool checks the free space of the disk after this many written bytes.
pub const FREE_EVERY: u64 = 4 * MIB;
/// The space of removed segments counts as free for this long even if the file system does not
/// report it: some release it later.
pub const ROOM_CREDITED: Duration = Duration::from_secs(60);
/// Space reserved in a spool's folder, so that a cursor can be written on a full disk.
pub const SPARE_BYTES: usize = 16 * 1024;
/// Minimum ratio of the size of a segment to that of the table of origins at its head.
pub const SEGMENT_HEADS: u64 = 4;
/// Minimum interval between log lines about dropped unread lines.
pub const DROPS_SAID_EVERY: Duration = Duration::from_secs(60);
/// Lines of this many bytes are long: what they become in a format is written in pieces.
pub const LONG_LINE: usize = 256 * 1024;
/// Text of a long line that is escaped at once.
pub const LONG_PIECE: usize = 64 * 1024;
/// Maximum number of a line of a spool: 292,000 years at a million lines per second.
pub const LINE_NUMBER_MAX: u64 = 1 << 63;
/// Maximum size of a spool's job.
pub const SPOOL_JOB_MAX: u64 = 4 * MIB;
/// Minimum interval between writes of cursors.
pub const CURSOR_EVERY: Duration = Duration::from_secs(1);
/// A file output that has written all it was given makes its checkpoint this long after, even if
/// the last one was less than [`CURSOR_EVERY`] ago, but at least half of it: somebody may cut or
/// rename the file before the next write, and only a checkpoint tells what was in it.
pub const CHECKPOINT_REST: Duration = Duration::from_millis(20);
/// Maximum number of origins (other spools, followed files, partitions) whose position a spool
/// remembers; the least recently seen is forgotten. Each takes 145 bytes of every segment.
pub const ORIGINS_MAX: usize = 32_768;
/// Of each followed file one rotated file is remembered, too, and some are about to end.
const _: () = assert!(3 * FOLLOWED_MAX <= ORIGINS_MAX);
/// Bytes of a followed file's first line that belong to its identity.
pub const FIRST_LINE_MAX: usize = 1024;
/// Bytes before a followed file's position that are compared at every read, to see that the file
/// was not truncated and written anew: with 64, lines that end alike hide it.
pub const LOOK_BACK: usize = 1024;
/// Bytes read from a followed file at once.
pub const FOLLOW_READ: usize = 256 * 1024;
/// Bytes of what is numbered between two barriers.
pub const FOLLOW_BARRIER: u64 = MIB;
/// Time between two barriers of followed files: a barrier wakes all outputs and the reader, and a
/// position that is not known to be completed only means that lines are read again after a crash.
pub const FOLLOW_BARRIER_EVERY: Duration = Duration::from_millis(100);
/// Bytes in the queue of an output at which inputs that can wait do so; half of the queue if that
/// is less.
pub const WAITS_AT: u64 = 16 * MIB;
/// Inputs do not wait for an output that completes nothing for this long.
pub const WAITS_STUCK: Duration = Duration::from_secs(5);
/// Nor for one that has kept them waiting for this long in all since its queue was last empty.
pub const WAITS_MAX: Duration = Duration::from_secs(30);
/// Barriers of one input that wait for outputs; a further one takes the place of the last.
pub const BARRIERS_HELD: usize = 64;
/// Maximum number of files that one input follows.
pub const FOLLOWED_MAX: usize = 10_000;
/// Maximum number of folders that one input watches.
pub const WATCHED_MAX: usize = 10_000;
/// Maximum number of names read in one folder.
pub const FOLDER_NAMES_MAX: usize = 100_000;
/// Maximum depth of folders that are looked into: a symbolic link can make a loop.
pub const FOLDER_DEPTH_MAX: usize = 32;
/// Maximum number of compressed files that are looked into at a start.
pub const PACKED_MAX: usize = 1000;
/// Most bytes of a compressed file that are decompressed to measure it.
pub const PACKED_READ_MAX: u64 = 1024 * MIB;
/// Maximum number of files that are compared with a truncated one.
pub const NEIGHBOURS_MAX: usize = 64;
/// Divisor of the descriptor limit that gives the share of one input's files.
pub const FOLLOWED_PART: usize = 2;
/// A file whose name is gone is let go once it has not grown for this long, where it cannot be
/// known whether a process has it open for writing.
pub const LET_GO_AFTER: Duration = Duration::from_secs(5);
/// Default of `keep_open`.
pub const KEEP_OPEN_DEFAULT: Duration = Duration::from_secs(86_400);
/// Interval at which files without a name, and folders that cannot be watched, are looked at.
pub const FOLLOW_LOOK: Duration = Duration::from_secs(1);
/// Interval at which all folders are listed, in case a change was missed.
pub const FOLLOW_LIST: Duration = Duration::from_secs(60);
/// NUL bytes at the beginning of a line that count as a hole in the file, and are left out.
pub const HOLE_MIN: usize = 64;
/// Maximum size of a file of positions.
pub const POSITIONS_MAX: u64 = 4 * MIB;
/// Minimum interval between writes of a file of positions.
pub const POSITIONS_EVERY: Duration = Duration::from_secs(1);
/// Default of the `timeout` of `multiline`.
pub const MULTILINE_DEFAULT: Duration = Duration::from_secs(1);
/// Maximum number of patterns of one input.
pub const GLOBS_MAX: usize = 256;

/// Maximum number of inputs in one segment.
pub const INPUTS_MAX: u16 = 9999;
/// Maximum size of a cursor file.
pub const CURSOR_MAX: u64 = MIB;
/// Size of one read for a consumer of a spool.
pub const FEED_READ: usize = 1024 * 1024;
/// A consumer of a spool is given more when its queue holds less than this.
pub const FEED_LOW: u64 = 4 * MIB;
/// A consumer of a spool holds no more than this plus one batch.
pub const FEED_HIGH: u64 = 8 * MIB;
/// How long a consumer whose lines are larger than [`FEED_LOW`] waits for memory for the next one.
pub const FEED_WAITS: Duration = Duration::from_secs(5);

const _: () = assert!(SEGMENT_MIN <= SEGMENT_DEFAULT && 2 * SEGMENT_DEFAULT <= SPOOL_SIZE_DEFAULT);
const _: () = assert!(FEED_LOW <= FEED_HIGH && FEED_HIGH <= MEMORY_DEFAULT);

/// Maximum size of the lines in one `lines` frame between two logweirs, unless it is a single line.
pub const LINES_FRAME_MAX: usize = 128 * 1024;
/// Maximum number of frames that a client has in flight, not yet acknowledged by the peer.
pub const FRAMES_UNACKNOWLEDGED_MAX: usize = 4096;
/// Number of lines that a client without acknowledgements has in flight before it is given more:
/// what is noted of each is longer than a short line.
pub const LINES_UNACKNOWLEDGED_MAX: usize = 65_536;
/// Maximum bytes of lines that a forwarder has in flight.
pub const FORWARD_WINDOW: u64 = 4 * MIB;
/// A forwarder encodes no more lines while this many bytes wait to be written to its connection.
pub const FORWARD_OUT: usize = 512 * 1024;
/// Number of times a peer may refuse the same line before it is given up.
pub const REFUSALS_MAX: u32 = 3;
/// The largest file of certificates or of a private key.
pub const PEM_MAX: u64 = 16 * MIB;
/// Number of bytes that the log shows of a line that was given up.
pub const GIVEN_UP_SHOWN: usize = 256;
/// Time limit for looking up a name for one attempt to connect.
pub const LOOKUP_MAX: Duration = Duration::from_secs(60);
/// Interval at which the names of UDP outputs are looked up again.
pub const LOOKUP_EVERY: Duration = Duration::from_secs(30);
/// Maximum number of concurrent name lookups of one kind of output; further ones wait.
pub const LOOKUPS_MAX: usize = 16;
/// Maximum number of addresses of a name that are tried.
pub const ADDRESSES_MAX: usize = 32;
/// Bytes of `/etc/resolv.conf` that are read.
pub const RESOLV_MAX: u64 = 64 * KIB;
/// Bounds of how long the answer for a service holds, whatever its time to live.
pub const SERVICE_TTL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// Minimum wait before a service is looked up again because all its hosts failed.
pub const SERVICE_EVERY: Duration = Duration::from_secs(1);
/// Maximum number of hosts of a service that are used.
pub const SERVICE_HOSTS_MAX: usize = 64;
/// Time limit for connecting to one address, and again for opening the session.
pub const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Default of a forwarder's `timeout`: how long a peer may leave lines unanswered.
pub const ANSWER_DEFAULT: Duration = Duration::from_secs(60);
/// First and longest wait before a peer is tried again.
pub const RECONNECT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// Minimum age of a connection to a peer that does not acknowledge before more than [`TRIAL_BYTES`]
/// are sent on it: normally, and after a connection that ended soon. A balancer without a server
/// accepts a connection and everything sent on it, and then closes it.
pub const TRIAL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// The least time for a TLS peer that has said nothing since the handshake: it may still refuse us
/// for our certificate, or for having none.
pub const TRIAL_UNHEARD: Duration = Duration::from_secs(5);
/// Bytes of lines that are sent on such a connection until then.
pub const TRIAL_BYTES: u64 = 16 * KIB;
/// Interval at which the peer's TCP acknowledgements are checked.
pub const UNACKED_EVERY: Duration = Duration::from_millis(50);
/// Maximum number of peers of one forwarder.
pub const PEERS_MAX: usize = 64;
/// Reading from a client pauses while this many bytes of answers are unread by it.
pub const ANSWERS_MAX: usize = 1024 * 1024;
/// While the clients of an input wait for this many barriers, no more is read from them: a message
/// may be small, but its barrier is not. What waits in the kernel then comes in larger pieces.
pub const BARRIERS_MAX: usize = 4096;
/// Time limit for a client to open its session.
pub const OPEN_MAX: Duration = Duration::from_secs(30);
/// If the connection limit is reached, a client that has sent nothing since it connected may be
/// replaced after this time.
pub const YIELDS_SILENT: Duration = Duration::from_secs(10);
/// A client that has sent something may be replaced after being idle for this long.
pub const YIELDS_IDLE: Duration = Duration::from_secs(300);
/// Default of `max_message`.
pub const MESSAGE_DEFAULT: usize = 64 * 1024;
/// Maximum octet count that a syslog client may announce; a client that announces more is
/// disconnected.
pub const COUNT_MAX: u64 = 1024 * MIB;
/// Maximum bytes of incomplete messages and unread answers of the clients of all inputs together.
/// Beyond, an input that holds more than its share disconnects whoever holds most.
pub const UNFINISHED_MAX: usize = 16 * 1024 * 1024;
/// Maximum length of the part of a file name that fields and times produce; it leaves room for the
/// suffix of a rotated file (a name has at most 255 bytes).
pub const NAME_PART_MAX: usize = 220;
/// Memory for names produced by messages, for all file outputs together, in bytes.
pub const FILE_NAMES_MEMORY: usize = 4 * 1024 * 1024;
/// Maximum number of files in one write.
pub const FILES_AT_ONCE: usize = 1024;
/// Memory for the names of one write, and for those in a cursor, in bytes.
pub const FILES_AT_ONCE_NAMES: usize = 256 * 1024;
/// Maximum number of file names in a cursor; the least recently closed are left out.
pub const CURSOR_FILES_MAX: usize = 2 * FILES_AT_ONCE;
/// Default of `max_connections`.
pub const CONNECTIONS_DEFAULT: u64 = 1000;
/// Maximum of `max_connections`.
pub const CONNECTIONS_MAX: u64 = 100_000;
/// Maximum size of a message that holds many records: senders in use make chunks of 8 MiB.
pub const RECORDS_MESSAGE_MAX: usize = 12 * 1024 * 1024;
const _: () = assert!(RECORDS_MESSAGE_MAX < UNFINISHED_MAX);
/// Maximum size of the records of one such message, once decompressed.
pub const RECORDS_UNPACKED_MAX: usize = 32 * 1024 * 1024;
/// Maximum length of the id of a chunk. Ids in use have 32 to 64 bytes.
pub const CHUNK_ID_MAX: usize = 1024;
/// Number of chunks that an input remembers, so that one that is sent again is not taken twice.
pub const CHUNKS_REMEMBERED: usize = 16 * 1024;
/// Maximum number of chunks that a forwarder has in flight.
pub const CHUNKS_UNANSWERED_MAX: usize = 256;
/// Maximum number of calls that a forwarder has in flight to a peer that answers each.
pub const CALLS_UNANSWERED_MAX: usize = 4;

/// Maximum size of an answer from a broker of a cluster.
pub const CLUSTER_FRAME_MAX: usize = 16 * 1024 * 1024;
/// Memory of answers from this size on is used again,
pub const FRAME_LARGE: usize = 64 * 1024;
/// of so many of them,
pub const FRAMES_KEPT: usize = 2;
/// but not of larger ones.
pub const FRAME_KEPT_MAX: usize = CONSUMED_AT_ONCE + CONSUMED_PART;
/// Maximum number of brokers of a cluster that are remembered.
pub const BROKERS_MAX: usize = 10_000;
/// First and longest time between two questions about who leads what.
pub const METADATA_EVERY: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(5));
/// What is known of a cluster is asked again after this time.
pub const METADATA_AGE: Duration = Duration::from_secs(300);
/// Bounds of the rounds that a server may ask for in SCRAM (RFC 7677, section 4, has the minimum).
pub const SCRAM_ROUNDS_MIN: u32 = 4096;
/// The maximum: more would only keep us busy.
pub const SCRAM_ROUNDS_MAX: u32 = 1_000_000;
/// Maximum number of topics that one output writes to, or that one input reads.
pub const TOPICS_MAX: usize = 256;
/// Maximum number of partitions of all topics of one output.
pub const PARTITIONS_MAX: usize = 20_000;
/// Maximum length of a topic's name.
pub const TOPIC_NAME_MAX: usize = 249;
/// Lines of one run: so many go to one partition before the next one's turn.
pub const RUN: u64 = 512;
/// Approximate maximum size of a batch of records, below the default limit of brokers (1,048,588).
pub const RECORDS_MAX: usize = 960 * 1024;
/// A batch of records that is sent although others of its partition are unanswered has this size.
pub const RECORDS_ENOUGH: usize = 64 * 1024;
/// Unanswered batches of a partition: a broker remembers so many to tell a repetition.
pub const RECORDS_UNANSWERED_MAX: usize = 5;
/// Approximate maximum size of a request with batches of records.
pub const RECORDS_REQUEST_MAX: usize = 2 * 1024 * 1024;
/// Pause before a batch that a broker did not take is sent again.
pub const RECORDS_RETRY: Duration = Duration::from_millis(100);
/// The same after an error that somebody has to fix.
pub const RECORDS_REFUSED_RETRY: Duration = Duration::from_secs(1);
/// First and longest pause before a partition is asked again that could not be read.
pub const CONSUMED_RETRY: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(10));
/// How often offsets are committed to a group.
pub const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// The time between two heartbeats to a group that has not said another.
pub const GROUP_BEAT: Duration = Duration::from_secs(3);
/// A member of a classic group is out without a heartbeat for so long: first what is wanted, then
/// what is asked for where a broker forbids that.
pub const GROUP_SESSION: (Duration, Duration) = (Duration::from_secs(45), Duration::from_secs(10));
/// How often a member looks whether another process uses its identity.
pub const GROUP_WATCH: Duration = Duration::from_secs(30);
/// How long the leader of a classic group waits to know the topics of all members.
pub const GROUP_TOPICS: Duration = Duration::from_secs(5);
/// Looks at single partitions that the leader of a classic group spends on a fair share.
pub const ASSIGNOR_STEPS: usize = 4_000_000;
/// How long a member may take to give partitions back.
pub const GROUP_PATIENCE: Duration = Duration::from_secs(60);
/// How long a member that is stopped waits until it has left.
pub const GROUP_LEAVE: Duration = Duration::from_secs(10);
/// A broker that owes an answer for this long is given up.
pub const CONSUMED_ANSWER: Duration = Duration::from_secs(30);
/// First and longest pause of a receiver for a loop that takes nothing.
pub const CONSUMED_PAUSE: (Duration, Duration) =
    (Duration::from_millis(1), Duration::from_millis(50));
/// How long a broker may wait for a first record before it answers.
pub const CONSUMED_WAIT: Duration = Duration::from_millis(500);
/// Bytes of records that brokers may send at once, all together, and one of them at least.
pub const CONSUMED_AT_ONCE: usize = 4 * 1024 * 1024;
/// See [`CONSUMED_AT_ONCE`].
pub const CONSUMED_LEAST: usize = 256 * 1024;
/// Bytes of records of one partition in an answer.
pub const CONSUMED_PART: usize = 1024 * 1024;
/// Maximum time that a job for a cluster takes before it says how far it has come.
pub const CLUSTER_JOB: Duration = Duration::from_millis(500);
/// Maximum size of a password file, and of the output of a command that prints a token.
pub const SECRET_MAX: u64 = 64 * KIB;
/// Time limit of that command.
pub const SECRET_COMMAND: Duration = Duration::from_secs(10);
