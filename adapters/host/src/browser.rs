//! Opening the user's browser: quickly, and without sharing our terminal with it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a launcher is watched for an early failure. One that still runs is taken as success.
const GRACE: Duration = Duration::from_millis(250);

/// Browsers that would draw over the terminal that we print to.
const TEXT_BROWSERS: [&str; 7] =
    ["browsh", "elinks", "links", "links2", "lynx", "w3m", "www-browser"];

/// Something that can show a URL to the user.
///
/// ```
/// use std::io::ErrorKind;
/// use std::sync::mpsc::{Sender, channel};
///
/// use mcp_auth_host::browser::{Browser, BrowserError};
///
/// /// An app's own window: it shows what comes through this channel.
/// struct Window(Sender<String>);
///
/// impl Browser for Window {
///     fn open(&self, url: &str) -> Result<(), BrowserError> {
///         let closed = |_| BrowserError::NotStarted { kind: ErrorKind::BrokenPipe };
///         self.0.send(url.to_owned()).map_err(closed)
///     }
/// }
///
/// let (window, to_show) = channel();
/// Window(window).open("https://as.example.com/authorize")?;
/// assert_eq!(to_show.recv()?, "https://as.example.com/authorize");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Browser: Send + Sync {
    /// Shows `url` and returns within a moment, whether or not the browser keeps running.
    ///
    /// `Ok` means that a browser was started, not that the user saw the page.
    ///
    /// # Errors
    ///
    /// [`BrowserError`] when nothing could be started: show the URL and take the redirect by
    /// paste instead.
    fn open(&self, url: &str) -> Result<(), BrowserError>;

    /// Whether there is one to open, as far as can be told without trying. Default: yes.
    ///
    /// # Errors
    ///
    /// [`BrowserError`] as [`open`](Self::open) would have it for any URL.
    fn check(&self) -> Result<(), BrowserError> {
        Ok(())
    }
}

/// Why no browser was opened. The URL is never part of the message.
///
/// ```
/// use mcp_auth_host::browser::{Browser, BrowserError, SystemBrowser};
///
/// let browser = SystemBrowser::with_command("lynx");
/// let error = browser.open("https://as.example.com/authorize?state=hush").unwrap_err();
/// assert!(matches!(&error, BrowserError::TextBrowser { program } if program == "lynx"));
/// assert!(error.to_string().contains("paste the redirect back")); // what the person can do
/// assert!(!error.to_string().contains("hush"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrowserError {
    /// Only `http` and `https` URLs are handed to other programs.
    #[error("not opened: expected an http or https URL of printable ASCII without quotes")]
    NotWeb,
    /// No desktop and no `$BROWSER`.
    #[error(
        "there is no desktop here to open a browser on (DISPLAY and WAYLAND_DISPLAY are unset): \
         open the address on another device and paste the redirect back, or set BROWSER"
    )]
    Headless,
    /// `$BROWSER` names a browser that would take over this terminal.
    #[error(
        "BROWSER names a text browser ({program}), which would take over this terminal: \
         open the address yourself and paste the redirect back, or set BROWSER to a graphical one"
    )]
    TextBrowser {
        /// The program, as `$BROWSER` spells it.
        program: String,
    },
    /// Every browser that was tried failed to start.
    #[error(
        "no browser could be started ({kind}): \
         open the address yourself and paste the redirect back, or set BROWSER to a browser's path"
    )]
    NotStarted {
        /// What the last attempt failed with.
        kind: io::ErrorKind,
    },
}

/// The user's own browser: `$BROWSER` where set, else the desktop's default.
///
/// `$BROWSER` is a list of commands, separated as in `$PATH` and tried in order; `%s` stands for
/// the URL, which is appended where a command has no `%s`. A value that is a file's path is that
/// file, whatever characters it has. Text browsers are refused.
///
/// ```
/// use mcp_auth_host::browser::{Browser, BrowserError, SystemBrowser};
///
/// // This one, whatever the environment says; SystemBrowser::new() asks that.
/// let browser = SystemBrowser::with_command("firefox --new-window %s");
/// assert!(browser.check().is_ok());
/// assert_eq!(browser.open("file:///etc/passwd"), Err(BrowserError::NotWeb));
/// ```
#[derive(Debug, Clone)]
pub struct SystemBrowser {
    command: Option<OsString>,
    desktop: bool,
}

impl SystemBrowser {
    /// Reads `$BROWSER` and looks for a desktop.
    pub fn new() -> Self {
        Self { command: set("BROWSER"), desktop: has_desktop() }
    }

    /// Uses `command` as if it were the value of `$BROWSER`, and nothing else.
    pub fn with_command(command: impl Into<OsString>) -> Self {
        Self { command: Some(command.into()), desktop: false }
    }
}

impl Default for SystemBrowser {
    fn default() -> Self {
        Self::new()
    }
}

