//! Customers' tokens: JWTs that the shop's identity service signs with Ed25519. Nothing else is taken, whatever a
//! token's header says of itself. Times are compared with the clock that everything else uses.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::SystemTime,
};

use adal_domain::{ids::CustomerId, time::Timestamp};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, JwkSet},
};
use serde::{Deserialize, Serialize};

use crate::config::JwtConfig;

/// A token longer than this is not looked at.
const MAX_LENGTH: usize = 4096;

/// Why the identity service's keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// A file cannot be read.
    #[error("auth.jwt: {} cannot be read", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds no key of the kind.
    #[error("auth.jwt: {} holds no Ed25519 public key: {why}", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// No key can be made.
    #[error("no key pair can be made")]
    Generate,
}

/// Why a token is refused. Callers are told no more than that it is.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is too long, not a JWT, or of an algorithm that is not taken.
    #[error("not a token that is taken here")]
    Unreadable,
    /// No key of the identity service has signed it, or `iss` or `aud` is wrong.
    #[error("the signature, the issuer or the audience is wrong")]
    Forged,
    /// Its time is over, or has not begun.
    #[error("its time is over, or has not begun")]
    Time,
    /// `sub` is not a customer's id.
    #[error("sub is not a customer's id")]
    Subject,
}

/// What of a token is looked at.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: serde_json::Number,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<serde_json::Number>,
}

/// The identity service's public keys, and what its tokens must say.
pub struct Tokens {
    keys: Vec<(Option<String>, DecodingKey)>,
    validation: Validation,
    leeway_s: i64,
    stamps: Vec<Option<SystemTime>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Reads the files of a configuration. With none, no token is taken.
    ///
    /// # Errors
    /// See [`JwtError`].
    pub fn read(config: &JwtConfig) -> Result<Self, JwtError> {
        // The stamps first: a file that changes while it is read is read again.
        let stamps = stamps(config);
        let mut keys = Vec::new();
        for path in &config.public_key_files {
            let key = DecodingKey::from_ed_pem(&bytes(path)?)
                .map_err(|e| JwtError::Key { path: path.clone(), why: e.to_string() })?;
            keys.push((None, key));
        }
        if !config.jwks_file.as_os_str().is_empty() {
            keys.extend(jwks(&config.jwks_file)?);
        }
        let mut tokens = Self::of_keys(keys, i64::try_from(config.leeway_s).unwrap_or(0));
        if !config.issuer.is_empty() {
            tokens.validation.set_issuer(&[&config.issuer]);
            tokens.validation.required_spec_claims.insert("iss".to_owned());
        }
        if !config.audience.is_empty() {
            tokens.validation.set_audience(&[&config.audience]);
            tokens.validation.validate_aud = true;
            tokens.validation.required_spec_claims.insert("aud".to_owned());
        }
        tokens.stamps = stamps;
        Ok(tokens)
    }

    fn of_keys(keys: Vec<(Option<String>, DecodingKey)>, leeway_s: i64) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.algorithms = vec![Algorithm::EdDSA];
        validation.required_spec_claims = HashSet::from(["exp".to_owned(), "sub".to_owned()]);
        // The library would ask the machine's clock; `verify` compares with the one that it is given.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Self { keys, validation, leeway_s, stamps: Vec::new() }
    }

    /// Whether a file has changed since it was read.
    #[must_use]
    pub fn is_outdated(&self, config: &JwtConfig) -> bool {
        stamps(config) != self.stamps
    }

    /// The customer that a token speaks for.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<CustomerId, Refused> {
        if token.len() > MAX_LENGTH {
            return Err(Refused::Unreadable);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Unreadable)?;
        if header.alg != Algorithm::EdDSA {
            return Err(Refused::Unreadable);
        }
        let named = |kid: &Option<String>| kid.is_none() || header.kid.is_none() || *kid == header.kid;
        let claims = self
            .keys
            .iter()
            .filter(|(kid, _)| named(kid))
            .find_map(|(_, key)| jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok())
            .ok_or(Refused::Forged)?
            .claims;
        let until = seconds(&claims.exp).ok_or(Refused::Time)?;
        let from = claims.nbf.as_ref().map_or(Some(i64::MIN), seconds).ok_or(Refused::Time)?;
        let now = now.seconds();
        if until.saturating_add(self.leeway_s) <= now || from.saturating_sub(self.leeway_s) > now {
            return Err(Refused::Time);
        }
        CustomerId::new(&claims.sub).map_err(|_| Refused::Subject)
    }
}

