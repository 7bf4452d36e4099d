//! The token that clients of the metrics must show, if the configuration asks for one.

use std::path::PathBuf;

use ring::digest::{SHA256, digest};

use crate::net::{base64, secret};

/// A token in a file, which is read anew for each request, so that it can be replaced.
#[derive(Debug)]
pub(super) struct Token {
    file: PathBuf,
}

impl Token {
    /// The token in this file.
    ///
    /// # Errors
    /// It cannot be read, or is empty.
    pub(super) fn new(file: PathBuf) -> Result<Self, String> {
        secret::read(&file)?;
        Ok(Self { file })
    }

    /// Returns whether `shown`, the value of the Authorization field, holds the token.
    ///
    /// # Errors
    /// The file cannot be read now.
    pub(super) fn is(&self, shown: Option<&str>) -> Result<bool, String> {
        let token = secret::read(&self.file)?;
        let shown = shown.and_then(token_of).unwrap_or_default();
        // How long it takes to compare digests says nothing about the token.
        let of = |text: &str| digest(&SHA256, text.as_bytes());
        Ok(of(&shown).as_ref() == of(&token).as_ref())
    }
}

/// The token in an Authorization field: a bearer token (RFC 6750), or the password of any user (RFC
/// 7617), because that is what a browser asks for.
fn token_of(field: &str) -> Option<String> {
    let (scheme, rest) = field.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_string());
    }
    let is_basic = scheme.eq_ignore_ascii_case("basic");
    let pair = is_basic.then(|| base64::decode(rest.trim())).flatten()?;
    let pair = String::from_utf8(pair).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_as_a_bearers_or_as_anyones_password() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let error = Token::new(file.clone()).unwrap_err();
        assert!(error.contains("No such file"), "{error}");
        std::fs::write(&file, "s3:cret\n").unwrap();
        let token = Token::new(file.clone()).unwrap();
        let basic = |text: &str| format!("Basic {}", base64::encode(text.as_bytes()));
        for (shown, right) in [
            (None, false),
            (Some("Bearer s3:cret"), true),
            (Some("bearer  s3:cret "), true),
            (Some("Bearer s3:cre"), false),
            (Some("Bearer "), false),
            (Some("s3:cret"), false),
            (Some("Digest s3:cret"), false),
            (Some("Basic s3:cret"), false),
            (Some(&*basic("me:s3:cret")), true),
            (Some(&*basic(":s3:cret")), true),
            (Some(&*basic("s3:cret")), false),
        ] {
            assert_eq!(token.is(shown), Ok(right), "{shown:?}");
        }
        std::fs::write(&file, "new\n").unwrap();
        assert_eq!(token.is(Some("Bearer new")), Ok(true));
        std::fs::write(&file, "\n").unwrap();
        assert!(token.is(Some("Bearer ")).is_err(), "an empty token opens nothing");
    }
}
