//! udp2log's configuration: what is accepted can be built.

use logweir::clock::Mono;
use logweir::config::udp2log::{Options, parse};
use logweir::engine::Engine;

pub fn check(data: &[u8]) {
    let address = "127.0.0.1:8420".parse().expect("an address");
    let options = Options { address, multicast: None, receive_kb: Some(1) };
    match parse(data, "fuzz", &options) {
        Ok(plan) => {
            let lines = data.split(|byte| *byte == b'\n').count();
            assert!(plan.nodes.len() <= lines + 1, "more outputs than lines");
            if let Err(error) = Engine::new(&plan, Mono::default()) {
                panic!("checked, and cannot be built: {error}");
            }
        }
        Err(refusal) => assert!(!refusal.to_string().is_empty()),
    }
}
