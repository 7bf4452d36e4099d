//! TCP connections, plain or through TLS, as inputs and outputs use them.

pub mod tls;
pub mod transport;
