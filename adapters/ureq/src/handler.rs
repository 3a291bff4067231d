//! ToolHive's way in: a configuration and a URL give a source of tokens.

use mcp_auth::toolhive::{EnvVar, RemoteConfig, Warning};
use mcp_auth::{Error, Need};
use mcp_auth_host::browser::{Browser, BrowserError};
use mcp_auth_host::desk::Asking;

use crate::builder::Builder;
use crate::source::SessionTokenSource;

/// Authenticates to a remote MCP server as a program with ToolHive's configuration did.
///
/// ```
/// use mcp_auth::toolhive::RemoteConfig;
/// use mcp_auth_host::tokens::TokenSource;
/// use mcp_auth_ureq::Handler;
///
/// # let server = mcp_auth_host::serve::Server::start(|_| {
/// #     let answer = http::Response::builder().header("content-type", "application/json");
/// #     answer.body(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_vec()).unwrap()
/// # })?;
/// # let url = server.url();
/// let (config, _unknown) = RemoteConfig::from_json(br#"{"scopes": ["notes"], "use_pkce": true}"#)?;
/// let source = Handler::new(&config)
///     .configure(|session| session.secrets(|name: &str| Ok(vault(name))))
///     .configure(|session| {
///         session.token_persister(|session: &mcp_auth::toolhive::CachedSession, _expires_at| {
///             keep(session.to_text().expose());
///             Ok(())
///         })
///     })
///     .authenticate(&url)?;
/// match source {
///     Some(source) => println!("expires at {:?}", source.token()?.expires_at),
///     None => println!("no authorization needed"),
/// }
/// # fn vault(_: &str) -> Option<mcp_auth::Secret> { None }
/// # fn keep(_: &str) {}
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Handler {
    builder: Builder,
    env_vars: Vec<EnvVar>,
    warnings: Vec<Warning>,
}

impl Handler {
    /// Of this configuration. Where it says `skip_browser`, the URL for the person is printed to the
    /// standard error.
    pub fn new(config: &RemoteConfig) -> Self {
        let imported = config.import();
        let mut builder = Builder::new(String::new()).config(imported.config);
        if let Some(cached) = imported.cached {
            builder = builder.restore(cached);
        }
        if imported.skip_browser {
            builder = builder.browser(Printed);
        }
        Self { builder, env_vars: imported.env_vars, warnings: imported.warnings }
    }

    /// Changes what the session is made of: its store, browser, secrets, persisters, agent.
    pub fn configure(self, change: impl FnOnce(Builder) -> Builder) -> Self {
        Self { builder: change(self.builder), ..self }
    }

    /// What of the configuration has no effect here, or another.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The environment variables that the configuration has: they are the program's own.
    pub fn env_vars(&self) -> &[EnvVar] {
        &self.env_vars
    }

    /// A source of tokens for this server: of the static bearer token, else of the stored or cached
    /// login, else of a new one, with a person. `None`: the server wants no authorization.
    ///
    /// # Errors
    ///
    /// As [`Session::token`](crate::Session::token). Where the network is down, a cached login is
    /// kept, and no browser opens.
    pub fn authenticate(
        mut self,
        server: impl Into<String>,
    ) -> Result<Option<SessionTokenSource>, Error> {
        self.builder.setup.server = server.into();
        let session = self.builder.build()?;
        let grant = session.token(&Need::default(), Asking::Welcome)?;
        Ok(grant.map(|_| session.token_source()))
    }
}

/// Shows the person the URL.
struct Printed;

impl Browser for Printed {
    #[expect(clippy::print_stderr, reason = "the configuration asks for it")]
    fn open(&self, url: &str) -> Result<(), BrowserError> {
        eprintln!("Open this address in a browser to log in:\n\n{url}\n");
        Ok(())
    }
}
