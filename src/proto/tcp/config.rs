//! The schemes of lines with octet counts.

use crate::url::Protocol;

/// What a client is reached by.
pub const SCHEMES: &[Protocol] = &[Protocol::Tcp, Protocol::Tls];
