//! The pages of docs/senders/. What their blocks say is what the tests run with, so that what is
//! written there is what works; only ports and folders are others.

use std::path::Path;

use crate::util::free_port;

/// The folders of a page that become the test's own.
const FOLDERS: [&str; 3] = ["/var/log/logweir", "/run/logweir", "/var/spool/logweir"];
/// What stands in the names of files, which a test that runs at midnight could not foretell.
const DAY: &str = "-%Y-%m-%d";
/// Where ports are named, which become ports of the test's own.
const HOST: &str = "127.0.0.1:";

/// A page, with `{dir}` for folders and with ports that are free.
pub struct Page {
    text: String,
    /// The ports that the page names, and those that stand for them.
    ports: Vec<(String, u16)>,
}

impl Page {
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/senders").join(name);
        let page = std::fs::read_to_string(path.with_extension("md")).unwrap();
        let mut parts = page.split(HOST);
        let mut text = parts.next().unwrap_or_default().to_string();
        let mut ports: Vec<(String, u16)> = Vec::new();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (named, rest) = part.split_at(digits);
            let known = ports.iter().find(|(known, _)| known == named);
            let port = known.map_or_else(free_port, |(_, port)| *port);
            ports.push((named.to_string(), port));
            text += &format!("{HOST}{port}{rest}");
        }
        for folder in FOLDERS {
            text = text.replace(folder, "{dir}");
        }
        text = text.replace(DAY, "");
        Self { text, ports }
    }

    /// What stands for a port that the page names.
    pub fn port(&self, named: &str) -> u16 {
        let port = self.ports.iter().find(|(known, _)| known == named);
        port.unwrap_or_else(|| panic!("the page does not name {HOST}{named}")).1
    }

    /// The only block that is called so.
    pub fn block(&self, info: &str) -> String {
        let head = format!("\n```{info}\n");
        let mut blocks = self.text.split(head.as_str()).skip(1);
        let block = blocks.next().unwrap_or_else(|| panic!("no ```{info} in {}", self.text));
        assert!(blocks.next().is_none(), "two ```{info} in {}", self.text);
        block.split("\n```").next().unwrap().to_string() + "\n"
    }
}
