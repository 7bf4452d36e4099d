//! The entry point for fuzz/. Built with the feature `fuzzing` only.

use super::flow::Flow;
use super::store::Store;
use super::{metrics, reckon};

/// The windows of these audit lines as JSON, a line each, and as metrics.
pub fn windows(text: &[u8]) -> (String, String) {
    let mut store = Store::new(None, None);
    text.split(|byte| *byte == b'\n').for_each(|line| store.take(line));
    // Nothing is joined by hand, so nothing can be joined wrongly.
    let Ok(flow) = Flow::of(&store, &[]) else { return Default::default() };
    let windows = reckon::windows(&store, &flow);
    let json = windows.iter().filter_map(|window| serde_json::to_string(window).ok());
    (json.map(|line| line + "\n").collect(), metrics::text(&windows))
}
