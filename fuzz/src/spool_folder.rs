//! A spool's folder with anything in it: opened, appended to and read to its end, twice. What
//! was appended is read back, no number is given twice, and no line changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use logweir::batch::{Batch, count_lines};
use logweir::fs::OsFs;
use logweir::spool::plan::{SpoolFull, SpoolPlan, Sync};
use logweir::spool::reader::Reader;
use logweir::spool::recover;
use logweir::spool::writer::Writer;

use crate::parameters::Parameters;
use crate::sums::{correct_cursor, correct_rows};

/// Files in the folder.
const FILES_MAX: usize = 12;
/// Reads until the end must have been reached: each passes a batch, a gap or damage.
const READS_MAX: usize = 5000;
/// Numbers so near to the end that appending may be refused.
const NEAR_THE_END: u64 = u64::MAX - 1_000_000;

fn plan(dir: &Path) -> SpoolPlan {
    SpoolPlan {
        dir: dir.to_path_buf(),
        max_size: 10 << 20,
        max_age: None,
        segment: 64 << 10,
        sync: Sync::Never,
        when_full: SpoolFull::DropOldest,
        compress: false,
        reserve: 0,
        queue: 1 << 20,
    }
}

/// Fills the folder: the files stand between the bytes 0x00 0xff, the first byte of each says
/// what it is.
fn fill(dir: &Path, data: &[u8], corrected: bool) {
    let mut number = 0;
    let mut rest = data;
    for _ in 0..FILES_MAX {
        let at = memchr::memmem::find(rest, b"\x00\xff");
        let (file, tail) = at.map_or((rest, &[][..]), |at| (&rest[..at], &rest[at + 2..]));
        let Some((&kind, content)) = file.split_first() else { return };
        let mut content = content.to_vec();
        if corrected {
            correct_rows(&mut content, true);
        }
        let name = match kind % 8 {
            4 => {
                correct_cursor(&mut content);
                "r.cursor".to_string()
            }
            5 => "identity".to_string(),
            6 => format!("{:020}.log", u64::MAX - u64::from(kind)),
            segment => {
                let name = format!("{number:020}.log");
                number += 1 + u64::from(kind / 8);
                match segment {
                    3 => {
                        content = zstd::encode_all(&content[..], 1).expect("compressing");
                        name + ".zst"
                    }
                    7 => name + ".zst",
                    _ => name,
                }
            }
        };
        fs::write(dir.join(name), content).expect("writing");
        rest = tail;
    }
}

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let corrected = !parameters.flag();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().join("spool");
    fs::create_dir(&dir).expect("a folder");
    fill(&dir, parameters.0, corrected);
    let Some((first_end, before)) = open_append_read(&dir) else { return };
    let Some((second_end, after)) = open_append_read(&dir) else {
        panic!("opened once, and refused the second time");
    };
    assert!(second_end >= first_end + 2, "numbers go back");
    for (number, line) in before {
        assert_eq!(after.get(&number), Some(&line), "line {number} has changed");
    }
}

/// Opens the spool, appends two lines and reads what there is: the number after the last line,
/// and the lines by number. `None` if the folder is refused.
fn open_append_read(dir: &Path) -> Option<(u64, BTreeMap<u64, Vec<u8>>)> {
    let opened = recover::open(OsFs, &plan(dir), &["r".to_string()]).ok()?;
    let mut writer: Writer<OsFs> = opened.writer;
    let next = writer.next_line();
    if next > NEAR_THE_END {
        return None;
    }
    let bytes = Bytes::from_static(b"new one\nnew two\n");
    let appended = writer.append(&[Batch::new(bytes, 2, "in".into(), UNIX_EPOCH)]);
    assert!(appended.error.is_none(), "cannot be appended to: {:?}", appended.error);
    writer.sync().expect("a sync");
    let end = writer.next_line();
    assert_eq!(end, next + 2);
    let from = opened.cursors.get("r").map_or(0, |cursor| cursor.position);
    let lines = read_all(Reader::new(OsFs, dir.into(), from), end);
    assert_eq!(lines.get(&next).map(|line| &line[..]), Some(&b"new one"[..]));
    assert_eq!(lines.get(&(next + 1)).map(|line| &line[..]), Some(&b"new two"[..]));
    Some((end, lines))
}

fn read_all(mut reader: Reader<OsFs>, end: u64) -> BTreeMap<u64, Vec<u8>> {
    let mut lines = BTreeMap::new();
    for _ in 0..READS_MAX {
        if reader.next_line() >= end {
            return lines;
        }
        let read = reader.read(end, 1 << 20).expect("a read");
        for batch in &read.batches {
            assert_eq!(count_lines(&batch.bytes), batch.lines);
            let numbers = batch.numbers.expect("the numbers of the lines");
            if numbers.lines() == u64::from(batch.lines) {
                lines.extend((numbers.first..).zip(batch.iter().map(<[u8]>::to_vec)));
            }
        }
    }
    panic!("reading does not end: at {} of {end}", reader.next_line());
}
