//! File name templates: no value of a field leaves its place in the path.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use logweir::output::name::{NameTemplate, Values};

/// A file name in bytes that every file system takes, without the user's own part.
const NAME_MAX: usize = 255;

/// The template, the input and the values of the fields stand between bytes of 0xff.
pub fn check(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0xff);
    let Some(Ok(text)) = parts.next().map(std::str::from_utf8) else { return };
    let Ok(template) = NameTemplate::parse(text) else { return };
    let given: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
    let input = given.first().map_or("in".into(), |bytes| String::from_utf8_lossy(bytes));
    let value = |at: usize| given.get(at + 1).cloned().unwrap_or_default();
    let values = Values {
        input: input.as_ref().into(),
        fields: (0..template.fields().len()).map(value).collect(),
    };
    let plain = Values { input: "x".into(), fields: vec![b"x".to_vec(); template.fields().len()] };
    for seconds in [0, 1_763_883_000, 253_402_300_799, 10_000_000_000_000] {
        let when = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
        same_place(&template, when, &values, &plain, text.len());
    }
}

/// Whether `values` make a name in the folder depth that plain ones make.
fn same_place(
    template: &NameTemplate,
    when: SystemTime,
    values: &Values,
    plain: &Values,
    template_length: usize,
) {
    let text = |path: PathBuf| path.to_str().expect("not UTF-8").to_string();
    let name = text(template.render(when, values));
    let wanted = text(template.render(when, plain));
    assert_eq!(name.matches('/').count(), wanted.matches('/').count(), "{name:?} {wanted:?}");
    for (part, plain) in name.split('/').zip(wanted.split('/')) {
        assert!(part == plain || !["", ".", ".."].contains(&part), "{name:?}");
        assert!(!part.contains('\0'), "{name:?}");
        assert!(template_length > 80 || part.len() <= NAME_MAX, "{} bytes in {name:?}", part.len());
    }
    let _ = template.times(when);
    let mut named = template.name(when, values.clone());
    for _ in 0..2 {
        let path = text(template.name_at(when, &named));
        assert_eq!(Path::new(&path), named.path);
        let file = path.rsplit('/').next().unwrap_or_default();
        assert_eq!(template.at_any_time(when, &named).ending(file), Some(""), "{path:?}");
        named.mark();
    }
}
