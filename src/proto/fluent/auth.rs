//! The handshake of clients that show a shared key: `HELO` to the client, `PING` from it, `PONG` to
//! it. Neither side sends the key; each sends a digest of it with what the other made up.

use ring::digest::{Context, SHA512};

use super::msgpack::{self, Reader, Value};

/// What clients must know, and who this server is.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    /// The key that all clients share.
    pub shared_key: String,
    /// Names and passwords, of which a client must show one; empty where none is asked for.
    pub users: Vec<(String, String)>,
    /// This server's name. A client refuses one that has its own name.
    pub name: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is made up for one client.
pub type Nonce = [u8; 16];

/// The greeting, which says what the digests are made with.
pub(super) fn hello(secrets: &Secrets, nonce: &Nonce, salt: &Nonce) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::array(&mut out, 2);
    msgpack::str(&mut out, b"HELO");
    msgpack::map(&mut out, 3);
    msgpack::str(&mut out, b"nonce");
    msgpack::bin(&mut out, nonce);
    msgpack::str(&mut out, b"auth");
    msgpack::bin(&mut out, if secrets.users.is_empty() { b"" } else { salt });
    msgpack::str(&mut out, b"keepalive");
    msgpack::bool(&mut out, true);
    out
}

/// What a client showed.
struct Ping<'p> {
    host: &'p [u8],
    salt: &'p [u8],
    digest: &'p [u8],
    user: &'p [u8],
    password: &'p [u8],
}

impl<'p> Ping<'p> {
    fn read(value: &'p [u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let (Ok(Value::Array(6)), Some(b"PING")) = (reader.value(), reader.value().ok()?.text())
        else {
            return None;
        };
        let mut text = || reader.value().ok()?.text();
        let (host, salt, digest) = (text()?, text()?, text()?);
        Some(Self { host, salt, digest, user: text()?, password: text()? })
    }
}

/// Looks at what a client answered to the greeting; what it is told, and whether it may stay.
///
/// # Errors
/// What is to be logged of a client that is refused, with what it is told.
pub(super) fn judge(
    secrets: &Secrets,
    (nonce, salt): (&Nonce, &Nonce),
    value: &[u8],
) -> Result<Vec<u8>, (Vec<u8>, &'static str)> {
    let Some(ping) = Ping::read(value) else {
        let why = "shows no shared key: have it send security, with the shared_key of this input";
        return Err((pong(Err("a PING is needed: this server has a shared key")), why));
    };
    let key = secrets.shared_key.as_bytes();
    let expected = hex(&[ping.salt, ping.host, nonce, key]);
    if !is_same(expected.as_bytes(), ping.digest) {
        return Err((pong(Err("shared key mismatch")), "has another shared key"));
    }
    let knows = |(user, password): &(String, String)| {
        let expected = hex(&[salt, user.as_bytes(), password.as_bytes()]);
        is_same(user.as_bytes(), ping.user) && is_same(expected.as_bytes(), ping.password)
    };
    // All of them, so that the time taken tells nothing.
    let known = secrets.users.iter().filter(|user| knows(user)).count();
    if !secrets.users.is_empty() && known == 0 {
        let why = "shows no user of this input, or another password";
        return Err((pong(Err("username/password mismatch")), why));
    }
    let name = secrets.name.as_bytes();
    Ok(pong(Ok((name, &hex(&[ping.salt, name, nonce, key])))))
}

fn pong(judged: Result<(&[u8], &str), &str>) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::array(&mut out, 5);
    msgpack::str(&mut out, b"PONG");
    msgpack::bool(&mut out, judged.is_ok());
    let (reason, (name, digest)) = match judged {
        Ok(server) => ("", server),
        Err(reason) => (reason, (&b""[..], "")),
    };
    for text in [reason.as_bytes(), name, digest.as_bytes()] {
        msgpack::str(&mut out, text);
    }
    out
}

/// The nonce of a greeting, and what a password is to be shown with; `None` where it is none.
pub(super) fn read_hello(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader::new(value);
    let Value::Array(2..) = reader.value().ok()? else { return None };
    let (Some(b"HELO"), Value::Map(count)) = (reader.value().ok()?.text(), reader.value().ok()?)
    else {
        return None;
    };
    let (mut nonce, mut salt): (Option<&[u8]>, &[u8]) = (None, b"");
    for _ in 0..count {
        let name = reader.skip().ok()?;
        let text = Reader::new(reader.skip().ok()?).value().ok()?.text();
        match Reader::new(name).value().ok()?.text() {
            Some(b"nonce") => nonce = text,
            Some(b"auth") => salt = text.unwrap_or_default(),
            _ => {}
        }
    }
    Some((nonce?, salt))
}

/// Answers a greeting.
pub(super) fn ping(
    (host, salt): (&str, &str),
    nonce: &[u8],
    key: &str,
    user: Option<(&str, &str)>,
    auth_salt: &[u8],
) -> Vec<u8> {
    let digest = hex(&[salt.as_bytes(), host.as_bytes(), nonce, key.as_bytes()]);
    let (name, password) = user.filter(|_| !auth_salt.is_empty()).unwrap_or_default();
    let password = match name {
        "" => String::new(),
        name => hex(&[auth_salt, name.as_bytes(), password.as_bytes()]),
    };
    let mut out = Vec::new();
    msgpack::array(&mut out, 6);
    for text in ["PING", host, salt, &digest, name, &password] {
        msgpack::str(&mut out, text.as_bytes());
    }
    out
}

/// What a server says of a client: its name and digest, or why it refuses.
type Pong<'p> = Result<(&'p [u8], &'p [u8]), &'p [u8]>;

/// Reads what a server answered to a `PING`.
pub(super) fn read_pong(value: &[u8]) -> Option<Pong<'_>> {
    let mut reader = Reader::new(value);
    let Value::Array(5..) = reader.value().ok()? else { return None };
    let Some(b"PONG") = reader.value().ok()?.text() else { return None };
    let Value::Bool(is_fine) = reader.value().ok()? else { return None };
    let mut text = || reader.value().ok()?.text();
    let (reason, name, digest) = (text()?, text()?, text()?);
    Some(if is_fine { Ok((name, digest)) } else { Err(reason) })
}

/// Whether a server knows the key, by its name and digest.
pub(super) fn knows((name, digest): (&[u8], &[u8]), salt: &str, nonce: &[u8], key: &str) -> bool {
    let expected = hex(&[salt.as_bytes(), name, nonce, key.as_bytes()]);
    is_same(expected.as_bytes(), digest)
}

/// The SHA-512 of these, in hexadecimal digits.
pub(super) fn hex(parts: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA512);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether both are the same, in a time that tells nothing of where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |all, (one, other)| all | (one ^ other));
    one.len() == other.len() && std::hint::black_box(differ) == 0
}
