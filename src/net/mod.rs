//! TCP connections, plain or through TLS, as inputs and outputs use them; names and their
//! addresses.

pub mod names;
mod pem;
pub mod plan;
pub mod stream;
pub mod tls;
pub mod transport;
