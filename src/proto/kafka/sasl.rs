//! What is said to a broker that wants to know who we are: PLAIN (RFC 4616), SCRAM-SHA-256 and
//! SCRAM-SHA-512 (RFC 5802, RFC 7677), OAUTHBEARER (RFC 7628).

use std::fmt;
use std::num::NonZeroU32;

use ring::{digest, hmac, pbkdf2};

use crate::net::base64;

use crate::limits::{SCRAM_ROUNDS_MAX, SCRAM_ROUNDS_MIN};

/// A mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// User and password as they are: through TLS only.
    Plain,
    /// A challenge with SHA-256.
    ScramSha256,
    /// A challenge with SHA-512.
    ScramSha512,
    /// A token that something else gave us.
    OAuthBearer,
}

impl Mechanism {
    /// Its name in the protocol and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }
}

/// Who we are, for one connection.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) mechanism: Mechanism,
    /// Empty for OAUTHBEARER.
    pub(super) user: String,
    /// The password or the token.
    pub(super) secret: String,
    /// Random text, never used before.
    pub(super) nonce: String,
}

impl fmt::Debug for Credentials {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} {})", self.mechanism.name(), self.user)
    }
}

/// An authentication under way.
#[derive(Debug)]
pub(super) struct Sasl {
    credentials: Credentials,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// The broker says yes or no to what was said.
    Last,
    /// The broker sends its challenge.
    Challenge {
        bare: String,
    },
    /// The broker proves that it knows the password too.
    Proof {
        key: hmac::Key,
        signed: String,
    },
    Done,
}

/// The header of a client's first message: no channel binding (`n,,`).
const NO_BINDING: &str = "n,,";

impl Sasl {
    /// Begins; the first message.
    pub(super) fn begin(credentials: Credentials) -> (Self, Vec<u8>) {
        let Credentials { user, secret, nonce, .. } = &credentials;
        let (step, first) = match credentials.mechanism {
            Mechanism::Plain => (Step::Last, format!("\0{user}\0{secret}")),
            Mechanism::OAuthBearer => {
                (Step::Last, format!("{NO_BINDING}\x01auth=Bearer {secret}\x01\x01"))
            }
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
                let user = user.replace('=', "=3D").replace(',', "=2C");
                let bare = format!("n={user},r={nonce}");
                let first = format!("{NO_BINDING}{bare}");
                (Step::Challenge { bare }, first)
            }
        };
        (Self { credentials, step }, first.into_bytes())
    }

    /// Takes the broker's answer; the next message, or `None` when all is said.
    ///
    /// # Errors
    /// Why the broker is not to be trusted, or does not trust us.
    pub(super) fn next(&mut self, answer: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::Challenge { bare } => {
                let (message, proof) = self.answer(&bare, answer)?;
                self.step = proof;
                Ok(Some(message))
            }
            Step::Proof { key, signed } => {
                let answer = String::from_utf8_lossy(answer);
                let proof = answer.split(',').find_map(|part| part.strip_prefix("v="));
                let proof = proof.and_then(base64::decode).unwrap_or_default();
                match hmac::verify(&key, signed.as_bytes(), &proof) {
                    Ok(()) => Ok(None),
                    Err(_) => Err("the broker does not know the password: is it the right one? \
                                   Connect by TLS to be sure"
                        .into()),
                }
            }
            Step::Last | Step::Done if !answer.is_empty() => {
                // OAUTHBEARER says so why it refuses (RFC 7628, section 3.2.2).
                Err(format!(
                    "the broker refuses: {}; correct what the command of `token` prints",
                    String::from_utf8_lossy(answer)
                ))
            }
            Step::Last | Step::Done => Ok(None),
        }
    }

    /// The answer to a challenge, and the step in which the broker proves itself (RFC 5802,
    /// section 3).
    fn answer(&self, bare: &str, challenge: &[u8]) -> Result<(Vec<u8>, Step), String> {
        let wrong = || "the broker's challenge is malformed".to_string();
        let challenge = std::str::from_utf8(challenge).map_err(|_| wrong())?;
        let part = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name));
        let nonce = part("r=").ok_or_else(wrong)?;
        let own = &self.credentials.nonce;
        if !nonce.starts_with(own) || nonce.len() == own.len() {
            return Err(wrong());
        }
        let salt = part("s=").and_then(base64::decode).ok_or_else(wrong)?;
        let rounds: u32 = part("i=").and_then(|rounds| rounds.parse().ok()).ok_or_else(wrong)?;
        let in_bounds = (SCRAM_ROUNDS_MIN..=SCRAM_ROUNDS_MAX).contains(&rounds);
        let Some(rounds) = NonZeroU32::new(rounds).filter(|_| in_bounds) else {
            return Err(format!(
                "the broker asks for {rounds} rounds, which is not from {SCRAM_ROUNDS_MIN} to \
                 {SCRAM_ROUNDS_MAX}"
            ));
        };
        let hashes = Hashes::of(self.credentials.mechanism);
        let salted = hashes.salted(rounds, &salt, self.credentials.secret.as_bytes());
        let client_key = hashes.mac(&salted, b"Client Key");
        let stored = digest::digest(hashes.digest, &client_key);
        let binding = base64::encode(NO_BINDING.as_bytes());
        let without_proof = format!("c={binding},r={nonce}");
        let signed = format!("{bare},{challenge},{without_proof}");
        let signature = hashes.mac(stored.as_ref(), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let server_key = hashes.mac(&salted, b"Server Key");
        let key = hmac::Key::new(hashes.hmac, &server_key);
        let message = format!("{without_proof},p={}", base64::encode(&proof));
        Ok((message.into_bytes(), Step::Proof { key, signed }))
    }
}

