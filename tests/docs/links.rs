//! Links of a page to files of the project, and to headings in them.

use std::path::Path;

use super::page::Page;

/// The links that lead nowhere.
pub fn broken(page: &Page) -> Vec<String> {
    let folder = page.path.parent().unwrap();
    let links = targets(&page.text);
    let lost = links.iter().filter(|link| !leads_somewhere(folder, page, link));
    lost.map(|link| format!("{}: {link} leads nowhere", page.name)).collect()
}

/// What stands in `](…)`, outside fenced blocks and code, but for addresses.
fn targets(text: &str) -> Vec<String> {
    let prose: String =
        text.split("\n```").step_by(2).flat_map(|part| part.split('`').step_by(2)).collect();
    let links = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    links.map(|(link, _)| link.to_string()).filter(|link| !link.contains("://")).collect()
}

fn leads_somewhere(folder: &Path, page: &Page, link: &str) -> bool {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() { page.path.clone() } else { folder.join(file) };
    let has_heading = || {
        let text = std::fs::read_to_string(&target).unwrap_or_default();
        text.lines().any(|line| line.starts_with('#') && anchor(line) == heading)
    };
    target.exists() && (heading.is_empty() || has_heading())
}

/// The name that forges give a heading.
fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_are_found_in_prose_only() {
    let text = "[a](b.md) `[x](no)` [c](https://d) [e](f.md#g-h)\n```sh\n[x](no)\n```\n[i](#j)\n";
    assert_eq!(targets(text), ["b.md", "f.md#g-h", "#j"]);
    assert_eq!(anchor("## What `queue_full` asks: more?"), "what-queue_full-asks-more");
}
