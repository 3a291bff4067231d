//! How options and the configuration file become a [`Config`]: options override the file, which may
//! be ours or ToolHive's, in JSON or YAML.

use std::path::Path;
use std::{fmt, fs, io};

use mcp_auth::toolhive::{BEARER_TOKEN_ENV_VAR_NAME, RemoteConfig};
use mcp_auth::wire::scope::ScopeSet;
use mcp_auth::{CachedLogin, ClientCertificate, Config, DeviceGrant, DpopUse, Need, SecretRef};
use mcp_auth_host::secrets::{BEARER_TOKEN_ENV, find};
use mcp_auth_host::settings::Settings;
use mcp_auth_host::signer::{PemSigner, Signer as _, generate};

use crate::args::{PersonArgs, SettingsArgs};
use crate::failure::Failure;
use crate::report::Report;

/// The settings of a command, and how its person is asked.
#[derive(Default)]
pub struct Chosen {
    pub config: Config,
    pub person: PersonArgs,
    /// A login that ToolHive has made.
    pub cached: Option<CachedLogin>,
}

impl SettingsArgs {
    /// The settings of a command at which no person is asked.
    pub fn alone(&self, report: Report) -> Result<Chosen, Failure> {
        self.choose(&PersonArgs::default(), report)
    }

    pub fn choose(&self, person: &PersonArgs, report: Report) -> Result<Chosen, Failure> {
        let file = self.config.as_deref().map(|path| from_file(path, report));
        let Chosen { mut config, person: from_file, cached } =
            file.transpose()?.unwrap_or_default();
        if let Some(path) = &self.client_secret_file {
            config.client_secret = None;
            config.client_secret_from = vec![secret_file(path)?];
        }
        if let Some(path) = &self.client_key {
            config.client_key = Some(secret_file(path)?);
        }
        if let (Some(certificate), Some(key)) =
            (&self.client_certificate, &self.client_certificate_key)
        {
            let (certificate, key) = (secret_file(certificate)?, secret_file(key)?);
            config.client_certificate = Some(ClientCertificate { certificate, key });
        }
        if let Some(path) = &self.dpop_key {
            config.dpop_key = Some(secret_file(path)?);
        }
        config.dpop = self.dpop.unwrap_or(config.dpop);
        override_with(&mut config.client_key_id, &self.client_key_id);
        override_with(&mut config.preset, &self.preset);
        override_with(&mut config.client_id, &self.client_id);
        override_with(&mut config.client_metadata_url, &self.client_metadata_url);
        override_with(&mut config.resource, &self.resource);
        override_with(&mut config.issuer, &self.issuer);
        override_with(&mut config.authorize_url, &self.authorize_url);
        override_with(&mut config.token_url, &self.token_url);
        override_with(&mut config.callback_port, &person.callback_port);
        config.callback_host = person.callback_host.unwrap_or(config.callback_host);
        if !self.scopes.is_empty() {
            config.scopes = Some(self.scopes());
        }
        config.trusted_issuers.extend(self.trust_issuers.iter().cloned());
        config.allow_private_addresses.extend(self.allow_private.iter().cloned());
        config.push_requests |= self.push_requests;
        config.sign_requests |= self.sign_requests;
        config.assume_s256 |= self.assume_s256;
        config.send_resource = self.send_resource.unwrap_or(config.send_resource);
        config.legacy_fallback &= !self.no_legacy;
        if person.device {
            config.device_grant = DeviceGrant::Always;
        }
        config.check()?;
        if config.bearer_token.is_none() {
            config.bearer_token_from.push(SecretRef::Env(BEARER_TOKEN_ENV.to_owned()));
        }
        let shown = config.client_certificate.iter().flat_map(|c| [&c.certificate, &c.key]);
        let places = config.client_secret_from.iter().chain(&config.bearer_token_from).chain(shown);
        places.into_iter().try_for_each(rehearse)?;
        if config.dpop != DpopUse::Never {
            config.dpop_key.iter().try_for_each(make_key)?;
        }
        config.client_key.iter().chain(&config.dpop_key).try_for_each(rehearse_key)?;
        let no_browser = person.no_browser || from_file.no_browser;
        Ok(Chosen { config, person: PersonArgs { no_browser, ..person.clone() }, cached })
    }

    /// A token for less than what was asked for on the command line won't do.
    pub fn need(&self) -> Need {
        Need { operation: None, scopes: self.scopes() }
    }

    fn scopes(&self) -> ScopeSet {
        ScopeSet::parse(&self.scopes.join(" "))
    }
}

fn override_with<T: Clone>(setting: &mut Option<T>, option: &Option<T>) {
    if let Some(value) = option {
        *setting = Some(value.clone());
    }
}

fn from_file(path: &Path, report: Report) -> Result<Chosen, Failure> {
    let settings = Settings::parse(&read(path)?)
        .map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))?;
    let chosen = match settings {
        Settings::Ours(config) => Chosen { config: *config, ..Chosen::default() },
        Settings::ToolHive(remote, warnings) => {
            for warning in warnings {
                report.say(format_args!("warning: {}: {warning}", path.display()));
            }
            from_toolhive(&remote, path, report)?
        }
    };
    let Config { client_secret, initial_access_token, bearer_token, .. } = &chosen.config;
    if [client_secret, initial_access_token, bearer_token].into_iter().any(Option::is_some) {
        warn_if_exposed(path, report);
    }
    Ok(chosen)
}

