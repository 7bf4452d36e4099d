//! The configuration: refused with an explanation, or accepted, drawn and built.

use logweir::clock::Mono;
use logweir::config::{self, graph};
use logweir::engine::Engine;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config::parse(text, "fuzz.toml") {
        Ok(checked) => {
            for warning in &checked.warnings {
                assert!(!warning.to_string().is_empty());
            }
            let plan = &checked.plan;
            for picture in [graph::text(plan), graph::dot(plan), graph::mermaid(plan)] {
                for node in &plan.nodes {
                    assert!(picture.contains(&node.name), "{} is not drawn", node.name);
                }
            }
            if let Err(error) = Engine::new(plan, Mono::default()) {
                panic!("checked, and cannot be built: {error}");
            }
        }
        Err(refusal) => assert!(!refusal.to_string().is_empty()),
    }
}
