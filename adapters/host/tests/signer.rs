//! The keys of files, with real cryptography: what is signed is what a server verifies.
#![cfg(feature = "signer")]

use std::io::ErrorKind;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcp_auth::wire::jws::{PublicKey, SigningAlgorithm};
use mcp_auth::{HostError, Secret, SecretRef};
use mcp_auth_host::signer::{PemSigner, Signer, generate};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

/// Keys that `openssl genpkey` made, for tests alone.
const KEYS: [(&str, &str, &[SigningAlgorithm]); 4] = [
    ("P-256", include_str!("keys/p256.pem"), &[SigningAlgorithm::Es256]),
    ("P-384", include_str!("keys/p384.pem"), &[SigningAlgorithm::Es384]),
    ("Ed25519", include_str!("keys/ed25519.pem"), &[SigningAlgorithm::EdDsa]),
    ("RSA", include_str!("keys/rsa.pem"), &[SigningAlgorithm::Rs256, SigningAlgorithm::Ps256]),
];

fn file(dir: &Path, content: &str) -> SecretRef {
    let path = dir.join("key.pem");
    std::fs::write(&path, content).unwrap();
    SecretRef::File(path.to_str().unwrap().to_owned())
}

/// As a server would, from the JSON Web Key alone.
fn is_good(key: &PublicKey, algorithm: SigningAlgorithm, message: &[u8], signed: &[u8]) -> bool {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let with = |how: &'static dyn VerificationAlgorithm, key: Vec<u8>| {
        UnparsedPublicKey::new(how, key).verify(message, signed).is_ok()
    };
    let rsa = |how, n: &str, e: &str| {
        let key = signature::RsaPublicKeyComponents { n: decode(n), e: decode(e) };
        key.verify(how, message, signed).is_ok()
    };
    match (algorithm, key) {
        (SigningAlgorithm::Es256, PublicKey::Ec { x, y, .. }) => {
            with(&signature::ECDSA_P256_SHA256_FIXED, [vec![4], decode(x), decode(y)].concat())
        }
        (SigningAlgorithm::Es384, PublicKey::Ec { x, y, .. }) => {
            with(&signature::ECDSA_P384_SHA384_FIXED, [vec![4], decode(x), decode(y)].concat())
        }
        (SigningAlgorithm::EdDsa, PublicKey::Okp { x, .. }) => with(&signature::ED25519, decode(x)),
        (SigningAlgorithm::Rs256, PublicKey::Rsa { n, e }) => {
            rsa(&signature::RSA_PKCS1_2048_8192_SHA256, n, e)
        }
        (SigningAlgorithm::Ps256, PublicKey::Rsa { n, e }) => {
            rsa(&signature::RSA_PSS_2048_8192_SHA256, n, e)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_each_kind_of_key_signs_is_good_under_the_key_that_it_tells() {
    let dir = tempfile::tempdir().unwrap();
    let signer = PemSigner::new();
    for (name, pem, algorithms) in KEYS {
        let place = file(dir.path(), pem);
        let public = signer.public_key(&place).unwrap();
        assert_eq!(public.algorithms(), algorithms, "{name}");
        for algorithm in algorithms {
            let signed = signer.sign(&place, *algorithm, b"a message").unwrap();
            assert!(is_good(&public, *algorithm, b"a message", &signed), "{name} {algorithm:?}");
            assert!(!is_good(&public, *algorithm, b"another", &signed), "{name} {algorithm:?}");
        }
    }
    let place = file(dir.path(), KEYS[0].1);
    let error = signer.sign(&place, SigningAlgorithm::Rs256, b"").unwrap_err().to_string();
    assert_eq!(error, "it doesn't sign with RS256");
}

#[test]
fn what_is_no_key_is_not_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let sec1 = "-----BEGIN EC PRIVATE KEY-----\nHUSH\n-----END EC PRIVATE KEY-----\n";
    let garbage = "-----BEGIN PRIVATE KEY-----\nHUSH\n-----END PRIVATE KEY-----\n";
    for (content, says) in [
        ("hush", "no private key in PKCS #8 PEM"),
        ("", "no private key in PKCS #8 PEM"),
        (sec1, "no private key in PKCS #8 PEM"),
        (garbage, "no key of P-256"),
    ] {
        let place = file(dir.path(), content);
        let error = PemSigner::new().public_key(&place).unwrap_err().to_string();
        assert!(error.contains(says) && !error.to_lowercase().contains("hush"), "{error}");
    }
    let nowhere = SecretRef::File("/nowhere/key.pem".to_owned());
    assert!(PemSigner::new().public_key(&nowhere).is_err());
    let unset = SecretRef::Env("MCP_AUTH_NO_SUCH_VARIABLE".to_owned());
    assert!(PemSigner::new().public_key(&unset).unwrap_err().to_string().contains("not set"));
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_is_told_of() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let place = file(dir.path(), KEYS[0].1);
    for (mode, exposed) in [(0o644, true), (0o600, false), (0o640, true), (0o400, false)] {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(dir.path().join("key.pem"), permissions).unwrap();
        let found = PemSigner::new().find(&place).unwrap();
        assert_eq!(found.is_exposed(), exposed, "{mode:o}");
        assert_eq!(*found.public(), PemSigner::new().public_key(&place).unwrap());
    }
}

#[test]
fn a_provider_may_have_it() {
    let place = SecretRef::Name("client".to_owned());
    let provider = |name: &str| -> Result<Option<Secret>, HostError> {
        Ok((name == "client").then(|| Secret::from(KEYS[0].1)))
    };
    assert!(PemSigner::with(Some(&provider)).public_key(&place).is_ok());
    assert!(PemSigner::new().public_key(&place).is_err());
}

#[test]
fn a_new_key_is_its_owners_alone_and_replaces_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new.pem");
    generate(&path).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let place = SecretRef::File(path.to_str().unwrap().to_owned());
    let public = PemSigner::new().public_key(&place).unwrap();
    let signed = PemSigner::new().sign(&place, SigningAlgorithm::Es256, b"m").unwrap();
    assert!(is_good(&public, SigningAlgorithm::Es256, b"m", &signed));
    assert_eq!(generate(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(PemSigner::new().public_key(&place).unwrap(), public);
}
