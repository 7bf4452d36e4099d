//! Names of fields, and keys to hash by.

use logweir::filter::key::Key;
use logweir::parse::field::Field;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(field) = text.parse::<Field>() {
        let shown = field.to_string();
        assert_eq!(shown.parse().as_ref(), Ok(&field), "{shown}");
    }
    if let Ok(mut key) = Key::new(text) {
        let line = b"<34>1 - web1 su 7 ID [a@1 b=\"c\"] x";
        assert_eq!(key.hash(line, None), key.hash(line, None));
    }
}
