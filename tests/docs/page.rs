//! A page of Markdown: its fenced blocks, and the comments that are tests.

use std::path::{Path, PathBuf};

/// The kind of a block that is a comment for the test.
pub const HIDDEN: &str = "test";

/// A page.
pub struct Page {
    /// Its name, from the project's top folder.
    pub name: String,
    pub path: PathBuf,
    pub text: String,
    pub blocks: Vec<Block>,
    /// Programs that its session needs.
    pub needs: Vec<String>,
}

/// A fenced block, or a comment for the test.
pub struct Block {
    /// Page and line, to tell it.
    pub place: String,
    pub kind: String,
    /// What stands behind the kind.
    words: Vec<String>,
    pub text: String,
}

impl Block {
    /// Whether the word stands behind its kind.
    pub fn is(&self, word: &str) -> bool {
        self.words.iter().any(|known| known == word)
    }

    /// The word behind its kind.
    pub fn word(&self) -> Option<&str> {
        self.words.first().map(String::as_str)
    }

    /// The file that it is written to.
    pub fn path(&self) -> Option<&str> {
        self.words.iter().map(String::as_str).find(|word| word.starts_with('/'))
    }

    pub fn info(&self) -> String {
        format!("{} {}", self.kind, self.words.join(" "))
    }
}

/// The pages in a folder and below it.
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

impl Page {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.strip_prefix(super::root()).unwrap().display().to_string();
        let mut page = Self {
            name,
            path: path.into(),
            text: String::new(),
            blocks: Vec::new(),
            needs: Vec::new(),
        };
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            let place = format!("{}:{number}", page.name);
            if let Some(info) = line.strip_prefix("```") {
                let inside: Vec<_> =
                    lines.by_ref().map(|(line, _)| line).take_while(|l| *l != "```").collect();
                let mut words = info.split_whitespace().map(str::to_string);
                let kind = words.next().unwrap_or_default();
                let text = inside.iter().map(|line| format!("{line}\n")).collect();
                page.blocks.push(Block { place, kind, words: words.collect(), text });
            } else if let Some(start) = line.strip_prefix("<!-- ") {
                let mut comment = start.to_string();
                while !comment.ends_with("-->") {
                    let (line, _) = lines.next().unwrap_or_else(|| panic!("{place}: no end"));
                    comment = format!("{comment}\n{line}");
                }
                page.comment(comment.trim_end_matches("-->"), place);
            }
        }
        page.text = text;
        page
    }

    fn comment(&mut self, comment: &str, place: String) {
        if let Some(commands) = comment.strip_prefix("test:") {
            let text = format!("{}\n", commands.trim());
            self.blocks.push(Block { place, kind: HIDDEN.into(), words: Vec::new(), text });
        } else if let Some(programs) = comment.strip_prefix("needs:") {
            self.needs.extend(programs.split_whitespace().map(str::to_string));
        }
    }
}
