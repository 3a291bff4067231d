//! What a host does: takes outputs, performs actions, delivers answers, lets time pass.

use std::time::Duration;

use mcp_auth::output::{FoundKey, FoundSecret, Page};
use mcp_auth::{Action, Event, HostError, Mono, Output, Secret, SecretRef};
use url::Url;

use super::Scenario;
use super::program::{
    Code, Held, Kind, Open, OpenState, Stepped, arrives, bind, dialled, received, redirected,
};
use crate::person::{Person, Visit};
use crate::{Presented, signer};

/// No story is longer.
const MAX_STEPS: usize = 10_000;

impl Scenario {
    /// Hands an event to the machine.
    pub fn handle(&mut self, event: Event) {
        let now = self.now();
        self.overhear(|| format!("{event:?}"));
        let program = self.program();
        program.machine.handle(now, event);
        program.handled = Some(now.mono);
        let machine = self.overheard.is_some().then(|| format!("{:?}", self.machine()));
        self.overhear(|| machine.unwrap_or_default());
    }

    /// Takes one output. An action stays open: nothing has happened yet.
    pub fn step(&mut self) -> Stepped {
        let output = self.program().machine.poll_output();
        self.overhear(|| format!("{output:?}"));
        match output {
            Output::Do(action) => self.asked(action),
            Output::Show { ticket, page } => {
                let expected = self.program().untold.remove(&ticket);
                assert!(expected, "a page for {ticket}, which is no redirect that waits for one");
                self.pages.push(page.clone());
                Stepped::Showed(ticket, page)
            }
            Output::Dismiss => {
                let program = self.program();
                let was = program.listening.take().is_some();
                let was = std::mem::take(&mut program.shows_code) || was;
                assert!(was, "the prompt was dismissed, and there was none");
                Stepped::Dismissed
            }
            Output::Release => {
                let held = self.store.locked_by == Some(self.current);
                assert!(held || self.store.leases, "released a lock that it doesn't hold");
                self.store.release(self.current);
                Stepped::Released
            }
            Output::Tell(notice) => {
                self.overhear(|| notice.to_string());
                self.notices.push(notice.clone());
                Stepped::Told(notice)
            }
            Output::Wait(deadline) => {
                self.check_wait(deadline);
                Stepped::Waits(deadline)
            }
            other => panic!("the scenario doesn't know {other:?}"),
        }
    }

    /// Takes every output that there is; gives the moment that the program waits for.
    pub fn drain(&mut self) -> Option<Mono> {
        for _ in 0..MAX_STEPS {
            if let Stepped::Waits(deadline) = self.step() {
                return deadline;
            }
        }
        panic!("the outputs don't end");
    }

    /// What is open, in order: asked for and not performed, or performed and not delivered.
    pub fn open(&mut self) -> Vec<String> {
        self.program().open.iter().map(|open| open.label.clone()).collect()
    }

    /// Performs the first open action whose name contains `what`; its answer stays open. `false` if
    /// it can't be performed now: another program holds the store's lock.
    pub fn perform(&mut self, what: &str) -> bool {
        let asked = |open: &Open| matches!(open.state, OpenState::Asked(_));
        let at = self.find(what, asked);
        self.perform_at(at)
    }

    pub(super) fn perform_at(&mut self, at: usize) -> bool {
        if self.program().open[at].label == "lock" && !self.store.is_free_for(self.current) {
            return false;
        }
        let mut open = self.program().open.remove(at);
        let late = open.until <= self.now().mono;
        open.state = match open.state {
            // A host keeps the deadline: it would have to give the lock back at once.
            OpenState::Asked(Action::Load(call)) if late && call.lock() => {
                OpenState::Answered(call.answer(Err(HostError::busy("it took too long"))))
            }
            OpenState::Asked(action) => OpenState::Answered(self.perform_action(action)),
            answered @ OpenState::Answered(_) => answered,
        };
        self.program().open.insert(at, open);
        true
    }

    /// Delivers the first open answer whose name contains `what`, however late it is.
    pub fn deliver(&mut self, what: &str) {
        let answered = |open: &Open| matches!(open.state, OpenState::Answered(_));
        let at = self.find(what, answered);
        self.deliver_at(at);
    }

