// SPDX-License-Identifier: Apache-2.0
//! JSON Web Tokens as registries read them: signed with ES256, with the certificate of the key in the header (`x5c`).
//!
//! Sources: RFC 7515 and 7518 (the signature is two numbers of 32 bytes), "Token Authentication Implementation" of
//! distribution (the claim `access`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{Certificate, CertificateParams, DistinguishedName, DnType, KeyPair, SigningKey as _};
use serde_json::{Value, json};

use super::grants::access;

/// How long a registry takes a token after its end, because clocks differ, in seconds. What a token says is earlier by
/// this, so that it holds as long as it should.
const LEEWAY: u64 = 60;
/// Half of an ES256 signature, in bytes.
const HALF: usize = 32;

/// A key with its certificate, and whose tokens it signs for whom.
pub(super) struct Signer {
    key: KeyPair,
    certificate: Certificate,
    pem: String,
    issuer: &'static str,
    service: &'static str,
}

impl Signer {
    pub(super) fn new(issuer: &'static str, service: &'static str) -> Self {
        let key = KeyPair::generate().expect("generate a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, issuer);
        let certificate = params.self_signed(&key).expect("sign a certificate");
        Self {
            key,
            pem: certificate.pem(),
            certificate,
            issuer,
            service,
        }
    }

    pub(super) fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// A token that lets the account do what the scopes name.
    pub(super) fn token<'a>(
        &self,
        account: &str,
        scopes: impl Iterator<Item = &'a str>,
        lifetime: Duration,
    ) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("it is after 1970").as_secs();
        let header = json!({
            "typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(self.certificate.der())],
        });
        let claims = json!({
            "iss": self.issuer, "sub": account, "aud": self.service, "jti": format!("{now}-{account}"),
            "iat": now, "nbf": now, "exp": now + lifetime.as_secs() - LEEWAY,
            "access": scopes.filter_map(access).collect::<Vec<_>>(),
        });
        self.sign(&header, &claims)
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(signed.as_bytes()).expect("sign a token");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(fixed(&signature)))
    }
}

/// The two numbers of a signature as TLS writes them (DER: a sequence of two integers), each as 32 bytes.
fn fixed(der: &[u8]) -> [u8; 2 * HALF] {
    let mut fixed = [0; 2 * HALF];
    let (_, mut rest) = der.split_at(2);
    for half in fixed.chunks_exact_mut(HALF) {
        let (head, number) = rest.split_at(2);
        let (number, after) = number.split_at(head[1].into());
        // A first byte of zero says that the number is positive; a small number has fewer bytes.
        let digits = &number[number.len().saturating_sub(HALF)..];
        half[HALF - digits.len()..].copy_from_slice(digits);
        rest = after;
    }
    fixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length_are_written_as_thirty_two_bytes() {
        let mut der = vec![0x30, 0, 0x02, 33, 0];
        der.extend([0xff; 32]);
        der.extend([0x02, 1, 7]);
        let mut expected = [0; 64];
        expected[..32].fill(0xff);
        expected[63] = 7;
        assert_eq!(fixed(&der), expected);
    }

    #[test]
    fn a_token_says_who_may_do_what() {
        let signer = Signer::new("issuer", "service");
        let token = signer.token(
            "me",
            ["repository:a/b:pull,push", "nonsense"].into_iter(),
            Duration::from_mins(1),
        );
        let parts: Vec<_> = token.split('.').collect();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        assert_eq!(
            claims["access"],
            json!([{"type": "repository", "name": "a/b", "actions": ["pull", "push"]}])
        );
        assert_eq!(
            (&claims["sub"], &claims["aud"]),
            (&json!("me"), &json!("service"))
        );
        assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).unwrap().len(), 64);
    }
}
