//! How a record is sealed: XChaCha20-Poly1305, a nonce drawn for each seal, and the login that it
//! belongs to as associated data, so that no sealed record passes for another login's.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use mcp_auth_host::system::random_seed;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::KeyringError;

/// The version that is written, and the only one so far.
const VERSION: u32 = 1;

const KEY: usize = 32;
const NONCE: usize = 24;

/// Seals the records of one store.
pub(crate) struct Key {
    bytes: Zeroizing<[u8; KEY]>,
    id: KeyId,
}

/// Names a key, and says nothing else about it: a hash of it, 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct KeyId(String);

/// Whose record it is.
#[derive(Clone, Copy)]
pub(crate) struct Login<'a> {
    pub(crate) server: &'a str,
    pub(crate) account: &'a str,
}

/// A sealed record, as it is written to its file.
#[derive(Deserialize)]
pub(crate) struct Sealed {
    version: u32,
    /// What it was sealed with.
    pub(crate) key: KeyId,
    nonce: String,
    /// The encrypted record and its tag.
    text: String,
}

impl Key {
    pub(crate) fn draw() -> Result<Self, KeyringError> {
        Ok(Self::new(Zeroizing::new(random()?)))
    }

    fn new(bytes: Zeroizing<[u8; KEY]>) -> Self {
        let hash = Sha256::new().chain_update("mcp-auth key").chain_update(*bytes).finalize();
        let id = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { bytes, id: KeyId(id) }
    }

    /// As the keyring keeps it. Text: not every keyring returns other bytes as it got them.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(*self.bytes))
    }

    pub(crate) fn from_text(text: &[u8]) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY]);
        let length = BASE64.decode_slice(text, bytes.as_mut_slice()).ok()?;
        (length == KEY).then(|| Self::new(bytes))
    }

    pub(crate) fn id(&self) -> &KeyId {
        &self.id
    }

    pub(crate) fn seal(&self, login: Login<'_>, record: &[u8]) -> Result<Sealed, KeyringError> {
        let nonce: [u8; NONCE] = random()?;
        let aad = login.associated(VERSION);
        let text = self
            .cipher()
            .encrypt(&nonce.into(), Payload { msg: record, aad: &aad })
            .map_err(|_| KeyringError::TooBig)?;
        Ok(Sealed {
            version: VERSION,
            key: self.id.clone(),
            nonce: BASE64.encode(nonce),
            text: BASE64.encode(text),
        })
    }

    /// The record, or `None` where this is none that was sealed with this key for this login.
    pub(crate) fn open(&self, login: Login<'_>, sealed: &Sealed) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE] = BASE64.decode(&sealed.nonce).ok()?.try_into().ok()?;
        let text = BASE64.decode(&sealed.text).ok()?;
        let aad = login.associated(sealed.version);
        self.cipher().decrypt(&nonce.into(), Payload { msg: &text, aad: &aad }).ok()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.bytes).into())
    }
}

impl Sealed {
    /// Reads what is in a sealed file.
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Self, KeyringError> {
        #[derive(Deserialize)]
        struct Header {
            version: u32,
        }
        let changed = |_| KeyringError::Changed { path: path.to_owned() };
        let header: Header = serde_json::from_slice(bytes).map_err(changed)?;
        if header.version > VERSION {
            return Err(KeyringError::Newer { path: path.to_owned() });
        }
        serde_json::from_slice(bytes).map_err(changed)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let Self { version, key, nonce, text } = self;
        json!({ "version": version, "key": key.0, "nonce": nonce, "text": text }).to_string().into()
    }
}

impl Login<'_> {
    /// With the server's length in front, so that it can't run into the account.
    fn associated(self, version: u32) -> Vec<u8> {
        let length = (self.server.len() as u64).to_le_bytes();
        let Self { server, account } = self;
        [&version.to_le_bytes()[..], &length, server.as_bytes(), account.as_bytes()].concat()
    }
}