    pub(super) fn deliver_at(&mut self, at: usize) {
        let open = self.program().open.remove(at);
        if let OpenState::Answered(event) = open.state {
            if let Event::Redirected(redirected) = &event {
                let ticket = redirected.ticket;
                self.program().untold.insert(ticket);
            }
            self.handle(event);
        }
    }

    /// Runs until an action whose name contains `what` was asked for, and takes it out of the host's
    /// hands: it is the story's to perform, and its answer to [`handle`](Self::handle).
    ///
    /// # Panics
    ///
    /// If the program comes to rest before.
    pub fn take_action(&mut self, what: &str) -> Action {
        self.run_until(what);
        let at = self.find(what, |open| matches!(open.state, OpenState::Asked(_)));
        match self.program().open.remove(at).state {
            OpenState::Asked(action) => action,
            OpenState::Answered(event) => panic!("`{what}` was performed already: {event:?}"),
        }
    }

    /// Takes the first open answer whose name contains `what` out of the host's hands: it is
    /// delivered when the story [`bring`](Self::bring)s it.
    pub fn hold(&mut self, what: &str) -> Held {
        let answered = |open: &Open| matches!(open.state, OpenState::Answered(_));
        let at = self.find(what, answered);
        Held(self.program().open.remove(at))
    }

    /// Delivers an answer that was held, however late it is.
    pub fn bring(&mut self, held: Held) {
        let label = held.0.label.clone();
        self.program().open.insert(0, held.0);
        self.deliver(&label);
    }

    /// Loses the first open thing whose name contains `what`: it is never delivered.
    pub fn lose(&mut self, what: &str) {
        let at = self.find(what, |_| true);
        self.program().open.remove(at);
    }

    /// Performs and delivers whatever is open, until the program only waits. No time passes.
    pub fn run(&mut self) -> Option<Mono> {
        for _ in 0..MAX_STEPS {
            let deadline = self.drain();
            if !self.perform_one("") {
                return deadline;
            }
        }
        panic!("the story doesn't end");
    }

    /// The same, but leaves alone whatever contains `what`.
    pub fn run_but(&mut self, what: &str) -> Option<Mono> {
        for _ in 0..MAX_STEPS {
            let deadline = self.drain();
            let Some(other) = self.open().into_iter().find(|label| !label.contains(what)) else {
                return deadline;
            };
            self.perform_one(&other);
        }
        panic!("the story doesn't end");
    }

    /// Takes one output, or performs or delivers one thing; `false` if there is nothing to do but
    /// wait.
    pub fn advance_one(&mut self) -> bool {
        !matches!(self.step(), Stepped::Waits(_)) || self.perform_one("")
    }

    /// The same, until something whose name contains `what` is open: it is left as it is.
    ///
    /// # Panics
    ///
    /// If the program comes to rest before.
    pub fn run_until(&mut self, what: &str) {
        for _ in 0..MAX_STEPS {
            self.drain();
            if self.open().iter().any(|label| label.contains(what)) {
                return;
            }
            if !self.perform_one("") && !self.wait() {
                break;
            }
        }
        panic!("`{what}` never came; open: {:?}", self.open());
    }

    /// Performs and delivers whatever is open, until the program only waits, or something whose name
    /// contains `what` is open: it is left as it is.
    pub fn run_until_rest_or(&mut self, what: &str) {
        for _ in 0..MAX_STEPS {
            self.drain();
            if self.open().iter().any(|label| label.contains(what)) || !self.perform_one("") {
                return;
            }
        }
        panic!("the story doesn't end");
    }

    /// Lets time pass up to the moment that the program waits for, and says so to it. `false` if it
    /// waits for none.
    pub fn wait(&mut self) -> bool {
        let Some(deadline) = self.drain() else { return false };
        let passes = self.now().mono.until(deadline);
        self.pass(passes);
        self.handle(Event::Tick);
        true
    }

    /// Lets so many seconds pass; whatever comes due is done in time.
    pub fn advance(&mut self, seconds: u64) {
        let end = self.now().mono.plus(Duration::from_secs(seconds));
        while self.run().is_some_and(|deadline| deadline <= end) {
            self.wait();
        }
        let passes = self.now().mono.until(end);
        self.pass(passes);
    }

