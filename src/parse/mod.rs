//! What can be read out of a line's bytes.

pub mod compressed;
pub mod field;
pub mod framing;
pub mod glob;
pub mod sequence;
pub mod syslog;

/// Whether a connection begins with a record of TLS (RFC 8446, section 5.1): no message of another
/// protocol does.
pub fn is_tls_hello(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x16, 0x03])
}
