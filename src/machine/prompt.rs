//! The person's turn: the listener, the browser or a code, and what comes back.

use std::time::Duration;

use crate::error::ErrorKind;
use crate::event::{AnswerContent, Redirected};
use crate::flow::authorize::parse_at;
use crate::flow::{Ask, Notes};
use crate::machine::lane::{After, Change, Lane, LaneName, State, Want, Work};
use crate::machine::{Answered, AuthMachine, Prompt};
use crate::notice::Notice;
use crate::output::{Action, BrowseCall, CallId, ListenCall, Output, Page, ShowCodeCall};
use crate::text::printable;
use crate::time::{Mono, Now};

/// How long the listener stays for who comes too late: a browser tab that was left open answers within
/// minutes, or never.
const LATE: Duration = Duration::from_secs(300);
/// How long a host may take to bind a port.
const LISTEN_DEADLINE: Duration = Duration::from_secs(30);

impl AuthMachine {
    pub(super) fn pump_prompt(&mut self, now: Now) {
        let Some(lane) = &mut self.login else { return };
        let patience = Duration::from_secs(self.config.login_timeout_seconds);
        let person = now.mono.plus(patience);
        match std::mem::replace(&mut lane.state, State::Listening) {
            State::Ready(Want::Ask(Ask::Listen(spec))) => {
                // The port may be the same.
                self.stop_lingering();
                let id = self.prompt(now.mono.plus(LISTEN_DEADLINE));
                self.act(Action::Listen(ListenCall { id, spec }));
            }
            State::Ready(Want::Ask(Ask::Browse(url))) => {
                lane.state = State::Person(person);
                self.turn.sent(lane.earlier_client());
                let id = self.prompt(person);
                self.tell(Notice::Browsing);
                self.act(Action::Browse(BrowseCall { id, url }));
            }
            State::Ready(Want::Ask(Ask::ShowCode(mut code, interval))) => {
                code.expires_in = code.expires_in.min(patience);
                let end = now.mono.plus(code.expires_in);
                lane.code = Some((end, code.expires_in));
                lane.wait_for(now, Ask::Pause(interval));
                self.turn.sent(None);
                self.stop_lingering();
                // From now on there is something to take away.
                self.listening = true;
                let id = self.prompt(end);
                self.tell(Notice::Browsing);
                self.act(Action::ShowCode(ShowCodeCall { id, code }));
            }
            other => lane.state = other,
        }
    }

    fn prompt(&mut self, deadline: Mono) -> CallId {
        let call = CallId(self.next_id());
        self.prompt = Some(Prompt { call, deadline, abandoned: false });
        call
    }

    pub(super) fn on_prompted(&mut self, now: Now, abandoned: bool, content: AnswerContent) {
        let mut notes = Notes::new();
        match content {
            AnswerContent::Listening(Ok(_)) if abandoned => self.outputs.push_back(Output::Dismiss),
            _ if abandoned => {}
            AnswerContent::Listening(result) => {
                let Some(mut lane) = self.login.take_if(|l| matches!(l.state, State::Listening))
                else {
                    return;
                };
                let Work::Login(login) = std::mem::replace(&mut lane.work, Work::Over) else {
                    return;
                };
                let turn = match result {
                    Ok(uri) => {
                        self.listening = true;
                        login.on_listening(now.wall, uri, &mut notes)
                    }
                    Err(why) if why.is_headless() => login.on_no_browser(why, now.wall, &mut notes),
                    Err(error) => {
                        return self.settle(&lane, Err(ErrorKind::Listener(error).into()));
                    }
                };
                self.take_notes(notes);
                self.login_turned(now, lane, turn);
            }
            AnswerContent::Browsed(Err(error)) => {
                if let Some(mut lane) = self.login.take_if(|l| matches!(l.state, State::Person(_)))
                    && let Work::Login(mut login) = std::mem::replace(&mut lane.work, Work::Over)
                {
                    login.adopt(&self.session.record.registrations);
                    let turn = login.on_no_browser(error, now.wall, &mut notes);
                    self.take_notes(notes);
                    self.login_turned(now, lane, turn);
                }
            }
            AnswerContent::CodeShown(Err(error)) => {
                let shown = self.login.as_ref().filter(|l| l.code.is_some() && !l.detached);
                if let Some(attempt) = shown.map(|lane| lane.attempt) {
                    // A poll that is out may bring tokens all the same.
                    self.detach(LaneName::Login);
                    self.fail(attempt, ErrorKind::CodeNotShown(error).into());
                }
            }
            _ => {}
        }
    }

    pub(super) fn on_redirected(&mut self, now: Now, redirected: Redirected) {
        let Redirected { ticket, url } = redirected;
        let mut notes = Notes::new();
        let waits = |lane: &mut Lane| matches!(lane.state, State::Person(_));
        let page = match self.login.take_if(waits) {
            Some(mut lane) => match std::mem::replace(&mut lane.work, Work::Over) {
                Work::Login(mut login) => {
                    login.adopt(&self.session.record.registrations);
                    let state = login.request().map(|(uri, state)| (uri.to_owned(), state.clone()));
                    match login.on_redirect(&url, now.wall, &mut notes) {
                        Ok((page, turn)) => {
                            self.answered = state.map(|(uri, state)| Answered {
                                uri,
                                state,
                                page: page.clone(),
                            });
                            // The server knows the client, or has said otherwise.
                            self.turn.sent(None);
                            self.take_notes(notes);
                            self.login_turned(now, lane, turn);
                            page
                        }
                        Err((login, page)) => {
                            self.take_notes(notes);
                            lane.work = Work::Login(login);
                            self.login = Some(lane);
                            page
                        }
                    }
                }
                _ => Page::NotForUs,
            },
            // Browsers repeat requests: the second one gets the page of the first.
            None => match &self.answered {
                Some(Answered { uri, state, page })
                    if parse_at(uri, &url).is_ok_and(|r| r.state.as_ref() == Some(state)) =>
                {
                    page.clone()
                }
                _ => Page::NotForUs,
            },
        };
        // Before anything else that came of it: somebody's browser waits.
        self.outputs.push_front(Output::Show { ticket, page });
    }

    pub(super) fn nobody_came(&mut self, now: Now, mut lane: Lane) {
        self.answered = lane.expired().or(self.answered.take());
        // A port that others may need is given back at once.
        let shared = self.config.callback_port.is_some();
        if !shared && std::mem::take(&mut self.listening) {
            self.lingers = Some(now.mono.plus(LATE));
        }
        let within = Duration::from_secs(self.config.login_timeout_seconds);
        let sent = match &lane.work {
            Work::Login(login) => login.sent().map(|(_, client)| client),
            _ => None,
        };
        let client = sent.map(|client| client.source);
        let earlier = lane.earlier_client();
        let earlier_client = earlier.as_ref().map(|earlier| printable(&earlier.client_id));
        let error = ErrorKind::NobodyCame { within, earlier_client, client }.into();
        let Some(earlier) = earlier else { return self.settle(&lane, Err(error)) };
        self.end_turn(None);
        lane.work = Work::Over;
        lane.state = State::Ready(Want::Save(Change::Suspect(earlier), After::Failed(error)));
        self.put_lane(lane);
    }

    /// Closes the listener that stayed for who comes late.
    pub(super) fn stop_lingering(&mut self) {
        if self.lingers.take().is_some() {
            self.outputs.push_back(Output::Dismiss);
        }
    }
}
