//! `logweir spool`: what it prints of a spool, what it sends, what it removes.

use std::fs::{self, File};
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use logweir::batch::{Batch, Span, count_lines};
use logweir::clock::Mono;
use logweir::config::plan::{SpoolFull, SpoolPlan, Sync};
use logweir::fs::{Fs, OsFs};
use logweir::ids::Identity;
use logweir::spool::age::Now;
use logweir::spool::cursor::Cursor;
use logweir::spool::format::segment_name;
use logweir::spool::recover::{Opened, open};
use logweir::spool::writer::Writer;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::util::{Daemon, LOGWEIR, free_port, wait_for};

const SPOOL: Identity = Identity::of(7);
/// 2020-02-02T08:00:00Z; each batch of [`Spool::with`] comes a minute after the one before.
const EIGHT: u64 = 1_580_630_400;

/// A spool in a folder of its own.
struct Spool {
    dir: TempDir,
}

impl Spool {
    /// A spool whose identity is [`SPOOL`], with these batches.
    fn with(batches: &[&[u8]], segment: u64) -> Self {
        let spool = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(spool.path("identity"), format!("{SPOOL}\n")).unwrap();
        let mut writer = spool.open(segment).writer;
        for (at, batch) in batches.iter().enumerate() {
            append(&mut writer, batch, EIGHT + 60 * at as u64, None);
        }
        spool
    }

    /// Lines `line 0` to `line N-1`, two in a batch and two batches in a segment.
    fn numbered(lines: u64) -> Self {
        let batches: Vec<_> = (0..lines / 2)
            .map(|pair| format!("line {}\nline {}\n", 2 * pair, 2 * pair + 1).into_bytes())
            .collect();
        Self::with(&batches.iter().map(|batch| &batch[..]).collect::<Vec<_>>(), 760)
    }

    fn open(&self, segment: u64) -> Opened<OsFs> {
        let plan = SpoolPlan {
            dir: self.dir.path().into(),
            max_size: 1 << 40,
            max_age: None,
            keep: None,
            segment,
            sync: Sync::Never,
            when_full: SpoolFull::DropOldest,
            compress: false,
            reserve: 0,
            queue: 1 << 20,
        };
        let now = Now { wall: SystemTime::now(), mono: Mono::default() };
        open(OsFs, &plan, &["hub".into()], now).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn segment(&self, first: u64) -> PathBuf {
        self.path(&segment_name(first))
    }

    fn segments(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.contains(".log"));
        names.sort();
        names
    }

    fn compress(&self, first: u64) {
        let plain = fs::read(self.segment(first)).unwrap();
        let packed = zstd::encode_all(&plain[..], 1).unwrap();
        fs::write(self.path(&format!("{}.zst", segment_name(first))), packed).unwrap();
        fs::remove_file(self.segment(first)).unwrap();
    }

    fn cursor(&self, reader: &str, spool: Identity, position: u64) {
        let cursor = Cursor::at(reader, spool, position);
        fs::write(Cursor::path(self.dir.path(), reader), cursor.encode()).unwrap();
    }

    fn position(&self, reader: &str) -> (Identity, u64) {
        let content = fs::read(Cursor::path(self.dir.path(), reader)).unwrap();
        let cursor = Cursor::decode(&content).unwrap();
        (cursor.spool, cursor.position)
    }

    /// Turns a bit.
    fn damage(&self, first: u64, at: u64) {
        let file = File::options().read(true).write(true).open(self.segment(first)).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }

    /// Runs `logweir spool COMMAND DIR ARGS`.
    fn run(&self, command: &str, args: &str) -> Said {
        said(&spool_command(command, self.dir.path(), args).output().unwrap())
    }

