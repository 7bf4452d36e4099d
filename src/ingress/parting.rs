//! Why a server disconnects a client.

use std::io;

/// Why a client is disconnected.
pub(super) enum Parting {
    /// It has ended.
    End,
    /// It did something wrong.
    Wrong(String),
}

/// What a broken connection means.
pub(super) fn wrong(error: &io::Error, spoke: bool, plain_hint: &str) -> Parting {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(what)) if !spoke => Parting::Wrong(format!(
            "speaks no TLS ({what:?}); a sender of plain text needs {plain_hint}"
        )),
        Some(error) => Parting::Wrong(format!("TLS: {error}")),
        None => Parting::End,
    }
}