impl KeyId {
    /// The name of its item in the keyring.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_name = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if is_name { Ok(Self(text)) } else { Err("not the name of a key") }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

fn random<const N: usize>() -> Result<[u8; N], KeyringError> {
    let seed = Zeroizing::new(random_seed().map_err(KeyringError::NoRandomness)?);
    let mut bytes = [0; N];
    bytes.copy_from_slice(&seed[..N]);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: Login<'_> = Login { server: "https://mcp.example.com/mcp", account: "work" };
    const RECORD: &[u8] = br#"{"token": "s3cret"}"#;

    fn key() -> Key {
        Key::from_text(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap()
    }

    fn parse(text: &str) -> Result<Sealed, KeyringError> {
        Sealed::parse(text.as_bytes(), Path::new("file"))
    }

    #[test]
    fn what_was_sealed_by_version_1_can_be_opened_for_ever() {
        let sealed = parse(include_str!("../tests/sealed-1.json")).unwrap();
        assert_eq!(&sealed.key, key().id());
        assert_eq!(key().open(LOGIN, &sealed).unwrap(), RECORD);
    }

    #[test]
    fn no_two_seals_are_alike() {
        let seals: Vec<_> = (0..2).map(|_| key().seal(LOGIN, RECORD).unwrap()).collect();
        assert_ne!(seals[0].nonce, seals[1].nonce);
        assert_ne!(seals[0].text, seals[1].text);
        for sealed in &seals {
            let sealed = Sealed::parse(&sealed.to_bytes(), Path::new("file")).unwrap();
            assert_eq!(key().open(LOGIN, &sealed).unwrap(), RECORD);
        }
    }

    #[test]
    fn a_seal_holds_for_one_login_one_key_and_one_version() {
        let sealed = key().seal(LOGIN, RECORD).unwrap();
        for other in [
            Login { server: "https://mcp.example.com/", account: "work" },
            Login { account: "home", ..LOGIN },
            // What one field loses the other gains.
            Login { server: "https://mcp.example.com/mc", account: "pwork" },
        ] {
            assert!(key().open(other, &sealed).is_none());
        }
        assert!(Key::draw().unwrap().open(LOGIN, &sealed).is_none());
        assert!(key().open(LOGIN, &Sealed { version: 0, ..sealed }).is_none());
    }

    #[test]
    fn no_changed_byte_is_overlooked() {
        let sealed = key().seal(LOGIN, RECORD).unwrap();
        let text = BASE64.decode(&sealed.text).unwrap();
        for i in 0..text.len() {
            let mut text = text.clone();
            text[i] ^= 1;
            let (nonce, key_id) = (sealed.nonce.clone(), sealed.key.clone());
            let changed = Sealed { version: 1, key: key_id, nonce, text: BASE64.encode(text) };
            assert!(key().open(LOGIN, &changed).is_none());
        }
        for (nonce, text) in [("", ""), ("AAAA", "AAAA"), ("%", "%")] {
            let (nonce, text) = (nonce.into(), text.into());
            let changed = Sealed { version: 1, key: sealed.key.clone(), nonce, text };
            assert!(key().open(LOGIN, &changed).is_none());
        }
    }

    #[test]
    fn what_is_no_seal_is_told_from_a_newer_one() {
        let strange_key = r#"{"version":1,"key":"\u001b[2J","nonce":"","text":""}"#;
        for text in ["{}", "[1]", r#"{"version":1}"#, r#"{"version":"1"}"#, "null", strange_key] {
            assert!(matches!(parse(text), Err(KeyringError::Changed { .. })), "{text}");
        }
        let newer = parse(r#"{"version":2,"cipher":"a better one"}"#);
        assert!(matches!(newer, Err(KeyringError::Newer { .. })));
    }

    #[test]
    fn a_key_comes_back_from_its_text_and_is_never_shown() {
        let key = Key::draw().unwrap();
        let text = key.to_text();
        assert_eq!(Key::from_text(text.as_bytes()).unwrap().id(), key.id());
        assert!(!format!("{key:?}").contains(text.as_str()));
        for wrong in [&b""[..], b"AAEC", b"not base64!", &[0xff; 43], &[b'A'; 44]] {
            assert!(Key::from_text(wrong).is_none());
        }
    }
}