/// A NumericDate may have a fraction (RFC 7519, 2).
fn seconds(date: &serde_json::Number) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a float is cut to the nearest whole second, saturating")]
    date.as_i64().or_else(|| date.as_f64().map(|date| date as i64))
}

fn bytes(path: &Path) -> Result<Vec<u8>, JwtError> {
    std::fs::read(path).map_err(|source| JwtError::File { path: path.to_owned(), source })
}

fn jwks(path: &Path) -> Result<Vec<(Option<String>, DecodingKey)>, JwtError> {
    let wrong = |why: String| JwtError::Key { path: path.to_owned(), why };
    let set: JwkSet = serde_json::from_slice(&bytes(path)?).map_err(|e| wrong(e.to_string()))?;
    let ours = set.keys.iter().filter(
        |key| matches!(&key.algorithm, AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519),
    );
    let keys: Result<Vec<_>, _> =
        ours.map(|key| DecodingKey::from_jwk(key).map(|decoding| (key.common.key_id.clone(), decoding))).collect();
    match keys {
        Ok(keys) if keys.is_empty() => Err(wrong("it lists none".to_owned())),
        Ok(keys) => Ok(keys),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn stamps(config: &JwtConfig) -> Vec<Option<SystemTime>> {
    let files = config.public_key_files.iter().chain([&config.jwks_file]);
    files.map(|path| std::fs::metadata(path).and_then(|data| data.modified()).ok()).collect()
}

/// A key pair that signs customers' tokens: the identity service of the demo and of tests.
pub struct Identity {
    signs: EncodingKey,
    public: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// A new pair.
    ///
    /// # Errors
    /// Where the operating system gives no random bits.
    pub fn generate() -> Result<Self, JwtError> {
        let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new());
        let document = document.map_err(|_| JwtError::Generate)?;
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|_| JwtError::Generate)?;
        let signs = EncodingKey::from_ed_der(document.as_ref());
        Ok(Self { signs, public: pair.public_key().as_ref().to_vec() })
    }

    /// The public key as PEM: what `auth.jwt.public_key_files` takes.
    #[must_use]
    pub fn public_pem(&self) -> String {
        use base64::Engine;
        // SubjectPublicKeyInfo of an Ed25519 key (RFC 8410): a fixed head, then the 32 bytes.
        let mut der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        der.extend_from_slice(&self.public);
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    /// A token for a customer until `until`.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub fn token(&self, customer: &CustomerId, until: Timestamp) -> Result<String, JwtError> {
        let claims = Claims { sub: customer.as_str().to_owned(), exp: until.seconds().into(), nbf: None };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.signs).map_err(|_| JwtError::Generate)
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn tokens(identity: &Identity) -> Tokens {
        Tokens::of_keys(vec![(None, DecodingKey::from_ed_der(&identity.public))], 30)
    }

    fn sign(identity: &Identity, claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &identity.signs).unwrap()
    }

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    fn good() -> Value {
        json!({"sub": "c1", "exp": NOW.seconds() + 60})
    }

    #[test]
    fn a_token_of_the_identity_service_speaks_for_its_subject() {
        let identity = Identity::generate().unwrap();
        let customer = CustomerId::new("c1").unwrap();
        let token = identity.token(&customer, NOW.plus_seconds(60)).unwrap();
        assert_eq!(tokens(&identity).verify(&token, NOW).unwrap(), customer);
    }

    #[test]
    fn other_algorithms_are_refused_whatever_they_claim() {
        let identity = Identity::generate().unwrap();
        let tokens = tokens(&identity);
        let none = format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(&good()));
        assert!(tokens.verify(&none, NOW).is_err());
        // The classic confusion: the public key, which is no secret, taken as an HMAC secret.
        let secret = EncodingKey::from_secret(identity.public_pem().as_bytes());
        let hs256 = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &good(), &secret).unwrap();
        assert!(matches!(tokens.verify(&hs256, NOW), Err(Refused::Unreadable)));
        let claims_eddsa = hs256.replacen(hs256.split('.').next().unwrap(), &part(&json!({"alg": "EdDSA"})), 1);
        assert!(matches!(tokens.verify(&claims_eddsa, NOW), Err(Refused::Forged)));
    }

    #[test]
    fn another_key_or_another_payload_is_forged() {
        let (identity, stranger) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        assert!(matches!(tokens(&identity).verify(&sign(&stranger, &good()), NOW), Err(Refused::Forged)));
        let token = sign(&identity, &good());
        let parts: Vec<&str> = token.split('.').collect();
        let other = part(&json!({"sub": "c2", "exp": NOW.seconds() + 60}));
        let forged = format!("{}.{other}.{}", parts[0], parts[2]);
        assert!(matches!(tokens(&identity).verify(&forged, NOW), Err(Refused::Forged)));
        assert!(tokens(&identity).verify(&"a".repeat(5000), NOW).is_err());
        for text in ["", ".", "..", "a.b.c"] {
            assert!(tokens(&identity).verify(text, NOW).is_err());
        }
    }

    #[test]
    fn a_token_counts_in_its_time_and_30_seconds_around_it() {
        let identity = Identity::generate().unwrap();
        let tokens = tokens(&identity);
        let at = |claims: Value| tokens.verify(&sign(&identity, &claims), NOW);
        let now = NOW.seconds();
        assert!(at(json!({"sub": "c1", "exp": now - 29})).is_ok());
        assert!(matches!(at(json!({"sub": "c1", "exp": now - 30})), Err(Refused::Time)));
        assert!(at(json!({"sub": "c1", "exp": now + 60, "nbf": now + 30})).is_ok());
        assert!(matches!(at(json!({"sub": "c1", "exp": now + 60, "nbf": now + 31})), Err(Refused::Time)));
        assert!(at(json!({"sub": "c1", "exp": 1_800_000_060.5})).is_ok());
        assert!(at(json!({"sub": "c1"})).is_err(), "exp is required");
        assert!(at(json!({"exp": now + 60})).is_err(), "sub is required");
        assert!(matches!(at(json!({"sub": "not an id", "exp": now + 60})), Err(Refused::Subject)));
    }

    #[test]
    fn issuer_and_audience_are_looked_at_where_configured() {
        let identity = Identity::generate().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (pem, set) = (dir.path().join("identity.pem"), dir.path().join("jwks.json"));
        std::fs::write(&pem, identity.public_pem()).unwrap();
        let rsa = json!({"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"});
        let ours = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": URL_SAFE_NO_PAD.encode(&identity.public)});
        std::fs::write(&set, json!({"keys": [rsa, ours]}).to_string()).unwrap();
        let config = JwtConfig {
            public_key_files: vec![pem],
            jwks_file: PathBuf::new(),
            issuer: "https://id.example".to_owned(),
            audience: "adal".to_owned(),
            leeway_s: 30,
        };
        let token = |claims: Value| sign(&identity, &claims);
        let exp = NOW.seconds() + 60;
        for config in [config.clone(), JwtConfig { public_key_files: vec![], jwks_file: set, ..config }] {
            let tokens = Tokens::read(&config).unwrap();
            let right = json!({"sub": "c1", "exp": exp, "iss": "https://id.example", "aud": "adal"});
            assert!(tokens.verify(&token(right), NOW).is_ok());
            for wrong in [
                json!({"sub": "c1", "exp": exp, "iss": "https://id.example", "aud": "other"}),
                json!({"sub": "c1", "exp": exp, "iss": "https://other.example", "aud": "adal"}),
                json!({"sub": "c1", "exp": exp}),
            ] {
                assert!(tokens.verify(&token(wrong), NOW).is_err());
            }
            assert!(!tokens.is_outdated(&config));
        }
    }
}