    fn spawn(&self, command: &str, args: &str) -> Child {
        let mut command = spool_command(command, self.dir.path(), args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

fn append(writer: &mut Writer<OsFs>, lines: &[u8], seconds: u64, origin: Option<Span>) {
    let received = UNIX_EPOCH + Duration::from_secs(seconds);
    let bytes = Bytes::copy_from_slice(lines);
    let batch = Batch::new(bytes, count_lines(lines), "squid".into(), received);
    let batch = Batch { origin, ..batch };
    let appended = writer.append(&[batch]);
    assert!(appended.stopped.is_none(), "{appended:?}");
    writer.sync().unwrap();
}

fn spool_command(command: &str, dir: &Path, args: &str) -> Command {
    let mut run = Command::new(LOGWEIR);
    // What is in quotes is one argument.
    let args = args.split('\'').enumerate().flat_map(|(at, part)| match at % 2 {
        0 => part.split_whitespace().collect(),
        _ => vec![part],
    });
    run.args(["spool", command]).arg(dir).args(args);
    run
}

/// Exit code, standard output, standard error; the folder is `DIR` in them.
#[derive(Debug, PartialEq, Eq)]
struct Said(i32, String, String);

fn said(output: &Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said(output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

impl Said {
    fn in_dir(self, spool: &Spool) -> Self {
        let dir = spool.dir.path().display().to_string();
        Self(self.0, self.1.replace(&dir, "DIR"), self.2.replace(&dir, "DIR"))
    }
}

fn printed(text: &str) -> Said {
    Said(0, text.into(), String::new())
}

fn numbered(from: u64, to: u64) -> String {
    (from..to).map(|number| format!("line {number}\n")).collect()
}

// ---- ls

#[test]
fn ls_shows_segments_readers_and_origins() {
    let spool = Spool::numbered(10);
    let mut writer = spool.open(760).writer;
    let origin = Span { origin: Identity::of(0xabc), first: 40, last: 41 };
    append(&mut writer, b"from\nthere\n", EIGHT + 600, Some(origin));
    spool.compress(0);
    spool.cursor("hub", SPOOL, 12);
    spool.cursor("stranger", Identity::of(8), 1);
    fs::write(spool.path("torn.cursor"), "logweir cursor 1\nreader torn\n").unwrap();
    let packed = fs::metadata(spool.path("00000000000000000000.log.zst")).unwrap().len();
    let bytes = packed + 608 + 449 + 446;
    let wanted = format!(
        "          FIRST LINE        LINES           BYTES  FIRST RECEIVED        LAST RECEIVED
                   0            4 {packed:>15}  2020-02-02T08:00:00Z  2020-02-02T08:02:00Z  zstd
                   4            4             608  2020-02-02T08:02:00Z  2020-02-02T08:04:00Z
                   8            2             449  2020-02-02T08:04:00Z  2020-02-02T08:10:00Z
                  10            2             446  2020-02-02T08:10:00Z  2020-02-02T08:10:00Z
          4 segments           12 {bytes:>15}  2020-02-02T08:00:00Z  2020-02-02T08:10:00Z

READER                           POSITION    LAG LINES       LAG BYTES  LAG SECONDS
hub                                    12            0               0            0
stranger                                -            -               -            -  of another \
         spool (00000000000000000000000000000008): it begins at the oldest line kept
torn                                    -            -               -            -  damaged: \
         it begins at the oldest line kept

identity 00000000000000000000000000000007

ORIGIN                                      LAST LINE
00000000000000000000000000000abc                   41
"
    );
    assert_eq!(spool.run("ls", ""), printed(&wanted));
}

#[test]
fn ls_tells_how_far_a_reader_is_behind() {
    let spool = Spool::numbered(10);
    spool.cursor("hub", SPOOL, 3);
    spool.cursor("ahead", SPOOL, 11);
    let Said(0, json, _) = spool.run("ls", "--json") else { panic!("ls failed") };
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["first"], &json["end"], &json["lines"]), (&0.into(), &10.into(), &10.into()));
    let hub = &json["readers"][1];
    assert_eq!((&hub["reader"], &hub["position"]), (&"hub".into(), &3.into()));
    assert_eq!(hub["lag_lines"], 7);
    // One of the four lines of the first segment, and the other two segments.
    assert_eq!(hub["lag_bytes"], 608 / 4 + 608 + 449);
    let second = UNIX_EPOCH + Duration::from_secs(EIGHT + 60);
    let age = SystemTime::now().duration_since(second).unwrap().as_secs_f64();
    let lag = hub["lag_seconds"].as_f64().unwrap();
    assert!((age - 60.0..=age).contains(&lag), "{lag} of {age}");
    assert_eq!(json["readers"][0]["error"], "1 line ahead of the last one");
    assert_eq!(json["segments"][1]["first_received"], "2020-02-02T08:02:00Z");
    // What was removed from under a reader does not wait for it.
    fs::remove_file(spool.segment(0)).unwrap();
    let Said(0, json, _) = spool.run("ls", "--json") else { panic!("ls failed") };
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let hub = &json["readers"][1];
    assert_eq!((&hub["position"], &hub["lag_lines"]), (&3.into(), &6.into()));
    assert_eq!(hub["error"], "not passed and no longer here: 1 line");
}

#[test]
fn ls_reads_little_of_much() {
    let spool = Spool::numbered(2);
    let head = fs::read(spool.segment(0)).unwrap();
    // To read so much would take a day.
    for first in 0..20 {
        let path = spool.segment(2 * first);
        fs::write(&path, &head).unwrap();
        let len = if first == 19 { head.len() as u64 } else { 1 << 40 };
        File::options().write(true).open(path).unwrap().set_len(len).unwrap();
    }
    spool.cursor("hub", SPOOL, 38);
    let start = Instant::now();
    let Said(0, text, _) = spool.run("ls", "") else { panic!("ls failed") };
    assert!(text.contains("20 segments"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

// ---- cat

#[test]
fn cat_prints_lines_as_they_came() {
    let lines: [&[u8]; 4] =
        [b"plain\n\n", b"\x1e1B looks like a row\n", b"\xff\xfe\0\n", b"last\r\n"];
    let spool = Spool::with(&lines, 760);
    spool.compress(0);
    let output = spool_command("cat", spool.dir.path(), "").output().unwrap();
    assert_eq!(output.stdout, lines.concat());
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]));
}

#[test]
fn cat_picks_by_number_time_and_regex() {
    let spool = Spool::numbered(20);
    spool.compress(4);
    for (args, wanted) in [
        ("", numbered(0, 20)),
        ("--from 7", numbered(7, 20)),
        ("--to 6", numbered(0, 7)),
        ("--from 3 --to 3", numbered(3, 4)),
        ("--from 5 --to 4", String::new()),
        ("--from 20", String::new()),
        ("--from 18446744073709551615 --to 18446744073709551615", String::new()),
        ("--since 2020-02-02T08:03:00Z", numbered(6, 20)),
        ("--since 2020-02-02T08:02:30Z", numbered(6, 20)),
        ("--until '2020-02-02 08:03'", numbered(0, 6)),
        ("--since '2020-02-02 08:01' --until '2020-02-02 08:03'", numbered(2, 6)),
        ("--since '2020-02-02 08:01' --from 3 --to 9", numbered(3, 10)),
        ("--since '2020-02-02 09:00'", String::new()),
        ("--since 1h", String::new()),
        ("--until 1h", numbered(0, 20)),
        ("--match [135]$", "line 1\nline 3\nline 5\nline 11\nline 13\nline 15\n".into()),
        ("--match '^line [89]' --to 8", "line 8\n".into()),
        ("--match nothing", String::new()),
    ] {
        assert_eq!(spool.run("cat", args), printed(&wanted), "{args}");
    }
}

#[test]
fn what_is_asked_for_in_a_wrong_way_is_refused() {
    let spool = Spool::numbered(2);
    for (command, args, said) in [
        ("cat", "--from 1.5", "invalid digit"),
        ("cat", "--since yesterday", "write a time as 2026-11-23T08:00:00Z"),
        ("cat", "--match a(b", "unclosed group"),
        ("replay", "", "--to <URL>"),
        ("replay", "--to tcp://localhost", "the port is missing"),
        ("replay", "--to tcp://localhost:1 --rate 5", "write a rate"),
        ("trim", "", "--before <T|N>|--new-identity"),
        ("trim", "--before soon", "or the number of a line"),
        ("trim", "--before 3 --new-identity", "cannot be used with"),
    ] {
        let Said(code, _, error) = spool.run(command, args);
        assert!(code == 2 && error.contains(said), "{command} {args}: {code}, {error}");
    }
}

#[test]
fn cat_says_what_is_damaged_or_missing_and_goes_on() {
    let spool = Spool::numbered(20);
    // In the payload of the second batch of the first segment.
    spool.damage(0, 145 * 3 + 14 + 3);
    fs::remove_file(spool.segment(8)).unwrap();
    let wanted = numbered(0, 2) + &numbered(4, 8) + &numbered(12, 20);
    let error = "logweir: DIR/00000000000000000000.log: damaged: 159 bytes at 449\n\
                 logweir: lines 2 to 3 are damaged\n\
                 logweir: lines 8 to 11 are missing\n";
    assert_eq!(spool.run("cat", "").in_dir(&spool), Said(1, wanted, error.into()));
    assert_eq!(spool.run("cat", "--from 12"), printed(&numbered(12, 20)));
}

#[test]
fn cat_says_what_is_kept_no_longer() {
    let spool = Spool::numbered(20);
    fs::remove_file(spool.segment(0)).unwrap();
    assert_eq!(spool.run("cat", ""), printed(&numbered(4, 20)));
    let error = "logweir: lines 1 to 3 are no longer kept\n";
    assert_eq!(spool.run("cat", "--from 1"), Said(0, numbered(4, 20), error.into()));
}

#[test]
fn cat_ends_quietly_when_nobody_reads_on() {
    let batch = "some line of a large spool\n".repeat(10_000);
    let spool = Spool::with(&[batch.as_bytes(); 20], 1 << 30);
    let mut child = spool.spawn("cat", "");
    let mut first = [0; 27];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(said(&child.wait_with_output().unwrap()), printed(""));
}

#[test]
fn all_but_trim_work_beside_a_writer() {
    let spool = Spool::numbered(6);
    let mut writer = spool.open(760).writer;
    for number in 6..30 {
        append(&mut writer, format!("line {number}\n").as_bytes(), EIGHT + 900, None);
        let Said(0, text, _) = spool.run("verify", "") else { panic!("verify failed") };
        assert!(text.contains(&format!(" {} lines (from 0 to {number}), ", number + 1)), "{text}");
        assert_eq!(spool.run("cat", ""), printed(&numbered(0, number + 1)));
        let Said(0, text, _) = spool.run("ls", "") else { panic!("ls failed") };
        assert!(text.contains("segments"), "{text}");
    }
    let error = "logweir: DIR: a daemon writes to this spool: stop it first\n";
    let refused = Said(1, String::new(), error.into());
    assert_eq!(spool.run("trim", "--before 9").in_dir(&spool), refused);
}

// ---- folders that are none

#[test]
fn a_folder_that_is_no_spool_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    fs::write(path.join("file"), "").unwrap();
    fs::create_dir(path.join("empty")).unwrap();
    fs::create_dir(path.join("other")).unwrap();
    fs::write(path.join("other/notes.txt"), "x").unwrap();
    let none = "is not a spool: it has no segment and no identity; name the `dir` of a spool";
    for command in ["ls", "cat", "verify", "replay", "trim"] {
        let args = match command {
            "replay" => "--dry-run",
            "trim" => "--before 1",
            _ => "",
        };
        for (name, said) in [
            ("missing", "there is no such folder; name the `dir` of a spool"),
            ("file", "is not a folder; name the `dir` of a spool"),
            ("empty", none),
            ("other", none),
        ] {
            let output = spool_command(command, &path.join(name), args).output().unwrap();
            let wanted = format!("logweir: {}: {said}\n", path.join(name).display());
            assert_eq!(crate::spool_cli::said(&output), Said(1, String::new(), wanted));
        }
    }
    assert_eq!(fs::read_dir(path.join("empty")).unwrap().count(), 0, "something was made there");
}

#[test]
fn a_spool_without_lines_is_one() {
    let spool = Spool::with(&[], 760);
    assert_eq!(spool.run("cat", ""), printed(""));
    assert_eq!(spool.run("verify", ""), printed("0 segments, 0 lines, 0 bytes: sound\n"));
    assert_eq!(spool.run("replay", "--dry-run"), printed("would send 0 lines, 0 bytes\n"));
    let list = "no segments: no line was stored yet\n\nno reader has a cursor here\n\n\
                identity 00000000000000000000000000000007\n";
    assert_eq!(spool.run("ls", ""), printed(list));
    let none = "no segment is wholly before that (the newest one always stays)\n";
    assert_eq!(spool.run("trim", "--before 9"), printed(none));
}

#[test]
fn a_folder_that_may_not_be_read_says_who_may() {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let spool = Spool::numbered(2);
    fs::set_permissions(spool.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o0))
        .unwrap();
    let Said(code, _, error) = spool.run("ls", "");
    fs::set_permissions(spool.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    assert!(code == 1 && error.contains("do this as the daemon's user or as root"), "{error}");
}

// ---- verify

#[test]
fn verify_finds_nothing_wrong_with_a_sound_spool() {
    let spool = Spool::numbered(10);
    spool.cursor("hub", SPOOL, 3);
    spool.compress(4);
    let bytes = 608 + 449 + fs::metadata(spool.path("00000000000000000004.log.zst")).unwrap().len();
    let wanted = format!("3 segments, 10 lines (from 0 to 9), {bytes} bytes: sound\n");
    assert_eq!(spool.run("verify", ""), printed(&wanted));
}

#[test]
fn verify_tells_the_place_of_every_damage() {
    let spool = Spool::numbered(20);
    // A payload, the row of a batch, the row of the segment, a missing segment.
    spool.damage(0, 449 + 150);
    spool.damage(4, 449 + 20);
    spool.damage(8, 20);
    fs::remove_file(spool.segment(12)).unwrap();
    let wanted = "\
        DIR/00000000000000000000.log: byte 449: 159 bytes damaged, lines 2 to 3 lost\n\
        DIR/00000000000000000004.log: byte 449: 159 bytes damaged, lines 6 to 7 lost\n\
        DIR/00000000000000000008.log: byte 0: 145 bytes damaged, no line lost\n\
        DIR/00000000000000000008.log: at its end lines 12 to 15 missing\n\
        4 segments, 12 lines (from 0 to 19), 2438 bytes: 4 things wrong, 8 lines lost\n";
    assert_eq!(spool.run("verify", "").in_dir(&spool), Said(1, wanted.into(), String::new()));
}

#[test]
fn verify_notices_every_byte_that_changes() {
    let spool = Spool::numbered(8);
    for at in (0..608).step_by(5) {
        for first in [0, 4] {
            spool.damage(first, at);
            let Said(code, text, _) = spool.run("verify", "").in_dir(&spool);
            // The rows of the segment and of its input, the first batch, the second.
            let start = [0, 145, 290, 449].into_iter().rfind(|start| *start <= at).unwrap();
            let newest_torn = first == 4 && start == 449;
            let place = format!("DIR/{}: byte {start}: ", segment_name(first));
            assert!(code == 1 && text.contains(&place), "{at}: {text}");
            let lost = match start {
                _ if newest_torn => "159 bytes damaged, where line 6 should be",
                290 => &format!(", lines {first} to {} lost", first + 1),
                449 => &format!(", lines {} to {} lost", first + 2, first + 3),
                _ => ", no line lost",
            };
            assert!(text.contains(lost), "{at}: {text}");
            spool.damage(first, at);
        }
    }
    assert_eq!(spool.run("verify", "").0, 0);
}

#[test]
fn a_torn_tail_is_wrong_only_where_nobody_writes() {
    let spool = Spool::numbered(4);
    let whole = fs::read(spool.segment(0)).unwrap();
    for len in (291..whole.len()).step_by(7) {
        fs::write(spool.segment(0), &whole[..len]).unwrap();
        let (sound, lines) = if len < 449 { (290, 0) } else { (449, 2) };
        let torn = len - sound;
        if torn == 0 {
            continue;
        }
        let place = format!("DIR/{}: byte {sound}: {torn} byte", segment_name(0));
        let Said(code, text, _) = spool.run("verify", "").in_dir(&spool);
        assert!(code == 1 && text.contains(&place) && text.contains(": torn; "), "{text}");
        assert!(text.contains(&format!(", {lines} lines")), "{text}");
        let lock = OsFs.lock(&spool.path("lock")).unwrap();
        let Said(code, text, _) = spool.run("verify", "").in_dir(&spool);
        assert!(code == 0 && text.contains("being written, or torn") && text.contains(&place));
        drop(lock);
        assert_eq!(spool.run("cat", ""), printed(&numbered(0, lines)));
    }
}

#[test]
fn verify_looks_at_cursors_and_the_identity() {
    let spool = Spool::numbered(4);
    spool.cursor("hub", SPOOL, 9);
    spool.cursor("other", Identity::of(8), 1);
    fs::write(spool.path("torn.cursor"), "x").unwrap();
    fs::write(spool.path("identity"), format!("{}\n", Identity::of(9))).unwrap();
    fs::write(spool.path("notes"), "x").unwrap();
    fs::write(spool.path("hub.cursor.new"), "x").unwrap();
    let wanted = "\
        identity: is 00000000000000000000000000000009, but the newest segment is of the spool \
        00000000000000000000000000000007: put the right files back, or begin anew with `logweir \
        spool trim --new-identity DIR`\n\
        hub.cursor: 5 lines that were read already are no longer here\n\
        other.cursor: is of another spool (00000000000000000000000000000008): its reader begins \
        again at the oldest line kept\n\
        torn.cursor: is damaged: its reader begins again at the oldest line kept\n\
        notes: is not a spool's file\n\
        hub.cursor.new: left by an interrupted step; the daemon removes it when it starts\n\
        1 segment, 4 lines (from 0 to 3), 608 bytes: 4 things wrong, 5 lines lost\n";
    assert_eq!(spool.run("verify", "").in_dir(&spool), Said(1, wanted.into(), String::new()));
}

#[test]
fn a_compressed_segment_that_is_cut_is_damaged_from_there_on() {
    let spool = Spool::numbered(8);
    spool.compress(0);
    let path = spool.path("00000000000000000000.log.zst");
    let packed = fs::read(&path).unwrap();
    fs::write(&path, &packed[..packed.len() - 20]).unwrap();
    let Said(code, text, _) = spool.run("verify", "").in_dir(&spool);
    let place = "DIR/00000000000000000000.log.zst: byte ";
    assert!(code == 1 && text.contains(place) && text.contains(" to 3 lost"), "{text}");
    let Said(code, text, error) = spool.run("cat", "");
    assert!(code == 1 && text.ends_with(&numbered(4, 8)) && error.contains("damaged"), "{error}");
}

// ---- replay

/// Takes one connection after the other and gives back what came by each.
struct Sink {
    listener: TcpListener,
    url: String,
}

impl Sink {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    fn next(&self) -> JoinHandle<String> {
        let listener = self.listener.try_clone().unwrap();
        thread::spawn(move || {
            let mut got = String::new();
            listener.accept().unwrap().0.read_to_string(&mut got).unwrap();
            got
        })
    }
}

/// The number behind `--from` in what a replay said.
fn go_on(said: &str) -> u64 {
    let (_, rest) = said.split_once("continue with --from ").unwrap_or_else(|| panic!("{said}"));
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn replay_sends_the_lines_asked_for() {
    let spool = Spool::numbered(20);
    spool.compress(4);
    let sink = Sink::new();
    for (args, wanted, said) in [
        ("", numbered(0, 20), "sent 20 lines, 150 bytes, between 0 and 19\n"),
        ("--from 3 --to-line 4", numbered(3, 5), "sent 2 lines, 14 bytes, between 3 and 4\n"),
        (
            "--since '2020-02-02 08:08'",
            numbered(16, 20),
            "sent 4 lines, 32 bytes, between 16 and 19\n",
        ),
        ("--match 7", "line 7\nline 17\n".into(), "sent 2 lines, 15 bytes, between 7 and 17\n"),
        ("--rate 1000/s", numbered(0, 20), "sent 20 lines, 150 bytes, between 0 and 19\n"),
        ("--from 30", String::new(), "sent 0 lines, 0 bytes\n"),
    ] {
        let got = sink.next();
        let args = format!("--to {} {args}", sink.url);
        assert_eq!(spool.run("replay", &args), printed(said), "{args}");
        assert_eq!(got.join().unwrap(), wanted, "{args}");
    }
}

#[test]
fn replay_sends_a_datagram_a_line_at_a_rate() {
    let spool = Spool::numbered(20);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let args = format!("--to udp://{} --rate 100/s", socket.local_addr().unwrap());
    let start = Instant::now();
    let said = printed("sent 20 lines, 150 bytes, between 0 and 19\n");
    assert_eq!(spool.run("replay", &args), said);
    assert!(start.elapsed() >= Duration::from_millis(195), "{:?}", start.elapsed());
    for number in 0..20 {
        let mut line = [0; 100];
        let len = socket.recv(&mut line).unwrap();
        assert_eq!(line[..len], *format!("line {number}\n").as_bytes());
    }
}

#[test]
fn a_dry_run_counts_and_sends_nothing() {
    let spool = Spool::numbered(20);
    let said = "would send 4 lines, 28 bytes, received 2020-02-02T08:01:00Z to \
                2020-02-02T08:02:00Z\n";
    assert_eq!(spool.run("replay", "--dry-run --from 2 --to-line 5"), printed(said));
}

#[test]
fn replay_sends_what_is_sound_and_fails() {
    let spool = Spool::numbered(8);
    spool.damage(0, 449 + 150);
    let sink = Sink::new();
    let got = sink.next();
    let error = "logweir: DIR/00000000000000000000.log: damaged: 159 bytes at 449\n\
                 logweir: lines 2 to 3 are damaged\n";
    let said = Said(1, "sent 6 lines, 42 bytes, between 0 and 7\n".into(), error.into());
    assert_eq!(spool.run("replay", &format!("--to {}", sink.url)).in_dir(&spool), said);
    assert_eq!(got.join().unwrap(), numbered(0, 2) + &numbered(4, 8));
}

#[test]
fn a_replay_that_is_stopped_and_gone_on_with_sends_every_line_once() {
    let spool = Spool::numbered(1000);
    let sink = Sink::new();
    let mut all = String::new();
    let mut from = 0;
    for wait in [40, 70, 100] {
        let got = sink.next();
        let args = format!("--to {} --from {from} --rate 1000/s", sink.url);
        let child = spool.spawn("replay", &args);
        thread::sleep(Duration::from_millis(wait));
        // It may not have set its handlers before.
        wait_for("the handlers of the replay", || {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"))?;
            (u64::from_str_radix(caught, 16).ok()? & 2 != 0).then_some(())
        });
        thread::sleep(Duration::from_millis(wait));
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        let Said(code, text, error) = said(&child.wait_with_output().unwrap());
        let got = got.join().unwrap();
        let lines = got.lines().count();
        assert_eq!((code, &text[..]), (130, ""), "{error}");
        assert!(error.starts_with(&format!("logweir: stopped; sent {lines} line")), "{error}");
        from = go_on(&error);
        all += &got;
        assert_eq!(all, numbered(0, from));
    }
    let got = sink.next();
    assert_eq!(spool.run("replay", &format!("--to {} --from {from}", sink.url)).0, 0);
    assert_eq!(all + &got.join().unwrap(), numbered(0, 1000));
}

#[test]
fn a_replay_whose_peer_breaks_off_goes_on_where_it_was() {
    let lines: String = (0..100_000).map(|number| format!("{number:0>99}\n")).collect();
    let batches: Vec<_> = lines.as_bytes().chunks(100 * 1000).collect();
    let spool = Spool::with(&batches, 1 << 20);
    let sink = Sink::new();
    let listener = sink.listener.try_clone().unwrap();
    let first = thread::spawn(move || {
        let mut got = vec![0; 100 * 2000];
        // What was not read makes the kernel answer with a reset.
        listener.accept().unwrap().0.read_exact(&mut got).unwrap();
        got.len() / 100
    });
    let Said(code, text, error) = spool.run("replay", &format!("--to {}", sink.url));
    let read = first.join().unwrap() as u64;
    assert_eq!((code, &text[..]), (1, ""), "{error}");
    let next = go_on(&error);
    assert!((read..100_000).contains(&next), "{error}");
    assert!(error.contains(&format!("; sent {next} lines, {} bytes", next * 100)), "{error}");
    let got = sink.next();
    let args = format!("--to {} --from {next}", sink.url);
    assert_eq!(spool.run("replay", &args).0, 0);
    assert_eq!(got.join().unwrap(), lines[next as usize * 100..]);
}

#[test]
fn a_replay_to_a_peer_that_does_not_read_can_be_stopped() {
    let batch = "a line that nobody wants to read\n".repeat(30_000);
    let spool = Spool::with(&[batch.as_bytes(); 40], 1 << 30);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let args = format!("--to tcp://{}", listener.local_addr().unwrap());
    let child = spool.spawn("replay", &args);
    let _peer = listener.accept().unwrap();
    thread::sleep(Duration::from_millis(300));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let start = Instant::now();
    let Said(code, _, error) = said(&child.wait_with_output().unwrap());
    assert!(
        code == 130 && error.contains(" bytes more were handed over and may arrive"),
        "{error}"
    );
    let lines = go_on(&error);
    assert!(error.contains(&format!("sent {lines} lines, {} bytes", 33 * lines)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn replay_to_relp_counts_what_was_answered() {
    let port = free_port();
    let daemon = Daemon::start(&format!(
        "[input.edge]\nrelp = \"127.0.0.1:{port}\"\n\
         [output.all]\nfrom = \"edge\"\nfile = \"{{dir}}/all\"\n"
    ));
    let lines: String = (0..30_000).map(|number| format!("line {number}\n")).collect();
    let spool = Spool::with(&[lines.as_bytes(), b"line 30000\n"], 1 << 20);
    let to = format!("--to relp://127.0.0.1:{port}");
    let child = spool.spawn("replay", &format!("{to} --rate 10000/s"));
    daemon.wait_node("all", |node| node.lines_out > 1000);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let Said(code, _, error) = said(&child.wait_with_output().unwrap());
    let next = go_on(&error);
    assert!(code == 130 && error.starts_with(&format!("logweir: stopped; sent {next} lines, ")));
    let rest = 30_001 - next;
    let Said(0, text, _) = spool.run("replay", &format!("{to} --from {next}")) else {
        panic!("replay failed")
    };
    assert!(text.starts_with(&format!("sent {rest} lines, ")), "{text}");
    let got = daemon.wait_lines("all", 30_001);
    assert_eq!(got, crate::util::numbered(0, 30_001));
}

#[test]
fn a_running_daemons_spool_is_listed_read_and_checked() {
    let mut daemon = Daemon::start(
        "[spool.hold]\nfrom = \"in\"\ndir = \"{dir}/hold\"\nsync = \"batch\"\n\
         [output.all]\nfrom = \"hold\"\nfile = \"{dir}/all\"\n",
    );
    daemon.send_numbered(0, 3000);
    daemon.wait_lines("all", 3000);
    let dir = daemon.path("hold");
    let run =
        |command: &str, args: &str| said(&spool_command(command, &dir, args).output().unwrap());
    let all = wait_for("the lines in the spool", || {
        let Said(0, text, _) = run("cat", "") else { panic!("cat failed") };
        (text.lines().count() == 3000).then_some(text)
    });
    assert_eq!(all, numbered(0, 3000));
    wait_for("the cursor", || {
        let Said(0, text, _) = run("ls", "--json") else { panic!("ls failed") };
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        (json["end"] == 3000 && json["readers"][0]["lag_lines"] == 0).then_some(())
    });
    let Said(code, text, _) = run("verify", "");
    assert!(code == 0 && text.contains(" 3000 lines (from 0 to 2999), "), "{text}");
    assert_eq!(run("trim", "--new-identity").0, 1);
    daemon.stop();
    let Said(0, text, _) = run("trim", "--new-identity") else { panic!("trim failed") };
    assert!(text.ends_with(" from line 3000 on, 1 cursor kept\n"), "{text}");
    daemon.run();
    daemon.send_numbered(3000, 3010);
    assert_eq!(daemon.wait_lines("all", 3010), crate::util::numbered(0, 3010));
}

#[test]
fn options_with_times_are_said_as_they_were_meant() {
    let spool = Spool::numbered(4);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let args = format!(
        "--to tcp://{} --rate 1/m --since '2020-02-02 08:00' --until 1h",
        listener.local_addr().unwrap()
    );
    let child = spool.spawn("replay", &args);
    let _peer = listener.accept().unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let Said(code, _, error) = said(&child.wait_with_output().unwrap());
    assert_eq!(code, 130);
    let wanted =
        "sent 0 lines, 0 bytes; continue with --from 0 --since 2020-02-02T08:00:00Z --until 2";
    assert!(error.contains(wanted), "{error}");
}

// ---- trim

#[test]
fn trim_removes_whole_segments_before_a_line_or_a_time() {
    for (before, removed, said) in [
        ("3", 0, "no segment is wholly before that (the newest one always stays)\n"),
        ("4", 1, "removed 1 segment: 4 lines (0 to 3), 608 bytes\n"),
        ("9", 2, "removed 2 segments: 8 lines (0 to 7), 1216 bytes\n"),
        ("2020-02-02T08:01:00Z", 0, "no segment is wholly before that"),
        ("2020-02-02T08:01:01Z", 1, "removed 1 segment: 4 lines (0 to 3), 608 bytes\n"),
        ("1h", 2, "removed 2 segments: 8 lines (0 to 7), 1216 bytes\n"),
    ] {
        let spool = Spool::numbered(12);
        let all = spool.segments();
        spool.cursor("hub", SPOOL, 2);
        let Said(0, text, error) = spool.run("trim", &format!("--before {before}")) else {
            panic!("trim failed")
        };
        assert!(text.starts_with(said) && error.is_empty(), "{before}: {text}");
        assert_eq!(spool.segments(), all[removed..], "{before}");
        let unread = format!("hub had not read {} of these lines\n", (4 * removed).max(2) - 2);
        assert_eq!(text.contains(&unread), removed > 0, "{text}");
        assert_eq!(spool.run("cat", ""), printed(&numbered(4 * removed as u64, 12)));
        let mut writer = spool.open(760).writer;
        append(&mut writer, b"line 12\n", EIGHT, None);
        drop(writer);
        assert_eq!(spool.run("cat", "--from 12"), printed("line 12\n"));
    }
}

#[test]
fn trim_keeps_the_newest_segment_that_was_begun_whole() {
    let spool = Spool::numbered(8);
    // The machine stopped while a further one was begun.
    fs::write(spool.segment(8), b"\x1e1S 0000").unwrap();
    let Said(0, text, _) = spool.run("trim", "--before 100") else { panic!("trim failed") };
    assert_eq!(text, "removed 1 segment: 4 lines (0 to 3), 608 bytes\n");
    assert_eq!(spool.segments(), [segment_name(4), segment_name(8)]);
}

#[test]
fn a_new_identity_keeps_numbers_readers_and_origins() {
    let spool = Spool::numbered(6);
    let origin = Span { origin: Identity::of(0xabc), first: 40, last: 40 };
    append(&mut spool.open(760).writer, b"line 6\n", EIGHT + 600, Some(origin));
    let notes = vec!["producer 1 0".to_string()];
    let cursor = Cursor { notes, ..Cursor::at("hub", SPOOL, 3) };
    fs::write(spool.path("hub.cursor"), cursor.encode()).unwrap();
    spool.cursor("stranger", Identity::of(8), 1);
    let Said(0, text, _) = spool.run("trim", "--new-identity") else { panic!("trim failed") };
    let identity = fs::read_to_string(spool.path("identity")).unwrap();
    let new: Identity = identity.trim().parse().unwrap();
    assert_ne!(new, SPOOL);
    let wanted = format!(
        "stranger.cursor: is of the spool {} and left alone\n\
         identity {new} from line 7 on, 1 cursor kept\n",
        Identity::of(8)
    );
    assert_eq!(text, wanted);
    assert_eq!(spool.position("hub"), (new, 3));
    let Opened { writer, cursors, .. } = spool.open(760);
    assert_eq!((writer.identity(), writer.next_line()), (new, 7));
    assert_eq!(writer.origins().into_iter().collect::<Vec<_>>(), [(Identity::of(0xabc), 40)]);
    assert_eq!(cursors["hub"], Cursor::at("hub", new, 3), "the notes were of the old identity");
    assert_eq!(spool.run("cat", ""), printed(&numbered(0, 7)));
    drop(writer);
    fs::remove_file(spool.path("stranger.cursor")).unwrap();
    assert_eq!(spool.run("verify", "").0, 0);
}

#[test]
fn a_new_identity_made_by_root_belongs_to_the_folder_s_owner() {
    use std::os::unix::fs::MetadataExt;
    if !nix::unistd::geteuid().is_root() {
        return crate::util::skip_here("needs root");
    }
    let spool = Spool::numbered(6);
    spool.cursor("hub", SPOOL, 3);
    let folder = spool.path("identity").parent().unwrap().to_path_buf();
    let files = || fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    for path in files().chain([folder.clone()]) {
        std::os::unix::fs::chown(path, Some(4242), Some(4243)).unwrap();
    }
    assert_eq!(spool.run("trim", "--new-identity").0, 0);
    for path in files() {
        let data = path.metadata().unwrap();
        assert_eq!((data.uid(), data.gid()), (4242, 4243), "{}", path.display());
    }
}

#[test]
fn a_new_identity_that_was_interrupted_is_finished_by_another_go() {
    // What is written in order: the segment, the cursors, the identity.
    for steps in 0..4 {
        let spool = Spool::numbered(6);
        spool.cursor("hub", SPOOL, 3);
        spool.cursor("zoo", SPOOL, 5);
        let before = ["hub.cursor", "zoo.cursor", "identity"]
            .map(|name| (spool.path(name), fs::read(spool.path(name)).unwrap()));
        assert_eq!(spool.run("trim", "--new-identity").0, 0);
        // As it was when the machine stopped after so many steps behind the first.
        for (path, content) in &before[steps.min(3)..] {
            fs::write(path, content).unwrap();
        }
        if steps < 3 {
            let Said(code, text, _) = spool.run("verify", "");
            assert!(code == 1 && text.contains("--new-identity"), "{text}");
        }
        assert_eq!(spool.run("trim", "--new-identity").0, 0);
        let Opened { writer, cursors, notes } = spool.open(760);
        // Nobody reads as `zoo` in this test.
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert_eq!((writer.next_line(), writer.identity() == SPOOL), (6, false));
        assert_eq!((cursors["hub"].position, spool.position("zoo")), (3, (writer.identity(), 5)));
        assert_eq!(spool.segments().len(), 3, "{:?}", spool.segments());
        drop(writer);
        assert_eq!(spool.run("verify", "").0, 0);
        assert_eq!(spool.run("cat", ""), printed(&numbered(0, 6)));
    }
}

#[test]
fn a_spool_whose_files_do_not_belong_together_can_begin_anew() {
    let spool = Spool::numbered(6);
    fs::write(spool.path("identity"), format!("{}\n", Identity::of(9))).unwrap();
    spool.cursor("hub", SPOOL, 8);
    assert_eq!(spool.run("trim", "--new-identity").0, 0);
    let Opened { writer, cursors, .. } = spool.open(760);
    // The numbers that readers know are not given again.
    assert_eq!((writer.next_line(), cursors["hub"].position), (8, 8));
}

// ---- what somebody else put into the folder

#[test]
fn what_is_planted_is_left_alone_and_nothing_waits_for_it() {
    let spool = Spool::numbered(20);
    let victim = spool.path("victim");
    fs::write(&victim, "not a spool's").unwrap();
    // Where the next segment would begin, a cursor, and what an interrupted step leaves.
    for name in [segment_name(20), "evil.cursor".into(), "hub.cursor.new".into()] {
        std::os::unix::fs::symlink(&victim, spool.path(&name)).unwrap();
    }
    for name in [segment_name(90), "pipe.cursor".into(), "wild\x1b[2J".into()] {
        let made = Command::new("mkfifo").arg(spool.path(&name)).status().unwrap();
        assert!(made.success());
    }
    let Said(_, listed, _) = spool.run("ls", "");
    assert!(!listed.contains("evil") && !listed.contains("pipe"), "{listed}");
    let Said(0, verified, _) = spool.run("verify", "") else { panic!("verify failed") };
    assert!(verified.contains("evil.cursor: is not a spool's file"), "{verified}");
    assert!(verified.contains("wild\\u{1b}[2J") && !verified.contains('\x1b'), "{verified}");
    let Opened { mut writer, cursors, .. } = spool.open(1 << 20);
    assert!(cursors.is_empty());
    let stopped = writer.append(&[batch_of("a line\n")]).stopped;
    let said = format!("{stopped:?}");
    assert!(said.contains("is a symbolic link, which is not followed here"), "{said}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "not a spool's");
    fs::remove_file(spool.path(&segment_name(20))).unwrap();
    assert_eq!(writer.append(&[batch_of("a line\n")]).stopped, None);
}

#[test]
fn lines_are_found_by_their_times_in_whatever_order_these_are() {
    let spool = Spool { dir: tempfile::tempdir().unwrap() };
    let mut writer = spool.open(300).writer;
    // A clock that was two hours ahead and was put right.
    let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(EIGHT + seconds);
    for (text, time) in [("early\n", 7200), ("right\n", 0), ("late\n", 7300)] {
        let batch = Batch { received: at(time), ..batch_of(text) };
        assert_eq!(writer.append(&[batch]).stopped, None);
    }
    drop(writer);
    let cat = |args: &str| {
        String::from_utf8(spool_command("cat", spool.dir.path(), args).output().unwrap().stdout)
            .unwrap()
    };
    assert_eq!(cat("--until 2020-02-02T08:30:00Z"), "right\n");
    assert_eq!(cat("--since 2020-02-02T09:30:00Z"), "early\nlate\n");
}

fn batch_of(text: &str) -> Batch {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let lines = count_lines(&bytes);
    Batch::new(bytes, lines, "in".into(), UNIX_EPOCH)
}