impl Browser for SystemBrowser {
    fn open(&self, url: &str) -> Result<(), BrowserError> {
        if !is_web(url) {
            return Err(BrowserError::NotWeb);
        }
        let mut failure = BrowserError::Headless;
        for command in self.command.iter().flat_map(|value| commands(value, url)) {
            match start(&command) {
                Ok(()) => return Ok(()),
                Err(error) => failure = error,
            }
        }
        // A text browser was asked for: another browser would be a surprise.
        if !self.desktop || matches!(failure, BrowserError::TextBrowser { .. }) {
            return Err(failure);
        }
        // Detached with its standard streams closed. Its error texts hold the URL, hence the kind.
        open::that_detached(url).map_err(|e| BrowserError::NotStarted { kind: e.kind() })
    }

    fn check(&self) -> Result<(), BrowserError> {
        let any = self.desktop || self.command.is_some();
        if any { Ok(()) } else { Err(BrowserError::Headless) }
    }
}

/// A serialised URL is printable ASCII; anything else could mean more to a launcher than to us.
fn is_web(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|s| s.eq_ignore_ascii_case("https") || s.eq_ignore_ascii_case("http"))
        && url.bytes().all(|b| b.is_ascii_graphic() && b != b'"')
}

fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn has_desktop() -> bool {
    cfg!(any(windows, target_vendor = "apple", target_os = "android", target_os = "haiku"))
        || ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"].iter().any(|n| set(n).is_some())
}

/// Splits the value of `$BROWSER` into commands: a program and its arguments each.
fn commands(value: &OsStr, url: &str) -> Vec<Vec<OsString>> {
    if Path::new(value).is_file() {
        return vec![vec![value.into(), url.into()]];
    }
    let list = value.to_string_lossy();
    list.split(if cfg!(windows) { ';' } else { ':' })
        .map(|command| words(command, url))
        .filter(|words| words.len() > 1)
        .collect()
}

fn words(command: &str, url: &str) -> Vec<OsString> {
    let mut named = false;
    let mut words: Vec<OsString> = command
        .split_ascii_whitespace()
        .map(|word| {
            // `%%` is a per cent sign; the URL itself is never looked into.
            let parts: Vec<String> = word
                .split("%%")
                .map(|part| {
                    named |= part.contains("%s");
                    part.replace("%s", url)
                })
                .collect();
            parts.join("%").into()
        })
        .collect();
    if !named && !words.is_empty() {
        words.push(url.into());
    }
    words
}

fn start(words: &[OsString]) -> Result<(), BrowserError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(BrowserError::Headless);
    };
    let name = Path::new(program).file_name().unwrap_or(program);
    if TEXT_BROWSERS.iter().any(|text| name == *text) {
        return Err(BrowserError::TextBrowser { program: program.to_string_lossy().into_owned() });
    }
    let mut command = Command::new(program);
    command.args(arguments);
    launch(command).map_err(|e| BrowserError::NotStarted { kind: e.kind() })
}

fn launch(mut command: Command) -> io::Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // In a group of its own, Ctrl-C at our terminal isn't the browser's, and the kernel stops a
    // browser that reaches for the terminal.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn()?;
    let started = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(io::Error::other(status.to_string())),
            None if started.elapsed() < GRACE => thread::sleep(Duration::from_millis(5)),
            None => break,
        }
    }
    // Somebody must collect its exit status, or a dead browser stays in the process table. A
    // failure to start the thread costs just that.
    let _ = thread::Builder::new().name("browser-wait".into()).spawn(move || child.wait());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://as.example/authorize?a=%s&b=%%";

    fn split(value: &str) -> Vec<Vec<OsString>> {
        commands(OsStr::new(value), URL)
    }

    #[test]
    #[cfg(unix)]
    fn a_list_of_browsers_is_split_and_the_url_put_where_it_is_wanted() {
        assert_eq!(
            split("firefox --new-tab=%s --share=50%%:: chromium "),
            [
                vec!["firefox".into(), format!("--new-tab={URL}").into(), "--share=50%".into()],
                vec![OsString::from("chromium"), URL.into()],
            ]
        );
    }

    #[test]
    fn an_empty_value_names_no_browser() {
        assert!(split("").is_empty());
        assert!(split("  ").is_empty());
    }

    #[test]
    fn only_web_addresses_leave_the_program() {
        assert!(is_web(URL));
        assert!(is_web("HTTP://127.0.0.1/"));
        for url in [
            "file:///etc/passwd",
            "javascript:1",
            "https:/x",
            "-a",
            "",
            "https://a/ b",
            "http://\"",
        ] {
            assert!(!is_web(url), "{url}");
        }
    }

    #[test]
    fn without_a_desktop_the_user_is_told_to_paste() {
        let browser = SystemBrowser { command: None, desktop: false };
        let error = browser.open(URL).unwrap_err();
        assert_eq!(error, BrowserError::Headless);
        assert!(error.to_string().contains("paste"));
    }
}