/// The functions of a mechanism.
struct Hashes {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

impl Hashes {
    fn of(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::ScramSha512 => Self {
                digest: &digest::SHA512,
                hmac: hmac::HMAC_SHA512,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512,
            },
            _ => Self {
                digest: &digest::SHA256,
                hmac: hmac::HMAC_SHA256,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256,
            },
        }
    }

    fn salted(&self, rounds: NonZeroU32, salt: &[u8], password: &[u8]) -> Vec<u8> {
        let mut salted = vec![0; self.digest.output_len()];
        pbkdf2::derive(self.pbkdf2, rounds, salt, password, &mut salted);
        salted
    }

    fn mac(&self, key: &[u8], message: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac, key), message).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(mechanism: Mechanism, secret: &str, nonce: &str) -> (Sasl, String) {
        let (user, secret, nonce) = ("user".into(), secret.into(), nonce.into());
        let (sasl, first) = Sasl::begin(Credentials { mechanism, user, secret, nonce });
        (sasl, String::from_utf8(first).unwrap())
    }

    /// The example of RFC 7677, section 3.
    #[test]
    fn scram_says_what_the_rfc_says() {
        let (mut sasl, first) = begin(Mechanism::ScramSha256, "pencil", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                          s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let last = String::from_utf8(sasl.next(challenge).unwrap().unwrap()).unwrap();
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let proof = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(sasl.next(proof).unwrap(), None);
    }

    #[test]
    fn a_broker_that_does_not_know_the_password_or_asks_too_much_is_refused() {
        for (challenge, said) in [
            ("r=rOprNGfwEbeRWgbNEkqOmore,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=2000000000", "rounds"),
            ("r=rOprNGfwEbeRWgbNEkqOmore,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1", "rounds"),
            ("r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "malformed"),
            ("r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "malformed"),
            ("", "malformed"),
        ] {
            let (mut sasl, _) = begin(Mechanism::ScramSha256, "pencil", "rOprNGfwEbeRWgbNEkqO");
            let error = sasl.next(challenge.as_bytes()).unwrap_err();
            assert!(error.contains(said), "{challenge}: {error}");
        }
        let (mut sasl, _) = begin(Mechanism::ScramSha512, "pencil", "abc");
        sasl.next(b"r=abcd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096").unwrap();
        assert!(sasl.next(b"v=AAAA").unwrap_err().contains("does not know the password"));
    }

    #[test]
    fn plain_and_bearer_say_it_at_once() {
        let (mut plain, first) = begin(Mechanism::Plain, "pencil", "");
        assert_eq!(first, "\0user\0pencil");
        assert_eq!(plain.next(b"").unwrap(), None);
        let (mut bearer, first) = begin(Mechanism::OAuthBearer, "abc.def", "");
        assert_eq!(first, "n,,\x01auth=Bearer abc.def\x01\x01");
        assert!(bearer.next(b"{\"status\":\"invalid_token\"}").unwrap_err().contains("invalid"));
        assert!(!format!("{plain:?}").contains("pencil"));
    }
}
