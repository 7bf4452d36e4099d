//! TCP connections, plain or through TLS, for inputs and outputs; the resolution of host names.

pub mod base64;
pub mod names;
mod pem;
pub mod plan;
pub mod secret;
pub mod stream;
pub mod tls;
pub mod transport;
