//! A record of /dev/kmsg, as Documentation/ABI/testing/dev-kmsg of the kernel has it:
//! `PRI,SEQUENCE,MICROSECONDS,FLAGS[,…];TEXT`, a newline, and lines ` KEY=VALUE` that tell which
//! device it is about. Control characters, bytes beyond ASCII and backslashes are written `\xHH`.

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Facility times eight plus severity. Facility 0 is the kernel; what programs write to the
    /// device has another one.
    pub pri: u8,
    /// Its number; records of one boot are numbered from 0.
    pub sequence: u64,
    /// Its time, in microseconds since the boot.
    pub micros: u64,
    /// The text.
    pub text: Vec<u8>,
    /// The keys and values behind it.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The highest PRI: facility 23, severity 7.
const PRI_MAX: u64 = 191;
/// Keys beyond this number are left out; the kernel writes two.
const FIELDS_MAX: usize = 16;

/// Reads one record, which the device gives with each read.
pub fn parse(bytes: &[u8]) -> Option<Record> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let end = memchr::memchr(b';', first)?;
    let (head, text) = (std::str::from_utf8(&first[..end]).ok()?, &first[end + 1..]);
    let mut parts = head.split(',');
    let mut number = || parts.next().and_then(digits);
    let (pri, sequence, micros) = (number()?, number()?, number()?);
    // The flags, and what later kernels may add.
    parts.next()?;
    // A kernel with more facilities than syslog has is not known; its severity is.
    let pri = if pri <= PRI_MAX { pri } else { pri % 8 };
    let fields = lines.filter_map(field).take(FIELDS_MAX).collect();
    Some(Record { pri: u8::try_from(pri).ok()?, sequence, micros, text: unescaped(text), fields })
}

/// A number in digits alone.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// ` KEY=VALUE`.
fn field(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let line = line.strip_prefix(b" ")?;
    let at = memchr::memchr(b'=', line)?;
    Some((unescaped(&line[..at]), unescaped(&line[at + 1..])))
}

/// The bytes for which `\xHH` stands.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let hex = rest.get(at + 1..at + 4).and_then(|after| after.strip_prefix(b"x"));
        let hex = hex.filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                rest = &rest[at + 4..];
            }
            None => {
                out.push(b'\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_of_the_kernels_own_documentation_are_read() {
        let bytes = b"7,160,424069,-;pci_root PNP0A03:00: host bridge window [io  0x0000-0x0cf7] \
                      (ignored)\n SUBSYSTEM=acpi\n DEVICE=+acpi:PNP0A03:00\n";
        let record = parse(bytes).unwrap();
        assert_eq!((record.pri, record.sequence, record.micros), (7, 160, 424_069));
        assert!(record.text.starts_with(b"pci_root") && record.text.ends_with(b"(ignored)"));
        let field = |at: usize| {
            let (key, value) = &record.fields[at];
            (String::from_utf8_lossy(key).into_owned(), String::from_utf8_lossy(value).into_owned())
        };
        assert_eq!(field(0), ("SUBSYSTEM".into(), "acpi".into()));
        assert_eq!(field(1), ("DEVICE".into(), "+acpi:PNP0A03:00".into()));
        let record = parse(b"30,340,5690716,-;udevd[80]: starting version 181\n").unwrap();
        assert_eq!(
            (record.pri, record.text.as_slice()),
            (30, &b"udevd[80]: starting version 181"[..])
        );
        // A fragment of a line, and what a later kernel adds.
        let record = parse(b"6,339,5140900,c,caller=T1;NET: Registered\n").unwrap();
        assert_eq!((record.sequence, record.text.as_slice()), (339, &b"NET: Registered"[..]));
    }

    #[test]
    fn escapes_are_bytes_and_what_is_none_stays() {
        let text = |line: &[u8]| parse(line).unwrap().text;
        assert_eq!(text(b"6,1,2,-;a\\x0ab\\x5c\\xc3\\xa9"), b"a\nb\\\xc3\xa9");
        assert_eq!(text(b"6,1,2,-;a\\b\\xzz\\x4"), b"a\\b\\xzz\\x4");
        assert_eq!(text(b"6,1,2,-;"), b"");
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bytes in
            [&b""[..], b"text", b"6,1,2;no flags", b"x,1,2,-;t", b"6,,2,-;t", b"6,-1,2,-;t"]
        {
            assert_eq!(parse(bytes), None, "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(parse(b"99999,1,2,-;t").unwrap().pri, 7);
        assert_eq!(parse(b"99999999999999999999999,1,2,-;t"), None);
    }

    proptest! {
        #[test]
        fn any_text_comes_back_and_no_bytes_make_it_panic(
            text in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let escaped: String = text
                .iter()
                .map(|byte| match byte {
                    b'\\' | 0..=31 | 127.. => format!("\\x{byte:02x}"),
                    byte => char::from(*byte).to_string(),
                })
                .collect();
            let record = parse(format!("6,1,2,-;{escaped}\n").as_bytes()).unwrap();
            prop_assert_eq!(&record.text, &text);
            let _ = parse(&text);
        }
    }
}
