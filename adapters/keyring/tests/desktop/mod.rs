//! A desktop session without a screen: a D-Bus of its own, and GNOME Keyring on it.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Ends with its value.
pub struct Desktop {
    session: Child,
    says: Lines<BufReader<ChildStdout>>,
    /// Where the session's D-Bus is.
    bus: String,
    /// The process of the keyring.
    keyring: String,
    _home: TempDir,
}

const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "the password of the login keyring";

/// Starts no services by itself: another keyring would come before ours.
const BUS: &str = r#"<busconfig>
  <type>session</type>
  <listen>unix:tmpdir=/tmp</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>"#;

/// Says where it is. For each line of its input the keyring starts anew, unlocked or locked; with no
/// screen, nobody can be asked for the password then.
const SESSION: &str = r#"
echo "$DBUS_SESSION_BUS_ADDRESS"
while read -r unlock; do
  if [ -n "$daemon" ]; then
    kill -CONT "$daemon"
    kill "$daemon"
    wait "$daemon"
  fi
  printf %s "$PASSWORD" | gnome-keyring-daemon --foreground $unlock --components=secrets >/dev/null 2>&1 &
  daemon=$!
  echo "$daemon"
done
kill -CONT "$daemon"
kill "$daemon"
wait
"#;

impl Desktop {
    /// `None`, and loudly so, where the programs for it are missing. In CI they may not be.
    pub fn start() -> Option<Self> {
        let programs = ["dbus-run-session", "dbus-send", "gnome-keyring-daemon"];
        let missing: Vec<_> = programs.into_iter().filter(|program| !is_there(program)).collect();
        if !missing.is_empty() {
            let test = thread::current().name().unwrap_or_default().to_owned();
            let why = format!(
                "{} missing: `apt-get install dbus gnome-keyring`, or their like",
                missing.join(", ")
            );
            assert!(std::env::var_os("CI").is_none(), "{why}");
            // Past the test's own captured output.
            let _ = writeln!(io::stderr(), "\n*** SKIPPED {test}, no keyring was tested: {why}\n");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let bus = home.path().join("bus.conf");
        fs::write(&bus, BUS).unwrap();
        let mut session = Command::new("dbus-run-session");
        session.arg("--config-file").arg(bus).args(["--", "sh", "-c", SESSION]);
        session.env("PASSWORD", PASSWORD);
        for name in
            ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"]
        {
            session.env(name, home.path());
        }
        for screen in ["DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"] {
            session.env_remove(screen);
        }
        let mut session = session
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut says = BufReader::new(session.stdout.take().unwrap()).lines();
        let bus = says.next().expect("the session starts").unwrap();
        let mut desktop = Self { session, says, bus, keyring: String::new(), _home: home };
        desktop.unlock();
        Some(desktop)
    }

    /// Puts a command into the session.
    pub fn seat<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.bus).env_remove("DISPLAY")
    }

    pub fn lock(&mut self) {
        self.restart("", "boolean true");
    }

    pub fn unlock(&mut self) {
        self.restart("--unlock", "boolean false");
    }

    fn restart(&mut self, how: &str, locked: &str) {
        writeln!(self.session.stdin.as_ref().unwrap(), "{how}").unwrap();
        self.keyring = self.says.next().expect("the keyring starts").unwrap();
        let began = Instant::now();
        let (login, get) = ("/collection/login", "org.freedesktop.DBus.Properties.Get");
        let property = ["string:org.freedesktop.Secret.Collection", "string:Locked"];
        while !self.asks(login, get, &property).contains(locked) {
            assert!(began.elapsed() < PATIENCE, "the keyring is ready in time");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The keyring hangs.
    pub fn stop(&self) {
        assert!(Command::new("kill").args(["-STOP", &self.keyring]).status().unwrap().success());
    }

    pub fn go_on(&self) {
        assert!(Command::new("kill").args(["-CONT", &self.keyring]).status().unwrap().success());
    }

    /// How many items of this program the keyring has.
    pub fn keys(&self) -> usize {
        let ours = ["dict:string:string:service,mcp-auth"];
        let found = self.asks("", "org.freedesktop.Secret.Service.SearchItems", &ours);
        found.matches("object path").count()
    }

    /// What the keyring answers, if anything.
    fn asks(&self, object: &str, method: &str, args: &[&str]) -> String {
        let mut ask = Command::new("dbus-send");
        ask.args(["--session", "--print-reply", "--dest=org.freedesktop.secrets"])
            .arg(format!("/org/freedesktop/secrets{object}"))
            .arg(method)
            .args(args);
        let output = self.seat(&mut ask).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        drop(self.session.stdin.take());
        let _ = self.session.wait();
    }
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