fn from_toolhive(remote: &RemoteConfig, path: &Path, report: Report) -> Result<Chosen, Failure> {
    let mut imported = remote.import();
    for warning in &imported.warnings {
        report.say(format_args!("warning: {}: {warning}", path.display()));
    }
    let config = &mut imported.config;
    if config.bearer_token.is_none() && config.bearer_token_from.is_empty() {
        config.bearer_token_from.push(SecretRef::Env(BEARER_TOKEN_ENV_VAR_NAME.to_owned()));
    }
    let person = PersonArgs { no_browser: imported.skip_browser, ..PersonArgs::default() };
    Ok(Chosen { config: imported.config, person, cached: imported.cached })
}

/// Nothing is begun where a file that will be needed is missing or blank.
fn rehearse(place: &SecretRef) -> Result<(), Failure> {
    let SecretRef::File(_) = place else { return Ok(()) };
    let unusable = |why: &dyn fmt::Display| Failure::Usage(format!("{place}: {why}"));
    let found = find(place, None).map_err(|e| unusable(&e))?;
    let blank = found.is_none_or(|found| found.value().expose().trim().is_empty());
    if blank { Err(unusable(&"it is empty: expected a secret")) } else { Ok(()) }
}

/// Nobody else has to know it beforehand, so it may as well be made now.
fn make_key(place: &SecretRef) -> Result<(), Failure> {
    let SecretRef::File(path) = place else { return Ok(()) };
    match generate(Path::new(path)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Failure::Usage(format!("{place} could not be made: {error}")))
        }
        _ => Ok(()),
    }
}

/// Nor where a key is none.
fn rehearse_key(place: &SecretRef) -> Result<(), Failure> {
    let SecretRef::File(_) = place else { return Ok(()) };
    let key = PemSigner::new().public_key(place);
    key.map(|_| ()).map_err(|error| Failure::Usage(format!("{place}: {error}")))
}

fn secret_file(path: &Path) -> Result<SecretRef, Failure> {
    let text = path.to_str();
    let text =
        text.ok_or_else(|| Failure::Usage(format!("{} is not UTF-8: rename it", path.display())))?;
    Ok(SecretRef::File(text.to_owned()))
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|e| Failure::Usage(format!("{} could not be read: {e}", path.display())))
}

#[cfg(unix)]
fn warn_if_exposed(path: &Path, report: Report) {
    use std::os::unix::fs::MetadataExt;
    if fs::metadata(path).is_ok_and(|file| file.mode() & 0o077 != 0) {
        let path = path.display();
        report
            .say(format_args!("warning: {path} holds a secret that others can read; chmod 600 it"));
    }
}

#[cfg(not(unix))]
fn warn_if_exposed(_: &Path, _: Report) {}

#[cfg(test)]
mod tests {
    use super::*;
    use mcp_auth::SendResource;

    const QUIET: Report = Report { json: false, verbose: false };

    fn written(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn options_override_the_file_and_switches_only_add_to_it() {
        let file = written(
            r#"{"client_id":"a","issuer":"https://i.example","assume_s256":true,
            "trusted_issuers":["https://t.example"],"scopes":"x",
            "allow_private_addresses":["10.0.0.0/8"]}"#,
        );
        let args = SettingsArgs {
            config: Some(file.path().into()),
            client_id: Some("b".into()),
            trust_issuers: vec!["https://u.example".into()],
            scopes: vec!["y z".into(), "x".into()],
            allow_private: vec!["sso.corp.example".into()],
            no_legacy: true,
            send_resource: Some(SendResource::Auto),
            ..SettingsArgs::default()
        };
        let config = args.alone(QUIET).unwrap().config;
        assert_eq!(config.client_id.as_deref(), Some("b"));
        assert_eq!(config.issuer.as_deref(), Some("https://i.example"));
        assert_eq!(config.trusted_issuers, ["https://t.example", "https://u.example"]);
        assert_eq!(config.allow_private_addresses, ["10.0.0.0/8", "sso.corp.example"]);
        assert_eq!(config.scopes.unwrap().to_string(), "y z x");
        assert!(config.assume_s256 && !config.legacy_fallback);
        assert_eq!(config.send_resource, SendResource::Auto);
    }

    #[test]
    fn a_secret_that_is_missing_or_blank_is_an_error_before_anything_begins() {
        let blank = written(" \n");
        for (path, why) in [(blank.path(), "empty"), (Path::new("/nowhere"), "/nowhere")] {
            let client_secret_file = Some(path.into());
            let client_id = Some("a".into());
            let args = SettingsArgs { client_id, client_secret_file, ..SettingsArgs::default() };
            let failure = args.alone(QUIET).map(|_| ()).unwrap_err();
            assert!(matches!(&failure, Failure::Usage(said) if said.contains(why)), "{failure}");
        }
    }

    #[test]
    fn a_broken_file_is_not_quoted() {
        let file = written(r#"{"client_secret": ["hush"]}"#);
        let args = SettingsArgs { config: Some(file.path().into()), ..SettingsArgs::default() };
        let failure = args.alone(QUIET).map(|_| ()).unwrap_err().to_string();
        assert!(failure.contains("line 1") && !failure.contains("hush"), "{failure}");
    }
}
