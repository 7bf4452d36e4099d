//! Templates of lines: what is accepted is shown as a template that means the same, and writes one
//! line of a bounded length.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use logweir::batch::{Batch, count_lines};
use logweir::format::Formatter;
use logweir::format::plan::{FormatPlan, Shape};
use logweir::format::template::Template;

/// The template and a line stand between bytes of 0xff.
pub fn check(data: &[u8]) {
    let at = memchr::memchr(0xff, data).unwrap_or(data.len());
    let Ok(text) = std::str::from_utf8(&data[..at]) else { return };
    let Ok(template) = text.parse::<Template>() else { return };
    let shown = template.to_string();
    let again: Template = shown.parse().expect("a template is not read as it is shown");
    assert!(again == template, "{shown}");

    let line = data[at..].iter().copied().skip(1).filter(|byte| *byte != b'\n');
    let line: Vec<u8> = line.chain(*b"\n").collect();
    let batch = Batch::new(line.into(), 1, "in".into(), UNIX_EPOCH);
    let plan = FormatPlan { shape: Shape::Template(Arc::new(template)), tag: None };
    let (written, _) = Formatter::new(&plan).batch(&batch);
    assert_eq!((count_lines(&written), written.last()), (1, Some(&b'\n')));
    assert!(written.len() <= plan.most(batch.count()), "{} bytes of {shown}", written.len());
}
