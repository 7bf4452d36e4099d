//! The path of a daemon's control socket in a configuration that may be broken: finding the daemon
//! needs only this key.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::CONTROL_DEFAULT;

/// The path of the control socket in the text of a configuration: its `daemon.control` if that can
/// be read, else the default.
pub fn control_socket(text: &str) -> PathBuf {
    let (root, _) = DeTable::parse_recoverable(text);
    let named = root.get_ref().get("daemon").and_then(|daemon| match daemon.get_ref() {
        DeValue::Table(table) => table.get("control").map(toml::Spanned::get_ref),
        _ => None,
    });
    match named {
        Some(DeValue::String(path)) if !path.is_empty() => PathBuf::from(path.as_ref()),
        _ => PathBuf::from(CONTROL_DEFAULT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_configuration_still_says_where_the_socket_is() {
        let good = "[daemon]\ncontrol = \"/a/b.sock\"\n";
        for text in [
            good.to_string(),
            format!("{good}[input.x]\nudp = nonsense here\n"),
            format!("broken = \n{good}"),
            format!("{good}memory = \"64\nMiB\"\n[[[[\n"),
            format!("{good}nonsense = 1\n[output]\n"),
        ] {
            assert_eq!(control_socket(&text), PathBuf::from("/a/b.sock"), "{text}");
        }
        for text in ["", "\0\n=", "[daemon]\ncontrol = 7\n", "[daemon]\ncontrol = \"\"\n"] {
            assert_eq!(control_socket(text), PathBuf::from(CONTROL_DEFAULT), "{text}");
        }
    }
}
