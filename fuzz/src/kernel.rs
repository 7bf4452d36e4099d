//! Records of /dev/kmsg and of who is logged in: what others wrote to files of the system.

use logweir::proto::kernel::record::parse;
use logweir::proto::terminals::sessions::{session, utmp};

pub fn check(data: &[u8]) {
    if let Some(record) = parse(data) {
        assert!(record.pri <= 191 && record.text.len() <= data.len());
        // Written again with every byte escaped, it is the same.
        let escaped = |bytes: &[u8]| -> String {
            bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
        };
        let mut again = format!(
            "{},{},{},-;{}\n",
            record.pri,
            record.sequence,
            record.micros,
            escaped(&record.text)
        );
        for (key, value) in &record.fields {
            again += &format!(" {}={}\n", escaped(key), escaped(value));
        }
        assert_eq!(parse(again.as_bytes()), Some(record));
    }
    for (user, line) in utmp(data) {
        assert!(user.len() <= 32 && line.len() <= 32);
    }
    let _ = session(data);
}
