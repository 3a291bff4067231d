//! What is said: results on stdout, everything else on stderr; for people, or as JSON.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use mcp_auth::{ClockSkew, Ending, Notice, UnixTime};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure, culprit};

/// How to report.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub json: bool,
    pub verbose: bool,
}

impl Report {
    /// One line for the person, beside the result.
    pub fn say(self, line: impl fmt::Display) {
        // Nobody is left to hear that stderr is closed.
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// The result, in the one form or the other.
    pub fn result(self, text: impl fmt::Display, data: Value) -> Result<(), Failure> {
        if self.json { print(format_args!("{data}\n")) } else { print(text) }
    }

    /// What the result is good for is done elsewhere; this only confirms it.
    pub fn confirm(self, line: impl fmt::Display, data: Value) -> Result<(), Failure> {
        if self.json {
            return print(format_args!("{data}\n"));
        }
        self.say(line);
        Ok(())
    }

    /// Steps are told with `-v`; what a person should know or do, always.
    pub fn notice(self, notice: &Notice) {
        match notice {
            // The one is what the command ends with, the other what `inspect` does.
            Notice::Failed(_) | Notice::Proposed(_) => {}
            Notice::Ended { ending: Ending::Failed(error), .. } => {
                self.say(format_args!("note: {notice}\nadvice: {}", error.advice()));
            }
            Notice::Ended { .. } => self.say(notice),
            Notice::AskedElsewhere => {
                self.say("Another program is asking you to log in: finish there.");
            }
            Notice::SecretExposed { .. } => {
                self.say(format_args!("warning: {notice}; chmod 600 it"));
            }
            Notice::Lenient(_)
            | Notice::OtherPort { .. }
            | Notice::NotRestored { .. }
            | Notice::RedirectIgnored { .. }
            | Notice::Retrying { .. }
            | Notice::GrantEnded { .. }
            | Notice::RecordDamaged { .. }
            | Notice::SaveFailed(_)
            | Notice::SaveRecovered => self.say(format_args!("note: {notice}")),
            _ if self.verbose => self.say(format_args!("  {notice}")),
            _ => {}
        }
    }

    pub fn not_required(self, server: &str) -> Result<Exit, Failure> {
        let line = format_args!("{server} wants no authorization.");
        self.confirm(line, json!({ "status": "not_required", "server": server }))?;
        Ok(Exit::NotRequired)
    }

    /// Message, whose fault it is, advice.
    pub fn failure(self, failure: &Failure) -> Exit {
        let exit = failure.exit();
        let ((fault, who), advice) = (culprit(failure.fault()), failure.advice());
        self.say(format_args!("error: {failure}\nfault: {who}"));
        if let Some(advice) = &advice {
            self.say(format_args!("advice: {advice}"));
        }
        if self.json {
            let oauth = failure.oauth().map(|said| {
                json!({ "error": said.error, "description": said.description, "uri": said.uri })
            });
            let data = json!({ "status": "failed", "exit_code": exit as u8, "error": {
                "message": failure.to_string(),
                "fault": fault,
                "advice": advice,
                "oauth": oauth,
                "retry_in_seconds": failure.retry_in().map(|wait| wait.as_secs()),
            }});
            // The exit code tells it too.
            let _ = print(format_args!("{data}\n"));
        }
        exit
    }
}

/// Writes to stdout. A reader that has closed it has heard enough: that is no failure.
pub fn print(text: impl fmt::Display) -> Result<(), Failure> {
    write(text.to_string().as_bytes())
}

/// The same for bytes.
pub fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Machine(format!("the result could not be written: {e}")))
        }
        _ => Ok(()),
    }
}

/// Foreign text as part of one line: nothing in it can move the cursor or forge another line.
pub fn tame(text: &str) -> String {
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}')
    };
    text.chars().map(|c| if hostile(c) { '\u{FFFD}' } else { c }).collect()
}

/// A wrong clock, as programs read it.
pub fn clock_skew(skew: &ClockSkew) -> Value {
    json!({ "server": skew.server, "seconds": skew.seconds, "seen_at": skew.seen_at.0 })
}

/// "in 59 min", "2 h ago": as exact as a person wants it.
pub fn when(now: UnixTime, at: UnixTime) -> String {
    if at > now {
        format!("in {}", about(now.until(at)))
    } else {
        format!("{} ago", about(at.until(now)))
    }
}

fn about(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_repaint_the_terminal() {
        assert_eq!(tame("a\x1b[2J\nb\u{202e}"), "a�[2J�b�");
    }

    #[test]
    fn times_are_told_as_people_tell_them() {
        let now = UnixTime(1_000_000);
        assert_eq!(when(now, UnixTime(1_000_059)), "in 59 s");
        assert_eq!(when(now, UnixTime(1_003_599)), "in 59 min");
        assert_eq!(when(now, UnixTime(990_000)), "2 h ago");
        assert_eq!(when(now, UnixTime(0)), "11 days ago");
    }
}
