//! The schemes of lines with octet counts.

use crate::url::Protocol;

/// The URL schemes of the client.
pub const SCHEMES: &[Protocol] = &[Protocol::Tcp, Protocol::Tls];