    /// Lets so many seconds pass while the program is not running at all, as a suspended machine.
    pub fn sleep(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// Somebody fetches the callback address, or pastes a URL: the page that they get.
    pub fn redirect(&mut self, url: &str) -> Page {
        self.tickets += 1;
        let ticket = self.tickets;
        self.program().untold.insert(ticket);
        self.handle(redirected(ticket, url.to_owned()));
        let before = self.pages.len();
        self.drain();
        match self.pages.get(before..) {
            Some([page]) => page.clone(),
            other => panic!("expected one page, got {other:?}"),
        }
    }

    /// Performs or delivers the first open thing that can be; `false` if there is none.
    fn perform_one(&mut self, what: &str) -> bool {
        let current = self.current;
        let lock_is_free = self.store.is_free_for(current);
        let next = self.program().open.iter().find(|open| open.label.contains(what));
        let Some(next) = next else { return false };
        let label = next.label.clone();
        let asked = matches!(next.state, OpenState::Asked(_));
        if !asked {
            self.deliver(&label);
        } else if label == "lock" && !lock_is_free {
            self.refuse_lock();
        } else {
            self.perform(&label);
        }
        true
    }

    /// Another program holds the lock for longer than this one may wait.
    fn refuse_lock(&mut self) {
        let at = self.find("lock", |open| matches!(open.state, OpenState::Asked(_)));
        let open = self.program().open.remove(at);
        if let OpenState::Asked(Action::Load(call)) = open.state {
            self.pass(call.deadline());
            if self.store.leases {
                let loaded = self.store.load(self.current, true);
                return self.handle(call.answer(loaded));
            }
            self.handle(call.answer(Err(HostError::busy("another program holds the lock"))));
        }
    }

    fn perform_action(&mut self, action: Action) -> Event {
        match action {
            Action::Load(call) => {
                if call.lock() {
                    self.locked_for.push(call.servers().to_vec());
                }
                let loaded = self.store.load(self.current, call.lock());
                call.answer(loaded)
            }
            Action::Save(call) => {
                let saved = self.store.save(&call);
                call.answer(saved)
            }
            Action::Secret(call) => {
                self.secrets_read.push(call.place().clone());
                let found = self.find_secret(call.place());
                call.answer(found)
            }
            Action::Key(call) => {
                let exposed = self.exposed.contains(call.key());
                let found = self.key(call.key()).map(|name| {
                    let found = FoundKey::new(signer::public_key(&name));
                    if exposed { found.exposed() } else { found }
                });
                call.answer(found)
            }
            Action::Sign(call) => {
                self.signed += 1;
                let key = self.key(call.key());
                let signature = key.map(|name| signer::sign(&name, call.input()));
                call.answer(signature)
            }
            Action::Http(call) => {
                let now = self.mono;
                let shared = self.documents.find(&call, now).filter(|_| self.documents_are_shared);
                if let Some((result, age)) = shared {
                    return call.answer_shared(result, age);
                }
                let result = dialled(&self.world, &call).and_then(|peer| {
                    let mut request = call.request().clone();
                    if let Some(shown) = call.certificate() {
                        request.extensions_mut().insert(Presented(shown.certificate.to_string()));
                    }
                    let result = self.world.handle(self.wall, &request);
                    let mut response = received(result, call.limits())?;
                    if self.peers_are_told {
                        response.extensions_mut().insert(peer);
                    }
                    Ok(response)
                });
                self.documents.keep(&call, &result, now);
                call.answer(result)
            }
            Action::Listen(call) if self.browser_is_missing && self.absence_is_known => {
                call.answer(Err(HostError::headless("there is no browser")))
            }
            Action::Listen(call) => {
                let taken = self.listening_ports().chain(self.taken_ports.clone()).collect();
                let bound = bind(call.spec(), &taken, &mut self.last_port);
                self.program().listening = bound.as_ref().ok().cloned();
                call.answer(bound)
            }
            Action::Browse(call) => {
                if self.browser_is_missing {
                    return call.answer(Err(match self.codes_can_be_shown {
                        true => HostError::headless("there is no browser"),
                        false => HostError::new("there is no browser"),
                    }));
                }
                self.browsed.push(call.url().clone());
                let visit = self.world.visit(self.wall, call.url().as_str(), &self.person.clone());
                if let Visit::Redirect(url) = visit
                    && self.listens_at(&url)
                {
                    self.tickets += 1;
                    let redirect = Open::redirect(self.tickets, url);
                    self.program().open.push(redirect);
                }
                call.answer(Ok(()))
            }
            Action::ShowCode(call) => {
                self.program().shows_code = true;
                if !self.codes_can_be_shown {
                    return call.answer(Err(HostError::new("there is no screen")));
                }
                let code = Code::of(&call);
                let (wall, person) = (self.wall, self.person.clone());
                let _ = self.world.enter_code(wall, &code.user_code, &person);
                self.codes.push(code);
                call.answer(Ok(()))
            }
            other => panic!("the scenario doesn't know {other:?}"),
        }
    }

    pub(super) fn key(&self, place: &SecretRef) -> Result<String, HostError> {
        if let Some(why) = &self.signer_fails {
            return Err(HostError::new(why));
        }
        self.keys.get(place).cloned().ok_or_else(|| HostError::new("there is no such key"))
    }

    /// The person enters the code that was shown last, and does what this one does.
    ///
    /// # Panics
    ///
    /// If none was shown.
    pub fn enter_code(&mut self, person: &Person) -> Visit {
        let Some(code) = self.codes.last().cloned() else { panic!("no code was shown") };
        self.world.enter_code(self.wall, &code.user_code, person)
    }

    /// Whether the current program shows a code.
    pub fn shows_code(&mut self) -> bool {
        self.program().shows_code
    }

    fn find_secret(&self, place: &SecretRef) -> Result<Option<FoundSecret>, HostError> {
        match (self.secrets.get(place), place) {
            (None, SecretRef::File(_)) => Err(HostError::new("no such file")),
            (None, _) => Ok(None),
            (Some(value), _) => {
                let found = FoundSecret::new(Secret::from(value.as_str()));
                let exposed = self.exposed.contains(place);
                Ok(Some(if exposed { found.exposed() } else { found }))
            }
        }
    }

    /// The ports that the programs listen at.
    pub(super) fn listening_ports(&self) -> impl Iterator<Item = u16> {
        let uris = self.programs.iter().flatten().filter_map(|p| p.listening.as_ref());
        uris.filter_map(|uri| Url::parse(uri).ok()?.port())
    }

    pub(super) fn listens_at(&mut self, url: &str) -> bool {
        let own = self.config.redirect_uri.clone();
        let listening = self.program().listening.clone();
        listening.into_iter().chain(own).any(|at| arrives(url, &at))
    }

    fn asked(&mut self, action: Action) -> Stepped {
        let now = self.now().mono;
        let open = Open::asked(action, now, Duration::from_secs(self.config.login_timeout_seconds));
        let label = open.label.clone();
        let relocks = label == "lock" && self.store.locked_by == Some(self.current);
        assert!(!relocks, "the lock is asked for by the program that holds it");
        let program = self.program();
        // One that the program has given up on may still be answered, late.
        let rival = program.open.iter().find(|other| {
            open.kind == other.kind && open.kind != Kind::Redirect && other.until > now
        });
        assert!(rival.is_none(), "{label} is asked for while {rival:?} is unanswered");
        program.open.push(open);
        Stepped::Asked(label)
    }

    fn check_wait(&mut self, deadline: Option<Mono>) {
        let now = self.now().mono;
        let program = self.program();
        assert!(program.untold.is_empty(), "redirects {:?} got no page", program.untold);
        let running =
            program.machine.last_attempt().is_some_and(|id| program.machine.is_running(id));
        let unanswered = program.open.iter().any(|o| o.kind != Kind::Redirect && o.until > now);
        if running || unanswered {
            assert!(deadline.is_some(), "work is pending, and the program waits for ever");
        }
        // It was just told the time, so a tick would bring the same answer, for ever.
        let overdue = program.handled == Some(now) && deadline.is_some_and(|at| at <= now);
        assert!(!overdue, "the program waits for a moment that has passed");
    }

    fn find(&mut self, what: &str, fits: impl Fn(&Open) -> bool) -> usize {
        let open = &self.program().open;
        match open.iter().position(|open| open.label.contains(what) && fits(open)) {
            Some(at) => at,
            None => panic!("nothing like `{what}` is open: {open:?}"),
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.mono += time;
        // The wall clock counts whole seconds.
        self.wall += time.as_secs() + u64::from(time.subsec_nanos() > 0);
    }
}
