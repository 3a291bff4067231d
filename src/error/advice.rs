//! What to do about an error.

use super::{Error, ErrorKind};
use crate::notice::ClientSource;
use crate::wire::url as address;

/// Registration is open to all, or seems so, and the client is refused.
const ONLY_KNOWN_CLIENTS: &str = "The provider may let in only clients that it knows: register one there and give `client_id` (and `client_secret`)";

impl Error {
    /// What to do next, in a sentence.
    pub fn advice(&self) -> String {
        use ErrorKind as K;
        match self.kind() {
            K::InvalidSetting(_) => "Correct the setting.".into(),
            K::LoginRequired { scopes, .. } if !scopes.is_empty() => {
                format!("Log in where a browser is welcome, asking for {scopes}.")
            }
            K::LoginRequired { .. } => "Log in where a browser is welcome, then try again.".into(),
            K::NobodyCame { earlier_client: Some(client), .. } => format!(
                "If the browser showed an error: the server may have forgotten the client {client}. Start the login again: a new client is then registered."
            ),
            K::NobodyCame { client: Some(ClientSource::Registered), .. } => format!(
                "Start the login again. Did the browser show an error? {ONLY_KNOWN_CLIENTS}."
            ),
            K::NobodyCame { client: Some(ClientSource::Configured), .. } => {
                "Start the login again. Did the browser show an error? Check the client's settings at the provider, its redirect URI above all.".into()
            }
            K::Cancelled | K::NobodyCame { .. } => "Start the login again.".into(),
            K::CodeExpired { .. } => "Start the login again: it shows a new code.".into(),
            K::NoDeviceGrant { .. } => "Log in with a browser (set `device_grant` to `auto`), or paste the redirect back (`--paste`).".into(),
            K::DeviceRefused { error, .. } if error.error == "unauthorized_client" => {
                "Allow the client the device authorization grant at the provider, or log in with a browser.".into()
            }
            K::DeviceRefused { error, .. } if error.error == "invalid_scope" => {
                "Ask for other scopes (`scopes`).".into()
            }
            K::TimedOut(_) => "Try again, or allow more time.".into(),
            K::NoRandomness(_) => "Mend the system's random generator, then try again.".into(),
            K::NoHttpClient(_) => "Mend what the HTTP client needs, or give another.".into(),
            K::Unreachable { .. } => "Check the network and the URL, then try again.".into(),
            K::AddressRefused { .. } => {
                "If that is where it should lead, add the host or its address to `allow_private_addresses`; otherwise tell the server's operator, and don't log in.".into()
            }
            K::Passing { .. } => "Nothing is lost: try again later.".into(),
            K::ProbeFailed { instead: Some(instead), .. } => {
                format!("Use {instead} as the server's URL: that is what its metadata describes. If this one is right all the same, name its authorization server (`issuer`).")
            }
            K::ProbeFailed { .. } => {
                "Check that the URL is the MCP endpoint; if the server needs a login all the same, name its authorization server (`issuer`).".into()
            }
            K::ResourceMismatch { got, .. } => format!(
                "If {got} is the server you mean, use that URL; otherwise tell the server's operator, and don't log in."
            ),
            K::NoAuthorizationServer { .. } => {
                "Name the authorization server (`issuer`), or its endpoints (`authorize_url` and `token_url`).".into()
            }
            K::IssuerMismatch { expected, got, .. } if address::is_origin_of(got, expected) => format!(
                "If you know that {got} is right for this server, switch on `trust_origin_issuer`, or add it to `trusted_issuers`; otherwise don't log in."
            ),
            K::IssuerMismatch { got, .. } => format!(
                "If you know that {got} is right for this server, add it to `trusted_issuers`; otherwise don't log in."
            ),
            K::NoPkce { absent: true, .. } => {
                "If the server does support S256, switch on `assume_s256`.".into()
            }
            K::NoPkce { .. } => "The server must support S256; there is no safe way around.".into(),
            K::NoClient { .. } => {
                "Register a client with the provider, in its console for developers, and give `client_id`, `client_secret` if it has one, and `callback_port` if its redirect URI has one; or give `client_metadata_url`.".into()
            }
            K::RegistrationRefused { .. } => format!("{ONLY_KNOWN_CLIENTS}, or an `initial_access_token`."),
            K::Denied(error) if error.error == "invalid_scope" => {
                "Ask for other scopes (`scopes`).".into()
            }
            K::DeniedElsewhere => "Log in again and allow the access.".into(),
            K::Denied(_) if self.is_refusal_by_person() => {
                "Log in again and allow the access.".into()
            }
            K::Denied(error) | K::TokenRefused { error, .. } | K::DeviceRefused { error, .. }
                if error.is_refused_resource() =>
            {
                "If the server takes no resource indicators, set `send_resource` to `auto`, or to `never`.".into()
            }
            K::Denied(error) if error.error == "unauthorized_client" => {
                format!("{ONLY_KNOWN_CLIENTS}.")
            }
            K::Denied(_) => "Log in again; if it stays, ask the server's operator.".into(),
            K::MixUp { got: Some(got), .. } => format!(
                "Don't log in before the server's operator has explained it: it may be an attack. If {got} is theirs too, add it to `trusted_issuers`."
            ),
            K::MixUp { .. } => {
                "Don't log in before the server's operator has explained it: it may be an attack.".into()
            }
            K::PushRefused { .. } => "Check the client's settings, its scopes and its redirect URI.".into(),
            K::TokenRefused { .. } | K::DeviceRefused { .. } => {
                "Log in again; if it stays, check the client's settings.".into()
            }
            K::Unusable { .. } => "Ask the server's operator.".into(),
            K::NotEnded { .. } => {
                "It may live until it expires: end the access in your account at the server.".into()
            }
            K::StepUpLimit { .. } => {
                "Ask the server's operator which access the operation needs.".into()
            }
            K::FreshTokenRefused => {
                "Check `resource` and `scopes`: the token may be meant for another audience. Some servers want to be told by an `audience` in `oauth_params` and `token_params`.".into()
            }
            K::StaticTokenRefused => "Replace `bearer_token`.".into(),
            K::ForeignRequest { .. } => "Use a session of its own for the other server.".into(),
            K::ProofMissing => "Have it signed: `Grant::proof`, then `Grant::authorize_with`.".into(),
            K::Store(error) if error.is_throttled() => {
                "This program has too much under way at once: try again in a moment.".into()
            }
            K::Store(error) if error.is_busy() => {
                "Another program is renewing the tokens: try again in a moment.".into()
            }
            K::Store(_) => "Mend the store, then try again; nothing was overwritten.".into(),
            K::SecretUnavailable { .. } => "Put the secret there, or name its place anew.".into(),
            K::SigningFailed { .. } => "Put a key there that the server takes, or give the program a signer that has it.".into(),
            K::Listener(_) => "Free the port, or choose another `callback_port`.".into(),
            K::CodeNotShown(_) => "Log in with a browser, or where the code can be seen.".into(),
            K::Browser(_) => "Open the URL by hand (`--no-browser`), or paste the redirect back (`--paste`).".into(),
            K::Unanswered { .. } => "This is a bug of the program or its adapter.".into(),
        }
    }
}
