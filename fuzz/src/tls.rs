//! The first bytes of a TLS connection: no handshake is completed by chance, nothing panics.

use std::process::Command;
use std::sync::OnceLock;

use logweir::net::tls::ServerTls;
use logweir::proto::shared::tls::ServerTlsPlan;

use crate::parameters::Parameters;

/// The head of a ClientHello; anything may follow.
const HELLO: [u8; 11] = [0x16, 0x03, 0x01, 0x00, 0x80, 0x01, 0x00, 0x00, 0x7c, 0x03, 0x03];
const CERTIFICATE: &str = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
                           -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
                           2>/dev/null";

fn server() -> &'static ServerTls {
    static SERVER: OnceLock<ServerTls> = OnceLock::new();
    SERVER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let made = Command::new("sh").args(["-c", CERTIFICATE]).current_dir(&folder).status();
        assert!(made.is_ok_and(|status| status.success()), "needs the openssl command");
        let path = |name: &str| folder.path().join(name);
        let plan = ServerTlsPlan {
            cert: path("cert.pem"),
            key: path("key.pem"),
            client_ca: Some(path("cert.pem")),
            names: vec!["localhost".parse().expect("a name")],
            fingerprints: Vec::new(),
        };
        ServerTls::new(&plan).expect("a server")
    })
}

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let hello = parameters.number(0, HELLO.len());
    let step = parameters.number(1, 300);
    let bytes = [&HELLO[..hello], parameters.0].concat();
    let mut connection = server().connection().expect("a connection");
    'pieces: for mut piece in bytes.chunks(step) {
        while !piece.is_empty() {
            let taken = connection.read_tls(&mut piece).unwrap_or(0);
            if taken == 0 || connection.process_new_packets().is_err() {
                break 'pieces;
            }
        }
    }
    assert!(connection.is_handshaking());
}
