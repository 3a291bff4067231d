//! What can be asked for on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use mcp_auth::output::CallbackHost;
use mcp_auth::wire;
use mcp_auth::{DpopUse, Preset, SendResource};

const EXAMPLES: &str = "\
Examples:
  mcp-auth demo                                     see the whole story, without a server or account
  mcp-auth inspect https://mcp.example.com/mcp      what does this server want?
  mcp-auth login https://mcp.example.com/mcp        log in with the browser
  mcp-auth login --paste https://mcp.example.com/mcp   the same over SSH
  mcp-auth login --device https://mcp.example.com/mcp  the same with a code for another device
  curl -H \"Authorization: Bearer $(mcp-auth token https://mcp.example.com/mcp)\" …
  mcp-auth request https://mcp.example.com/mcp --data @call.json
  mcp-auth status

Exit codes:
  0  done; for `request`: the server answered with success, whether or not it wanted a token
  1  failed
  2  wrong usage: an option, a URL or a setting can't be used
  3  a login is required: run `mcp-auth login`
  4  the server wants no authorization (`login` and `token`)

A bearer token in MCP_AUTH_BEARER_TOKEN is used as it is. Secrets that the settings name are looked
for in MCP_AUTH_SECRET_NAME and TOOLHIVE_SECRET_NAME.

Tokens are printed by `token` alone. Progress, warnings and errors go to stderr.";

/// Log in to remote MCP servers, use the logins, see what a server wants
#[derive(Debug, Parser)]
#[command(name = "mcp-auth", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to report it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// One command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Log in to a server with the browser, and keep the login
    Login(LoginArgs),
    /// Print a valid access token, renewing it if needed; never opens a browser
    Token(TokenArgs),
    /// Send one authenticated request and print the response's body
    Request(RequestArgs),
    /// Show one login, or all that are stored; asks no server
    Status(StatusArgs),
    /// End a login at its servers, and forget it
    Logout(LogoutArgs),
    /// Show what a server says about authorization, and what a login would do; changes nothing
    Inspect(InspectArgs),
    /// Run the whole story against a built-in MCP server and authorization server
    Demo(DemoArgs),
}

/// `login`
#[derive(Debug, clap::Args)]
pub struct LoginArgs {
    #[command(flatten)]
    pub target: Target,
    /// Register a new client for it: the server may have forgotten the one of before
    #[arg(long)]
    pub fresh: bool,
    #[command(flatten)]
    pub settings: SettingsArgs,
    #[command(flatten)]
    pub person: PersonArgs,
}

/// `token`
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// `request`
#[derive(Debug, clap::Args)]
pub struct RequestArgs {
    #[command(flatten)]
    pub target: Target,
    /// The HTTP method
    #[arg(long, value_name = "METHOD", default_value = "POST")]
    pub method: http::Method,
    /// The JSON-RPC message: JSON, @FILE, or - for stdin [default with POST: an `initialize`
    /// request]
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub data: Option<String>,
    /// One more header field (repeatable)
    #[arg(long = "header", value_name = "K: V", value_parser = header)]
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Print the status line and the header fields before the body
    #[arg(short, long)]
    pub include: bool,
    /// Open a browser where the request needs a login or more access
    #[arg(long)]
    pub login: bool,
    #[command(flatten)]
    pub settings: SettingsArgs,
    #[command(flatten)]
    pub person: PersonArgs,
}

/// `status`
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// The MCP server's URL; without it, all logins are shown
    pub url: Option<ServerUrl>,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `logout`
#[derive(Debug, clap::Args)]
pub struct LogoutArgs {
    #[command(flatten)]
    pub target: Target,
    /// Only forget the login here, and ask no server: its tokens live on until they expire
    #[arg(long)]
    pub local: bool,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// `inspect`
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// `demo`
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Keep the servers up instead, to try the other commands against them
    #[arg(long)]
    pub serve: bool,
}

/// Which login.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// The MCP server's URL: https, or http to this machine
    pub url: ServerUrl,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Where logins are kept.
#[derive(Debug, clap::Args)]
pub struct StoreArgs {
    /// The directory of the logins [default: in your data directory]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Which of several accounts at one server [default: default]
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// Seal the login with a key from the system's keyring, from its next save on; `only`: and
    /// accept no plain one; `off`: write it plain again [default: as it is, a new one plain]
    #[cfg(feature = "keyring")]
    #[arg(
        long,
        value_name = "on|only|off",
        env = "MCP_AUTH_KEYRING",
        require_equals = true,
        num_args = 0..=1,
        default_missing_value = "on",
        hide_possible_values = true,
        hide_env_values = true,
        value_parser = keyring(),
    )]
    pub keyring: Option<mcp_auth_keyring::Policy>,
}

