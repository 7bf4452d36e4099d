//! A segment whose rows have the right sums and say what is not so, read and passed through
//! every format: no wrong number of lines may break what comes after the reader.

use std::fs;

use logweir::format::Formatter;
use logweir::format::plan::{FormatPlan, Shape};
use logweir::fs::OsFs;
use logweir::spool::reader::Reader;

use crate::sums::correct_rows;

const READS_MAX: usize = 200;

pub fn check(data: &[u8]) {
    let mut segment = data.to_vec();
    correct_rows(&mut segment, false);
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join(format!("{:020}.log", 0)), &segment).expect("writing");
    let mut reader = Reader::new(OsFs, folder.path().into(), 0);
    let shapes = [Shape::Line, Shape::Rfc5424, Shape::Rfc3164, Shape::Json, Shape::Text];
    let formatters = shapes.map(|shape| Formatter::new(&FormatPlan { shape, tag: None }));
    for _ in 0..READS_MAX {
        let Ok(read) = reader.read(1 << 40, 4096) else { return };
        if read.batches.is_empty() && read.missing.is_empty() {
            return;
        }
        for mut batch in read.batches {
            for formatter in &formatters {
                let (written, _) = formatter.batch(&batch);
                assert_eq!(written.last(), Some(&b'\n'));
            }
            if batch.bytes.len() > 3 {
                let _ = batch.split_to(3);
            }
        }
    }
}
