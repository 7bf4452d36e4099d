//! A syslog message: its parts, its fields, and every format it can be written in.

use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use logweir::batch::{Batch, count_lines};
use logweir::format::Formatter;
use logweir::format::plan::{FormatPlan, Shape};
use logweir::parse::field::Field;
use logweir::parse::syslog::{Message, sd};
use logweir::sources::Source;

const SHAPES: [Shape; 6] =
    [Shape::Line, Shape::Rfc5424, Shape::Rfc3164, Shape::Json, Shape::Text, Shape::Traditional];
const FIELDS: [&str; 10] =
    ["facility", "severity", "host", "app", "procid", "msgid", "source", "pid", "uid", "sd.a@1.b"];

pub fn check(data: &[u8]) {
    let line: Vec<u8> = data.iter().copied().filter(|byte| *byte != b'\n').collect();
    let message = Message::parse(&line);
    let header = Message::parse_header(&line);
    let parts = |m: &Message| (m.pri, m.sent, m.host, m.app, m.procid, m.msgid);
    assert_eq!(parts(&message), parts(&header), "the header alone is read otherwise");
    let _ = (message.text(&line), message.sent_text(&line));
    if let Some(data) = message.data.of(&line) {
        assert!(sd::end(data).is_some(), "structured data that has no end");
        let _ = sd::pieces(data).count();
    }
    let source = Some(Source::Process { pid: 1, uid: 2 });
    for name in FIELDS {
        let field: Field = name.parse().expect("a field");
        let _ = field.value(&line, &message, source);
    }
    let received = UNIX_EPOCH + Duration::from_secs(1_763_883_000);
    let batch = Batch::new([&line[..], b"\n"].concat().into(), 1, "in".into(), received);
    for (shape, formatter) in formatters() {
        let (written, _) = formatter.batch(&batch);
        assert_eq!((count_lines(&written), written.last()), (1, Some(&b'\n')));
        let plan = FormatPlan { shape: shape.clone(), tag: None };
        assert!(written.len() <= plan.most(batch.count()), "longer than {shape:?} can be");
        check_format(shape, formatter, &written, &line, &message);
    }
}

fn formatters() -> &'static [(Shape, Formatter)] {
    static FORMATTERS: OnceLock<Vec<(Shape, Formatter)>> = OnceLock::new();
    FORMATTERS.get_or_init(|| {
        let formatter =
            |shape: Shape| (shape.clone(), Formatter::new(&FormatPlan { shape, tag: None }));
        SHAPES.into_iter().map(formatter).collect()
    })
}

fn check_format(
    shape: &Shape,
    formatter: &Formatter,
    written: &bytes::Bytes,
    line: &[u8],
    message: &Message,
) {
    let body = &written[..written.len() - 1];
    match shape {
        Shape::Line => assert_eq!(body, line),
        Shape::Json => {
            let value: serde_json::Value = serde_json::from_slice(body).expect("not JSON");
            assert!(value["message"].is_string());
        }
        Shape::Rfc5424 => {
            let again = Message::parse(body);
            assert!(again.is_rfc5424 && again.pri == message.pri);
            // Formatted a second time it stays as it is.
            let batch = Batch::new(written.clone(), 1, "in".into(), UNIX_EPOCH);
            assert_eq!(formatter.batch(&batch).0, written);
        }
        Shape::Rfc3164 => assert_eq!(Message::parse(body).pri, message.pri),
        Shape::Text | Shape::Traditional | Shape::Template(_) => {}
    }
}