/// How results are told.
#[derive(Debug, clap::Args)]
pub struct OutputArgs {
    /// Print the result, or the error, as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Tell what happens, step by step; never a secret
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Give up after this long [default: each step has its own limit, the person 10 minutes]
    #[arg(long, value_name = "SECONDS", global = true, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: Option<u64>,
}

/// What to do differently from the specification's defaults.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingsArgs {
    /// Settings as JSON or YAML, ours or ToolHive's; options override them
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The settings that a provider needs besides a client
    #[arg(long, value_name = "NAME", value_parser = preset())]
    pub preset: Option<String>,
    /// A client that was registered by hand
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The file that holds its secret
    #[arg(long, value_name = "FILE")]
    pub client_secret_file: Option<PathBuf>,
    /// The private key that it proves itself by in place of a secret: PKCS #8 PEM
    #[arg(long, value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// The certificate that it shows when it connects (mutual TLS): PEM
    #[arg(long, value_name = "FILE", requires = "client_certificate_key")]
    pub client_certificate: Option<PathBuf>,
    /// Its private key: PEM
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    pub client_certificate_key: Option<PathBuf>,
    /// What the server calls the key of `--client-key` (`kid`)
    #[arg(long, value_name = "ID")]
    pub client_key_id: Option<String>,
    /// Push authorization requests to the server, also where it doesn't demand that (RFC 9126)
    #[arg(long)]
    pub push_requests: bool,
    /// Sign them with the client's key, likewise (RFC 9101)
    #[arg(long)]
    pub sign_requests: bool,
    /// Bind tokens to a key (DPoP): `auto` where the server says that it can [default: never]
    #[arg(long, value_name = "WHEN", value_parser = dpop())]
    pub dpop: Option<DpopUse>,
    /// That key: PKCS #8 PEM; a new one is made where there is none
    #[arg(long, value_name = "FILE")]
    pub dpop_key: Option<PathBuf>,
    /// The URL of a client ID metadata document
    #[arg(long, value_name = "URL")]
    pub client_metadata_url: Option<String>,
    /// Ask for this scope (repeatable)
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    pub scopes: Vec<String>,
    /// The resource indicator (RFC 8707)
    #[arg(long, value_name = "URL")]
    pub resource: Option<String>,
    /// The authorization server to use, whatever the MCP server names
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// Its authorization endpoint, where it has no metadata
    #[arg(long, value_name = "URL")]
    pub authorize_url: Option<String>,
    /// Its token endpoint, where it has no metadata
    #[arg(long, value_name = "URL")]
    pub token_url: Option<String>,
    /// Accept a server that doesn't say that it supports PKCE; S256 is sent all the same
    #[arg(long)]
    pub assume_s256: bool,
    /// Accept metadata that names this issuer instead of the one asked for (repeatable)
    #[arg(long = "trust-issuer", value_name = "URL")]
    pub trust_issuers: Vec<String>,
    /// Let servers name this host, address or network though it is not public (repeatable)
    #[arg(long = "allow-private", value_name = "HOST|ADDRESS|NETWORK")]
    pub allow_private: Vec<String>,
    /// Don't try the specification of 2025-03-26 where there is no resource metadata
    #[arg(long)]
    pub no_legacy: bool,
    /// Whether to send the resource indicator: `auto` leaves it out once a server refuses it
    /// [default: always]
    #[arg(long, value_name = "WHEN", value_parser = send_resource())]
    pub send_resource: Option<SendResource>,
}

/// How the person comes into it.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Browser")]
pub struct PersonArgs {
    /// The loopback name in the redirect URI [default: 127.0.0.1]
    #[arg(long, value_name = "HOST", value_parser = callback_host())]
    pub callback_host: Option<CallbackHost>,
    /// The port of the redirect URI [default: a free one]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..))]
    pub callback_port: Option<u16>,
    /// Print the URL instead of opening a browser
    #[arg(long)]
    pub no_browser: bool,
    /// Print the URL, and read the address that the browser ends at from the terminal: for SSH
    #[arg(long)]
    pub paste: bool,
    /// Print a code to enter in the browser of another device, where the server gives one [default:
    /// where no browser can be opened here]
    #[arg(long, conflicts_with_all = ["paste", "no_browser"])]
    pub device: bool,
}

/// A server's URL in the one spelling that its login is kept under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(pub String);

impl FromStr for ServerUrl {
    type Err = wire::Malformed;

