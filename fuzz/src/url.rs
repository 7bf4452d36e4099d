//! URLs: what is accepted is displayed as a URL that means the same.

use logweir::url::Protocol::{Relp, RelpTls, Tcp, Tls, Udp};
use logweir::url::Url;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let all = [Udp, Tcp, Tls, Relp, RelpTls];
    match Url::parse(text, &all) {
        Ok(url) => {
            assert!(url.port > 0 && !url.host.is_empty());
            let shown = url.to_string();
            assert_eq!(Url::parse(&shown, &all).as_ref(), Ok(&url), "{shown}");
        }
        Err(message) => assert!(!message.is_empty()),
    }
    if let Ok(peer) = Url::parse_peer(text, &all) {
        assert_eq!(peer.is_service(), peer.port == 0);
        assert_eq!(Url::parse_peer(&peer.to_string(), &all).as_ref(), Ok(&peer), "{peer}");
    }
}
