//! The page: the flow as a picture, in one document without anything from elsewhere.

use std::sync::LazyLock;

use ring::digest::{SHA256, digest};

use crate::net::base64;

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The document.
pub(super) const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style>",
    include_str!("page/page.css"),
    "</style>\n",
    include_str!("page/body.html"),
    "<script>",
    include_str!("page/page.js"),
    "</script>\n</html>\n",
);

/// What the browser allows the page (Content Security Policy Level 3): its own style and script,
/// known by their hashes, and questions to this port.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| base64::encode(digest(&SHA256, text.as_bytes()).as_ref());
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_refers_to_nothing_outside() {
        assert!(PAGE.len() <= 40 * 1024, "{} bytes", PAGE.len());
        // The name of a namespace is no address, and a pattern is a part of the document.
        let page = PAGE.replace("http://www.w3.org/2000/svg", "").replace("url(#", "");
        for word in ["http:", "https:", "src=", "@import", "url(", "eval(", "innerHTML"] {
            assert!(!page.contains(word), "{word}");
        }
    }
}