    /// The canonical form of the MCP specification: scheme and host in lower case, no fragment, no
    /// slash after a bare host.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let without_fragment = text.split('#').next().unwrap_or_default();
        let url = wire::url::parse("the server's URL", without_fragment)?;
        let bare = url.path() == "/" && url.query().is_none();
        let text = url.as_str();
        Ok(Self(if bare { text.trim_end_matches('/') } else { text }.to_owned()))
    }
}

fn preset() -> PossibleValuesParser {
    PossibleValuesParser::new(Preset::ALL.iter().map(|preset| preset.name))
}

fn send_resource() -> impl TypedValueParser<Value = SendResource> {
    PossibleValuesParser::new(["always", "auto", "never"]).map(|when| match when.as_str() {
        "auto" => SendResource::Auto,
        "never" => SendResource::Never,
        _ => SendResource::Always,
    })
}

fn dpop() -> impl TypedValueParser<Value = DpopUse> {
    PossibleValuesParser::new(["always", "auto", "never"]).map(|when| match when.as_str() {
        "always" => DpopUse::Always,
        "auto" => DpopUse::Auto,
        _ => DpopUse::Never,
    })
}

#[cfg(feature = "keyring")]
fn keyring() -> impl TypedValueParser<Value = mcp_auth_keyring::Policy> {
    use mcp_auth_keyring::Policy;
    PossibleValuesParser::new(["on", "only", "off"]).map(|mode| match mode.as_str() {
        "only" => Policy::SealedOnly,
        "off" => Policy::Unseal,
        _ => Policy::Seal,
    })
}

fn callback_host() -> impl TypedValueParser<Value = CallbackHost> {
    PossibleValuesParser::new(["127.0.0.1", "::1", "localhost"]).map(|name| match name.as_str() {
        "::1" => CallbackHost::V6,
        "localhost" => CallbackHost::Localhost,
        _ => CallbackHost::V4,
    })
}

fn scope(text: &str) -> Result<String, String> {
    let scopes = wire::scope::ScopeSet::parse(text);
    // What isn't a scope is dropped by the parser: better said than left out.
    let words = text.split_ascii_whitespace().collect::<Vec<_>>();
    match words.iter().find(|word| !scopes.contains(word)) {
        None if !words.is_empty() => Ok(words.join(" ")),
        None => Err("expected a scope".into()),
        Some(word) => Err(format!("{word:?} can't be a scope (RFC 6749 §3.3)")),
    }
}

fn header(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected `Name: value`")?;
    let name: http::HeaderName =
        name.trim().parse().map_err(|_| "the name isn't one of a header field")?;
    if name == http::header::AUTHORIZATION {
        return Err("`Authorization` is what mcp-auth itself adds".into());
    }
    let value = value.trim().parse().map_err(|_| "the value doesn't fit a header field")?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn spelled(text: &str) -> String {
        text.parse::<ServerUrl>().unwrap().0
    }

    #[test]
    fn the_command_line_is_consistent_in_itself() {
        Args::command().debug_assert();
    }

    #[test]
    fn two_spellings_of_a_server_are_one_login() {
        assert_eq!(spelled("HTTPS://MCP.Example.com"), "https://mcp.example.com");
        assert_eq!(spelled("https://mcp.example.com:443/#x"), "https://mcp.example.com");
        assert_eq!(spelled("https://mcp.example.com/mcp/?a=/"), "https://mcp.example.com/mcp/?a=/");
        assert_ne!(spelled("https://a.example/mcp"), spelled("https://a.example/mcp/"));
    }

    #[test]
    fn an_address_that_no_token_may_go_to_is_refused_with_the_reason() {
        for (text, reason) in [
            ("http://mcp.example.com", "https"),
            ("mcp.example.com", "absolute"),
            ("https://u:p@mcp.example.com", "user name"),
            ("ftp://mcp.example.com", "https"),
        ] {
            let error = text.parse::<ServerUrl>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_header_field_is_split_at_its_first_colon() {
        let (name, value) = header("X-Trace:  a:b ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-trace", "a:b"));
        assert!(header("no colon").is_err());
        assert!(header("a b: c").is_err());
        assert!(header("authorization: Bearer mine").unwrap_err().contains("mcp-auth"));
        assert!(header("x: a\nb").is_err());
    }

    #[test]
    fn what_cannot_be_a_scope_is_refused_rather_than_left_out() {
        assert_eq!(scope("notes:read  notes:write").unwrap(), "notes:read notes:write");
        assert!(scope("").is_err());
        assert!(scope("na\"me").is_err());
    }
}
