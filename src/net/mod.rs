//! TCP connections, plain or through TLS, for inputs and outputs; the resolution of host names.

pub mod base64;
pub mod dns;
pub mod names;
pub mod peers;
mod pem;
pub mod plan;
pub mod secret;
pub mod stream;
pub mod tls;
pub mod transport;
